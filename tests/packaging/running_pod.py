"""Running the init container's own command, with a termination log of its own and a program in nvdiag's place."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.packaging.installed import PACKAGING, pretender

FILE = PACKAGING / "kubernetes" / "job.yaml"
JOB: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
POD: dict[str, Any] = JOB["spec"]["template"]["spec"]
INIT: dict[str, Any] = POD["initContainers"][0]
LOG = "/dev/termination-log"


def start(folder: Path, nvdiag: str) -> tuple[int, str, str]:
    """The init container with this program as nvdiag: its exit code, its log and its termination message."""
    program = Path(pretender(folder, nvdiag)[0])
    program.rename(folder / "nvdiag")
    message = folder / "termination-log"
    message.touch()
    command = [*INIT["command"], *(one.replace(LOG, str(message)) for one in INIT["args"])]
    done = subprocess.run(
        command,
        env={"PATH": f"{folder}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, message.read_text(encoding="utf-8")
