"""The fields of a kernel module's .modinfo section: from modinfo's listing, or from the file where kmod is absent.

The section is NAME=value strings ended by NUL (include/linux/moduleparam.h, `__MODULE_INFO`). A compressed module is
read as a stream: only the section itself is ever held in memory.
"""

from __future__ import annotations

import errno
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from nvdiag.host.elf import regular_only

KEPT = frozenset(
    {"version", "license", "vermagic", "srcversion", "name", "signer", "sig_id", "sig_key", "sig_hashalgo", "signed"}
)
"""The fields that speak of release, flavour and origin; hundreds of alias and parm lines are left out."""

_SIGNED = b"~Module signature appended~\n"
"""What the kernel's sign-file writes at the very end of a signed module (scripts/sign-file.c)."""

_LONGEST_SIGNATURE = 1 << 16
"""Bytes that are looked at from a module's end; a signature has a few hundred."""

_WINDOW = 1 << 20
"""Bytes of a compressed module that stay at hand, so that a small step back does not unpack it again."""


class Unreadable(Exception):
    """The module file could not be read; `str()` is the reason."""


def parse_listing(text: str) -> dict[str, str]:
    """The fields of `modinfo FILE`, whose lines are `name:   value`."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"([a-z_]{1,40}):\s*(.*)", line)
        if match and match[1] in KEPT:
            fields.setdefault(match[1], match[2].strip())
    return fields


def parse_section(data: bytes) -> dict[str, str]:
    """The fields of the .modinfo section itself."""
    fields: dict[str, str] = {}
    for entry in data.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        key = name.decode("ascii", "replace")
        if equals and key in KEPT:
            fields.setdefault(key, value.decode("utf-8", "replace"))
    return fields


def read_module(path: str) -> dict[str, str]:
    """The fields of a .ko, .ko.gz, .ko.xz or .ko.zst file. OSError as open gives it; Unreadable with the reason."""
    from gzip import BadGzipFile

    from elftools.elf.elffile import ELFFile

    with _stream(path) as stream:
        try:
            section = ELFFile(stream).get_section_by_name(".modinfo")
            if section is None:
                raise Unreadable("the file has no .modinfo section")
            fields = parse_section(section.data())
            fields |= _signature(stream)
        except Unreadable:
            raise
        except Exception as error:  # decompressors and pyelftools raise about anything on a damaged file
            if isinstance(error, OSError) and not isinstance(error, BadGzipFile) and error.errno != errno.EINVAL:
                raise  # the disk's fault; EINVAL is a seek to where a damaged table points
            raise Unreadable("the module file is damaged") from error
    return fields


def _signature(stream: IO[bytes]) -> dict[str, str]:
    """Whether a signature is appended and, where it names its signer, that name, as kmod tells it.

    Before the last line stand twelve bytes, of which the last four are the signature's length, and before them the
    signature, which names the issuer of its key (struct module_signature of linux/module_signature.h; PKCS#7).
    """
    from nvdiag.host.certificates import common_names

    tail = b""
    stream.seek(0)
    while chunk := stream.read(1 << 20):
        tail = (tail + chunk)[-_LONGEST_SIGNATURE:]
    if not tail.endswith(_SIGNED):
        return {"signed": "no"}
    body = tail[: -len(_SIGNED) - 12]
    length = int.from_bytes(tail[-len(_SIGNED) - 4 : -len(_SIGNED)], "big")
    names = common_names(body[-length:]) if 0 < length <= len(body) else []
    return {"signed": "yes", "signer": names[0]} if names else {"signed": "yes"}


@contextmanager
def _stream(path: str) -> Iterator[IO[bytes]]:
    """The module's bytes. A step back in a compressed file unpacks it again from its start.

    pyelftools goes to and fro between the section headers and their names, which lie beside each other: the window is
    wide enough to hold both.
    """
    with open(path, "rb", opener=regular_only) as file:
        unpacker = _unpacker(path)
        if unpacker is None:
            yield file
            return
        with io.BufferedReader(cast("io.RawIOBase", unpacker(file)), _WINDOW) as stream:
            yield cast("IO[bytes]", stream)


def _unpacker(path: str) -> Callable[[IO[bytes]], Any] | None:
    if path.endswith(".xz"):
        try:
            import lzma
        except ImportError:
            raise Unreadable("compressed with xz, and neither modinfo (kmod) nor a Python with lzma is here") from None
        return lzma.LZMAFile
    if path.endswith(".gz"):
        import gzip

        return lambda file: gzip.GzipFile(fileobj=file)
    return cast("Callable[[IO[bytes]], Any]", _zstd().ZstdFile) if path.endswith(".zst") else None


def _zstd() -> Any:
    try:
        from compression import zstd  # Python 3.14 and later
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            raise Unreadable(
                "compressed with zstd, and neither modinfo (kmod) nor a Python that reads zstd is here"
                " (pip install 'nvdiag[zstd]')"
            ) from None
    return zstd
