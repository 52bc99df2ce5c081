"""Whether an initramfs has its end, without unpacking it: by the lengths that its compressed form itself tells.

A boot partition that ran full leaves an image that is cut short, and nothing shows until the next boot. Formats that
tell no lengths (gzip, bzip2, lzma) would have to be unpacked for that, which takes seconds.
"""

from __future__ import annotations

import os
import time
from typing import Any

from nvdiag.host import kernel_image, unpacking
from nvdiag.host.elf import regular_only
from nvdiag.host.unpacking import Damaged, Late

_CUT = "it ends too soon"
_ZSTD, _LZ4 = 0xFD2FB528, 0x184C2102
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_LONGEST_LZ4 = (8 << 20) + (8 << 20) // 255 + 16
"""Bytes of a packed block of lz4's legacy form, of at most 8 MiB (LZ4_compressBound)."""

_HEADER = 110
"""Bytes of a cpio header of the form "newc"."""


class _Image:
    """A part of a file that is read here and there. Damaged where it ends before what is read, Late after `until`."""

    def __init__(self, descriptor: int, start: int, size: int, until: float) -> None:
        self._descriptor, self._end, self._until = descriptor, start + size, until
        self.place = start
        self.is_file = not start

    def read(self, size: int) -> bytes:
        if time.monotonic() > self._until:
            raise Late
        if self.place + size > self._end:
            raise Damaged(_CUT)
        self.place += size
        return os.pread(self._descriptor, size, self.place - size)

    def number(self, size: int) -> int:
        return int.from_bytes(self.read(size), "little")

    def skip(self, size: int) -> None:
        if self.place + size > self._end:
            raise Damaged(_CUT)
        self.place += size

    def left(self) -> int:
        return self._end - self.place

    def tail(self) -> bytes:
        """The last bytes. The place to read on from stays."""
        start = max(self.place, self._end - 4096)
        return os.pread(self._descriptor, self._end - start, start)

    def skip_zeros(self) -> None:
        while self.left():
            piece = self.read(min(4096, self.left()))
            if rest := piece.lstrip(b"\0"):
                self.place -= len(rest)
                return


def read_end(path: str, until: float) -> dict[str, Any]:
    """`trouble` with what is wrong with the end, "" for nothing; `{"error": …}` where that cannot be told.

    `until` is a monotonic time. OSError as open gives it.
    """
    with open(path, "rb", opener=regular_only) as file:
        start, size = kernel_image.sections(file).get(".initrd", (0, os.fstat(file.fileno()).st_size))
        image = _Image(file.fileno(), start, size, until)
        try:
            return _walked(image)
        except Damaged as why:
            return {"trouble": str(why)}
        except Late:
            return {"error": "late"}


def _walked(image: _Image) -> dict[str, Any]:
    """Archives first, one behind the other, then a compressed rest."""
    while True:
        image.skip_zeros()
        if not image.left():
            return {"trouble": ""}
        head = image.read(min(8, image.left()))
        image.place -= len(head)
        if head.startswith(b"07070"):
            _skip_archive(image)
            continue
        name = unpacking.format_of(head)
        if name == "zstd":
            _skip_zstd(image)
        elif name == "lz4" and head[:4] == _LZ4.to_bytes(4, "little"):
            _skip_lz4(image)
        elif name == "xz":
            return _end_of_xz(image)
        else:
            return {"error": f"{name or 'what stands in it'} tells no lengths here"}
        return {"trouble": ""}


def _skip_archive(image: _Image) -> None:
    while True:
        header = image.read(_HEADER)
        try:
            size, length = int(header[54:62], 16), int(header[94:102], 16)
        except ValueError:
            raise Damaged("an archive in it is damaged") from None
        if not header.startswith(b"07070") or not 0 < length <= 8192:
            raise Damaged("an archive in it is damaged")
        name = image.read(length)
        image.skip(-(_HEADER + length) % 4)
        if name.rstrip(b"\0") == b"TRAILER!!!":
            return
        image.skip(size)
        image.skip(min(-size % 4, image.left()))


def _skip_zstd(image: _Image) -> None:
    """Its frames and their blocks (RFC 8878, 3.1.1)."""
    while image.left() >= 4:
        magic = image.number(4)
        if magic in _SKIPPABLE:
            image.skip(image.number(4))
            continue
        if magic != _ZSTD:
            return  # padding, or what somebody appended
        flags = image.number(1)
        single = flags >> 5 & 1
        image.skip((1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6])
        last = False
        while not last:
            block = image.number(3)
            last = bool(block & 1)
            image.skip(1 if block >> 1 & 3 == 1 else block >> 3)
        image.skip(4 * (flags >> 2 & 1))


def _skip_lz4(image: _Image) -> None:
    """The blocks of its legacy form, which is the one that kernels read (lib/decompress_unlz4.c)."""
    image.skip(4)
    while image.left() >= 4:
        size = image.number(4)
        if size == _LZ4:
            continue
        if not size or size > _LONGEST_LZ4:
            return  # padding, or what somebody appended
        image.skip(size)


def _end_of_xz(image: _Image) -> dict[str, Any]:
    """A stream ends in a footer whose last bytes are YZ (The .xz File Format, 2.1.2), and zeros may follow.

    Without one nothing is told where something may have been appended: an archive, or what else a unified image has.
    """
    tail = image.tail()
    if tail.rstrip(b"\0").endswith(b"YZ"):
        return {"trouble": ""}
    return {"error": "xz tells no lengths here"} if not image.is_file or b"TRAILER!!!" in tail else {"trouble": _CUT}
