"""Who the certificates in a list of EFI's are of: the machine owner keys and the firmware's own signature database.

The list is EFI_SIGNATURE_LIST (UEFI specification, "Signature Database"), behind four bytes of attributes where
efivarfs shows it. Of a certificate only the common names of issuer and subject are read, by their object identifier,
2.5.4.3.
"""

from __future__ import annotations

import re
import struct
from typing import Any

from nvdiag.host.elf import regular_only

_MOST = 4 << 20
_X509 = bytes.fromhex("a159c0a5e494a74a87b5ab155c2bf072")
_COMMON_NAME = re.compile(rb"\x06\x03\x55\x04\x03[\x0c\x13\x14\x16](.)", re.S)


def read_list(path: str) -> dict[str, Any]:
    """`names`: for each certificate the common names in it. OSError as open gives it."""
    with open(path, "rb", opener=regular_only) as file:
        data = file.read(_MOST)
    return {"names": [common_names(one) for one in _certificates(data)]}


def _certificates(data: bytes) -> list[bytes]:
    for start in (4, 0):  # with efivarfs's attributes in front, and without them
        found = list(_from(data, start))
        if found:
            return found
    return []


def _from(data: bytes, at: int) -> list[bytes]:
    found: list[bytes] = []
    while at + 28 <= len(data):
        size, header, each = struct.unpack_from("<III", data, at + 16)
        if size < 28 or at + size > len(data) or each <= 16:
            break
        if data[at : at + 16] == _X509:
            place = at + 28 + header
            while place + each <= at + size:
                found.append(data[place + 16 : place + each])
                place += each
        at += size
    return found


def common_names(certificate: bytes) -> list[str]:
    """The common names in a certificate, or in a signature, each once."""
    found: dict[str, None] = {}
    for match in _COMMON_NAME.finditer(certificate):
        start = match.end()
        found.setdefault(certificate[start : start + match[1][0]].decode("utf-8", "replace"))
    return list(found)
