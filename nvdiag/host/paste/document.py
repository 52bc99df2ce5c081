"""One machine, or one moment of it, as far as a paste shows it: a snapshot document in the making."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field  # noqa: TID251 - it is filled as the paste is read
from typing import Any

from nvdiag.host.base import SECTIONS, Json

FORMAT = 1
_LONGEST_LISTING = 1 << 18
"""Characters of a listing after which no further piece is added: each costs what is there already."""


class Contradiction(Exception):
    """The paste says another thing of the same question: it is another machine, or another moment."""


@dataclass(slots=True)
class Part:
    """What a paste says of one machine at one moment. `label` tells parts apart, empty for the first.

    `inside` is the kind of container and the words that show it, where the part is inside one. `before` is the part
    that shows the same machine at an earlier moment.
    """

    label: str = ""
    inside: tuple[str, str] | None = None
    before: Part | None = None
    document: dict[str, Json] = field(
        default_factory=lambda: {"nvdiag_snapshot": FORMAT, **{section: {} for section in SECTIONS}, "messages": []}
    )

    states: dict[str, object] = field(default_factory=dict)
    _listed: dict[str, set[str]] = field(default_factory=dict)

    def state(self, name: str, value: object) -> None:
        """Note something that can only be in one way at one moment. Contradiction where it was otherwise before."""
        if self.states.setdefault(name, value) != value:
            raise Contradiction(name)

    def put(self, section: str, key: str, value: Json) -> None:
        """Record an answer. Contradiction where another one is there already."""
        entries: dict[str, Any] = self.document[section]
        if key in entries and entries[key] != value:
            raise Contradiction(key)
        entries[key] = value

    def command(self, argv: Sequence[str], text: str, exit_code: int = 0) -> None:
        """Record what a command printed. Contradiction as in `put`."""
        self.put("commands", shlex.join(argv), {"exit": exit_code, "stdout": text, "stderr": ""})

    def more(self, argv: Sequence[str], text: str) -> None:
        """Add to what a command printed: a listing of which the paste has several pieces, each line of it once."""
        key = shlex.join(argv)
        lines = text.split("\n")
        known = self._listed.setdefault(key, set())
        if known.issuperset(lines):
            return
        entries: dict[str, Any] = self.document["commands"]
        before = entries.get(key, {}).get("stdout", "")
        if len(before) < _LONGEST_LISTING:
            known.update(lines)
            entries[key] = {"exit": 0, "stdout": f"{before}{text}\n", "stderr": ""}

    def say(self, source: str, text: str) -> None:
        """Keep words as they are."""
        if text.strip():
            self.document["messages"].append({"source": source, "text": text})

    @property
    def empty(self) -> bool:
        return not any(self.document[section] for section in (*SECTIONS, "messages"))
