"""The child side of a probe: forked, confined, and speaking one JSON document that grows line by line.

Before each call that may hang or crash the child writes what it knows so far and the name of the call. So whatever
becomes of it, the parent has every answer up to there and can name the call that took the child away.
"""

from __future__ import annotations

import contextlib
import ctypes  # once, before the forks: each child takes it, and resource
import json
import os
import resource
import shlex
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import TypeAlias

from nvdiag.probes.memory import Json

Say: TypeAlias = Callable[[str, dict[str, Json]], None]
"""`say(stage, document)`: "I am about to call `stage`; this is what I know"."""

PROBES = {
    "nvml": "nvdiag.probes.nvml",
    "cuda": "nvdiag.probes.cuda",
    "nodes": "nvdiag.probes.nodes",
    "driver-files": "nvdiag.probes.driver_files",
    "dlopen": "nvdiag.probes.dlopen",
    "holders": "nvdiag.probes.holders",
    "libraries": "nvdiag.probes.libraries",
    "smoke": "nvdiag.probes.smoke",
}
"""Probe names and the modules whose `run(arguments, say)` answers. `dlopen libcudart.so.12` carries an argument."""

_PR_SET_PDEATHSIG = 1

VENDOR = frozenset({"nvml", "cuda", "dlopen", "libraries", "smoke"})
"""The probes that run code which is not nvdiag's own: those are confined."""


def start(name: str, memory: int) -> int:
    """Fork a child that runs probe `name` and writes to the memory file `memory`; its process id."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it is where the process was started with that stream closed
            stream.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        code = _live(name, memory, parent)
    finally:
        os._exit(code)


def _live(name: str, memory: int, parent: int) -> int:
    """The child's whole life; its exit code. Nothing of the parent's is used after this: no flush, no atexit."""
    started = time.monotonic()
    os.setpgid(0, 0)
    die_with(parent)
    sys.dont_write_bytecode = True  # confined, it could make a temporary .pyc and neither rename nor remove it
    silence()
    kind, *arguments = shlex.split(name)

    said: tuple[str, dict[str, Json]] = "start", {}

    def say(stage: str, document: dict[str, Json]) -> None:
        nonlocal said
        said = stage, document
        entry = {"stage": stage, "seconds": round(time.monotonic() - started, 3), "document": document}
        os.write(memory, json.dumps(entry).encode() + b"\n")

    try:
        say("import", {})
        if kind in VENDOR:
            from nvdiag.probes import confine

            confine.confine(confine.UNLINKING if kind == "smoke" and "mps" in arguments else ())
        run = import_module(PROBES[kind]).run
        say("end", run(arguments, say))
    except MemoryError:
        return 71
    except Exception as error:  # the parent turns it into a finding; a traceback would go nowhere
        stage, document = said
        say(f"{stage}: {type(error).__name__}: {error}"[:300], document)
        return 72
    return 0


def die_with(parent: int) -> None:
    """Be killed when the parent ends, however it ends: a probe that hangs must not outlive a Ctrl-C or a SIGTERM."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before that
        os._exit(0)


def silence() -> None:
    """No input, no output of vendor code on the person's terminal, no core file, default signals."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
