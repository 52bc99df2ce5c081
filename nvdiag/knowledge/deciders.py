"""Which command's output would decide between findings, for whoever has only a message that supports several."""

from __future__ import annotations

from functools import lru_cache

from nvdiag.knowledge._tables import Row, Table, distinct, read
from nvdiag.model.dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """One command line. `decides` are the findings that its output tells apart; `shows` is what it shows.

    `seen` are beginnings of commands whose recorded output makes this one needless.
    """

    command: str
    shows: str
    decides: tuple[str, ...]
    seen: tuple[str, ...]
    source: tuple[str, ...]


@lru_cache(maxsize=1)
def deciders() -> tuple[Decider, ...]:
    """All of them, those that decide most with the least trouble first."""
    return deciders_of(read("deciders.toml", "decider"))


def deciders_of(table: Table) -> tuple[Decider, ...]:
    """The rows of a table. MalformedTable where a command is there twice or decides nothing."""
    rows = tuple(_decider(row) for row in table.rows("decider"))
    distinct(table.file, "command", (row.command for row in rows))
    return rows


def _decider(row: Row) -> Decider:
    decides = row.texts("decides")
    if not decides:
        raise row.wrong("decides nothing")
    return Decider(
        command=row.text("command"),
        shows=row.text("shows"),
        decides=decides,
        seen=row.texts("seen"),
        source=row.source(),
    )
