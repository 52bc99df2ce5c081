"""Compute capabilities: which CUDA toolkits make code for a GPU."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from nvdiag.knowledge._tables import Row, distinct, read
from nvdiag.model.versions import CudaVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeRow:
    """One compute capability. `last` is the last toolkit that makes code for it, None where the newest still does.

    `gpus` is a regular expression of product names, empty where none is known.
    """

    capability: str
    name: str
    first: CudaVersion
    last: CudaVersion | None
    source: tuple[str, ...]
    gpus: str = ""

    @property
    def numbers(self) -> tuple[int, int]:
        """Major and minor."""
        major, _, minor = self.capability.partition(".")
        return int(major), int(minor)

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


def compute(architecture: str) -> ComputeRow | None:
    """What is known of an architecture, named in any of nvcc's ways; None where the table does not have it."""
    wanted = capability(architecture)
    return next((row for row in computes() if row.capability == wanted), None)


def compute_of_gpu(name: str) -> ComputeRow | None:
    """The capability of a GPU by its product name, whole or cut at its end; None where the name tells it not."""
    return next((row for row in computes() if row.gpus and re.search(row.gpus, name)), None)


@lru_cache(maxsize=1)
def computes() -> tuple[ComputeRow, ...]:
    """All rows. MalformedTable where one is wrong or there twice."""
    table = read("compute_capabilities.toml", "compute")
    rows = tuple(_row(row) for row in table.rows("compute"))
    distinct(table.file, "capability", (row.capability for row in rows))
    return rows


def _row(row: Row) -> ComputeRow:
    first = row.cuda("first")
    last = row.cuda("last") if row.has("last") else None
    if capability(row.text("capability")) != row.text("capability") or (last is not None and last < first):
        raise row.wrong("no compute capability, or its last toolkit is older than its first")
    return ComputeRow(
        capability=row.text("capability"),
        name=row.text("name"),
        first=first,
        last=last,
        source=row.source(),
        gpus=row.text("gpus", default=""),
    )
