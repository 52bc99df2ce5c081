"""The release that a kernel image says it is, by its header, or by the sections of a unified kernel image.

The header is x86's (Documentation/arch/x86/boot.rst: HdrS at 0x202, the offset of the version text at 0x20e). A unified
kernel image is a PE file with the sections .uname, .cmdline, .linux and .initrd (UAPI group, "Unified Kernel Image").
"""

from __future__ import annotations

import struct
from typing import IO, Any

from nvdiag.host.elf import regular_only

_HEAD = 0x10000
_MOST_SECTIONS = 64
_MOST_TEXT = 8192


def read_image(path: str) -> dict[str, Any]:
    """`release`, and of a unified image `cmdline` and `unified`. `{"error": …}` for another file. OSError."""
    with open(path, "rb", opener=regular_only) as file:
        parts = sections(file)
        if ".linux" in parts or ".uname" in parts:
            return _unified(file, parts)
        release = _release_at(file, 0)
    return {"release": release} if release else {"error": "no header with a release in it"}


def sections(file: IO[bytes]) -> dict[str, tuple[int, int]]:
    """The sections of a PE file by name, each as offset and size in the file; empty for another file."""
    file.seek(0)
    head = file.read(_HEAD)
    if head[:2] != b"MZ" or len(head) < 0x40:
        return {}
    at = int.from_bytes(head[0x3C:0x40], "little")
    if head[at : at + 4] != b"PE\0\0" or len(head) < at + 24:
        return {}
    count, optional = struct.unpack_from("<H12xH", head, at + 6)
    start = at + 24 + optional
    found: dict[str, tuple[int, int]] = {}
    for index in range(min(count, _MOST_SECTIONS)):
        row = head[start + 40 * index : start + 40 * index + 40]
        if len(row) < 40:
            break
        virtual, _, raw, offset = struct.unpack_from("<IIII", row, 8)
        found.setdefault(row[:8].rstrip(b"\0").decode("ascii", "replace"), (offset, min(raw, virtual) or raw))
    return found


def _unified(file: IO[bytes], parts: dict[str, tuple[int, int]]) -> dict[str, Any]:
    release = _text(file, parts.get(".uname")) or (_release_at(file, parts[".linux"][0]) if ".linux" in parts else "")
    answer = {"unified": "yes", "cmdline": _text(file, parts.get(".cmdline"))}
    return {**answer, "release": release} if release else answer


def _text(file: IO[bytes], place: tuple[int, int] | None) -> str:
    if place is None:
        return ""
    file.seek(place[0])
    return file.read(min(place[1], _MOST_TEXT)).rstrip(b"\0").decode("utf-8", "replace").strip()


def _release_at(file: IO[bytes], start: int) -> str:
    file.seek(start + 0x202)
    header = file.read(0x10)
    if header[:4] != b"HdrS" or len(header) < 0x10:
        return ""
    file.seek(start + 0x200 + int.from_bytes(header[0x0C:0x0E], "little"))
    words = file.read(200).partition(b"\0")[0].decode("ascii", "replace").split()
    return words[0] if words else ""
