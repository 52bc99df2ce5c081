"""Versions of PTX, the form of device code that a driver compiles: which CUDA version makes and reads each."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from nvdiag.knowledge._tables import MalformedTable, Row, Table, read
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class PtxRow:
    """One version of the instruction set and the first CUDA version that has it."""

    version: tuple[int, int]
    cuda: CudaVersion
    source: tuple[str, ...]


def cuda_of_ptx(version: str) -> PtxRow | None:
    """The row of `8.4`; None before the table and for another text. Unknown where it is newer than the table."""
    wanted, rows = _numbers(version), ptx_versions()
    if wanted is not None and wanted > rows[-1].version:
        major, minor = rows[-1].version
        raise Unknown(f"PTX {version} is newer than nvdiag's table, which ends at {major}.{minor}")
    return next((row for row in rows if row.version == wanted), None)


@lru_cache(maxsize=1)
def ptx_versions() -> tuple[PtxRow, ...]:
    """All versions from 6.0 on, oldest first."""
    return ptx_versions_of(read("ptx_versions.toml", "ptx"))


def ptx_versions_of(table: Table) -> tuple[PtxRow, ...]:
    """The rows of a table; MalformedTable where a version is missing or there twice, or its CUDA version falls."""
    rows = tuple(_row(row) for row in table.rows("ptx"))
    for before, after in pairwise(rows):
        major, minor = before.version
        if after.version not in ((major, minor + 1), (major + 1, 0)) or after.cuda <= before.cuda:
            raise MalformedTable(f"{table.file}: PTX {after.version} stands after {before.version}")
    return rows


def _row(row: Row) -> PtxRow:
    version = _numbers(row.text("version"))
    if version is None:
        raise row.wrong("no version of PTX")
    return PtxRow(version=version, cuda=row.cuda("cuda"), source=row.source())


def _numbers(text: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d{1,2})\.(\d)", text)
    return (int(found[1]), int(found[2])) if found else None
