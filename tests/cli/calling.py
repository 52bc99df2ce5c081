"""Calling nvdiag as a person does: in this process, or as a process of its own where that matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from nvdiag.cli.app import app
from tests.scenarios.tree import Tree

ROOT = Path(__file__).resolve().parents[2]


def call(*arguments: str, standard_input: bytes | None = None) -> Result:
    """`nvdiag ARGUMENTS` in this process."""
    return CliRunner().invoke(app, list(arguments), input=standard_input)


def process(
    *arguments: str,
    path: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """`python -m nvdiag ARGUMENTS` with `path` before sys.path, and nothing of this process's environment."""
    return subprocess.run(
        [sys.executable, "-m", "nvdiag", *arguments],
        env=surroundings(path) | dict(environment or {}),
        text=True,
        timeout=60,
        check=False,
        **({"capture_output": True} | options),
    )


def surroundings(path: Sequence[Path] = ()) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join([*map(str, path), str(ROOT)]),
        "LC_ALL": "C.UTF-8",
    }


def written(folder: Path, machine: Tree, name: str = "machine.json") -> str:
    """A snapshot of a machine as a file; its path."""
    file = folder / name
    file.write_text(json.dumps(machine.snapshot().document), encoding="utf-8")
    return str(file)


def one_line(text: str) -> str:
    """The only line of what was said on stderr."""
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text.strip()
