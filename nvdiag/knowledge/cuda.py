"""CUDA versions and driver releases: what a toolkit needs of the driver, and what a driver branch supports of CUDA."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

from nvdiag.knowledge._tables import MalformedTable, Row, Table, distinct, read
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion, DriverRelease


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolkitRow:
    """One release of the CUDA toolkit and the Linux driver that belongs to it.

    `driver` is the release that NVIDIA pairs with it, None where only the `branch` is documented. `lowest` is the
    lowest driver on which programs of this CUDA version run at all: within one CUDA major (from 11 on) an older driver
    does, without PTX compilation and newer features; an int means any release of that branch.
    """

    cuda: CudaVersion
    release: str
    driver: DriverRelease | None
    branch: int
    lowest: DriverRelease | int
    note: str
    source: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One CUDA major with minor-version compatibility; `lowest` is a release, or an int for any of a branch."""

    major: int
    lowest: DriverRelease | int
    source: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchRow:
    """One branch of the Linux driver and the highest CUDA version it supports, None where that is not known."""

    branch: int
    cuda: CudaVersion | None
    note: str
    source: tuple[str, ...]


def toolkit(cuda: CudaVersion) -> ToolkitRow | None:
    """The first release of this CUDA major.minor (not its updates); None where there was none or the table is younger.

    Unknown where `cuda` is newer than the table.
    """
    rows = toolkits()
    wanted = cuda.short
    if wanted > rows[-1].cuda:
        raise Unknown(f"CUDA {wanted} is newer than nvdiag's table, which ends at {rows[-1].cuda}")
    return next((row for row in rows if row.cuda == wanted), None)


def lowest_driver(cuda_major: int) -> DriverRelease | int | None:
    """The lowest driver (an int: any of that branch) on which some program of this CUDA major runs.

    None before CUDA 11, where each minor version needs its own driver. Unknown where the major is newer than the table.
    """
    rows = families()
    if cuda_major > rows[-1].major:
        raise Unknown(f"CUDA {cuda_major} is newer than nvdiag's table, which ends at {toolkits()[-1].cuda}")
    return next((row.lowest for row in rows if row.major == cuda_major), None)


def cuda_of_branch(branch: int) -> CudaVersion | None:
    """The highest CUDA version that a driver branch supports; None where the table does not know.

    Unknown where the branch is newer than the table.
    """
    rows = branches()
    if branch > rows[-1].branch:
        raise Unknown(f"driver branch {branch} is newer than nvdiag's table, which ends at {rows[-1].branch}")
    return next((row.cuda for row in rows if row.branch == branch), None)


@lru_cache(maxsize=1)
def toolkits() -> tuple[ToolkitRow, ...]:
    """Every release of the toolkit from 8.0 on, oldest first."""
    return toolkits_of(_toolkit_table())


@lru_cache(maxsize=1)
def families() -> tuple[Family, ...]:
    """The CUDA majors with minor-version compatibility, oldest first."""
    return families_of(_toolkit_table())


@lru_cache(maxsize=1)
def branches() -> tuple[BranchRow, ...]:
    """Every branch of the Linux driver from 304 on, oldest first."""
    return branches_of(read("driver_branches.toml", "branch"))


@lru_cache(maxsize=1)
def _toolkit_table() -> Table:
    return read("cuda_toolkits.toml", "toolkit", "family", "unreleased")


def toolkits_of(table: Table) -> tuple[ToolkitRow, ...]:
    """The toolkits of a table; MalformedTable where one is missing, there twice or out of order."""
    lowest = {family.major: family.lowest for family in families_of(table)}
    rows = tuple(_toolkit(row, lowest) for row in table.rows("toolkit"))
    distinct(table.file, "toolkit", (row.release for row in rows))
    for before, after in pairwise(rows):
        if (after.cuda, after.branch) < (before.cuda, before.branch) or _falls(before.driver, after.driver):
            raise MalformedTable(f"{table.file}: {after.release} stands after {before.release}")
    unreleased = []
    for row in table.rows("unreleased"):
        unreleased.append(row.cuda("cuda"))
        row.text("note")
    _without_gaps(table.file, [row.cuda for row in rows], unreleased)
    return rows


def _falls(before: DriverRelease | None, after: DriverRelease | None) -> bool:
    return before is not None and after is not None and after < before


def _toolkit(row: Row, families: dict[int, DriverRelease | int]) -> ToolkitRow:
    cuda = row.cuda("cuda")
    release = row.text("release")
    if release.split()[0] != cuda.text:
        raise row.wrong(f"{release} is no release of CUDA {cuda}")
    own = _release_or_branch(row, "driver", "branch")
    lowest = families.get(cuda.major, own)
    if isinstance(own, DriverRelease) and isinstance(lowest, DriverRelease):
        lowest = min(own, lowest)
    return ToolkitRow(
        cuda=cuda,
        release=release,
        driver=own if isinstance(own, DriverRelease) else None,
        branch=own.branch if isinstance(own, DriverRelease) else own,
        lowest=lowest,
        note=row.text("note", default=""),
        source=row.source(),
    )


def _release_or_branch(row: Row, release: str, branch: str) -> DriverRelease | int:
    if row.has(release) == row.has(branch):
        raise row.wrong(f"needs one of {release} and {branch}")
    return row.driver(release) if row.has(release) else row.number(branch)


def _without_gaps(file: str, released: list[CudaVersion], unreleased: list[CudaVersion]) -> None:
    """Every minor version from .0 on and every major is there, or said to have had no toolkit."""
    distinct(file, "CUDA", [*set(released), *unreleased])
    known = {version.numbers for version in (*released, *unreleased)}
    majors = {major for major, _ in known}
    if unknown := set(range(min(majors), max(majors))) - majors:
        raise MalformedTable(f"{file}: CUDA {min(unknown)} is missing")
    for major, minor in known:
        if minor and (major, minor - 1) not in known:
            raise MalformedTable(f"{file}: CUDA {major}.{minor - 1} is missing")


def families_of(table: Table) -> tuple[Family, ...]:
    """The CUDA majors with minor-version compatibility; MalformedTable where one is missing or there twice."""
    rows = tuple(
        Family(
            major=row.number("major"),
            lowest=_release_or_branch(row, "lowest", "lowest_branch"),
            source=row.source(),
        )
        for row in table.rows("family")
    )
    majors = [row.major for row in rows]
    if majors != list(range(majors[0], majors[0] + len(majors))):
        raise MalformedTable(f"{table.file}: the majors {majors} have a gap or are out of order")
    return rows


def branches_of(table: Table) -> tuple[BranchRow, ...]:
    """The branches of a table; MalformedTable where one is there twice or the CUDA version falls."""
    rows = tuple(
        BranchRow(
            branch=row.number("branch"),
            cuda=row.cuda("cuda") if row.has("cuda") else None,
            note=row.text("note", default=""),
            source=row.source(),
        )
        for row in table.rows("branch")
    )
    distinct(table.file, "branch", (row.branch for row in rows))
    known = [row for row in rows if row.cuda is not None]
    if [row.branch for row in rows] != sorted(row.branch for row in rows) or known != sorted(known, key=_cuda):
        raise MalformedTable(f"{table.file}: branches or their CUDA versions are out of order")
    return rows


def _cuda(row: BranchRow) -> tuple[int, ...]:
    return row.cuda.numbers if row.cuda else ()
