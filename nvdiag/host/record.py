"""Recording: a host that writes down every answer that another host gives."""

from __future__ import annotations

from collections.abc import Iterable

from nvdiag import __version__
from nvdiag.host.base import SECTIONS, Host, Json
from nvdiag.host.snapshot import FORMAT


class RecordingHost(Host):
    """Passes questions on and keeps question and answer; `document` is then a snapshot, not yet redacted."""

    def __init__(self, inner: Host) -> None:
        super().__init__()
        self.inner = inner
        self.source = inner.source
        self.document: dict[str, Json] = {
            "nvdiag_snapshot": FORMAT,
            "captured_at": inner.source.captured_at,
            "tool": f"nvdiag {__version__}",
            **{section: {} for section in SECTIONS},
            "messages": [{"source": source, "text": text} for source, text in inner.handed_texts()],
        }

    def begin(self, probes: Iterable[str], seconds: float) -> None:
        self.inner.begin(probes, seconds)

    def recorded(self, section: str) -> tuple[str, ...]:
        return self.inner.recorded(section)

    def inside(self) -> tuple[str, str] | None:
        return self.inner.inside()

    def others(self) -> tuple[Host, ...]:
        return self.inner.others()

    def handed_texts(self) -> tuple[tuple[str, str], ...]:
        return self.inner.handed_texts()

    def earlier_texts(self) -> tuple[tuple[str, str], ...]:
        return self.inner.earlier_texts()

    def look(self, section: str, key: str) -> Json:
        value = self.inner.look(section, key)
        self.document[section][key] = value
        return value
