"""NVIDIA's vGPU: the PCI ids of virtual GPUs, and which releases of host and guest go together."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from nvdiag.knowledge._tables import MalformedTable, Row, Table, distinct, read
from nvdiag.model.dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VgpuTable:
    """`devices` maps a PCI device id to the physical GPU's name and its virtual GPUs' subsystem ids, as ranges.

    `branches` are the driver branches of vGPU releases, oldest first, each with vGPU's own number and whether it is of
    long-term support.
    """

    devices: dict[str, tuple[str, tuple[range, ...]]]
    branches: tuple[tuple[int, int, bool], ...]


@lru_cache(maxsize=1)
def table() -> VgpuTable:
    """nvdiag's own table."""
    return table_of(read("vgpu.toml", "device", "branch"))


def table_of(source: Table) -> VgpuTable:
    """The rows of a table; MalformedTable where a device is there twice, or branches do not rise."""
    devices, branches = [], []
    for row in source.rows("device"):
        devices.append((row.text("id"), (row.text("name"), _types(row))))
        row.source()
    for row in source.rows("branch"):
        branches.append((row.number("branch"), row.number("vgpu"), row.flag("long_term")))
        row.source()
    distinct(source.file, "id", [identifier for identifier, _ in devices])
    if any(later[:2] <= earlier[:2] for earlier, later in pairwise(branches)):
        raise MalformedTable(f"{source.file}: the branches do not rise")
    return VgpuTable(devices=dict(devices), branches=tuple(branches))


def _types(row: Row) -> tuple[range, ...]:
    found = []
    for word in row.text("types").split():
        if not re.fullmatch(r"[0-9a-f]{4}(-[0-9a-f]{4})?", word):
            raise row.wrong(f"no id of four digits and no range of them: {word}")
        first, _, last = word.partition("-")
        found.append(range(int(first, 16), int(last or first, 16) + 1))
    if not all(found) or any(later.start < earlier.stop for earlier, later in pairwise(found)):
        raise row.wrong("the ids do not rise")
    return tuple(found)


def virtual_gpu_of(device: str, subsystem: str) -> str | None:
    """The physical GPU's name where this is a virtual GPU of it, by PCI device and subsystem id (of vendor 10de).

    None for a physical GPU, and for virtual ones that are younger than the table.
    """
    name, types = table().devices.get(device, ("", ()))
    return name if any(int(subsystem, 16) in ids for ids in types) else None


def goes_together(host: int, guest: int) -> bool | None:
    """Whether a vGPU manager of one driver branch serves guests of another; None where the table does not tell."""
    rows = {branch: (place, long_term) for place, (branch, _, long_term) in enumerate(table().branches)}
    if host == guest:
        return True
    if host not in rows or guest not in rows:
        return None
    (mine, lasting), (theirs, kept) = rows[host], rows[guest]
    if theirs > mine:
        return False
    before = [place for place, long_term in rows.values() if long_term and place < mine]
    return theirs == mine - 1 or (lasting and kept and theirs == max(before))
