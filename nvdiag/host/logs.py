"""Logs as text: rotated ones unpacked, long ones from their last part on, so that none costs much."""

from __future__ import annotations

import os
from typing import IO

from nvdiag.host.elf import regular_only

FOLDER = "/var/log/"
MOST_UNPACKED = 64 << 20
"""Bytes that are unpacked of one log; a longer one is read as though it ended there."""
_CHUNK = 1 << 18


def read_log(path: str, most: int) -> str:
    """The text of a log, undecodable bytes replaced: at most its last `most` bytes, from a whole line on.

    OSError as open gives it; a damaged archive gives what came before the damage.
    """
    with open(path, "rb", opener=regular_only) as file:
        start = file.read(6)
        file.seek(0)
        if start[:2] == b"\x1f\x8b" or start == b"\xfd7zXZ\x00":
            return _from_line(*_unpacked(file, start, most))
        size = os.fstat(file.fileno()).st_size
        is_cut = size > most
        if is_cut:
            file.seek(size - most)
        return _from_line(file.read(most), is_cut)


def _unpacked(file: IO[bytes], start: bytes, most: int) -> tuple[bytes, bool]:
    """The end of an archive's text, and whether something stands before it."""
    import gzip
    import lzma
    import zlib

    kept, total = b"", 0
    opened: IO[bytes] = (gzip if start[:2] == b"\x1f\x8b" else lzma).open(file)
    try:
        with opened as packed:
            while total < MOST_UNPACKED and (chunk := packed.read(_CHUNK)):
                total += len(chunk)
                kept = (kept + chunk)[-most:]
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        pass  # what came before the damage counts
    return kept, total > len(kept)


def _from_line(data: bytes, is_cut: bool) -> str:
    if is_cut:
        data = data.partition(b"\n")[2]
    return data.decode("utf-8", "replace")
