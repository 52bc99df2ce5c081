"""A small process that starts children in nvdiag's place: it forks the probes', and runs helper programs.

After a fork each page that the parent writes is copied first, and a run's imports write nearly all of them: with the
children forked by nvdiag itself these copies cost it an eighth of its time. And whoever starts a program stands still
until that has begun. So nvdiag forks this process before it imports anything, and this process starts the children.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex  # noqa: F401 - nvdiag and the children take it: imported before the fork, it is there for both
import sys
import time
from collections.abc import Mapping, Sequence

from nvdiag.probes.memory import beyond_streams, memory_file

MOST = 16
"""How many files there are for what the children say: more than a run starts before it has read anything."""

_LONGEST_WAIT = 2_000_000.0
"""Seconds. poll(2) counts milliseconds in an int."""
_PAUSE = 2
"""Milliseconds between two looks at the children where the kernel has no pidfd_open(2): Linux before 5.3."""
LOAD = "/proc/loadavg"

_SIGPIPE = 13
"""signal(7) has this number for all of Linux's architectures that NVIDIA has a driver for."""

_NICE = 10
"""By how much the children give way to nvdiag, which has work of its own until it waits for them."""


class Starter:
    """The process, and what it tells of the children that it was asked for. OSError where it cannot be forked."""

    def __init__(self) -> None:
        self._memories = tuple(memory_file("child") for _ in range(MOST))
        requests, self._requests = _pipe()
        self._replies, replies = _pipe()
        self._used = 0
        self._told: dict[tuple[int, str], int] = {}
        self._rest = b""
        parent = os.getpid()
        self.process = os.fork()
        if self.process == 0:
            try:
                os.close(self._requests)
                os.close(self._replies)
                _Server(requests, replies, self._memories).serve(parent)
            finally:
                os._exit(0)
        os.close(requests)
        os.close(replies)

    def start(self, probe: str) -> tuple[int, int] | None:
        """Have a probe started: its place here, and the file that it writes to. None where that cannot be."""
        return self._ask(1, {"probe": probe})

    def run(self, argv: Sequence[str], env: Mapping[str, str]) -> tuple[int, int, int] | None:
        """Have a program started, as `spawned`: its place here, and the files of its output and its errors, or None."""
        asked = self._ask(2, {"argv": list(argv), "env": dict(env)})
        return None if asked is None else (*asked, self._memories[asked[0] + 1])

    def _ask(self, memories: int, what: Mapping[str, object]) -> tuple[int, int] | None:
        place = self._used
        if place + memories > MOST:
            return None
        try:
            os.write(self._requests, json.dumps({"place": place, **what}).encode() + b"\n")
        except OSError:  # it is gone
            return None
        self._used += memories
        return place, self._memories[place]

    def pid(self, place: int, until: float) -> int | None:
        """The child's process id; None where it could not be started, or not by the monotonic time `until`."""
        return self._heard(place, "pid", until) or None

    def code(self, place: int, until: float) -> int | None:
        """What an ended child exited with, negative for a signal; None where that is not told by then."""
        return self._heard(place, "code", until)

    def _heard(self, place: int, what: str, until: float) -> int | None:
        poller = select.poll()
        poller.register(self._replies, select.POLLIN)
        while (place, what) not in self._told:
            left = min(max(0.0, until - time.monotonic()), _LONGEST_WAIT)
            said = os.read(self._replies, 4096) if poller.poll(left * 1000) else b""
            if not said:  # late, or gone
                return None
            *lines, self._rest = (self._rest + said).split(b"\n")
            for line in lines:
                number, word, value = line.decode("ascii").split()
                self._told[int(number), word] = int(value)
        return self._told[place, what]


def spawned(argv: Sequence[str], env: Mapping[str, str], out: int, err: int) -> int:
    """Start a program without a shell and without standard input, in a process group of its own; its process id.

    OSError if it cannot start.

    posix_spawn costs a fraction of what importing and using subprocess does, and nothing of subprocess is missed here.
    """
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, out, 1),
        (os.POSIX_SPAWN_DUP2, err, 2),
    ]
    return os.posix_spawn(argv[0], list(argv), env, file_actions=streams, setpgroup=0, setsigdef=[_SIGPIPE])


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    return beyond_streams(reading), beyond_streams(writing)


class _Server:
    """The process itself, until nvdiag closes its end, or is gone."""

    def __init__(self, requests: int, replies: int, memories: tuple[int, ...]) -> None:
        self._requests, self._replies, self._memories = requests, replies, memories
        self._running: dict[int, tuple[int, int | None]] = {}
        """Process ids by place, each with the descriptor that tells of its end, where the kernel has such."""
        self._poller = select.poll()
        self._poller.register(requests, select.POLLIN)

    def serve(self, parent: int) -> None:
        sys.dont_write_bytecode = True  # it may be killed at any time, and would leave half of a file
        os.setpgid(0, 0)
        with contextlib.suppress(OSError):  # a sandbox without it
            if _idle():  # else they would give way to everybody, and come too late
                os.nice(_NICE)
        from nvdiag.probes import child

        child.die_with(parent)
        child.silence()
        rest = b""
        while True:
            asking = any(end is None for _, end in self._running.values())
            if any(ready == self._requests for ready, _ in self._poller.poll(_PAUSE if asking else None)):
                asked = os.read(self._requests, 65536)
                if not asked:
                    return
                *lines, rest = (rest + asked).split(b"\n")
                for line in lines:
                    self._start(**json.loads(line))
            self._look()

    def _start(
        self, place: int, probe: str = "", argv: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> None:
        from nvdiag.probes import child

        try:
            if probe:
                pid = child.start(probe, self._memories[place])
            else:
                pid = spawned(argv, env or {}, self._memories[place], self._memories[place + 1])
        except OSError:
            self._tell(place, "pid", 0)
            return
        self._tell(place, "pid", pid)
        try:
            end = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self._running[place] = pid, None
        else:
            self._running[place] = pid, end
            self._poller.register(end, select.POLLIN)

    def _look(self) -> None:
        """Tell of the children that have ended. They stay zombies: nvdiag may kill one, and means no other process."""
        for place, (pid, end) in list(self._running.items()):
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                del self._running[place]
                if end is not None:
                    self._poller.unregister(end)
                    os.close(end)
                self._tell(place, "code", ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)

    def _tell(self, place: int, what: str, value: int) -> None:
        os.write(self._replies, f"{place} {what} {value}\n".encode())


def _idle() -> bool:
    """Whether the machine has a processor for each process that runs now, of which nvdiag is two (proc_loadavg(5))."""
    try:
        with open(LOAD, encoding="utf-8") as file:
            running = int(file.read().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return False
    return running <= (os.cpu_count() or 1)
