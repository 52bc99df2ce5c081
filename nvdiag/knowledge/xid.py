"""The Xids: what each number in the kernel log means, whose fault it mostly is, and what NVIDIA says to do.

The table is read when it is first asked for: it costs tens of milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from nvdiag.knowledge._tables import MalformedTable, Row, Table, distinct, read
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Confidence, Severity

FAULTS: Mapping[str, str] = {
    "application": "the program that ran, mostly",
    "driver": "the driver or its firmware, mostly",
    "hardware": "the GPU, its power, its cooling or its links, mostly",
    "configuration": "how the system is set up, or somebody's own doing",
    "nobody": "nobody's: it reports no fault of its own",
    "unknown": "not known",
}
"""Who is to look first, in words."""

CAUSES: Mapping[str, str] = {
    "application": "the program that ran",
    "driver": "the driver",
    "hardware": "the GPU's hardware",
    "bus": "the PCIe bus",
    "heat": "heat",
    "gpu-memory": "corrupted GPU memory",
    "system-memory": "corrupted system memory",
}
"""NVIDIA's columns of possible causes, in words."""


@dataclass(frozen=True, slots=True)
class Action:
    """What NVIDIA's catalogue says to do: its token, what kind of action that is, and the action in our words."""

    token: str
    kind: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Xid:
    """One Xid.

    `names` are NVIDIA's mnemonics. `fault` is a key of FAULTS, `causes` are keys of CAUSES. `immediate` is what
    NVIDIA says to do at once, `investigatory` what to do to find the cause. `finding`, `severity` and `confidence` are
    what nvdiag reports of a line with this number, before its words and its neighbours are looked at. `products` are
    the generations on which NVIDIA lists it; none for a number that is unused since Ampere. An Xid 154 follows it from
    driver branch `summed_up_since` on, where that is told.
    """

    number: int
    names: tuple[str, ...]
    title: str
    meaning: str
    note: str
    fault: str
    causes: tuple[str, ...]
    immediate: Action
    investigatory: Action
    finding: str
    severity: Severity
    confidence: Confidence
    products: tuple[str, ...]
    summed_up_since: str
    source: tuple[str, ...]

    @property
    def unused(self) -> bool:
        """Whether NVIDIA's catalogue for Ampere and newer lists the number as unused; older GPUs may write it."""
        return not self.products and self.immediate.token != "UNKNOWN"


def xid(number: int) -> Xid | None:
    """The Xid of this number; None for one that is newer than the table."""
    return _by_number().get(number)


@lru_cache(maxsize=1)
def xids() -> tuple[Xid, ...]:
    """All Xids that NVIDIA has named, in ascending order."""
    return xids_of(read("xid.toml", "action", "xid"))


@lru_cache(maxsize=1)
def _by_number() -> Mapping[int, Xid]:
    return {row.number: row for row in xids()}


def xids_of(table: Table) -> tuple[Xid, ...]:
    """The Xids of a table; MalformedTable where a number is missing, a name there twice, or an action not explained."""
    actions = {row.text("token"): _action(row) for row in table.rows("action")}
    rows = tuple(_xid(row, actions) for row in table.rows("xid"))
    numbers = [row.number for row in rows]
    if numbers != [*range(1, len(numbers) + 1)]:
        raise MalformedTable(f"{table.file}: the numbers are not 1, 2, 3, …")
    distinct(table.file, "name", (name for row in rows for name in row.names))
    idle = set(actions) - {action.token for row in rows for action in (row.immediate, row.investigatory)}
    if idle:
        raise MalformedTable(f"{table.file}: no Xid asks for the action {min(idle)}")
    return rows


def _action(row: Row) -> Action:
    return Action(row.text("token"), row.text("kind"), row.text("says"))


def _xid(row: Row, actions: Mapping[str, Action]) -> Xid:
    return Xid(
        number=row.number("number"),
        names=(row.text("name"), *(row.texts("also") if row.has("also") else ())),
        title=row.text("title"),
        meaning=row.text("meaning"),
        note=row.text("note") if row.has("note") else "",
        fault=_one_of(row, "fault", FAULTS),
        causes=_some_of(row, "causes", CAUSES) if row.has("causes") else (),
        immediate=actions[_one_of(row, "immediate", actions)],
        investigatory=actions[_one_of(row, "investigatory", actions)],
        finding=row.text("finding"),
        severity=Severity(_one_of(row, "severity", [each.value for each in Severity])),
        confidence=Confidence(
            _one_of(row, "confidence", ("certain", "likely")) if row.has("confidence") else "certain"
        ),
        products=row.texts("products") if row.has("products") else (),
        summed_up_since=row.text("summed_up_since") if row.has("summed_up_since") else "",
        source=row.source(),
    )


def _one_of(row: Row, column: str, known: Iterable[str]) -> str:
    value = row.text(column)
    if value not in known:
        raise row.wrong(f"no such {column}: {value}")
    return value


def _some_of(row: Row, column: str, known: Iterable[str]) -> tuple[str, ...]:
    values = row.texts(column)
    if unknown := [value for value in values if value not in known]:
        raise row.wrong(f"no such {column}: {unknown[0]}")
    return values
