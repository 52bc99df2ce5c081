"""Recording: a host that writes down every answer that another host gives."""

from __future__ import annotations

from collections.abc import Iterable

from nvdiag import __version__
from nvdiag.host.base import SECTIONS, Host, Json
from nvdiag.host.snapshot import FORMAT


class RecordingHost(Host):
    """Passes questions on and keeps question and answer; `document` is then a snapshot, not yet redacted.

    Other machines or moments that were handed over with the inner one are recorded with it, as its `parts`: `family`
    has the recorders of all of them, by what they record.
    """

    def __init__(self, inner: Host, family: dict[int, RecordingHost] | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.source, self.notes, self.label = inner.source, inner.notes, inner.label
        self.document: dict[str, Json] = {
            "nvdiag_snapshot": FORMAT,
            "captured_at": inner.source.captured_at,
            "tool": f"nvdiag {__version__}",
            **_told_beside(inner),
            **{section: {} for section in SECTIONS},
            "messages": _written(inner.handed_texts()),
        }
        if earlier := inner.earlier_texts():
            self.document["earlier_messages"] = _written(earlier)
        self._family = {} if family is None else family
        self._family[id(inner)] = self
        for other in inner.others():
            if id(other) not in self._family:
                RecordingHost(other, self._family)
        if family is None and (others := self.others()):
            self.document["parts"] = [other.document for other in others]

    def begin(self, probes: Iterable[str], seconds: float) -> None:
        self.inner.begin(probes, seconds)

    def start(self, probe: str) -> None:
        self.inner.start(probe)

    def start_command(self, *argv: str) -> None:
        self.inner.start_command(*argv)

    def prolong(self, seconds: float) -> None:
        self.inner.prolong(seconds)

    def recorded(self, section: str) -> tuple[str, ...]:
        return self.inner.recorded(section)

    def inside(self) -> tuple[str, str] | None:
        return self.inner.inside()

    def others(self) -> tuple[RecordingHost, ...]:
        return tuple(self._family[id(other)] for other in self.inner.others())

    def handed_texts(self) -> tuple[tuple[str, str], ...]:
        return self.inner.handed_texts()

    def earlier_texts(self) -> tuple[tuple[str, str], ...]:
        return self.inner.earlier_texts()

    def look(self, section: str, key: str) -> Json:
        value = self.inner.look(section, key)
        self.document[section][key] = value
        return value


def _told_beside(inner: Host) -> dict[str, Json]:
    """What a recording says of itself beside its answers, where it is not of the machine that nvdiag ran on."""
    inside = inner.inside()
    told = {
        "kind": inner.source.kind if inner.source.kind in ("paste", "bug-report") else None,
        "label": inner.label,
        "inside": list(inside) if inside else None,
        "notes": list(inner.notes),
    }
    return {name: value for name, value in told.items() if value}


def _written(texts: Iterable[tuple[str, str]]) -> list[Json]:
    return [{"source": source, "text": text} for source, text in texts]
