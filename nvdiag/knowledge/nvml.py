"""NVML's error numbers: what each means, where it usually comes from, what to do."""

from __future__ import annotations

from functools import lru_cache

from nvdiag.knowledge._tables import MalformedTable, Table, distinct, read
from nvdiag.model.dataclass import dataclass

UNKNOWN_ERROR = 999
"""NVML_ERROR_UNKNOWN of nvml.h, the only number outside the unbroken row from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlError:
    """One number that NVML's functions return.

    `library_text` is what nvmlErrorString says of it, empty where the library that was asked did not know the number.
    `findings` are the ids of nvdiag's findings that speak of this error.
    """

    number: int
    constant: str
    library_text: str
    meaning: str
    causes: tuple[str, ...]
    remedy: str
    findings: tuple[str, ...]
    source: tuple[str, ...]


def nvml_error(number: int) -> NvmlError | None:
    """The error of this number; None where the table has none."""
    return next((row for row in nvml_errors() if row.number == number), None)


@lru_cache(maxsize=1)
def nvml_errors() -> tuple[NvmlError, ...]:
    """Every number that nvml.h names, in ascending order."""
    return nvml_errors_of(read("nvml_errors.toml", "error"))


def nvml_errors_of(table: Table) -> tuple[NvmlError, ...]:
    """The errors of a table; MalformedTable where a number is missing, out of order or there twice."""
    rows = tuple(
        NvmlError(
            number=row.number("number"),
            constant=row.text("constant"),
            library_text=row.text("library_text", default=""),
            meaning=row.text("meaning"),
            causes=row.texts("causes") if row.has("causes") else (),
            remedy=row.text("remedy"),
            findings=row.texts("findings") if row.has("findings") else (),
            source=row.source(),
        )
        for row in table.rows("error")
    )
    numbers = [row.number for row in rows]
    if numbers != [*range(len(numbers) - 1), UNKNOWN_ERROR]:
        raise MalformedTable(f"{table.file}: the numbers are not 0, 1, 2, … and {UNKNOWN_ERROR}: {numbers}")
    distinct(table.file, "constant", (row.constant for row in rows))
    return rows
