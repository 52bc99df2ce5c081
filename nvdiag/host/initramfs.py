"""What of NVIDIA's driver is inside an initramfs: read forwards, in bounded memory and time, never written anywhere.

An initramfs is one or more cpio archives of the form "newc" behind each other, plain or compressed, with zeros between
(Documentation/driver-api/early-userspace/buffer-format.rst of the kernel). Microcode comes first, plain.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field  # noqa: TID251 - it is filled as the image is read
from typing import IO, Any

from nvdiag.host import kernel_image, unpacking
from nvdiag.host.elf import regular_only
from nvdiag.host.unpacking import CHUNK, CannotUnpack, Damaged, Late

_MOST = 4 << 30
"""Bytes of unpacked archive that are looked at."""

_MOST_NAMES = 64
_MAIN = re.compile(r"nvidia(?!\S*(?:uvm|modeset|drm|peermem|vgpu|fs\b|wmi|ucsi|cspmu|fb\b))[\w-]{0,40}\.ko(\.\w{2,3})?")
_VERSION = re.compile(rb"(?<![a-z_])version=(\d{1,4}(?:\.\d{1,4}){1,2})\0")
_VERMAGIC = re.compile(rb"(?<![a-z_])vermagic=([ -~]{3,200})\0")
_FIRMWARE = re.compile(
    r"(?:usr/)?lib/firmware/(?:updates/)?nvidia/(\d{3,4}\.[\d.]{1,12}/gsp\w{0,20}\.bin(?:\.\w{2,3})?)"
)
_MODULE = re.compile(r"(?:usr/)?lib/modules/([^/]{3,80})/")
_CONFIGURED = re.compile(r"(?:(?:usr/)?lib|etc|run)/modprobe\.d/[^/]{1,80}\.conf")


@dataclass(slots=True)
class _Found:
    modules: dict[str, dict[str, str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    firmware: list[str] = field(default_factory=list)
    kernels: list[str] = field(default_factory=list)
    modprobe: list[str] = field(default_factory=list)
    entries: int = 0
    trouble: str = ""

    def answer(self) -> dict[str, Any]:
        return {
            "modules": self.modules,
            "others": self.others,
            "firmware": self.firmware,
            "kernels": self.kernels,
            "modprobe": self.modprobe,
            "entries": self.entries,
            "trouble": self.trouble,
        }


class _Source:
    """Bytes that are only read forwards. `skipping` jumps over bytes where the source can."""

    def __init__(self, pieces: Iterator[bytes], until: float, skipping: Callable[[int], int] | None = None) -> None:
        self._pieces = pieces
        self._until = until
        self._skipping = skipping
        self._held = b""
        self.place = 0

    def _more(self) -> bool:
        if time.monotonic() > self._until or self.place > _MOST:
            raise Late
        piece = next(self._pieces, b"")
        self._held += piece
        return bool(piece)

    def peek(self, size: int) -> bytes:
        while len(self._held) < size and self._more():
            pass
        return self._held[:size]

    def read(self, size: int) -> bytes:
        out = self.peek(size)
        self._held = self._held[len(out) :]
        self.place += len(out)
        return out

    def pieces(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes, a piece at a time. Damaged where there are fewer."""
        left = size
        while left:
            out = self.read(min(left, CHUNK))
            if not out:
                raise Damaged("it ends in the middle of a file")
            left -= len(out)
            yield out

    def skip(self, size: int) -> None:
        held = min(size, len(self._held))
        self._held, left = self._held[held:], size - held
        self.place += held
        if left and self._skipping is not None:
            gone = self._skipping(left)
            self.place += gone
            left -= gone
        for _ in self.pieces(left):
            pass

    def skip_zeros(self) -> None:
        while head := self.peek(512):
            rest = head.lstrip(b"\0")
            self.read(len(head) - len(rest))
            if rest:
                return


def read_initramfs(path: str, until: float, program: Callable[[str], str | None]) -> dict[str, Any]:
    """`modules` (nvidia's, with release and vermagic), `firmware` (RELEASE/FILE), `kernels`, `trouble`, …

    `trouble` says what was wrong with it, "late" where the time was over before its end. `program` finds an unpacker's
    program. `{"error": …}` where nothing here unpacks it. OSError as open gives it.
    """
    found = _Found()
    with open(path, "rb", opener=regular_only) as file:
        start, size = kernel_image.sections(file).get(".initrd", (0, os.fstat(file.fileno()).st_size))
        if not size:
            return {"error": "empty"}
        try:
            _file(file, start, size, found, until, program)
        except Damaged as why:
            found.trouble = str(why)
        except Late:
            found.trouble = "late"
        except CannotUnpack as why:
            return {"error": str(why)}
    return found.answer()


