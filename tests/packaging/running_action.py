"""Running action.yml's own steps as GitHub's runner does: its shell, its files, its variables, its expressions.

The runner's contract: docs.github.com, metadata syntax (composite actions), workflow syntax (`shell: bash` is
`bash --noprofile --norc -e -o pipefail {0}`), variables.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from nvdiag.model.dataclass import dataclass

ROOT = Path(__file__).resolve().parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What became of a step of a job that uses the action."""

    code: int
    log: str
    outputs: Mapping[str, str]
    summary: str
    workspace: Path


def use(folder: Path, given: Mapping[str, str], environment: Mapping[str, str] | None = None) -> Job:
    """A step that uses the action with these inputs, in a job whose workspace is `folder`/workspace."""
    workspace, temporary = folder / "workspace", folder / "temp"
    for one in (workspace, temporary):
        one.mkdir(exist_ok=True)
    files = {name: folder / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_PATH")}
    for file in files.values():
        file.write_text("")
    inputs = {name: str(one.get("default", "")) for name, one in ACTION["inputs"].items()}
    assert set(given) <= set(inputs)
    inputs.update(given)
    step = ACTION["runs"]["steps"][0]
    assert step["shell"] == "bash"
    script = folder / "script.sh"
    script.write_text(step["run"], encoding="utf-8")
    variables = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_JOB": "gpu-tests",
        "GITHUB_WORKSPACE": str(workspace),
        "RUNNER_TEMP": str(temporary),
        **{name: str(file) for name, file in files.items()},
        **{name: _evaluated(value, inputs) for name, value in step["env"].items()},
        **(environment or {}),
    }
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
        cwd=workspace, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    steps = _outputs(files["GITHUB_OUTPUT"].read_text(encoding="utf-8"))
    outputs = {name: _evaluated(one["value"], steps, "steps.look.outputs") for name, one in ACTION["outputs"].items()}
    return Job(
        code=done.returncode,
        log=done.stdout,
        outputs=outputs,
        summary=files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8"),
        workspace=workspace,
    )


def commands(log: str) -> list[str]:
    """The lines that the runner obeys: those that begin with :: after blanks, and those with ##[ (ActionCommand.cs)."""
    return [line for line in log.splitlines() if line.strip().startswith("::") or "##[" in line]


def _evaluated(expression: str, context: Mapping[str, str], name: str = "inputs") -> str:
    """The one form of expression that the action uses."""
    found = re.fullmatch(rf"\$\{{\{{ {re.escape(name)}\.([\w-]+) \}}\}}", expression)
    assert found is not None, expression
    return context.get(found[1], "")


def _outputs(file: str) -> dict[str, str]:
    """What the runner reads from GITHUB_OUTPUT: NAME=VALUE, or NAME<<END, lines, END."""
    outputs: dict[str, str] = {}
    lines = iter(file.splitlines())
    for line in lines:
        name, end = line.split("<<", 1) if "<<" in line else (line.split("=", 1)[0], "")
        if not end:
            outputs[name] = line.split("=", 1)[1]
            continue
        value = []
        for one in lines:
            if one == end:
                break
            value.append(one)
        else:
            raise AssertionError(f"{name} has no end")
        outputs[name] = "\n".join(value)
    return outputs
