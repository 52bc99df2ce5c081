"""Lines of Jetson Linux (L4T): which kernel, JetPack and library folder belong to each."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from nvdiag.knowledge._tables import MalformedTable, Table, read


class L4tLine(NamedTuple):
    """One line: its number as in R36, JetPack's number, the kernel's first two numbers, and the libraries' folder.

    The folder lies below /usr/lib/aarch64-linux-gnu.
    """

    l4t: int
    jetpack: int
    kernel: str
    folder: str


@lru_cache(maxsize=1)
def lines() -> tuple[L4tLine, ...]:
    """All lines, oldest first."""
    return lines_of(read("jetson.toml", "line"))


def lines_of(table: Table) -> tuple[L4tLine, ...]:
    """The lines of a table; MalformedTable where they do not rise."""
    found = []
    for row in table.rows("line"):
        found.append(L4tLine(row.number("l4t"), row.number("jetpack"), row.text("kernel"), row.text("folder")))
        row.source()
    if any(later.l4t <= earlier.l4t for earlier, later in pairwise(found)):
        raise MalformedTable(f"{table.file}: the lines do not rise")
    return tuple(found)


def line(l4t: int) -> L4tLine | None:
    """One line by its number; None for one that the table does not have."""
    return next((one for one in lines() if one.l4t == l4t), None)


def lines_of_kernel(release: str) -> tuple[L4tLine, ...]:
    """The lines whose kernel this is, by a release such as 5.15.148-tegra; none for a kernel that is not L4T's."""
    if "tegra" not in release:
        return ()
    return tuple(one for one in lines() if release.startswith(f"{one.kernel}."))
