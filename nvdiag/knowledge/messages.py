"""The messages of drivers, libraries and tools: how each is recognised, what it proves, and what it merely suggests.

A message is evidence for a check, never a diagnosis of its own: the check of its area decides what comes of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from nvdiag.knowledge._tables import Row, Table, distinct, read
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Confidence

FILES = (
    "messages_driver.toml",
    "messages_device.toml",
    "messages_container.toml",
    "messages_cuda.toml",
    "messages_libraries.toml",
    "messages_frameworks.toml",
    "messages_llama.toml",
)
"""The tables, one for each room that the messages come from."""

LONGEST_LINE = 4000
"""Characters of one line that are looked at: a pattern meets no longer text than this times its number of lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. `by` is who says it.

    `literals` are words in small letters, one of which is in the first line of every such message; `pattern` is a
    regular expression, case-insensitive, for `lines` lines joined by single spaces, prefixes of logs taken off.
    `context` is True for what healthy machines print, too: it helps to judge other messages and is no sign of anything.
    `proves` is the finding that the message alone supports, with `confidence`; `suggests` are findings that it is also
    seen with, on which the message alone decides nothing. `says` tells it in nvdiag's words, with the pattern's named
    groups in braces. `example` is such a message.
    """

    name: str
    by: str
    literals: tuple[str, ...]
    pattern: str
    lines: int
    proves: str | None
    confidence: Confidence
    suggests: tuple[str, ...]
    says: str
    example: str
    source: tuple[str, ...]
    context: bool = False

    def search(self, text: str) -> re.Match[str] | None:
        """The message in a text of joined lines."""
        return _compiled(self.pattern).search(text)

    def told(self, groups: Mapping[str, str]) -> str:
        """What the message says, with what stood in it."""
        return re.sub(r"\{(\w+)\}", lambda name: groups.get(name[1]) or "unknown", self.says)


@lru_cache(maxsize=1)
def messages() -> tuple[Message, ...]:
    """All messages, in the order of FILES. MalformedTable where a row is wrong or a name is there twice."""
    rows = tuple(row for file in FILES for row in messages_of(read(file, "message", optional=("part",))))
    distinct("messages", "name", (row.name for row in rows))
    return rows


def messages_of(table: Table) -> Iterator[Message]:
    """The messages of one table.

    What many patterns share stands once, as a part: `<<NAME>>` in a pattern is the part's pattern, and in the literals
    its literals. `<<this>>` is what a row gives for itself under `this`.
    """
    patterns: dict[str, str] = {}
    literals: dict[str, tuple[str, ...]] = {}
    for row in table.rows("part"):
        name = row.text("name")
        patterns[name] = row.text("pattern")
        literals[name] = row.texts("literals") if row.has("literals") else ()
    return (_message(row, patterns, literals) for row in table.rows("message"))


def _expanded(row: Row, text: str, parts: Mapping[str, str]) -> str:
    """A pattern with its parts put in. MalformedTable where one is not there."""
    known = {**parts, "this": row.text("this", default="<<this>>")}
    for _ in range(4):
        names = set(re.findall(r"<<([\w-]+)>>", text))
        if not names:
            return text
        if unknown := sorted(name for name in names if known.get(name, "<<this>>") == "<<this>>"):
            raise row.wrong(f"no such part: {unknown[0]}")
        for name in names:
            text = text.replace(f"<<{name}>>", known[name])
    raise row.wrong("its parts hold each other")


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _message(row: Row, patterns: Mapping[str, str], shared: Mapping[str, tuple[str, ...]]) -> Message:
    own = row.text("this", default="")
    literals = tuple(
        word.replace("<<this>>", own)
        for one in row.texts("literals")
        for word in (shared.get(one[2:-2], ()) if one.startswith("<<") and one.endswith(">>") else (one,))
    )
    if not literals or any(word != word.lower() for word in literals):
        raise row.wrong("literals must be there, in small letters")
    confidence = row.text("confidence", default="certain")
    if confidence not in ("certain", "likely"):
        raise row.wrong(f"what a message proves is certain or likely, not {confidence}")
    return Message(
        name=row.text("name"),
        by=row.text("by"),
        literals=literals,
        pattern=_expanded(row, row.text("pattern"), patterns),
        lines=row.number("lines") if row.has("lines") else 1,
        proves=row.text("proves") if row.has("proves") else None,
        confidence=Confidence(confidence),
        suggests=row.texts("suggests") if row.has("suggests") else (),
        says=row.text("says"),
        example=row.text("example"),
        source=row.source(),
        context=row.text("role", default="") == "context",
    )
