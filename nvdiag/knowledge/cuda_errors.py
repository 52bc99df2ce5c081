"""CUDA's error numbers that point at the machine: what each means, where it usually comes from, what to do."""

from __future__ import annotations

from functools import lru_cache

from nvdiag.knowledge._tables import MalformedTable, Row, Table, distinct, read
from nvdiag.model.dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaError:
    """One number that CUDA's driver API (cuda.h) and runtime API (driver_types.h) share.

    A name is None where that API has no such error. `library_text` is what cudaGetErrorString says of it, empty where
    the runtime does not know the number. `findings` are the ids of nvdiag's findings that speak of this error; `smoke`
    is the one that it is where nvdiag's own kernel meets it, empty where it tells no more than that a GPU fails.
    """

    number: int
    driver_name: str | None
    runtime_name: str | None
    title: str
    library_text: str
    meaning: str
    causes: tuple[str, ...]
    remedy: str
    findings: tuple[str, ...]
    smoke: str
    source: tuple[str, ...]


def cuda_error(number: int) -> CudaError | None:
    """The error of this number; None where the table, which is a selection, has none."""
    return next((row for row in cuda_errors() if row.number == number), None)


@lru_cache(maxsize=1)
def cuda_errors() -> tuple[CudaError, ...]:
    """The errors that point at driver, library, device or environment, in ascending order."""
    return cuda_errors_of(read("cuda_errors.toml", "error"))


def cuda_errors_of(table: Table) -> tuple[CudaError, ...]:
    """The errors of a table; MalformedTable where one is out of order, there twice or has no name."""
    rows = tuple(_error(row) for row in table.rows("error"))
    distinct(table.file, "number", (row.number for row in rows))
    distinct(table.file, "name", (name for row in rows for name in (row.driver_name, row.runtime_name) if name))
    numbers = [row.number for row in rows]
    if numbers != sorted(numbers):
        raise MalformedTable(f"{table.file}: the numbers are out of order")
    return rows


def _error(row: Row) -> CudaError:
    if not row.has("driver_name") and not row.has("runtime_name"):
        raise row.wrong("has neither driver_name nor runtime_name")
    return CudaError(
        number=row.number("number"),
        driver_name=row.text("driver_name") if row.has("driver_name") else None,
        runtime_name=row.text("runtime_name") if row.has("runtime_name") else None,
        title=row.text("title"),
        library_text=row.text("library_text", default=""),
        meaning=row.text("meaning"),
        causes=row.texts("causes") if row.has("causes") else (),
        remedy=row.text("remedy"),
        findings=row.texts("findings") if row.has("findings") else (),
        smoke=row.text("smoke", default=""),
        source=row.source(),
    )
