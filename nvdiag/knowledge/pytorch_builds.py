"""PyTorch's builds: which index has which releases, for which CUDA version and GPUs, with which cuDNN and NCCL."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

from nvdiag.knowledge._tables import MalformedTable, Row, Table, distinct, read
from nvdiag.knowledge.cuda import lowest_driver
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion, DriverRelease, Numbered

Release = tuple[int, int]
"""A release of PyTorch, major and minor: (2, 9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PytorchBuild:
    """The builds of one index for the releases from `first` to `last`.

    `capabilities` are those that it holds binary code for, `ptx` the one that it holds PTX of, None for none.
    """

    index: str
    cuda: CudaVersion
    first: Release
    last: Release
    capabilities: tuple[Release, ...]
    ptx: Release | None
    source: tuple[str, ...]

    def runs_on(self, capability: Release, driver: CudaVersion) -> bool:
        """Whether it has code for a GPU: of its major and at most its minor, or PTX that the driver takes."""
        binary = any(own[0] == capability[0] and own <= capability for own in self.capabilities)
        return binary or (self.ptx is not None and self.ptx <= capability and self.cuda <= driver.short)

    def is_full_on(self, driver: CudaVersion) -> bool:
        """Whether a driver that supports this CUDA version supports all of it, not by minor-version compatibility."""
        return self.cuda <= driver.short

    def starts_on(self, driver: CudaVersion, release: DriverRelease | None) -> bool:
        """Whether it runs on a driver of this CUDA version at all: in full, or within one CUDA major (from 11 on)."""
        if self.cuda.major != driver.major or self.is_full_on(driver):
            return self.is_full_on(driver)
        lowest = lowest_driver(self.cuda.major)
        if isinstance(lowest, DriverRelease):
            return release is None or release >= lowest
        return lowest is not None

    def nearest(self, wanted: Release | None) -> Release:
        """The release to take: the one that is wanted where there is a build of it, else the last."""
        return wanted if wanted is not None and self.first <= wanted <= self.last else self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class PytorchParts:
    """The cuDNN and the NCCL that the builds of one index are made with, `nccl` None where it is not told."""

    index: str
    first: Release
    last: Release
    cudnn: Numbered
    nccl: Numbered | None
    source: tuple[str, ...]


def release_of(version: str) -> Release | None:
    """(2, 9) of `2.9.1+cu130`; None for another text."""
    found = re.match(r"(\d{1,2})\.(\d{1,3})(?:\.|\+|$)", version)
    return (int(found[1]), int(found[2])) if found else None


def build_of(version: str) -> PytorchBuild | None:
    """The build that a version names: 2.9.1+cu130; None where it names none of the table's indexes and releases.

    Unknown where the release is newer than the table.
    """
    return _named(version, builds())


def parts_of(version: str) -> PytorchParts | None:
    """What the build that a version names is made with; None and Unknown as `build_of`."""
    return _named(version, _tables()[1])


_Ranged = TypeVar("_Ranged", PytorchBuild, PytorchParts)


def _named(version: str, rows: Sequence[_Ranged]) -> _Ranged | None:
    release, index = release_of(version), re.search(r"\+(cu\d{3})\b", version)
    if release is None or index is None:
        return None
    newest = max(row.last for row in rows)
    if release > newest:
        raise Unknown(f"PyTorch {version} is newer than nvdiag's table, which ends at {newest[0]}.{newest[1]}")
    return next((row for row in rows if row.index == index[1] and row.first <= release <= row.last), None)


def builds_for(
    driver: CudaVersion, release: DriverRelease | None, gpus: Collection[Release], wanted: Release | None
) -> Iterator[PytorchBuild]:
    """The builds to take on a driver, at most two, the better one first.

    The best of those that it supports in full is one, unless there is none; before it stands one that it runs by
    minor-version compatibility where only that has the release that is wanted, or where it has a newer one.
    """

    def worth(row: PytorchBuild) -> tuple[bool, Release]:
        return row.nearest(wanted) == wanted, row.last

    able = [row for row in builds() if row.starts_on(driver, release) and all(row.runs_on(gpu, driver) for gpu in gpus)]
    full = max((row for row in able if row.is_full_on(driver)), key=lambda row: (worth(row), row.cuda), default=None)
    part = max(
        (row for row in able if not row.is_full_on(driver)), key=worth, default=None
    )  # of equals the oldest CUDA
    if part is not None and (full is None or worth(part) > worth(full)):
        yield part
    if full is not None:
        yield full


def builds() -> tuple[PytorchBuild, ...]:
    """All builds, by index and release."""
    return _tables()[0]


@lru_cache(maxsize=1)
def _tables() -> tuple[tuple[PytorchBuild, ...], tuple[PytorchParts, ...]]:
    table = read("pytorch_builds.toml", "build", "parts")
    made = builds_of(table)
    return made, parts_in(table, made)


def builds_of(table: Table) -> tuple[PytorchBuild, ...]:
    """The builds of a table; MalformedTable where one is wrong, or an index has a release twice or leaves one out."""
    rows = tuple(_build(row) for row in table.rows("build"))
    distinct(table.file, "build", ((row.index, row.first) for row in rows))
    if [row.cuda for row in rows] != sorted(row.cuda for row in rows):
        raise MalformedTable(f"{table.file}: the indexes are out of order")
    _without_gaps(table.file, rows)
    return rows


def parts_in(table: Table, made: Sequence[PytorchBuild]) -> tuple[PytorchParts, ...]:
    """The parts of a table; MalformedTable where they are not of the very releases of which there are builds."""
    rows = tuple(
        PytorchParts(
            index=row.text("index"),
            first=_pair(row, row.text("first")),
            last=_pair(row, row.text("last")),
            cudnn=Numbered.of(row.text("cudnn")),
            nccl=Numbered.of(row.text("nccl")) if row.has("nccl") else None,
            source=row.source(),
        )
        for row in table.rows("parts")
    )
    _without_gaps(table.file, rows)
    if _spans(rows) != _spans(made):
        raise MalformedTable(f"{table.file}: parts and builds are not of the same releases")
    return rows


def _spans(rows: Sequence[PytorchBuild | PytorchParts]) -> dict[str, tuple[Release, Release]]:
    spans: dict[str, tuple[Release, Release]] = {}
    for row in rows:
        spans[row.index] = (spans.get(row.index, (row.first, row.last))[0], row.last)
    return spans


def _without_gaps(file: str, rows: Sequence[PytorchBuild | PytorchParts]) -> None:
    for before, after in pairwise(rows):
        if after.index == before.index and after.first != (before.last[0], before.last[1] + 1):
            raise MalformedTable(f"{file}: {after.index} has a gap or an overlap after {before.last}")


def _build(row: Row) -> PytorchBuild:
    index, cuda = row.text("index"), row.cuda("cuda")
    if index != f"cu{cuda.text.replace('.', '')}":
        raise row.wrong(f"{index} is no index of CUDA {cuda}")
    first, last = (_pair(row, row.text(name)) for name in ("first", "last"))
    if last < first:
        raise row.wrong("its last release is older than its first")
    capabilities = row.texts("capabilities")
    ptx = row.text("ptx") if row.has("ptx") else None
    return PytorchBuild(
        index=index,
        cuda=cuda,
        first=first,
        last=last,
        capabilities=tuple(_pair(row, one) for one in capabilities),
        ptx=_pair(row, ptx) if ptx else None,
        source=row.source(),
    )


def _pair(row: Row, text: str) -> Release:
    found = re.fullmatch(r"(\d{1,2})\.(\d{1,3})", text)
    if found is None:
        raise row.wrong(f"not major.minor: {text}")
    return int(found[1]), int(found[2])
