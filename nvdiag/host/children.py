"""Child processes with a deadline that holds even for a child that cannot be killed.

`subprocess.run(timeout=…)` waits without a limit after its kill, so a child in uninterruptible sleep (state D, as a
wedged driver makes them) would hold nvdiag for ever. Here a child is killed with its process group, waited for a
moment, and left behind. Output goes to anonymous memory files: no pipe to drain, no file on a disk that may be full.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence

from nvdiag.model.dataclass import dataclass

GRACE = 0.15
"""Seconds that a killed child gets to go before it is left behind."""

MAX_OUTPUT = 8 * 1024 * 1024
"""Bytes of a child's output that are kept."""

LONGEST_WAIT = 2_000_000.0
"""Seconds. poll(2) counts milliseconds in an int."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The child ended by itself; `code` is negative for a signal."""

    code: int


@dataclass(frozen=True, slots=True)
class Overdue:
    """The child did not end in time. `state` is its state letter in /proc/PID/stat when the deadline passed."""

    state: str
    survived_kill: bool


def memory_file(name: str) -> int:
    """A descriptor of an anonymous file in memory, closed on exec; never 0, 1 or 2, which a child gives new files."""
    try:
        descriptor = os.memfd_create(name)
    except (AttributeError, OSError):  # a kernel before 3.17, or a sandbox without it
        import tempfile

        descriptor, path = tempfile.mkstemp(prefix="nvdiag-")
        os.unlink(path)
    if descriptor > 2:
        return descriptor
    try:  # this process was started with a standard stream closed
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def written(descriptor: int) -> bytes:
    """What was written to a memory file so far, at most its first MAX_OUTPUT bytes."""
    size = min(os.fstat(descriptor).st_size, MAX_OUTPUT)
    return os.pread(descriptor, size, 0)


def last_written(descriptor: int) -> bytes:
    """What was written to a memory file last, at most MAX_OUTPUT bytes."""
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, MAX_OUTPUT, max(0, size - MAX_OUTPUT))


def wait(pid: int, until: float) -> Ended | Overdue:
    """Wait for a child of ours until the monotonic time `until`; then kill its group and go on without it."""
    if _gone_by(pid, until):
        return Ended(_reap(pid))
    state = process_state(pid)
    for kill, target in ((os.killpg, pid), (os.kill, pid)):
        try:
            kill(target, signal.SIGKILL)
        except OSError:
            continue
    if _gone_by(pid, time.monotonic() + GRACE):
        _reap(pid)
        return Overdue(state, survived_kill=False)
    return Overdue(process_state(pid) or state, survived_kill=True)


def process_state(pid: int) -> str:
    """The state letter of a process (R, S, D, T, Z, …), "" where it cannot be read."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _gone_by(pid: int, until: float) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return _gone_by_asking(pid, until)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(min(max(0.0, until - time.monotonic()), LONGEST_WAIT) * 1000))
    finally:
        os.close(descriptor)


def _gone_by_asking(pid: int, until: float) -> bool:
    pause = 0.0005
    while True:
        if process_state(pid) in ("Z", "X", ""):
            return True
        left = until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 2, 0.02)


def _reap(pid: int) -> int:
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status)


class Running:
    """A program that was started without a shell and without standard input. OSError if it cannot start.

    posix_spawn costs a fraction of what importing and using subprocess does, and nothing of subprocess is missed here.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self._out, self._err = memory_file("out"), memory_file("err")
        streams = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, self._out, 1),
            (os.POSIX_SPAWN_DUP2, self._err, 2),
        ]
        try:
            self._pid = os.posix_spawn(
                argv[0], list(argv), env, file_actions=streams, setsid=True, setsigdef=[signal.SIGPIPE]
            )
        except OSError:
            self._close()
            raise

    def finish(self, until: float) -> tuple[Ended | Overdue, bytes, bytes]:
        """Outcome, stdout and stderr, once; waits until the monotonic time `until`."""
        try:
            return wait(self._pid, until), written(self._out), written(self._err)
        finally:
            self._close()

    def _close(self) -> None:
        os.close(self._out)
        os.close(self._err)


def run(argv: Sequence[str], env: Mapping[str, str], until: float) -> tuple[Ended | Overdue, bytes, bytes]:
    """Run a program to its end: outcome, stdout, stderr. OSError if it cannot start."""
    return Running(argv, env).finish(until)
