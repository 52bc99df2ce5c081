"""Forward compatibility: which cuda-compat package runs on a kernel module of which older branch, and on which GPUs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from nvdiag.knowledge._tables import MalformedTable, Row, Table, distinct, read
from nvdiag.knowledge.cuda import ToolkitRow, toolkits
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatPackage:
    """One package. `branch` is the driver branch of its libcuda, `bases` the branches of modules that it runs on.

    `listed` are all branches that the table tells of.
    """

    cuda: CudaVersion
    branch: int
    bases: tuple[int, ...]
    listed: tuple[int, ...]
    source: tuple[str, ...]

    @property
    def name(self) -> str:
        """As NVIDIA's repositories name it: cuda-compat-13-0."""
        return f"cuda-compat-{'-'.join(str(number) for number in self.cuda.numbers)}"

    def runs_on(self, base: int) -> bool:
        """Whether its libcuda runs on a module of this branch. Unknown where NVIDIA's table says nothing of it."""
        if base in self.bases:
            return True
        if base >= self.branch or base in self.listed:
            return False
        raise Unknown(f"NVIDIA's table of forward compatibility does not have driver branch {base} as a base")


def package_of_branch(branch: int) -> CompatPackage | None:
    """The package whose libcuda is of this branch; None where none is. Unknown where it is newer than the table."""
    rows = packages()
    if branch > rows[-1].branch:
        raise Unknown(f"a libcuda of branch {branch} is newer than nvdiag's table, which ends at {rows[-1].branch}")
    return next((row for row in rows if row.branch == branch), None)


def package_for(cuda: CudaVersion, base: int) -> CompatPackage | None:
    """The oldest package by which programs of this CUDA version run on a module of branch `base`; None where none does.

    It is of the same CUDA major, so that it needs as little of the driver as can be.
    """
    for row in packages():
        if row.cuda >= cuda.short and row.cuda.major == cuda.major and base in row.bases:
            return row
    return None


def board(gpu: str) -> Board | None:
    """What the table says of a GPU of this product name; None where it has none like it."""
    return next((row for row in _table().boards if re.search(row.names, gpu)), None)


def never_on(gpu: str) -> bool:
    """Whether a GPU of this name cannot use cuda-compat whatever the driver: cuInit answers 804."""
    row = board(gpu)
    return row is not None and row.may == "none"


def packages() -> tuple[CompatPackage, ...]:
    """All packages that NVIDIA's table has, oldest first."""
    return _table().packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """GPUs by a regular expression of their names; `may` is all, some or none of them."""

    kind: str
    names: str
    may: str
    source: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForwardCompatibility:
    """The whole table."""

    packages: tuple[CompatPackage, ...]
    boards: tuple[Board, ...]


@lru_cache(maxsize=1)
def _table() -> ForwardCompatibility:
    return compat_of(read("forward_compat.toml", "base", "package", "board"), toolkits())


def compat_of(table: Table, released: Sequence[ToolkitRow]) -> ForwardCompatibility:
    """The table; MalformedTable where a package is missing, there twice, out of order, or of a wrong branch."""
    listed = tuple(row.number("branch") for row in table.rows("base"))
    distinct(table.file, "base", listed)
    rows = tuple(
        CompatPackage(
            cuda=row.cuda("cuda"),
            branch=row.number("branch"),
            bases=row.numbers("bases"),
            listed=listed,
            source=row.source(),
        )
        for row in table.rows("package")
    )
    distinct(table.file, "CUDA", (row.cuda for row in rows))
    for before, after in pairwise(rows):
        if after.cuda < before.cuda:
            raise MalformedTable(f"{table.file}: CUDA {after.cuda} stands after {before.cuda}")
    branches = {row.cuda: row.branch for row in released if rows[0].cuda <= row.cuda <= rows[-1].cuda}
    if {row.cuda: row.branch for row in rows} != branches:
        odd = {row.cuda for row in rows} ^ set(branches) or {
            row.cuda for row in rows if branches[row.cuda] != row.branch
        }
        raise MalformedTable(f"{table.file}: CUDA {min(odd)} is missing, or not of its toolkit's branch")
    for one in rows:
        if not set(one.bases) <= set(listed) or any(base >= one.branch for base in one.bases):
            raise MalformedTable(f"{table.file}: CUDA {one.cuda} has a base that is not listed, or not older than it")
    return ForwardCompatibility(rows, tuple(_board(row) for row in table.rows("board")))


def _board(row: Row) -> Board:
    found = Board(kind=row.text("kind"), names=row.text("names"), may=row.text("may"), source=row.source())
    if found.may not in ("all", "some", "none"):
        raise row.wrong(f"may is none of all, some and none: {found.may}")
    return found
