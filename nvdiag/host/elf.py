"""Reading ELF files: the head and what the loader goes by in a few reads, the rest with pyelftools, if needed."""

from __future__ import annotations

import errno
import os
import stat
import struct
from io import FileIO
from typing import Any

MACHINES = {3: "i386", 21: "ppc64", 40: "arm", 62: "x86-64", 183: "aarch64", 243: "riscv64"}
"""e_machine of the ELF header by the names that file(1) and ldconfig use (elf.h)."""


def regular_only(path: str, flags: int) -> int:
    """An opener for open(): a FIFO or a device in a library's place is refused (EINVAL) and never waited for."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    return descriptor


def read_head(path: str) -> dict[str, Any]:
    """`class`, `machine` and `size`; `{"error": "not-elf"}` for another kind of file. OSError as open gives it."""
    with open(path, "rb", opener=regular_only) as file:
        head = file.read(20)
        size = os.fstat(file.fileno()).st_size
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return {"error": "empty" if size == 0 else "not-elf"}
    machine = int.from_bytes(head[18:20], "big" if head[5] == 2 else "little")
    return {"class": 64 if head[4] == 2 else 32, "machine": MACHINES.get(machine, str(machine)), "size": size}


def read_dynamic(path: str) -> dict[str, Any]:
    """The soname, the number of exported symbols and the text of NVIDIA's .note.cuda.fwd_compatibility."""
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    answer: dict[str, Any] = {}
    with open(path, "rb", opener=regular_only) as file:
        try:
            elf = ELFFile(file)
            dynamic = elf.get_section_by_name(".dynamic")
            if isinstance(dynamic, DynamicSection):
                answer["soname"] = next(
                    (tag.soname for tag in dynamic.iter_tags() if tag.entry.d_tag == "DT_SONAME"), ""
                )
            symbols = elf.get_section_by_name(".dynsym")
            if isinstance(symbols, SymbolTableSection):
                answer["exports"] = sum(1 for symbol in symbols.iter_symbols() if symbol["st_shndx"] != "SHN_UNDEF")
            note = elf.get_section_by_name(".note.cuda.fwd_compatibility")
            if note is not None:
                answer["fwd_compatibility"] = _printable(note.data())
        except OSError:
            raise
        except Exception:  # pyelftools raises about anything on a file that is cut short
            return {"error": "damaged"}
    return answer


_PT_LOAD, _PT_DYNAMIC = 1, 2
_NEEDED, _STRTAB, _SONAME, _RPATH, _RUNPATH = 1, 5, 14, 15, 29
"""Types of program headers and tags of the dynamic section (elf.h)."""

_MOST_HEADERS, _MOST_TAGS, _LONGEST = 64, 4096, 8192


def read_needs(path: str) -> dict[str, Any]:
    """What the loader goes by: `soname`, `needed` in its order, `rpath` and `runpath` as they are written.

    Read through the program headers, as the loader does, so that a stripped library of a gigabyte costs a few reads.
    Only for 64-bit little-endian files; `{"error": "damaged"}` where the tables lead nowhere.
    """
    with open(path, "rb", buffering=0, opener=regular_only) as file:
        head = file.read(64)
        if len(head) < 64 or head[:4] != b"\x7fELF" or head[4:6] != b"\x02\x01":
            return {"error": "not-elf"}
        try:
            return _needs(file, head)
        except (struct.error, ValueError, OverflowError):
            return {"error": "damaged"}


def _needs(file: FileIO, head: bytes) -> dict[str, Any]:
    (offset,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    table = read_at(file, offset, size * min(count, _MOST_HEADERS))
    loads: list[tuple[int, int, int]] = []
    dynamic = b""
    for start in range(0, len(table) - 55, size):
        kind, _, place, address, _, length = struct.unpack_from("<IIQQQQ", table, start)
        if kind == _PT_LOAD:
            loads.append((address, length, place))
        elif kind == _PT_DYNAMIC:
            dynamic = read_at(file, place, min(length, 16 * _MOST_TAGS))
    tags = [struct.unpack_from("<QQ", dynamic, start) for start in range(0, len(dynamic) - 15, 16)]
    tags = tags[: tags.index((0, 0))] if (0, 0) in tags else tags
    values = dict(tags)
    strings = _place(loads, values[_STRTAB]) if _STRTAB in values else None

    def string(start: int | None) -> str:
        return "" if start is None or strings is None else _string(file, strings + start)

    return {
        "soname": string(values.get(_SONAME)),
        "needed": [string(value) for tag, value in tags if tag == _NEEDED],
        "rpath": string(values.get(_RPATH)),
        "runpath": string(values.get(_RUNPATH)),
    }


def read_at(file: FileIO, offset: int, size: int) -> bytes:
    """Bytes of a file. ValueError where the offset, which a file gave, lies outside it: the kernel may refuse it."""
    if offset > os.fstat(file.fileno()).st_size:
        raise ValueError("an offset outside the file")
    file.seek(offset)
    return file.read(size)


def _place(loads: list[tuple[int, int, int]], address: int) -> int:
    """Where in the file an address of the loaded library lies."""
    for start, length, place in loads:
        if start <= address < start + length:
            return place + address - start
    raise ValueError("an address that no segment has")


def _string(file: FileIO, place: int) -> str:
    text = read_at(file, place, 256)
    if b"\0" not in text:
        text = read_at(file, place, _LONGEST)
    return text[: text.index(b"\0")].decode("utf-8", "replace")


def _printable(data: bytes) -> str:
    return "".join(chr(byte) for byte in data if 32 <= byte < 127 or byte in (9, 10))
