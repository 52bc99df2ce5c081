"""The text of a report as lines: plain or gzip, of any length, in bounded memory.

The script that makes reports runs each block through a gzip of its own, so a real .gz has hundreds of members, many of
them empty; where the script was killed, whole members are missing, or the last one is cut.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

MAX_TEXT = 1 << 30
"""Bytes of text, unpacked. The longest report seen has 18 MB; what stands behind this is not read, which is told."""
MAX_LINE = 1 << 16
"""Bytes of one line that are kept."""
MAX_MEMBERS = 100_000
MAX_DAMAGES = 500
"""How often reading is taken up again behind a damage."""

MAGIC = b"\x1f\x8b"
_MEMBER = b"\x1f\x8b\x08"
_PACKED = 1 << 15
_UNPACKED = 1 << 18


class ReportText:
    """The lines of a report, each read once. `notes` says, once they were read, what was wrong with the file."""

    def __init__(self, file: BinaryIO, head: bytes = b"") -> None:
        self.notes: list[str] = []
        self._file = file
        self._head = head

    def lines(self) -> Iterator[bytes]:
        """The lines without their ends; of a very long one only its beginning."""
        rest = b""
        overlong = False
        for chunk in self._limited():
            parts = chunk.split(b"\n")
            if overlong:
                if len(parts) == 1:
                    continue
                parts[0], overlong = b"", False
            parts[0] = rest + parts[0]
            rest = parts.pop()
            for line in parts:
                yield line[:-1] if line.endswith(b"\r") else line[:MAX_LINE]
            if len(rest) > MAX_LINE:
                rest, overlong = rest[:MAX_LINE], True
        if rest:
            yield rest

    def _limited(self) -> Iterator[bytes]:
        left = MAX_TEXT
        for chunk in self._chunks():
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                self.notes.append(f"its text is longer than {MAX_TEXT >> 20} MiB; what follows was not read")
                return

    def _chunks(self) -> Iterator[bytes]:
        while len(self._head) < len(MAGIC) and (more := self._file.read(_PACKED)):
            self._head += more
        return self._unpacked() if self._head.startswith(MAGIC) else self._packed()

    def _packed(self) -> Iterator[bytes]:
        """The file as it is, in pieces."""
        head, self._head = self._head, b""
        for start in range(0, len(head), _PACKED):
            yield head[start : start + _PACKED]
        while chunk := self._file.read(_PACKED):
            yield chunk

    def _unpacked(self) -> Iterator[bytes]:
        members = _Members(self.notes)
        for chunk in self._packed():
            yield from members.of(chunk)
            if members.given_up:
                return
        members.end()


class _Members:
    """The members of a gzip file, one after another."""

    def __init__(self, notes: list[str]) -> None:
        self.given_up = False
        self._notes = notes
        self._unpacker: zlib._Decompress | None = None
        self._before = b""
        self._seen = self._damages = 0

    def of(self, packed: bytes) -> Iterator[bytes]:
        """What these bytes unpack to, in pieces of bounded length."""
        packed, self._before = self._before + packed, b""
        while packed and not self.given_up:
            if self._unpacker is None:
                start = packed.find(_MEMBER)
                if start < 0:  # padding, what follows a damage, or a beginning that goes on in the next bytes
                    self._before = packed[1 - len(_MEMBER) :]
                    return
                packed, self._unpacker = packed[start:], zlib.decompressobj(wbits=31)
                self._count()
            try:
                text = self._unpacker.decompress(packed, _UNPACKED)
            except zlib.error:
                self._damaged()
                packed = packed[1:]  # in it may be the next member's beginning: this one was cut
                continue
            if text:
                yield text
            packed = self._unpacker.unconsumed_tail
            if self._unpacker.eof:
                packed, self._unpacker = self._unpacker.unused_data, None

    def end(self) -> None:
        """The file is at its end."""
        if self._unpacker is not None:
            self._notes.append("the gzip file is cut off in the middle")

    def _count(self) -> None:
        self._seen += 1
        if self._seen > MAX_MEMBERS:
            self.given_up = True
            self._notes.append(f"it has more than {MAX_MEMBERS} gzip members; what follows was not read")

    def _damaged(self) -> None:
        self._unpacker = None
        self._damages += 1
        if self._damages == 1:
            self._notes.append("the gzip file is damaged; some of its text is missing")
        if self._damages >= MAX_DAMAGES:
            self.given_up = True


def beginning(head: bytes, length: int = 8192) -> bytes:
    """The first bytes of the text that begins with these bytes of its file, as far as they tell."""
    if not head.startswith(MAGIC):
        return head[:length]
    text = b""
    for piece in _Members([]).of(head[: 1 << 20]):
        text += piece
        if len(text) >= length:
            break
    return text[:length]
