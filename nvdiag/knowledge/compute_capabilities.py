"""Compute capabilities: which CUDA toolkits make code for a GPU, and which driver branches drive it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from nvdiag.knowledge._tables import MalformedTable, Row, Table, distinct, read
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeRow:
    """One compute capability. `last` is the last toolkit that makes code for it, None where the newest still does.

    `first_driver` and `last_driver` are branches of the Linux driver, None where it is not known, `last_driver` also
    where the newest branch still drives it. `gpus` is a regular expression of product names, empty where none is known.
    """

    capability: str
    name: str
    first: CudaVersion
    last: CudaVersion | None
    source: tuple[str, ...]
    first_driver: int | None = None
    last_driver: int | None = None
    gpus: str = ""

    @property
    def numbers(self) -> tuple[int, int]:
        """Major and minor."""
        major, _, minor = self.capability.partition(".")
        return int(major), int(minor)

    def is_made_by(self, cuda: CudaVersion) -> bool:
        """Whether the toolkit of this CUDA version makes code for it. Unknown where it is newer than the table."""
        from nvdiag.knowledge.cuda import toolkits

        if self.last is None and cuda.short > (newest := toolkits()[-1].cuda):
            raise Unknown(f"CUDA {cuda.short} is newer than nvdiag's table, which ends at {newest}")
        return self.first <= cuda.short and (self.last is None or cuda.short <= self.last)

    @property
    def made_by(self) -> str:
        """The CUDA versions whose toolkits make code for it, in words."""
        return f"CUDA {self.first} or newer" if self.last is None else f"CUDA {self.first} to {self.last}"

    def has_code_of(self, cuda: CudaVersion) -> bool:
        """Whether a build with this CUDA version can hold binary code that runs on it: its own or a lower minor's."""
        return any(
            row.first <= cuda and (row.last is None or cuda <= row.last)
            for row in computes()
            if row.numbers[0] == self.numbers[0] and row.numbers <= self.numbers
        )


def capability(architecture: str) -> str | None:
    """`12.0` of `sm_120`, `compute_120a`, `120` or `12.0`; None where it is no architecture."""
    found = re.fullmatch(r"(?:sm_|compute_|lto_)?(\d{1,2})\.?(\d)[a-z]?", architecture.strip().lower())
    return f"{found[1]}.{found[2]}" if found else None


def code_runs_on(architectures: Iterable[str], wanted: str) -> bool:
    """Whether some of this code runs on a GPU of a compute capability: sm_80 is binary code, compute_80 PTX.

    Binary code runs on its own major and at least its minor version, PTX on every newer one (CUDA programming guide).
    """
    major, _, minor = wanted.partition(".")
    for name in architectures:
        kind, _, number = name.partition("_")
        held = (int(number[:-1]), int(number[-1]))
        if held <= (int(major), int(minor)) and (kind == "compute" or held[0] == int(major)):
            return True
    return False


def compute(architecture: str) -> ComputeRow | None:
    """What is known of an architecture, named in any of nvcc's ways; None where the table does not have it."""
    wanted = capability(architecture)
    return next((row for row in computes() if row.capability == wanted), None)


def compute_of_gpu(name: str) -> ComputeRow | None:
    """The capability of a GPU by its product name, whole or cut at its end; None where the name tells it not."""
    return next((row for row in computes() if row.gpus and re.search(row.gpus, name)), None)


@lru_cache(maxsize=1)
def computes() -> tuple[ComputeRow, ...]:
    """All rows, the oldest first."""
    return computes_of(read("compute_capabilities.toml", "compute"))


def computes_of(table: Table) -> tuple[ComputeRow, ...]:
    """The rows of a table; MalformedTable where one is wrong, out of order or there twice."""
    rows = tuple(_row(row) for row in table.rows("compute"))
    distinct(table.file, "capability", (row.capability for row in rows))
    if [row.numbers for row in rows] != sorted(row.numbers for row in rows):
        raise MalformedTable(f"{table.file}: the capabilities are out of order")
    return rows


def _row(row: Row) -> ComputeRow:
    first = row.cuda("first")
    last = row.cuda("last") if row.has("last") else None
    if capability(row.text("capability")) != row.text("capability") or (last is not None and last < first):
        raise row.wrong("no compute capability, or its last toolkit is older than its first")
    from_branch, to_branch = (row.number(name) if row.has(name) else None for name in ("first_driver", "last_driver"))
    if from_branch is not None and to_branch is not None and to_branch < from_branch:
        raise row.wrong("its last driver branch is older than its first")
    return ComputeRow(
        capability=row.text("capability"),
        name=row.text("name"),
        first=first,
        last=last,
        source=row.source(),
        first_driver=from_branch,
        last_driver=to_branch,
        gpus=row.text("gpus", default=""),
    )
