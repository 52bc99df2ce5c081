"""Opening device nodes, read-only and closed at once: the errno tells a missing right from a forbidding cgroup."""

from __future__ import annotations

import errno
import os

from nvdiag.probes.child import Say
from nvdiag.probes.memory import Json


def run(arguments: list[str], say: Say) -> dict[str, Json]:
    """`nodes PATH…`: `opens` maps each path to "ok", an errno's name, or None where nothing is there."""
    opens: dict[str, Json] = {}
    for path in arguments:
        say(f"open {path}", {"opens": opens})
        opens[path] = _open(path)
    return {"opens": opens}


def _open(path: str) -> str | None:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except FileNotFoundError:
        return None
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "EIO")
    return "ok"
