"""Compressed streams read forwards, a bounded piece at a time: by Python's own modules, else by the tools' programs.

What a stream unpacks to may be a thousand times its size, so no piece is longer than CHUNK.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

CHUNK = 1 << 20
"""Bytes of one piece."""

MAGICS = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x5d\0\0", "lzma"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x89LZO", "lzop"),
)
"""How compressed data begin (each format's own specification; lib/decompress.c of the kernel has the same table)."""

SUFFIXES = {".gz": "gzip", ".xz": "xz", ".zst": "zstd"}
"""How compressed kernel modules and firmware are named."""


_MOST_MEMORY = 512 << 20
"""Bytes that xz may take for its dictionary: what it asks for stands in the data."""


class CannotUnpack(Exception):
    """Neither Python nor a program here reads this format; `str()` is the reason."""


class Damaged(Exception):
    """The data are not what their beginning says, or end too soon; `str()` is the reason."""


class Late(Exception):
    """The time that was given is over."""


def format_of(head: bytes) -> str | None:
    """The compression by the first bytes."""
    return next((name for magic, name in MAGICS if head.startswith(magic)), None)


def unpacked(name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What compressed pieces unpack to; further streams of the same format are read on. CannotUnpack, Damaged."""
    make = decompressor(name)
    engine = make()
    for piece in pieces:
        data = piece
        while data or not engine.needs_input:
            try:
                out = engine.decompress(data, CHUNK)
            except (Exception, MemoryError) as error:  # each module has errors of its own
                raise Damaged(f"its {name} data are damaged") from error
            data = b""
            if out:
                yield out
            if engine.eof:
                data = bytes(engine.unused_data).lstrip(b"\0")
                if data and format_of(data[:8]) != name:
                    return
                engine = make()
                if not data:
                    break
    if engine.begun and not engine.eof:
        raise Damaged(f"its {name} data end too soon")


class _Engine:
    """One decompressor with the interface of bz2's and lzma's, which knows whether it was given anything."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.begun = False

    def decompress(self, data: bytes, most: int) -> bytes:
        self.begun = self.begun or bool(data)
        return bytes(self._inner.decompress(data, most))

    @property
    def needs_input(self) -> bool:
        return self.eof or bool(self._inner.needs_input)

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data)


class _Gzip:
    """zlib's decompressor with the interface of bz2's and lzma's."""

    def __init__(self) -> None:
        import zlib

        self._inner = zlib.decompressobj(wbits=31)
        self._left = b""

    def decompress(self, data: bytes, most: int) -> bytes:
        out = self._inner.decompress(self._left + data, most)
        self._left = self._inner.unconsumed_tail
        return out

    @property
    def needs_input(self) -> bool:
        return not self._left

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data)


def decompressor(name: str) -> Callable[[], _Engine]:
    """What makes a decompressor of a format of MAGICS. CannotUnpack where this Python has none."""
    if name == "gzip":
        return lambda: _Engine(_Gzip())
    try:
        if name == "bzip2":
            import bz2

            return lambda: _Engine(bz2.BZ2Decompressor())
        if name in ("xz", "lzma"):
            import lzma

            return lambda: _Engine(lzma.LZMADecompressor(memlimit=_MOST_MEMORY))
    except ImportError:
        raise CannotUnpack(f"compressed with {name}, which this Python does not read") from None
    if name == "zstd":
        from nvdiag.host import modinfo

        try:
            zstd = modinfo._zstd()
        except modinfo.Unreadable:
            raise CannotUnpack("compressed with zstd, which this Python does not read") from None
        return lambda: _Engine(zstd.ZstdDecompressor())
    raise CannotUnpack(f"compressed with {name}, which Python does not read")


def by_program(program: str, file: IO[bytes], offset: int, until: float) -> Iterator[bytes]:
    """What `PROGRAM -dc` makes of a file from an offset on. The child is ended with this generator, or at `until`."""
    reader, writer = os.pipe()
    try:
        os.lseek(file.fileno(), offset, os.SEEK_SET)
        streams = [
            (os.POSIX_SPAWN_DUP2, file.fileno(), 0),
            (os.POSIX_SPAWN_DUP2, writer, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        pid = os.posix_spawn(program, [program, "-dc"], {"LC_ALL": "C"}, file_actions=streams, setsid=True)
    finally:
        os.close(writer)
    try:
        poller = select.poll()
        poller.register(reader, select.POLLIN)
        while True:
            if not poller.poll(max(0.0, until - time.monotonic()) * 1000):
                raise Late
            piece = os.read(reader, CHUNK)
            if not piece:
                return
            yield piece
    finally:
        os.close(reader)
        _end(pid)


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except OSError:
        return
