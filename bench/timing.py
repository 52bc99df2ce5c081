"""Commands run in turn, and what each took.

The time of the CPU is that of a command and of all processes that it started, also of those that nobody waits for: on
a busy machine it tells more.

All commands of a table run in turn within each round, so that a change of the machine's load meets them alike; a ratio
is the median of the rounds' own ratios.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple


class Command(NamedTuple):
    """A command line, with the variables that it is to have besides this process's own.

    `varies` says that it is the table's first command in other circumstances.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = {}
    varies: bool = False


class Ran(NamedTuple):
    """What one command took; the CPU's time with all that it started. `megabytes` is at least what this process had."""

    exit: int
    seconds: float
    cpu_seconds: float
    megabytes: float


def run(argv: Sequence[str], env: Mapping[str, str] | None = None) -> Ran:
    """Run a command, its output thrown away."""
    nowhere = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    started = time.perf_counter()
    pid = os.posix_spawn(argv[0], list(argv), {**os.environ, **(env or {})}, file_actions=nowhere)
    _, status, usage = os.wait4(pid, 0)
    spent = time.perf_counter() - started
    cpu = usage.ru_utime + usage.ru_stime + _of_orphans()
    return Ran(os.waitstatus_to_exitcode(status), spent, cpu, usage.ru_maxrss * 1024 / 10**6)


def _of_orphans() -> float:
    """The CPU seconds of what a command left behind: this process is its children's next parent."""
    seconds = 0.0
    while True:
        try:
            _, _, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return seconds
        seconds += usage.ru_utime + usage.ru_stime


_PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def nvdiag(*arguments: str) -> list[str]:
    """The installed command of this interpreter's environment, as a person types it; `python -m nvdiag` without one."""
    installed = Path(sysconfig.get_path("scripts"), "nvdiag")
    command = [str(installed)] if installed.exists() else [sys.executable, "-m", "nvdiag"]
    return [*command, *arguments]


def print_table(commands: Mapping[str, Command], rounds: int, state: str) -> None:
    """Run the commands `rounds` times in turn; a row each, with its ratio to the first, or the first's to it."""
    first, *_ = commands
    exits = {
        name: [run(one.argv, one.env).exit for _ in range(2)][-1] for name, one in commands.items()
    }  # fills caches
    ran: dict[str, list[Ran]] = {name: [] for name in commands}
    for number in range(rounds):
        names = list(commands)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            ran[name].append(run(commands[name].argv, commands[name].env))
    width = max(36, *(len(name) for name in commands))
    print(f"\nstate: {state}; Python {platform.python_version()}; medians of {rounds} rounds\n")
    print(f"{'':{width}} {'exit':>4} {'ms':>7} {'CPU ms':>7}   (of the CPU)")
    for name, spent in ran.items():
        above, below = (spent, ran[first]) if commands[name].varies else (ran[first], spent)
        pairs = list(zip(above, below, strict=True))
        wall = f"{median(one.seconds / other.seconds for one, other in pairs):6.2f}"
        cpu = f"({median(one.cpu_seconds / other.cpu_seconds for one, other in pairs):.2f})"
        words = f"{wall} times the first {cpu}" if commands[name].varies else f"the first takes {wall} times that {cpu}"
        ms = median(one.seconds for one in spent) * 1000
        cpu_ms = median(one.cpu_seconds for one in spent) * 1000
        row = f"{name:{width}} {exits[name]:4} {ms:7.1f} {cpu_ms:7.1f}"
        print(row if name == first else f"{row}   {words}", flush=True)