def _file(
    file: IO[bytes], start: int, size: int, found: _Found, until: float, program: Callable[[str], str | None]
) -> None:
    end = start + size

    def pieces() -> Iterator[bytes]:
        while (left := end - file.tell()) > 0 and (piece := file.read(min(left, CHUNK))):
            yield piece

    def skipping(count: int) -> int:
        gone = min(count, end - file.tell())
        file.seek(gone, os.SEEK_CUR)
        return gone

    file.seek(start)
    source = _Source(pieces(), until, skipping)
    while source.peek(1):
        source.skip_zeros()
        head = source.peek(8)
        if not head:
            return
        if head.startswith(b"0707"):
            _archive(source, found)
            continue
        name = unpacking.format_of(head)
        if name is None:
            raise Damaged("what stands in it is neither an archive nor compressed")
        _archives(_Source(_inner(name, source, file, start, until, program), until), found)
        return


def _inner(
    name: str, source: _Source, file: IO[bytes], start: int, until: float, program: Callable[[str], str | None]
) -> Iterator[bytes]:
    """The compressed rest of a file, unpacked by Python where it can, else by the format's program."""
    offset = start + source.place
    try:
        unpacking.decompressor(name)
    except CannotUnpack as why:
        path = program(name)
        if path is None:
            raise CannotUnpack(f"{why}, and there is no program {name} either") from None
        return unpacking.by_program(path, file, offset, until)

    def rest() -> Iterator[bytes]:
        while piece := source.read(CHUNK):
            yield piece

    return unpacking.unpacked(name, rest())


def _archives(source: _Source, found: _Found) -> None:
    if not source.peek(1):
        raise Damaged("its compressed part is empty")
    while source.peek(1):
        source.skip_zeros()
        if not source.peek(1):
            return
        if not source.peek(4).startswith(b"0707"):
            raise Damaged("what its compressed part holds is no archive")
        _archive(source, found)


def _archive(source: _Source, found: _Found) -> None:
    while True:
        header = source.read(110)
        if len(header) < 110:
            raise Damaged("it ends in the middle of an archive")
        try:
            size, length = int(header[54:62], 16), int(header[94:102], 16)
        except ValueError:
            raise Damaged("an archive in it is damaged") from None
        if not header.startswith(b"07070") or not 0 < length <= 8192:
            raise Damaged("an archive in it is damaged")
        name = source.read(length).rstrip(b"\0").decode("utf-8", "replace").lstrip("./")
        source.skip(-(110 + length) % 4)
        if name == "TRAILER!!!":
            return
        found.entries += 1
        end = source.place + size
        _entry(name, source, size, found)
        source.skip(end - source.place)
        source.read(-size % 4)


def _entry(name: str, source: _Source, size: int, found: _Found) -> None:
    if match := _MODULE.match(name):
        if match[1] not in found.kernels and len(found.kernels) < _MOST_NAMES:
            found.kernels.append(match[1])
        base = name.rpartition("/")[2]
        if size and _MAIN.fullmatch(base) and len(found.modules) < _MOST_NAMES:
            found.modules[name] = _fields(base, source.pieces(size))
        elif size and base.startswith(("nvidia", "nouveau.ko")) and len(found.others) < _MOST_NAMES:
            found.others.append(base)
    elif (match := _FIRMWARE.fullmatch(name)) and len(found.firmware) < _MOST_NAMES:
        found.firmware.append(match[1])
    elif _CONFIGURED.fullmatch(name) and size < 65536:
        text = b"".join(source.pieces(size)).decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if "nvidia" in line and not line.strip().startswith("#")]
        found.modprobe += lines[: _MOST_NAMES - len(found.modprobe)]


def _fields(name: str, pieces: Iterator[bytes]) -> dict[str, str]:
    """Release and vermagic of a module, by what stands in its .modinfo section, wherever that lies in it."""
    kind = unpacking.SUFFIXES.get("." + name.rpartition(".")[2])
    if kind is not None:
        pieces = unpacking.unpacked(kind, pieces)
    fields: dict[str, str] = {}
    held = b""
    try:
        for piece in pieces:
            held = held[-512:] + piece
            for key, pattern in (("version", _VERSION), ("vermagic", _VERMAGIC)):
                if key not in fields and (match := pattern.search(held)):
                    fields[key] = match[1].decode("ascii", "replace")
    except CannotUnpack:
        return {}
    return fields
