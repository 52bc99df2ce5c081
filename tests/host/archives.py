"""Archives, images and certificates made by hand: as much of each as its reader looks at."""

from __future__ import annotations

import struct
from collections.abc import Mapping


def cpio(files: Mapping[str, bytes]) -> bytes:
    """An archive of the form "newc", with folders before their files as cpio writes them."""
    pieces: list[bytes] = []
    folders = sorted({"/".join(name.split("/")[:depth]) for name in files for depth in range(1, name.count("/") + 1)})
    entries = [(name, b"", 0o040755) for name in folders] + [(name, data, 0o100644) for name, data in files.items()]
    for name, data, mode in (*entries, ("TRAILER!!!", b"", 0)):
        numbers = (1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name.encode() + b"\0"
        pieces += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]
    whole = b"".join(pieces)
    return whole + bytes(-len(whole) % 512)


def kernel(release: str) -> bytes:
    """The head of an x86 kernel image."""
    text = f"{release} (builder@host) #1 SMP PREEMPT_DYNAMIC\0".encode()
    return bytes(0x202) + b"HdrS" + bytes(8) + struct.pack("<H", 0x400) + bytes(0x600 - 0x210) + text + bytes(100)


def unified(release: str, command_line: str, initramfs: bytes) -> bytes:
    """A unified kernel image with the sections that systemd's stub reads."""
    parts = {
        ".uname": release.encode(),
        ".cmdline": command_line.encode() + b"\0",
        ".linux": kernel(release),
        ".initrd": initramfs,
    }
    head = bytearray(b"MZ" + bytes(0x3A) + struct.pack("<I", 0x40) + b"PE\0\0" + bytes(20))
    struct.pack_into("<H", head, 0x46, len(parts))
    offset, rows, body = len(head) + 40 * len(parts), b"", b""
    for name, data in parts.items():
        rows += name.encode().ljust(8, b"\0") + struct.pack("<IIII", len(data), 0, len(data), offset) + bytes(16)
        body += data
        offset += len(data)
    return bytes(head) + rows + body


def certificate(common_name: str) -> bytes:
    """As much of a self-signed certificate as has its names in it."""
    name = common_name.encode()
    word = b"\x06\x03\x55\x04\x03\x0c" + bytes([len(name)]) + name
    return b"\x30\x82\x01\x00" + b"serial" + word + b"validity" + word + b"key"


def signature_list(*common_names: str) -> bytes:
    """An EFI variable with an EFI_SIGNATURE_LIST for each certificate, as shim keeps machine owner keys."""
    lists = b""
    for one in common_names:
        data = bytes(16) + certificate(one)
        head = bytes.fromhex("a159c0a5e494a74a87b5ab155c2bf072")
        lists += head + struct.pack("<III", 28 + len(data), 0, len(data)) + data
    return b"\x06\0\0\0" + lists
