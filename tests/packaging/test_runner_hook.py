"""The hook of GitHub's runner under the runner's contract: `bash -e`, the job's workspace and variables, its commands.

What the runner does is read in actions/runner: JobHookProvider.cs and ScriptHandler.cs (how a hook is run), and
ActionCommand.cs (which line of its output is a command).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.packaging.installed import installed, pretender

HOOK = "github-runner/job-started.sh"
OWN = {"error", "warning", "notice", "group", "endgroup"}
HOSTILE = "raise SystemExit('the job was asked')\n"


def workspace(folder: Path) -> Path:
    """A job's checkout that would like to be imported."""
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in ("nvdiag", "click", "json", "sitecustomize", "usercustomize", "encodings"):
        (checkout / f"{name}.py").write_text(HOSTILE)
    (checkout / "nvdiag.toml").write_text('fail-on = "never"\n')
    return checkout


def runner(folder: Path, checkout: Path) -> dict[str, str]:
    """The variables that the runner sets, and some that a workflow's `env:` may."""
    return {
        "PATH": f"{checkout}:/usr/bin:/bin", "HOME": str(folder), "CI": "true", "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(checkout), "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_ENV": str(folder / "env"), "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_TOKEN": "ghs_planted", "RUNNER_TEMP": str(folder), "ACTIONS_RUNNER_HOOK_JOB_STARTED": HOOK,
        "PYTHONPATH": str(checkout), "PYTHONSTARTUP": str(checkout / "nvdiag.py"), "NVDIAG": str(checkout),
    }  # fmt: skip


def run(hook: Path, checkout: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Exit code, and both streams: the runner reads commands from each."""
    told = subprocess.run(
        ["bash", "-e", hook], cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, check=False, timeout=60,
    )  # fmt: skip
    return told.returncode, told.stdout.decode("utf-8", "replace")


def commands(output: str) -> set[str]:
    """The commands that the runner would find in a step's output."""
    found = set()
    for line in output.splitlines():
        if told := re.match(r"\s*::([^ :]*)(?: .*?)?::", line):
            found.add(told[1])
        found.update(told[1] for told in re.finditer(r"##\[([^ \]]*)[^\]]*\]", line))
    return found


def hooked(folder: Path, nvdiag: Sequence[str], **more: str) -> tuple[int, str]:
    checkout = workspace(folder)
    hook = installed(HOOK, folder, nvdiag, **{"timeout -k 5 60": "timeout -k 0.1 0.5"})
    return run(hook, checkout, runner(folder, checkout) | more)


ANNOTATION = "::error title=nvdiag%3A driver-library-mismatch (configuration)::x"


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("exit 0", 0, ""),
        (f"echo '{ANNOTATION}'; exit 1", 1, "This job was not started"),
        ("echo Traceback >&2; echo 'ModuleNotFoundError: click' >&2; exit 1", 0, "could not judge this runner"),
        (f"echo '{ANNOTATION}'; exit 2", 0, "exit code 2"),
        ("echo '::warning title=nvdiag cannot tell::x'; exit 3", 0, "::warning title=nvdiag cannot tell::x"),
        ("echo 'nvdiag: no report could be made' >&2; exit 4", 0, "exit code 4"),
        ("kill -SEGV $$", 0, "exit code 139"),
        ("exec sleep 20", 0, "did not end within 60 seconds"),
        ("trap '' TERM; sleep 20; sleep 20", 0, "did not end within 60 seconds"),
    ],
)
def test_a_job_is_refused_by_a_problem_alone(script: str, code: int, words: str, tmp_path: Path) -> None:
    exit_code, output = hooked(tmp_path, pretender(tmp_path, script))
    assert (exit_code, words in output) == (code, True), output
    assert commands(output) <= OWN


@pytest.mark.parametrize("program", ["/nonexistent/python3", "/etc/passwd"])
def test_a_job_runs_where_nvdiag_is_not(program: str, tmp_path: Path) -> None:
    code, output = hooked(tmp_path, [program])
    assert (code, "::warning title=nvdiag let this job go::" in output) == (0, True)


def test_no_line_that_was_said_is_a_command_to_the_runner(tmp_path: Path) -> None:
    said = (
        "::set-env name=X::y", "  ::add-mask::the", "\t::stop-commands::x", "##[set-env name=a;]b",
        "x ##[add-path]/tmp", "::error::not of nvdiag", "::debug::x", "::save-state name=a::b",
        "\v::set-output name=a::b",
    )  # fmt: skip
    (tmp_path / "said").write_text("\n".join((*said, "")))
    for stream, code in (("1", 3), ("2", 1)):
        folder = tmp_path / stream
        folder.mkdir()
        exit_code, output = hooked(folder, pretender(folder, f"cat {tmp_path / 'said'} >&{stream}; exit {code}"))
        assert exit_code == 0
        assert commands(output) <= {"warning"}
        assert "not of nvdiag" in output


@pytest.mark.parametrize(
    ("devices", "asked"), [(None, "--gpus all"), ("0,1", "--gpus 0,1"), ("MIG-1", "--gpus MIG-1"), ("", "")]
)
def test_the_jobs_gpus_are_those_that_the_runner_shows(devices: str | None, asked: str, tmp_path: Path) -> None:
    more = {} if devices is None else {"CUDA_VISIBLE_DEVICES": devices}
    code, output = hooked(tmp_path, pretender(tmp_path, 'echo "asked $*"'), **more)
    assert (code, asked in output, "asked" in output) == (0, True, bool(asked))
