"""Child processes with a deadline that holds even for a child that cannot be killed.

`subprocess.run(timeout=…)` waits without a limit after its kill, so a child in uninterruptible sleep (state D, as a
wedged driver makes them) would hold nvdiag for ever. Here a child is killed with its process group, waited for a
moment, and left behind. Output goes to anonymous memory files: no pipe to drain, no file on a disk that may be full.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Mapping, Sequence

from nvdiag.model.dataclass import dataclass
from nvdiag.probes.memory import memory_file
from nvdiag.probes.starter import Starter, spawned

GRACE = 0.15
"""Seconds that a killed child gets to go before it is left behind."""

_SIGKILL = 9
"""signal(7) has this number for all architectures; the module signal makes a hundred constants as it is imported."""

FAILED = 70
"""The exit code of a child of which nobody can tell how it ended."""

PATIENCE = 5.0
"""Seconds that the starter gets to tell how a child ended: on a busy machine it may have to wait itself."""

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


def written(descriptor: int) -> bytes:
    """What was written to a memory file so far, at most its first MAX_OUTPUT bytes."""
    size = min(os.fstat(descriptor).st_size, MAX_OUTPUT)
    return os.pread(descriptor, size, 0)


def last_written(descriptor: int) -> bytes:
    """What was written to a memory file last, at most MAX_OUTPUT bytes."""
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, MAX_OUTPUT, max(0, size - MAX_OUTPUT))


def wait(pid: int, until: float, code_of: Callable[[int], int] | None = None) -> Ended | Overdue:
    """Wait for a child of ours until the monotonic time `until`; then kill its group and go on without it.

    `code_of` says how one ended that another process of nvdiag's has forked.
    """
    reap = code_of or _reap
    if _gone_by(pid, until):
        return Ended(reap(pid))
    state = process_state(pid)
    for kill, target in ((os.killpg, pid), (os.kill, pid)):
        try:
            kill(target, _SIGKILL)
        except OSError:
            continue
    if _gone_by(pid, time.monotonic() + GRACE):
        reap(pid)
        return Overdue(state, survived_kill=False)
    return Overdue(process_state(pid) or state, survived_kill=True)


def process_state(pid: int) -> str:
    """The state letter of a process (R, S, D, T, Z, …), "" where it cannot be read."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
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


class Started:
    """A child that was started by nvdiag itself, or by its starter as long as that has room and is there."""

    def __init__(self, starter: Starter | None, place: int | None) -> None:
        self._starter, self._place = starter, place
        self.pid = 0

    def begin(self) -> None:
        """Start it from here, and set `pid`: the starter could not, or there is none."""
        raise NotImplementedError

    def ended(self, until: float) -> Ended | Overdue:
        """Wait until the monotonic time `until`; then kill it, and go on without it."""
        starter, place = self._starter, self._place
        if starter is None or place is None:
            return wait(self.pid, until)
        pid = starter.pid(place, until)
        if pid is None:
            self._place = None
            self.begin()
            return wait(self.pid, until)

        def code(_: int) -> int:
            told = starter.code(place, time.monotonic() + PATIENCE)
            return FAILED if told is None else told

        return wait(pid, until, code)


class Running(Started):
    """A program that was started, see `spawned`. OSError if it cannot start."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], starter: Starter | None = None) -> None:
        self._argv, self._env = argv, env
        asked = starter.run(argv, env) if starter is not None else None
        super().__init__(starter, asked[0] if asked is not None else None)
        if asked is not None:
            _, self._out, self._err = asked
        else:
            self.begin()

    def begin(self) -> None:
        self._out, self._err = memory_file("out"), memory_file("err")
        try:
            self.pid = spawned(self._argv, self._env, self._out, self._err)
        except OSError:
            self._close()
            raise

    def finish(self, until: float) -> tuple[Ended | Overdue, bytes, bytes]:
        """Outcome, stdout and stderr, once; waits until the monotonic time `until`."""
        outcome = self.ended(until)
        try:
            return outcome, written(self._out), written(self._err)
        finally:
            self._close()

    def _close(self) -> None:
        os.close(self._out)
        os.close(self._err)


def run(argv: Sequence[str], env: Mapping[str, str], until: float) -> tuple[Ended | Overdue, bytes, bytes]:
    """Run a program to its end: outcome, stdout, stderr. OSError if it cannot start."""
    return Running(argv, env).finish(until)
