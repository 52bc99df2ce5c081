"""The SXids: what each number that the driver writes of an NVSwitch means, and what its class asks for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from nvdiag.knowledge._tables import MalformedTable, Row, Table, distinct, read
from nvdiag.model.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class SxidClass:
    """How grave an SXid is, and what NVIDIA's guide asks for."""

    name: str
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sxid:
    """One SXid. `name` is the header's; `kind` None where NVIDIA's guide does not say how grave it is."""

    number: int
    name: str
    title: str
    kind: SxidClass | None
    source: tuple[str, ...]


def sxid(number: int) -> Sxid | None:
    """The SXid of this number; None for one that the table does not have."""
    return _by_number().get(number)


@lru_cache(maxsize=1)
def sxids() -> tuple[Sxid, ...]:
    """All SXids of the open driver, in ascending order."""
    return sxids_of(read("sxid.toml", "class", "sxid"))


@lru_cache(maxsize=1)
def _by_number() -> Mapping[int, Sxid]:
    return {row.number: row for row in sxids()}


def sxids_of(table: Table) -> tuple[Sxid, ...]:
    """The SXids of a table; MalformedTable where one is out of order or there twice, or a class is not explained."""
    kinds = {
        row.text("name"): SxidClass(row.text("name"), row.text("meaning"), row.text("remedy"))
        for row in table.rows("class")
    }
    rows = tuple(_sxid(row, kinds) for row in table.rows("sxid"))
    numbers = [row.number for row in rows]
    if numbers != sorted(numbers):
        raise MalformedTable(f"{table.file}: the numbers are out of order")
    distinct(table.file, "number", numbers)
    distinct(table.file, "name", (row.name for row in rows))
    if idle := set(kinds) - {row.kind.name for row in rows if row.kind}:
        raise MalformedTable(f"{table.file}: no SXid is of the class {min(idle)}")
    return rows


def _sxid(row: Row, kinds: Mapping[str, SxidClass]) -> Sxid:
    kind = row.text("class") if row.has("class") else None
    if kind is not None and kind not in kinds:
        raise row.wrong(f"no such class: {kind}")
    return Sxid(
        number=row.number("number"),
        name=row.text("name"),
        title=row.text("title"),
        kind=kinds[kind] if kind is not None else None,
        source=row.source(),
    )
