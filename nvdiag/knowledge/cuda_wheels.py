"""cuDNN and NCCL: which of their versions there are for which CUDA major."""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby, pairwise

from nvdiag.knowledge._tables import MalformedTable, Row, Table, distinct, read
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import ParseError, Unknown
from nvdiag.model.versions import Numbered


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """The wheels of a library for one CUDA major, from version `first` to `last`; `newest` is the library's newest."""

    library: str
    major: int
    first: Numbered
    last: Numbered
    newest: Numbered
    source: tuple[str, ...]

    @property
    def name(self) -> str:
        """The package: nvidia-cudnn-cu12."""
        return f"nvidia-{self.library}-cu{self.major}"

    def has(self, version: Numbered) -> bool:
        """Whether there is one of a version or its prefix (9, 8.9). Unknown where it is newer than the table."""
        length = len(version.numbers)
        if version.numbers > self.newest.numbers[:length]:
            raise Unknown(f"{self.library} {version} is newer than nvdiag's table, which ends at {self.newest}")
        return self.first.numbers[:length] <= version.numbers <= self.last.numbers[:length]


def wheel_of(library: str, major: int) -> Wheel | None:
    """The wheels of "cudnn" or "nccl" for a CUDA major; None before the table. Unknown where it is newer than that."""
    rows = [row for row in wheels() if row.library == library]
    if major > rows[-1].major:
        raise Unknown(f"CUDA {major} is newer than nvdiag's table of {library}, which ends at CUDA {rows[-1].major}")
    return next((row for row in rows if row.major == major), None)


@lru_cache(maxsize=1)
def wheels() -> tuple[Wheel, ...]:
    """All rows, by library and CUDA major."""
    return wheels_of(read("cuda_wheels.toml", "newest", "wheel"))


def wheels_of(table: Table) -> tuple[Wheel, ...]:
    """The rows of a table; MalformedTable where a CUDA major is missing or there twice, or versions fall."""
    newest: dict[str, Numbered] = {}
    for row in table.rows("newest"):
        if newest.setdefault(row.text("library"), _version(row, "version")) != _version(row, "version"):
            raise row.wrong("its library is there twice")
        row.source()
    rows = tuple(_wheel(row, newest) for row in table.rows("wheel"))
    distinct(table.file, "wheel", ((row.library, row.major) for row in rows))
    for library, group in groupby(rows, key=lambda row: row.library):
        for before, after in pairwise(group):
            if after.major != before.major + 1 or after.first < before.first or after.last < before.last:
                raise MalformedTable(f"{table.file}: {library} of CUDA {after.major} stands after CUDA {before.major}")
    if idle := set(newest) - {row.library for row in rows}:
        raise MalformedTable(f"{table.file}: {min(idle)} has a newest version and no wheels")
    return rows


def _wheel(row: Row, newest: dict[str, Numbered]) -> Wheel:
    library = row.text("library")
    if library not in newest:
        raise row.wrong(f"{library} has no newest version")
    first = _version(row, "first")
    last = _version(row, "last") if row.has("last") else newest[library]
    if not first <= last <= newest[library]:
        raise row.wrong("its versions are out of order")
    return Wheel(
        library=library,
        major=row.number("major"),
        first=first,
        last=last,
        newest=newest[library],
        source=row.source(),
    )


def _version(row: Row, column: str) -> Numbered:
    try:
        return Numbered.of(row.text(column))
    except ParseError as error:
        raise row.wrong(str(error)) from error
