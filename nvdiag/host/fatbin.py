"""Which GPU architectures a library has device code for, by the headers in its section .nv_fatbin.

nvcc writes one container a compiled file, one behind the other: a header of 16 bytes (magic, version, its own size, the
size of what follows), then an entry for each architecture, whose header tells its kind (1 PTX, 2 binary code), its own
size, the size of the code and the architecture as a number (90 is sm_90). The code itself may be compressed; the
headers are not (fatbinary.h of the CUDA toolkits up to 10; NVIDIA's cuobjdump prints the same of newer ones).
"""

from __future__ import annotations

import struct
import time
from io import FileIO
from typing import Any

from nvdiag.host.elf import read_at, regular_only

_MAGIC = 0xBA55ED50
_KINDS = {1: "compute", 2: "sm"}
_FEW = 8
"""Containers that are read where the whole is not asked for: nearly all are made for the same architectures."""

_MOST_SECTIONS, _MOST_ENTRIES = 4096, 200_000


def read_fatbin(path: str, until: float | None) -> dict[str, Any]:
    """`architectures` (sm_90, compute_90) in the first containers, in all of them where `until` is given.

    `whole` is whether all were read before the monotonic time `until`. `{"error": "not-elf"}` for another kind of file,
    "damaged" where its tables lead nowhere.
    """
    with open(path, "rb", buffering=0, opener=regular_only) as file:
        head = file.read(64)
        if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
            return {"error": "not-elf"}
        try:
            section = _section(file, head)
            found, whole = _architectures(file, *section, until) if section else (set(), True)
        except (struct.error, ValueError, OverflowError):
            return {"error": "damaged"}
    names = [f"{_KINDS[kind]}_{number}" for kind, number in sorted(found, reverse=True)]
    return {"architectures": names, "whole": whole}


def _section(file: FileIO, head: bytes) -> tuple[int, int] | None:
    """Where .nv_fatbin begins and ends; None where there is none."""
    (offset,) = struct.unpack_from("<Q", head, 40)
    size, count, names = struct.unpack_from("<HHH", head, 58)
    table = read_at(file, offset, size * min(count, _MOST_SECTIONS))
    start, length = struct.unpack_from("<QQ", table, names * size + 24)
    strings = read_at(file, start, min(length, 1 << 20))
    for place in range(0, len(table) - 63, size):
        (name,) = struct.unpack_from("<I", table, place)
        if strings[name : name + 11] == b".nv_fatbin\0":
            start, length = struct.unpack_from("<QQ", table, place + 24)
            return start, start + length
    return None


def _architectures(file: FileIO, place: int, end: int, until: float | None) -> tuple[set[tuple[int, int]], bool]:
    found: set[tuple[int, int]] = set()
    containers = entries = 0
    while place + 16 <= end:
        if entries > _MOST_ENTRIES or (containers == _FEW if until is None else time.monotonic() > until):
            return found, False
        magic, _, header, length = struct.unpack("<IHHQ", read_at(file, place, 16))
        if magic != _MAGIC or header < 16:
            return found, False
        entry, place = place + header, place + header + length
        containers += 1
        while entry + 32 <= place:
            kind, _, header, length = struct.unpack_from("<HHIQ", data := read_at(file, entry, 32))
            if header < 32:
                raise ValueError("an entry without a header")
            if kind in _KINDS:
                found.add((kind, *struct.unpack_from("<I", data, 28)))
            entry += header + length
            entries += 1
    return found, True
