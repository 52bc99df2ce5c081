"""Small ELF files made by hand: as much of a kernel module as its reader looks at."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

SIGNED = b"~Module signature appended~\n"
_HEADER = "16sHHIQQQIHHHHHH"
_SECTION = "IIQQQQIIQQ"
_PROGBITS, _STRTAB = 1, 3


def module(
    section: bytes | None,
    *,
    called: str = ".modinfo",
    before: int = 0,
    after: int = 0,
    sections: int = 3,
    signed: bool = False,
    signer: str = "",
) -> Iterator[bytes]:
    """A relocatable x86-64 file in pieces, with `section` called so between so many zeros.

    `sections` further ones have names of their own: their headers lie behind all of it, as in a real module.
    """
    names = [f".text.{index}" for index in range(sections)]
    contents: list[tuple[str, int, int]] = [(name, _PROGBITS, 16) for name in names]
    contents.append((".before", _PROGBITS, before))
    if section is not None:
        contents.append((called, _PROGBITS, len(section)))
    contents.append((".after", _PROGBITS, after))
    table = b"\0" + b"".join(name.encode() + b"\0" for name, _, _ in (*contents, (".shstrtab", 0, 0)))
    contents.append((".shstrtab", _STRTAB, len(table)))
    size = struct.calcsize("<" + _HEADER)
    end = size + sum(length for _, _, length in contents)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    yield struct.pack("<" + _HEADER, ident, 1, 62, 1, 0, 0, end, 0, size, 0, 0, 64, len(contents) + 1, len(contents))
    headers, offset = bytes(64), size
    for name, kind, length in contents:
        at = table.index(b"\0" + name.encode() + b"\0") + 1
        headers += struct.pack("<" + _SECTION, at, kind, 0, 0, offset, length, 0, 0, 1, 0)
        offset += length
        if name == called and section is not None:
            yield section
        elif name == ".shstrtab":
            yield table
        else:
            yield from _zeros(length)
    yield headers
    if signer:
        words = signer.encode()
        signature = b"PKCS#7 of \x06\x03\x55\x04\x03\x0c" + bytes([len(words)]) + words + b" and its numbers"
        yield signature + b"\0\0\2" + bytes(5) + struct.pack(">I", len(signature)) + SIGNED
    elif signed:
        yield b"a PKCS#7 signature" + bytes(12) + SIGNED


def _zeros(length: int) -> Iterator[bytes]:
    while length > 0:
        yield bytes(min(length, 1 << 20))
        length -= 1 << 20


def write(pieces: Iterator[bytes], to: Callable[[bytes], object]) -> None:
    """Write a file piece by piece."""
    for piece in pieces:
        to(piece)
