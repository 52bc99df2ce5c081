"""Logs as text: rotated ones unpacked, long ones from their last part on, so that none costs much."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO

from nvdiag.host.elf import regular_only
from nvdiag.model.lines import lines_holding

FOLDER = "/var/log/"
MOST_UNPACKED = 64 << 20
"""Bytes that are unpacked of one log; a longer one is read as though it ended there."""
_CHUNK = 1 << 18


def read_log(path: str, most: int, until: float, program: Callable[[str], str | None]) -> str:
    """The text of a log, undecodable bytes replaced: at most its last `most` bytes, from a whole line on.

    OSError as open gives it; a damaged archive gives what came before the damage, a long one what was unpacked by the
    monotonic time `until`. CannotUnpack where neither Python nor a program that `program` finds unpacks it.
    """
    from nvdiag.host import unpacking

    with open(path, "rb", opener=regular_only) as file:
        name = unpacking.format_of(file.read(8))
        file.seek(0)
        if name is not None:
            return _from_line(*_end_of(_pieces(file, name, until, program), most, until))
        size = os.fstat(file.fileno()).st_size
        is_cut = size > most
        if is_cut:
            file.seek(size - most)
        return _from_line(file.read(most), is_cut)


def lines_with(wanted: bytes, path: str, longest: int) -> Iterator[bytes]:
    """The lines that hold `wanted`, with their ends, of a file that may be gzip's; longer ones in parts.

    It is looked for in large pieces, most of which have no such line. OSError as open gives it.
    """
    from nvdiag.host import unpacking

    rest, total = b"", 0
    with open(path, "rb", opener=regular_only) as file, contextlib.suppress(unpacking.Damaged):
        is_packed = unpacking.format_of(file.read(8)) == "gzip"
        file.seek(0)
        pieces = iter(partial(file.read, _CHUNK), b"")
        for piece in unpacking.unpacked("gzip", pieces) if is_packed else pieces:
            whole, _, rest = (rest + piece).rpartition(b"\n")
            yield from (line + b"\n" for _, line in lines_holding(wanted, whole, b"\n"))
            if len(rest) > longest:
                yield from (rest,) if wanted in rest else ()
                rest = b""
            total += len(piece)
            if is_packed and total >= MOST_UNPACKED:
                return
        if wanted in rest:
            yield rest


def _pieces(file: IO[bytes], name: str, until: float, program: Callable[[str], str | None]) -> Iterator[bytes]:
    """What an archive unpacks to. CannotUnpack."""
    from nvdiag.host import unpacking

    try:
        unpacking.decompressor(name)
    except unpacking.CannotUnpack:
        found = program(name)
        if found is None:
            raise
        return unpacking.by_program(found, file, 0, until)
    return unpacking.unpacked(name, iter(lambda: file.read(_CHUNK), b""))


def _end_of(pieces: Iterator[bytes], most: int, until: float) -> tuple[bytes, bool]:
    """The end of a text that comes in pieces, and whether something stands before it."""
    from nvdiag.host import unpacking

    kept, total = b"", 0
    with contextlib.suppress(unpacking.Damaged, unpacking.Late):  # what came before the damage counts
        for piece in pieces:
            total += len(piece)
            kept = (kept + piece)[-most:]
            if total >= MOST_UNPACKED or time.monotonic() > until:
                break
    return kept, total > len(kept)


def _from_line(data: bytes, is_cut: bool) -> str:
    if is_cut:
        data = data.partition(b"\n")[2]
    return data.decode("utf-8", "replace")
