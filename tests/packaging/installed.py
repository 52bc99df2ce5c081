"""The scripts of packaging/ as an administrator installs them: one line, which says where nvdiag is, is their own."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
SCRIPTS = sorted(
    path.relative_to(PACKAGING).as_posix()
    for path in PACKAGING.rglob("*")
    if path.is_file() and path.read_bytes().startswith(b"#!")
)
SHIPPED = "/usr/bin/python3 -I /opt/nvdiag/nvdiag.pyz"


def installed(name: str, folder: Path, nvdiag: Sequence[str], **changed: str) -> Path:
    """A script that calls this nvdiag; `changed` replaces further words, which it must have."""
    text = (PACKAGING / name).read_text(encoding="utf-8")
    for before, after in {f"nvdiag=({SHIPPED})": f"nvdiag=({shlex.join(nvdiag)})", **changed}.items():
        assert before in text, before
        text = text.replace(before, after)
    target = folder / Path(name).name
    target.write_text(text, encoding="utf-8")
    target.chmod(0o755)
    return target


def pretender(folder: Path, script: str) -> list[str]:
    """A program that stands in nvdiag's place, as a shell script."""
    program = folder / "pretender"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return [str(program)]
