"""The GPU generations: which driver branches and which flavour of the kernel modules drive a PCI device id."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache

from nvdiag.knowledge._tables import MalformedTable, Row, Table, distinct, read
from nvdiag.model.dataclass import dataclass


class OpenModules(Enum):
    """What the open kernel modules are for a generation."""

    REQUIRED = "required"
    SUPPORTED = "supported"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One generation. `ranges` are PCI device ids of vendor 10de, first and last.

    `first` and `last` are driver branches, `last` None where the newest one still drives it. Boards of the generation
    came until branch `boards`: within them, a release may be older than a board although its branch is not.
    `capabilities` are the compute capabilities that its boards have, none for those before 2.0.
    """

    name: str
    ranges: tuple[tuple[int, int], ...]
    first: int
    boards: int
    last: int | None
    open_modules: OpenModules
    source: tuple[str, ...]
    capabilities: tuple[str, ...] = ()

    def has(self, device: int) -> bool:
        """Whether a PCI device id is of this generation."""
        return any(low <= device <= high for low, high in self.ranges)


def generation_of(device: int) -> Generation | None:
    """The generation of a PCI device id; None where the table has none, as for ids newer than it."""
    return next((one for one in generations() if one.has(device)), None)


_CHIPS = {
    "GF": "Fermi", "GK": "Kepler", "GM": "Maxwell", "GP": "Pascal", "GV": "Volta", "TU": "Turing", "GA100":
    "Ampere of the data centre (GA100)", "GA": "Ampere", "GH": "Hopper", "AD": "Ada Lovelace", "GB": "Blackwell",
}  # fmt: skip
"""Generations by how their chips' code names begin, as pci.ids has them."""


def generation_of_chip(code: str) -> Generation | None:
    """The generation of a chip by its code name, such as GB202 or TU104GLM; None for other names, and for Tegra's."""
    name = next((_CHIPS[start] for start in (code[:5].upper(), code[:2].upper()) if start in _CHIPS), None)
    return next((one for one in generations() if one.name == name), None) if "10B" not in code.upper() else None


def newest_device() -> int:
    """The highest PCI device id that the table knows: a GPU beyond it is newer than the table."""
    return max(high for one in generations() for _, high in one.ranges)


@lru_cache(maxsize=1)
def generations() -> tuple[Generation, ...]:
    """All generations, oldest first."""
    return generations_of(read("gpu_generations.toml", "generation"))


def generations_of(table: Table) -> tuple[Generation, ...]:
    """The generations of a table; MalformedTable where two of them claim one id or a column is wrong."""
    rows = tuple(_generation(row) for row in table.rows("generation"))
    distinct(table.file, "generation", (row.name for row in rows))
    ends = 0
    for low, high in sorted(one for row in rows for one in row.ranges):
        if low < ends:
            raise MalformedTable(f"{table.file}: {low:04x} is in two ranges")
        ends = high + 1
    return rows


def _generation(row: Row) -> Generation:
    first, boards, last = row.number("first"), row.number("boards"), row.number("last") if row.has("last") else None
    if not first <= boards <= (last or boards):
        raise row.wrong(f"branches {first}, {boards} and {last} are out of order")
    flavour = row.text("open")
    if flavour not in {one.value for one in OpenModules}:
        raise row.wrong(f"open is required, supported or unsupported, not {flavour}")
    return Generation(
        name=row.text("name"),
        ranges=tuple(_range(row, text) for text in row.texts("ranges")),
        first=first,
        boards=boards,
        last=last,
        open_modules=OpenModules(flavour),
        source=row.source(),
        capabilities=row.texts("capabilities") if row.has("capabilities") else (),
    )


def _range(row: Row, text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9a-f]{4})-([0-9a-f]{4})", text)
    if found is None or found[1] > found[2]:
        raise row.wrong(f"no range of device ids: {text}")
    return int(found[1], 16), int(found[2], 16)
