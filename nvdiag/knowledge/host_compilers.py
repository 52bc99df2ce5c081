"""Host compilers: the newest gcc and clang that each CUDA toolkit takes for the host's part of a program."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from itertools import pairwise

from nvdiag.knowledge._tables import MalformedTable, Table, distinct, read
from nvdiag.knowledge.cuda import toolkits
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRow:
    """One toolkit. `gcc` and `clang` are the highest major versions that its crt/host_config.h does not refuse."""

    cuda: CudaVersion
    gcc: int
    clang: int
    note: str
    source: tuple[str, ...]

    def highest(self, kind: str) -> int:
        """The highest major version of "gcc" or "clang"."""
        return self.clang if kind == "clang" else self.gcc


def host_compilers(cuda: CudaVersion) -> HostRow | None:
    """The row of a CUDA version; None before the table. Unknown where it is newer than the table."""
    rows = hosts()
    if cuda.short > rows[-1].cuda:
        raise Unknown(f"CUDA {cuda.short} is newer than nvdiag's table of compilers, which ends at {rows[-1].cuda}")
    return next((row for row in rows if row.cuda == cuda.short), None)


def first_that_takes(kind: str, major: int) -> HostRow | None:
    """The first toolkit that takes this major version of gcc or clang; None where the table has none."""
    return next((row for row in hosts() if row.highest(kind) >= major), None)


@lru_cache(maxsize=1)
def hosts() -> tuple[HostRow, ...]:
    """Every toolkit from 8.0 on, oldest first."""
    return hosts_of(read("host_compilers.toml", "host"), {row.cuda for row in toolkits()})


def hosts_of(table: Table, released: Collection[CudaVersion]) -> tuple[HostRow, ...]:
    """The rows of a table, one for each of the released CUDA versions; MalformedTable where one is wrong or missing."""
    rows = tuple(
        HostRow(
            cuda=row.cuda("cuda"),
            gcc=row.number("gcc"),
            clang=row.number("clang"),
            note=row.text("note", default=""),
            source=row.source(),
        )
        for row in table.rows("host")
    )
    distinct(table.file, "CUDA", (row.cuda for row in rows))
    for before, after in pairwise(rows):
        if after.cuda < before.cuda or after.gcc < before.gcc or after.clang < before.clang:
            raise MalformedTable(f"{table.file}: CUDA {after.cuda} stands after {before.cuda}")
    if odd := {row.cuda for row in rows} ^ set(released):
        raise MalformedTable(f"{table.file}: CUDA {min(odd)} is missing, or there is no such toolkit")
    return rows
