"""A recorded machine: answers what was recorded, and says so where nothing was."""

from __future__ import annotations

import json

from nvdiag.host.base import SECTIONS, Host, Json, NotRecorded
from nvdiag.model.diagnosis import Source

FORMAT = 1
"""The number at `nvdiag_snapshot`: it rises where an older nvdiag would misread the document."""

MAX_BYTES = 64 * 1024 * 1024
"""The longest snapshot that is read, counted when it is unpacked."""

MAX_VALUES = 2_000_000
"""The most values that a snapshot may hold: each takes some 70 bytes of memory, however short it is written."""


MAX_LINES = 2_000_000
"""The most lines that the texts of a snapshot, or a paste, may have: each takes some 100 bytes, however short it is."""


class NotASnapshot(ValueError):
    """The input is not a snapshot that this release reads; `str()` is one clear line."""


_SILENCE = {
    "snapshot": "the snapshot does not say anything about {}",
    "bug-report": "the bug report does not say anything about {}",
    "paste": "the text does not show {}",
}
"""What a recording was made of, and how it is put that it has no answer."""

_MOST_PARTS = 64


class SnapshotHost(Host):
    """Replays a snapshot document. A key that is not in it is NotRecorded, never absence.

    Its `parts` are other machines, or other moments, that were recorded with it: each is a document of this form.
    """

    def __init__(self, document: dict[str, Json], name: str) -> None:
        super().__init__()
        self.document = document
        kind, label, notes = document.get("kind"), document.get("label"), document.get("notes")
        self.source = Source(
            kind=kind if isinstance(kind, str) and kind in _SILENCE else "snapshot",
            name=name,
            captured_at=str(document.get("captured_at", "")),
        )
        self.label = label if isinstance(label, str) else ""
        self.notes = tuple(one for one in notes if isinstance(one, str)) if isinstance(notes, list) else ()
        self._siblings: tuple[Host, ...] = ()
        self._handed: tuple[tuple[str, str], ...] | None = None

    def recorded(self, section: str) -> tuple[str, ...]:
        recorded = self.document.get(section)
        return tuple(key for key in recorded if recorded[key] is not None) if isinstance(recorded, dict) else ()

    def inside(self) -> tuple[str, str] | None:
        match self.document.get("inside"):
            case [str(kind), str(words)]:
                return kind, words
            case _:
                return None

    def others(self) -> tuple[Host, ...]:
        return self._siblings

    def handed_texts(self) -> tuple[tuple[str, str], ...]:
        """The recording's messages; each is a text, or an object with `source` and `text`."""
        if self._handed is None:
            self._handed = _messages(self.document.get("messages"))
        return self._handed

    def earlier_texts(self) -> tuple[tuple[str, str], ...]:
        return _messages(self.document.get("earlier_messages"))

    def look(self, section: str, key: str) -> Json:
        recorded = self.document.get(section)
        if not isinstance(recorded, dict) or key not in recorded:
            raise NotRecorded(_SILENCE[self.source.kind].format(key))
        value = recorded[key]
        if value is not None and not _fits(section, value):
            raise NotRecorded(f"the snapshot's entry for {key} is not of the form that {section} have")
        return value


def replayed(document: dict[str, Json], name: str) -> SnapshotHost:
    """The machine of a document, with the others that were recorded with it beside it."""
    parts = document.get("parts")
    others = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    hosts = [SnapshotHost(one, name) for one in (document, *others[: _MOST_PARTS - 1])]
    for host in hosts:
        host._siblings = tuple(other for other in hosts if other is not host)
    return hosts[0]


def _messages(recorded: Json) -> tuple[tuple[str, str], ...]:
    found = (_message(one) for one in recorded) if isinstance(recorded, list) else ()
    return tuple(one for one in found if one is not None)


def _message(value: Json) -> tuple[str, str] | None:
    if isinstance(value, str):
        return "message", value
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return str(value.get("source", "message")), value["text"]
    return None


def _fits(section: str, value: Json) -> bool:
    if isinstance(value, dict) and isinstance(value.get("error"), str):
        return True
    match section:
        case "files" | "links" | "opens" | "env":
            return isinstance(value, str)
        case "folders":
            return isinstance(value, list)
        case "commands":
            return isinstance(value, dict) and isinstance(value.get("exit"), int)
        case "stats":
            return isinstance(value, dict) and all(isinstance(value.get(name, 0), int) for name in ("uid", "gid"))
        case _:  # modinfo, elf, probes, contents
            return isinstance(value, dict)


def parse(data: bytes, name: str) -> SnapshotHost:
    """Read a snapshot, plain or gzip. NotASnapshot for anything else, for a newer format and for absurd sizes."""
    data = unpacked(data, name)
    if len(data) > MAX_BYTES:
        raise NotASnapshot(f"{name}: larger than {MAX_BYTES // 2**20} MiB, which no snapshot is")
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise NotASnapshot(f"{name}: more than {MAX_VALUES} values, which no snapshot has")
    if data.count(b"\\n") + data.lower().count(b"\\u000a") > MAX_LINES:
        raise NotASnapshot(f"{name}: more than {MAX_LINES} lines of text, which no snapshot has")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotASnapshot(f"{name}: not a snapshot: it is not JSON") from error
    version = document.get("nvdiag_snapshot") if isinstance(document, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise NotASnapshot(f"{name}: not a snapshot: it has no number at nvdiag_snapshot")
    if version > FORMAT:
        raise NotASnapshot(
            f"{name}: a snapshot of format {str(version)[:20]}; this nvdiag reads up to {FORMAT}: a newer one is needed"
        )
    wrong = [section for section in SECTIONS if not isinstance(document.get(section, {}), dict)]
    if wrong:
        raise NotASnapshot(f"{name}: not a snapshot: {wrong[0]} is not an object")
    return replayed(document, name)


def unpacked(data: bytes, name: str) -> bytes:
    """The bytes as they are, or those of a gzip file, at most one more than MAX_BYTES. NotASnapshot if damaged."""
    return _gunzip(data, name) if data[:2] == b"\x1f\x8b" else data


def _gunzip(data: bytes, name: str) -> bytes:
    import zlib

    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(data, MAX_BYTES + 1)
    except zlib.error as error:
        raise NotASnapshot(f"{name}: not a snapshot: a damaged gzip file") from error
    if not unpacker.eof and len(text) <= MAX_BYTES:
        raise NotASnapshot(f"{name}: not a snapshot: a gzip file that was cut short")
    return text
