"""Reading ELF files: the head by its twenty bytes, everything else with pyelftools, imported only then."""

from __future__ import annotations

import errno
import os
import stat
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


def _printable(data: bytes) -> str:
    return "".join(chr(byte) for byte in data if 32 <= byte < 127 or byte in (9, 10))
