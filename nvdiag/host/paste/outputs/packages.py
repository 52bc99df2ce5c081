"""Logs of package managers, known by the shape of their lines: pasted, they are the files that they were taken from."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nvdiag.host.paste.blocks import Block
from nvdiag.host.paste.document import Part

_DAY, _CLOCK = r"\d{4}-\d\d-\d\d", r"\d\d:\d\d:\d\d"
_ZONED = rf"{_DAY}T{_CLOCK}(?:Z|[+-]\d\d:?(?:\d\d)?)?"
_SHAPES = (
    ("/var/log/apt/history.log",
     r"(?:Start-Date|Commandline|Requested-By|Install|Upgrade|Downgrade|Reinstall|Remove|Purge|Error|End-Date): ?\S"),
    ("/var/log/apt/term.log", r"Log (?:started|ended): \d{4}-|Unpacking [a-z0-9][a-z0-9+.:-]{1,150} \("),
    ("/var/log/dpkg.log",
     rf"{_DAY} {_CLOCK} (?:install|upgrade|remove|purge|status|startup|configure|trigproc|conffile) "),
    ("/var/log/unattended-upgrades/unattended-upgrades.log",
     rf"{_DAY} {_CLOCK},\d{{1,6}} (?:DEBUG|INFO|WARNING|ERROR) "),
    ("/var/log/dnf.rpm.log", rf"{_ZONED} SUBDEBUG [A-Z][a-z]{{3,14}}: "),
    ("/var/log/dnf.log", rf"{_ZONED} DDEBUG Command: "),
    ("/var/log/dnf5.log", rf"{_ZONED} \[\d{{1,10}}\] INFO (?:--- DNF5 launched|RPM callback (?:un)?install) "),
    ("/var/log/yum.log", rf"[A-Z][a-z]{{2}} [ \d]\d {_CLOCK} (?:Updated|Installed|Erased|Dep-Installed): \S"),
    ("/var/log/zypp/history", rf"{_DAY} {_CLOCK}\|(?:install|remove |remove|command)\|"),
    ("/var/log/pacman.log",
     rf"\[{_DAY}[T ][\d:]{{5,8}}(?:[+-]\d{{4}})?\] (?:\[[A-Z-]{{3,20}}\] )?"
     r"(?:Running '|transaction |upgraded |downgraded |installed |removed |reinstalled )"),
)  # fmt: skip
"""The file, and how each of its lines begins."""
_SHAPE = re.compile("|".join(f"({begins})" for _, begins in _SHAPES))
_ANY = re.compile(
    r"\s{0,8}(?:[\w./-]{0,70}\.log\S{0,20}:)?(?:\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d "
    r"|Start-Date|Commandline|Requested-By|Install:|Upgrade:|Downgrade:|Reinstall:|Remove:|Purge:|Error:|End-Date"
    r"|Log |Unpack)"
)
"""What most lines of a paste are not, so that they pass at once."""
_NAME_BEFORE = re.compile(r"^(?:/var/log/)?[\w./-]{3,60}\.log(?:\.\d{1,3})?(?:\.gz)?:(?:\d{1,7}:)?(?=[\[\dA-Z])")
"""What grep writes before a line of one of several files."""
_WORTH = re.compile(r"nvidia|libcuda|linux-image|kernel|\blinux[ -]", re.I)
_INSTALLER = re.compile(r"\s{0,8}nvidia-installer log file '(/var/log/nvidia-(?:installer|uninstall)\.log)'")
_MOST_LINES = 200_000


def package_logs(block: Block, part: Part) -> None:
    """Lines of logs, with or without the command; only where something of the driver or a kernel is among them."""
    found: dict[str, list[str]] = {}
    for line in block.lines[:_MOST_LINES]:
        if not _ANY.match(line):
            continue
        told = _NAME_BEFORE.sub("", line.strip())
        if shape := _SHAPE.match(told):
            found.setdefault(_SHAPES[(shape.lastindex or 0) - 1][0], []).append(told)
    if any(_WORTH.search(line) for lines in found.values() for line in lines):
        for path, lines in found.items():
            _more(part, path, lines)
    _installer(block, part)


def _more(part: Part, path: str, lines: Iterable[str]) -> None:
    """Add to a log of which the paste has several pieces."""
    files = part.document["files"]
    before = files.get(path)
    text = "\n".join(lines) + "\n"
    if isinstance(before, str) and text in before:
        return
    files[path] = (before if isinstance(before, str) else "") + text


def _installer(block: Block, part: Part) -> None:
    """NVIDIA's installer begins its log with the log's own name."""
    for index, line in enumerate(block.lines):
        if "nvidia-installer" in line and (named := _INSTALLER.match(line)):
            part.document["files"].setdefault(named[1], "\n".join(block.lines[index:]) + "\n")


def history(block: Block, part: Part) -> None:
    """`dnf history info` and what rpm-ostree prints, which stand for themselves."""
    command = block.command
    if any(re.match(r"Transaction ID ?:", line) for line in block.lines):
        argv = command.argv if command is not None and "history" in command.argv else ("dnf", "history", "info")
        part.more(argv, block.text)
    elif command is not None and command.program == "rpm-ostree" and block.text.strip():
        part.more(command.argv, block.text)
