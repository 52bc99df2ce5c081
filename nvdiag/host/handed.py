"""What was handed over with --from: a snapshot, a bug report, pasted text; told apart by what is in it, not by name."""

from __future__ import annotations

import json
from typing import BinaryIO

from nvdiag.host.base import Host
from nvdiag.host.snapshot import MAX_BYTES, MAX_LINES, NotASnapshot, parse, unpacked

__all__ = ["MAX_BYTES", "Unreadable", "host_from", "host_of"]

_MOST_UNREADABLE = 0.2
"""Of a text, at most this part of its characters is no text at all."""


class Unreadable(ValueError):
    """The input is none of what nvdiag reads; `str()` is one clear line."""


def host_from(file: BinaryIO, name: str) -> Host:
    """The machine that a file tells of; a bug report is read as it comes, whatever its length. OSError, Unreadable."""
    from nvdiag.host import bugreport

    head = file.read(bugreport.HEAD)
    if bugreport.recognises(head):
        return bugreport.read(file, name, head)
    return host_of(head + file.read(MAX_BYTES + 1 - len(head)), name)


def host_of(data: bytes, name: str) -> Host:
    """The machine that an input tells of. Unreadable where it is nothing that nvdiag reads."""
    try:
        data = unpacked(data, name)
        if data[:64].lstrip()[:1] == b"{" and b'"nvdiag_snapshot"' in data:
            return parse(data, name)
    except NotASnapshot as error:
        raise Unreadable(str(error)) from error
    if len(data) > MAX_BYTES:
        raise Unreadable(
            f"{name}: larger than {MAX_BYTES // 2**20} MiB: cut it down to the part that tells of the trouble"
        )
    if data.count(b"\n") > MAX_LINES:
        raise Unreadable(f"{name}: more than {MAX_LINES} lines: cut it down to the part that tells of the trouble")
    _hold_to_text(data, name)
    from nvdiag.host.paste import hosts_of

    return hosts_of(data, name)[0]


def _hold_to_text(data: bytes, name: str) -> None:
    """Unreadable for what holds no words: nothing, bytes of a program, JSON of something else."""
    if not data.strip():
        raise Unreadable(f"{name}: empty: paste what the commands printed, with the error message")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return
    sample = data[:65536].decode("utf-8", "replace")
    strange = sum(
        1 for character in sample if character == "\ufffd" or (character < " " and character not in "\t\n\r\x1b\f\b")
    )
    if strange > _MOST_UNREADABLE * len(sample):
        raise Unreadable(f"{name}: neither a snapshot nor text")
    if data[:1] in (b"{", b"["):
        _hold_to_no_other_json(data, name)


def _hold_to_no_other_json(data: bytes, name: str) -> None:
    """A whole JSON document that is no snapshot is somebody's mistake; a log with an object a line is text."""
    try:
        document = json.loads(data)
    except ValueError:
        return
    except RecursionError:
        document = None
    if isinstance(document, dict) and "schema_version" in document and "findings" in document:
        raise Unreadable(f"{name}: a report of nvdiag's own, not a snapshot: `nvdiag snapshot FILE` records one")
    raise Unreadable(f"{name}: not a snapshot: it has no number at nvdiag_snapshot")
