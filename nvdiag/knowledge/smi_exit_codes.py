"""What nvidia-smi's exit codes mean, those of its manual page and those that were measured."""

from __future__ import annotations

from functools import lru_cache

from nvdiag.knowledge._tables import MalformedTable, Table, distinct, read
from nvdiag.model.dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SmiExitCode:
    """One exit code. `manual`: whether the manual page names it; the others are the number of an NVML error.

    `says` is what nvidia-smi prints beside it, empty where that varies. `findings` are ids of nvdiag's findings.
    """

    number: int
    title: str
    manual: bool
    says: str
    meaning: str
    causes: tuple[str, ...]
    remedy: str
    findings: tuple[str, ...]
    source: tuple[str, ...]


@lru_cache(maxsize=1)
def smi_exit_codes() -> tuple[SmiExitCode, ...]:
    """The exit codes in ascending order."""
    return smi_exit_codes_of(read("smi_exit_codes.toml", "code"))


def smi_exit_codes_of(table: Table) -> tuple[SmiExitCode, ...]:
    """The exit codes of a table; MalformedTable where one is out of order or there twice."""
    rows = tuple(
        SmiExitCode(
            number=row.number("number"),
            title=row.text("title"),
            manual=row.flag("manual"),
            says=row.text("says") if row.has("says") else "",
            meaning=row.text("meaning"),
            causes=row.texts("causes") if row.has("causes") else (),
            remedy=row.text("remedy"),
            findings=row.texts("findings") if row.has("findings") else (),
            source=row.source(),
        )
        for row in table.rows("code")
    )
    numbers = [row.number for row in rows]
    if numbers != sorted(numbers):
        raise MalformedTable(f"{table.file}: the numbers are out of order")
    distinct(table.file, "number", numbers)
    return rows
