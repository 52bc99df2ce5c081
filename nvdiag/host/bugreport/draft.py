"""The snapshot that a report is turned into, as it grows: bounded in size, whatever the report has."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

from nvdiag import __version__
from nvdiag.host.base import SECTIONS, Json
from nvdiag.host.bugreport.times import Moment
from nvdiag.host.snapshot import FORMAT

MAX_ENTRIES = 20_000
"""Files, links and so on that are kept of one report."""
MAX_FILE = 1 << 18
"""Bytes of one file's text that are kept: its beginning and its end."""
MAX_KEPT = 16 << 20
"""Bytes that are kept of one report in all."""
PER_LINE = 40
"""Bytes that a line takes in memory beside its own."""

_TOO_MUCH = "it has more than nvdiag keeps of one report; some of it was left out"


def decoded(lines: Iterable[bytes]) -> str:
    """Lines as text, each ended by a newline; undecodable bytes are replaced."""
    return b"".join(b"%s\n" % line for line in lines).decode("utf-8", "replace")


class Kept:
    """The beginning and the end of something long, line by line."""

    def __init__(self, head: int = MAX_FILE * 3 // 4, tail: int = MAX_FILE // 4) -> None:
        self._head: list[bytes] = []
        self._room = head
        self._tail: deque[bytes] = deque()
        self._size, self._limit = 0, tail
        self.left_out = 0

    def add(self, line: bytes) -> None:
        if self._room > 0:
            self._head.append(line)
            self._room -= len(line) + PER_LINE
            return
        self._tail.append(line)
        self._size += len(line) + PER_LINE
        while self._size > self._limit:
            self._size -= len(self._tail.popleft()) + PER_LINE
            self.left_out += 1

    def lines(self) -> list[bytes]:
        """What was kept, with a line between beginning and end that says how much is missing there."""
        if self.left_out:
            return [*self._head, b"[nvdiag: %d lines left out]" % self.left_out, *self._tail]
        return [*self._head, *self._tail]


class Draft:
    """A snapshot document under construction. Of several entries for one key the first counts."""

    def __init__(self) -> None:
        self.document: dict[str, Json] = {
            "nvdiag_snapshot": FORMAT,
            "captured_at": "",
            "tool": f"nvdiag {__version__}",
            **{section: {} for section in SECTIONS},
            "messages": [],
            "earlier_messages": [],
        }
        self.earliest: Moment | None = None
        self.latest: Moment | None = None
        """When entries of /proc and /sys were made or changed: never before this boot, never after the report."""
        self.notes: list[str] = []
        self._left = MAX_KEPT
        self._entries = 0

    def put(self, section: str, key: str, value: Json) -> None:
        """Record one answer."""
        recorded = self.document[section]
        if key not in recorded and self._fits(key, value):
            recorded[key] = value

    def meet(self, moment: Moment) -> None:
        """A time at which an entry of /proc or /sys was made or changed."""
        self.earliest = min(self.earliest or moment, moment)
        self.latest = max(self.latest or moment, moment)

    def say(self, source: str, lines: Iterable[bytes]) -> None:
        """Record a text in which messages are looked for."""
        text = decoded(lines)
        if text.strip() and self._fits(source, text):
            self.document["messages"].append({"source": source, "text": text})

    def say_of_earlier_boots(self, source: str, lines: Iterable[bytes]) -> None:
        """Record a text that says nothing of this boot."""
        text = decoded(lines)
        if text.strip() and self._fits(source, text):
            self.document["earlier_messages"].append({"source": source, "text": text})

    def file(self, path: str, text: str) -> None:
        """Record a file that is there, with its text."""
        self.put("files", path, text)

    def absent(self, path: str) -> None:
        """Record that somebody looked for a path in vain."""
        self.put("files", path, None)
        self.put("stats", path, None)

    def command(self, line: str, stdout: str, code: int) -> None:
        """Record a command's output; `line` is its argv as shlex.join has it."""
        self.put("commands", line, {"exit": code, "stdout": stdout, "stderr": ""})

    def within(self, folder: str, name: str) -> None:
        """Record that a folder has this name in it."""
        names = self.document["folders"].setdefault(folder, []) if self._fits(folder, name) else [name]
        if name not in names:
            names.append(name)

    def _fits(self, key: str, value: Json) -> bool:
        text = value["stdout"] if isinstance(value, dict) and isinstance(value.get("stdout"), str) else value
        size = len(key) + (len(text) if isinstance(text, str) else 200)
        if size > self._left or self._entries >= MAX_ENTRIES:
            if _TOO_MUCH not in self.notes:
                self.notes.append(_TOO_MUCH)
            return False
        self._left -= size
        self._entries += 1
        return True


def program(header: str) -> tuple[str, str]:
    """The name and the arguments of a header that is a command line: ("lspci", "-nn") of `/usr/bin/lspci -nn`."""
    found = re.match(r"(?:/\S{0,200}/)?([\w.+-]{1,60})(?: (.{0,400}))?$", header)
    return (found[1], (found[2] or "").strip()) if found else ("", "")
