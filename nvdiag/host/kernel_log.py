"""This boot's kernel log, cut down to what speaks of GPUs and of what becomes of their drivers.

Read from /dev/kmsg, which is not drained by reading and never waits; else printed by journalctl(1), which members of
the groups adm and systemd-journal may ask although they may not open that device. What is kept has dmesg's form:
`[seconds since boot] words`, further lines of a message indented.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

KMSG = "/dev/kmsg"
_RECORD = 16 * 1024
_MOST_RECORDS = 400_000
_HEAD, _TAIL = 400, 1200
"""How many messages are kept of the log's beginning and of its end: a flood of Xids leaves room for both."""
_LONGEST = 2000
"""Bytes of one message that are kept."""
_DRIVERS = "/sys/bus/pci/drivers"
_SPEAKS = (
    b"nvrm", b"nvidia", b"nouveau", b"nova", b"xid (", b"10de:", b"bbswitch", b"vga_switcheroo", b"gsp_", b"lockdown: ",
    b"unsigned module", b"module verification", b"with a trusted key", b"unknown module key", b"pm: suspend",
    b"pm: hibernation", b"pm: resume", b"oom-kill", b"out of memory", b"pciehp: ", b"] linux version ",
)  # fmt: skip
"""Words in small letters, one of which a message has that is kept: plain searches, for a log has thousands of lines."""
_GPU = rb"pci ([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.)0: \[10de:"
_LINE = rb"\[ {0,9}(\d{1,9}\.\d{1,9})\] (?:\S{1,255} kernel: |kernel: )?(.*)"


def may_open() -> bool:
    """Whether this user may read the log itself: the device's mode says nothing where kernel.dmesg_restrict is set."""
    try:
        os.close(os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def of_device() -> str:
    """What /dev/kmsg holds. OSError where it may not be opened or is not there."""
    descriptor = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return kept(list(records(descriptor)))
    finally:
        os.close(descriptor)


def of_listing(text: bytes) -> str:
    """What journalctl printed with short-monotonic times."""
    messages: list[bytes] = []
    for line in text.split(b"\n"):
        if found := re.match(_LINE, line, re.S):
            messages.append(b"[%12s] %s" % (found[1], found[2]))
        elif messages and line[:1] in (b" ", b"\t") and len(messages[-1]) < _LONGEST:
            messages[-1] += b"\n" + line
    return kept(messages)


def records(descriptor: int) -> Iterator[bytes]:
    """Each message in dmesg's form (the format of /dev/kmsg: Documentation/ABI/testing/dev-kmsg)."""
    for _ in range(_MOST_RECORDS):
        try:
            record = os.read(descriptor, _RECORD)
        except BrokenPipeError:  # it was overwritten before it could be read; the next one is read next
            continue
        except BlockingIOError:
            return
        if not record:
            return
        head, _, words = record.partition(b";")
        fields = head.split(b",")
        if len(fields) > 2 and fields[2].isdigit():
            text = words.partition(b"\n")[0][:_LONGEST]
            if b"\\x" in text:
                text = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), text).replace(
                    b"\n", b"\n" + b" " * 15
                )
            seconds, micro = divmod(int(fields[2]), 1_000_000)
            yield b"[%5d.%06d] %s" % (seconds, micro, text)


def kept(messages: list[bytes]) -> str:
    """The messages that speak of GPUs, as text."""
    words = (*_SPEAKS, *_places(messages))
    chosen = [one for one in messages if _has_one_of(words, one.lower())]
    if len(chosen) > _HEAD + _TAIL:
        left_out = len(chosen) - _HEAD - _TAIL
        chosen = [*chosen[:_HEAD], b"[nvdiag: %d messages left out]" % left_out, *chosen[-_TAIL:]]
    return b"".join(b"%s\n" % one for one in chosen).decode("utf-8", "replace")


def _has_one_of(words: tuple[bytes, ...], small: bytes) -> bool:
    return any(word in small for word in words)


def _places(records: Iterable[bytes]) -> list[bytes]:
    """PCI slots of GPUs: those that a driver holds, and those that the log itself names as NVIDIA's."""
    found: dict[bytes, None] = {}
    for driver in ("nvidia", "nouveau"):
        try:
            names = os.listdir(f"{_DRIVERS}/{driver}")
        except OSError:
            continue
        found.update((name[:-1].encode(), None) for name in names if re.fullmatch(r"[0-9a-f]{4}:[0-9a-f:]{5}\.0", name))
    for one in records:
        if b"10de:" in one and (named := re.search(_GPU, one)):
            found[named[1]] = None
    return list(found)[:64]
