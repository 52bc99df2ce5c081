"""What people hand over, in a length that they rarely have: a paste of 10 MB, a bug report of 100 MB.

The paste is commands, tables, kernel log and prose; beside it runs a pass of Python over its words, which is what
reading it at all costs.

The bug report is a generated report's sections over and over, in a gzip member each as NVIDIA's script writes them.
Beside it runs what a person would do first, `zcat FILE | grep -c NVRM`.
"""

from __future__ import annotations

import gzip
import shlex
import sys
from pathlib import Path
from statistics import median

from timing import nvdiag, run

from tests.scenarios import reports

PASTE_BYTES = 10 * 10**6
WORDS = "import re, sys; print(len(set(re.findall(r'[a-z0-9_]+', open(sys.argv[1]).read().lower()))))"
REPORT_BYTES = 100 * 10**6
ROUNDS = 3
MOST_RATIO, MOST_MEGABYTES = 10, 150
"""What reading the long report may take: times the wall time of zcat and grep, and memory."""


def measure_paste(folder: Path) -> None:
    """Read a long paste, and print what that takes."""
    file = folder / "paste.txt"
    file.write_text(long_paste(), encoding="utf-8")
    command = nvdiag("check", "--format", "json", "--from", str(file))
    beside = [sys.executable, "-c", WORDS, str(file)]
    rounds = [(run(command), run(beside)) for _ in range(ROUNDS)]
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
    command = nvdiag("check", "--format", "json", "--from", str(file))
    ratios, memory = [], 0.0
    for _ in range(ROUNDS):
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
