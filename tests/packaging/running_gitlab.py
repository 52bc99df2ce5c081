"""Running the GitLab template's own commands as GitLab's runner does."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).resolve().parents[2] / "packaging" / "gitlab" / "nvdiag.gitlab-ci.yml"
JOB: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))[".nvdiag"]
OWN = "echo the job itself runs"


def run(project: Path, shell: str = "bash", **variables: str) -> subprocess.CompletedProcess[str]:
    """A job that extends .nvdiag: GitLab Runner evaluates all its commands in one shell (shells/bash.go)."""
    project.mkdir(exist_ok=True)
    commands = "\n".join([*JOB["before_script"], OWN])
    prelude = "if set -o | grep pipefail > /dev/null; then set -o pipefail; fi; set -o errexit\nset +o noclobber\n"
    given = {name: str(value) for name, value in JOB["variables"].items()} | variables
    return subprocess.run(
        [shell],
        input=f"{prelude}: | eval {shlex.quote(commands)}\nexit 0\n",
        cwd=project,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", **given},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
