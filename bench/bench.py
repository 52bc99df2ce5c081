"""How long `nvdiag check --format json` takes: here, beside its floor and nvidia-smi, and on a long bug report.

The time of the CPU is that of a command and of the children that it waited for: on a busy machine it tells more.

The state is the one that nvdiag is for: the loaded kernel module is of another release than the libraries, and NVML is
really called. Without the rigs it is whatever state this machine is in, and the output says so.

All commands run in turn within each round, so that a change of the machine's load meets them alike; a ratio is the
median of the rounds' own ratios. The namespace of the rig is entered once, before the first round. Measured is the
nvdiag that this interpreter's environment has; `make bench` installs one as people have it, because an editable install
costs each start of Python some 10 ms more, the floor's too.

The paste is 10 MB of commands, tables, kernel log and prose; beside it runs a pass of Python over its words, which is
what reading it at all costs.

The bug report is 100 MB of text, a generated report's sections over and over, in a gzip member each as NVIDIA's script
writes them. Beside it runs what a person would do first, `zcat FILE | grep -c NVRM`.
"""

from __future__ import annotations

import argparse
import compileall
import gzip
import os
import platform
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.rigs import rig  # noqa: E402 - found through the line above
from tests.scenarios import reports  # noqa: E402

LOADED = "550.144.03"
"""The release of the module in the rig; any but the libraries' own will do."""

NVDIAG = "nvdiag check --format json"
FLOOR = 'python -c "import click, pynvml"'
NVIDIA_SMI = "nvidia-smi"
PASTE_BYTES = 10 * 10**6
WORDS = "import re, sys; print(len(set(re.findall(r'[a-z0-9_]+', open(sys.argv[1]).read().lower()))))"
REPORT_BYTES = 100 * 10**6
REPORT_ROUNDS = 3
MOST_RATIO, MOST_MEGABYTES = 10, 150
"""What reading the long report may take: times the wall time of zcat and grep, and memory."""


def main() -> None:
    """Enter the rig if there is one, and measure there."""
    options = _options()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if options.inside:
        report = subprocess.run(nvdiag_command(), capture_output=True, text=True, check=False).stdout
        if '"driver-library-mismatch"' not in report:
            sys.exit("nvdiag does not find the mismatch in the rig, so there is nothing to measure")
        measure(options.rounds, options.nvidia_smi, options.inside)
        return
    compile_bytecode()
    code = measure_machine(options.rounds)
    with tempfile.TemporaryDirectory(prefix="nvdiag-bench") as folder:
        measure_paste(Path(folder))
        code = measure_report(Path(folder)) or code
    sys.exit(code)


def measure_machine(rounds: int) -> int:
    """Measure in the rig, or here where there is none. The exit code."""
    missing = rig.why_not_real()
    if missing:
        print(f"no rig ({missing}), so this is not the mismatch state, and nvidia-smi is left out")
        measure(rounds, None, "this machine as it is")
        return 0
    with tempfile.TemporaryDirectory(prefix="nvdiag-bench") as folder:
        command = inside_the_rig(rounds, Path(folder))
        return subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode


def inside_the_rig(rounds: int, folder: Path) -> list[str]:
    """The command that runs this file again in the mismatch state; `folder` keeps the rig's description meanwhile."""
    libraries, release = rig.real("550")
    machine = rig.Machine(module=LOADED, libraries=libraries)
    state = f"module {LOADED} loaded, NVIDIA's own libraries {release} installed"
    nvidia_smi = str(rig.CACHE / "550" / "bin" / "nvidia-smi")
    again = [sys.executable, __file__, "--rounds", str(rounds), "--inside", state, "--nvidia-smi", nvidia_smi]
    return rig.command(machine, again, folder)[0]


def measure(rounds: int, nvidia_smi: str | None, state: str) -> None:
    """Run the commands `rounds` times in turn and print the table."""
    commands = {NVDIAG: nvdiag_command(), FLOOR: [sys.executable, "-c", "import click, pynvml"]}
    if nvidia_smi:
        commands[NVIDIA_SMI] = [nvidia_smi]
    exits = {name: [run(argv).exit for _ in range(2)][-1] for name, argv in commands.items()}  # also fills the caches
    ran: dict[str, list[Ran]] = {name: [] for name in commands}
    for number in range(rounds):
        names = list(commands)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            ran[name].append(run(commands[name]))
    print(f"state: {state}; Python {platform.python_version()}; medians of {rounds} rounds")
    print()
    print(f"{'':36} {'exit':>4} {'ms':>7} {'CPU ms':>7}   nvdiag takes (of the CPU)")
    for name, spent in ran.items():
        pairs = list(zip(ran[NVDIAG], spent, strict=True))
        wall = median(own.seconds / other.seconds for own, other in pairs)
        cpu = median(own.cpu_seconds / other.cpu_seconds for own, other in pairs)
        beside = "" if name == NVDIAG else f"{wall:8.2f} times that ({cpu:.2f})"
        ms = median(one.seconds for one in spent) * 1000
        cpu_ms = median(one.cpu_seconds for one in spent) * 1000
        print(f"{name:36} {exits[name]:4} {ms:7.1f} {cpu_ms:7.1f}   {beside}".rstrip())


