"""Whose environment is looked at: an interpreter that was named, or that of a process that runs."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Mapping

from nvdiag.cli.running import fail, warn
from nvdiag.facts.python_environments import ASKED
from nvdiag.host import children, environment

_SECONDS = 2.0
"""How long a process's environment is waited for: the kernel may hold who reads it."""

_LOADER = "LD_LIBRARY_PATH"


def of_python(named: str) -> None:
    """Look at the environment of this interpreter, or of the environment in this folder. Exit 2 where it is none."""
    path = os.path.abspath(os.path.expanduser(named))
    if os.path.isdir(path):
        path = os.path.join(path, "bin", "python")
    elif "/" not in named:
        path = _on_path(named, os.environ.get("PATH", "")) or path
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        fail(f"--python: {named} is no interpreter and no Python environment")
    os.environ[ASKED] = path


def of_program(path: str) -> None:
    """Follow the loader for this program or library, or look at the environment of a script. Exit 2 where it is none.

    pip, pipx and their kin install programs as scripts whose first line names their environment's interpreter.
    """
    from nvdiag.facts.cuda_libraries import ASKED as PROGRAM
    from nvdiag.host import elf

    full = os.path.abspath(os.path.expanduser(path)) if "/" in path else _on_path(path, os.environ.get("PATH", ""))
    if full is not None and (python := _interpreter_of(full)) is not None:
        warn(f"{path} is a script of {python}: looking at that environment")
        os.environ[ASKED] = python
        return
    try:
        told = elf.read_needs(full or path)
    except OSError as error:
        fail(f"--program: {path}: {error.strerror}")
    if full is None or "error" in told:
        fail(f"--program: {path} is no ELF program or library of this kind of machine")
    os.environ[PROGRAM] = full


def _interpreter_of(path: str) -> str | None:
    """The Python that a script's first line names; None for another kind of file, or another kind of script."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            first = file.readline(_LONGEST_LINE).decode("utf-8", "surrogateescape")
    except OSError:
        return None
    words = first.removeprefix("#!").split() if first.startswith("#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [one for one in words[1:] if not one.startswith("-") and "=" not in one]
    if not words or not os.path.basename(words[0]).startswith("python"):
        return None
    found = words[0] if os.path.isabs(words[0]) else _on_path(words[0], os.environ.get("PATH", ""))
    return found if found is not None and os.access(found, os.X_OK) else None


_LONGEST_LINE = 4096


def deeper() -> None:
    """Load CUDA's libraries, too."""
    from nvdiag.facts.loaded_libraries import ASKED as DEEP

    os.environ[DEEP] = "1"


def to_compute() -> None:
    """Have every GPU run a kernel, too."""
    from nvdiag.facts.smoke import ASKED as SMOKE

    os.environ[SMOKE] = "1"


def of_process(pid: int) -> None:
    """Look with the environment that a process of this user's was started with. Exit 2 where it cannot be had.

    The loader reads LD_LIBRARY_PATH when a program starts: where that of the process is another, nvdiag starts anew.
    """
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        fail(f"--env-of: there is no process {pid}")
    if owner != os.geteuid():  # as root another user's LD_LIBRARY_PATH would be obeyed
        fail(f"--env-of: process {pid} is another user's; try: sudo -u '#{owner}' nvdiag check --env-of {pid}")
    with contextlib.suppress(OSError):
        if not os.path.samefile(f"/proc/{pid}/root", "/"):
            fail(f"--env-of: process {pid} has another root folder, as in a container; run nvdiag in there")
    found = dict(pair.split("=", 1) for pair in _told(pid, "environ").split("\0") if "=" in pair)
    wanted = {name: value for name, value in found.items() if environment.may_read(name)}
    if os.environ.get(_LOADER) != wanted.get(_LOADER):
        others = {name: value for name, value in os.environ.items() if name != _LOADER}
        os.execve(
            sys.executable,
            [sys.executable, *sys.orig_argv[1:]],
            others | {name: value for name, value in wanted.items() if name == _LOADER},
        )
    for name in [name for name in os.environ if environment.may_read(name) and name not in wanted]:
        del os.environ[name]
    os.environ.update(wanted)
    python = _python_of(pid, wanted)
    if python is not None:
        os.environ[ASKED] = python
    warn(f"looking with the environment that process {pid} was started with" + (f" ({python})" if python else ""))


def _python_of(pid: int, wanted: Mapping[str, str]) -> str | None:
    """The interpreter that the process was started as, so that a virtual environment's own path is kept."""
    called = _told(pid, "cmdline").partition("\0")[0]
    if not os.path.basename(called).startswith("python"):
        return None
    return called if os.path.isabs(called) else _on_path(called, wanted.get("PATH", ""))


def _on_path(name: str, path: str) -> str | None:
    candidates = (os.path.join(folder, name) for folder in path.split(":") if folder)
    return next((one for one in candidates if os.access(one, os.X_OK) and os.path.isfile(one)), None)


def _told(pid: int, name: str) -> str:
    """A file of /proc/PID that is the process's own memory, read by a child: a stuck process holds who reads it."""
    argv = ["/bin/cat", f"/proc/{pid}/{name}"]
    outcome, out, _ = children.run(argv, {}, time.monotonic() + _SECONDS)
    if not isinstance(outcome, children.Ended) or outcome.code != 0:
        fail(f"--env-of: process {pid} does not tell its environment")
    return out.decode("utf-8", "surrogateescape")
