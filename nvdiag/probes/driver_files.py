"""Reading below /proc/driver/nvidia. Each read takes the driver's locks, so it may wait for a GPU for ever."""

from __future__ import annotations

import errno
import os

from nvdiag.probes.child import Say
from nvdiag.probes.memory import Json

ROOT = "/proc/driver/nvidia"
MAX_BYTES = 64 * 1024


def run(arguments: list[str], say: Say) -> dict[str, Json]:
    """`files` and `folders` in the snapshot's form: version and params first, then each GPU's information."""
    document: dict[str, Json] = {"files": {}, "folders": {}}
    for name in ("version", "params"):
        _read(f"{ROOT}/{name}", document, say)
    gpus = f"{ROOT}/gpus"
    say(f"list {gpus}", document)
    try:
        document["folders"][gpus] = sorted(os.listdir(gpus))
    except FileNotFoundError:
        document["folders"][gpus] = None
    except OSError as error:
        document["folders"][gpus] = {"error": errno.errorcode.get(error.errno or 0, "EIO")}
        return document
    for address in document["folders"][gpus] or ():
        _read(f"{gpus}/{address}/information", document, say)
    return document


def _read(path: str, document: dict[str, Json], say: Say) -> None:
    say(f"read {path}", document)
    try:
        with open(path, "rb") as file:
            document["files"][path] = file.read(MAX_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        document["files"][path] = None
    except OSError as error:
        document["files"][path] = {"error": errno.errorcode.get(error.errno or 0, "EIO")}