def measure_paste(folder: Path) -> None:
    """Read a long paste, and print what that takes."""
    file = folder / "paste.txt"
    file.write_text(long_paste(), encoding="utf-8")
    command = [*nvdiag_command(), "--from", str(file)]
    beside = [sys.executable, "-c", WORDS, str(file)]
    rounds = [(run(command), run(beside)) for _ in range(REPORT_ROUNDS)]
    seconds = median(own.seconds for own, _ in rounds)
    cpu = median(own.cpu_seconds for own, _ in rounds)
    ratio = median(own.seconds / other.seconds for own, other in rounds)
    print()
    print(
        f"a paste of {PASTE_BYTES // 10**6} MB read in {seconds:.2f} s, {cpu:.2f} s of the CPU"
        f" (exit {rounds[0][0].exit}): {ratio:.2f} times one pass over its words"
    )


def long_paste() -> str:
    """Text as people paste it, over and over, no line twice."""
    piece = (
        "[{n:12.6f}] NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x22:0x56:{n})\n"
        "2026-07-0{d}T10:22:33.123 node{d} trainer[{n}]: step {n} loss 0.{n} and some more words of a training run\n"
        "$ nvidia-smi\n"
        "| NVIDIA-SMI 570.169                Driver Version: 570.169        CUDA Version: 12.8     |\n"
        "|   0  NVIDIA GeForce RTX 4090        Off |   00000000:01:00.0 Off |                  Off |\n"
        "| 30%   33C    P8             29W /  450W |    {n}MiB /  24564MiB |      0%      Default |\n"
        "root@node{d}:~# journalctl -u trainer | tail\n"
        "Jul 0{d} 11:07:05 node{d} trainer[{n}]: I think that the GPU of this machine is gone since {n} minutes\n"
        "torch {n}.0+cu128 was installed; libcudart.so.12 => /usr/local/cuda-12.8/lib64/libcudart.so.12 (0x{n})\n"
    )
    text: list[str] = []
    size = number = 0
    while size < PASTE_BYTES:
        text.append(piece.format(n=number, d=number % 2))
        size += len(text[-1])
        number += 1
    return "".join(text)


def measure_report(folder: Path) -> int:
    """Read a long bug report, and print what that takes. 1 where it is more than it may be."""
    file = long_report(folder / "nvidia-bug-report.log.gz")
    search = ["/bin/sh", "-c", f"zcat {shlex.quote(str(file))} | grep -c NVRM"]
    command = [*nvdiag_command(), "--from", str(file)]
    ratios, memory = [], 0.0
    for _ in range(REPORT_ROUNDS):
        beside, own = run(search), run(command)
        ratios.append(own.seconds / beside.seconds)
        memory = max(memory, own.megabytes)
    print()
    print(
        f"a bug report of {REPORT_BYTES // 10**6} MB of text, read in {own.seconds:.2f} s (exit {own.exit}):"
        f" {median(ratios):.2f} times zcat | grep -c NVRM (at most {MOST_RATIO}),"
        f" {memory:.0f} MB of memory (at most {MOST_MEGABYTES})"
    )
    return 1 if own.exit not in (0, 1) or median(ratios) > MOST_RATIO or memory > MOST_MEGABYTES else 0


def long_report(file: Path) -> Path:
    """Write the long report, a section at a time: this process's own memory counts in its children's peak."""
    noise = "".join(
        f"[{number / 10:12.6f}] usb 1-1: new high-speed USB device number {number}\n" for number in range(20000)
    )
    storm = "".join(f"[{number / 10:12.6f}] NVRM: Xid (PCI:0000:01:00): 13, pid=1\n" for number in range(2000))
    blocks = [*reports.HEALTHY, reports.command("dmesg:", reports.DMESG + noise + storm)]
    packed = [gzip.compress(block.encode(), 6) for block in blocks]
    times = REPORT_BYTES // sum(len(block) for block in blocks) + 1
    with file.open("wb") as output:
        output.write(gzip.compress(reports.head().encode()))
        for _ in range(times):
            for block in packed:
                output.write(block)
        output.write(gzip.compress(reports.END.encode()))
    return file


class Ran(NamedTuple):
    """What one command took, with the children that it waited for. `megabytes` is at least what this process had."""

    exit: int
    seconds: float
    cpu_seconds: float
    megabytes: float


def run(argv: Sequence[str]) -> Ran:
    """Run a command, its output thrown away."""
    nowhere = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    started = time.perf_counter()
    pid = os.posix_spawn(argv[0], list(argv), os.environ, file_actions=nowhere)
    _, status, usage = os.wait4(pid, 0)
    spent = time.perf_counter() - started
    cpu = usage.ru_utime + usage.ru_stime
    return Ran(os.waitstatus_to_exitcode(status), spent, cpu, usage.ru_maxrss * 1024 / 10**6)


def nvdiag_command() -> list[str]:
    """The installed command of this interpreter's environment, as a person types it; `python -m nvdiag` without one."""
    installed = Path(sysconfig.get_path("scripts"), "nvdiag")
    command = [str(installed)] if installed.exists() else [sys.executable, "-m", "nvdiag"]
    return [*command, "check", "--format", "json"]


def compile_bytecode() -> None:
    """Write the bytecode of all that is installed: else the compiler is what gets measured."""
    compileall.compile_dir(sysconfig.get_path("purelib"), quiet=2)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15, help="how often each command runs (15)")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--nvidia-smi", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
