"""Services that hold the driver's modules, recognised by a unit's or a process's name."""

from __future__ import annotations

import re
from functools import lru_cache

from nvdiag.knowledge._tables import MalformedTable, Table, distinct, read
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex

CUT_BY_LSOF = 9
"""Letters of a command's name that lsof shows, without its option +c."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuService:
    """One kind of service. `order` is when in a reload it is stopped; starting goes the other way round."""

    name: str
    order: int
    units: re.Pattern[str]
    comms: re.Pattern[str]
    says: str
    source: tuple[str, ...]


@lru_cache(maxsize=1)
def gpu_services() -> tuple[GpuService, ...]:
    """The services in the order in which they are stopped."""
    return gpu_services_of(read("gpu_services.toml", "service"))


def gpu_services_of(table: Table) -> tuple[GpuService, ...]:
    """The services of a table; MalformedTable where two have one name or one order, or they are out of order."""
    rows = tuple(
        GpuService(
            name=row.text("name"),
            order=row.number("order"),
            units=regex(row.text("units")),
            comms=regex(row.text("comms")),
            says=row.text("says"),
            source=row.source(),
        )
        for row in table.rows("service")
    )
    orders = [row.order for row in rows]
    if orders != sorted(orders):
        raise MalformedTable(f"{table.file}: the orders do not rise")
    distinct(table.file, "name", [row.name for row in rows])
    distinct(table.file, "order", orders)
    return rows


def service_of(unit: str, comm: str = "") -> GpuService | None:
    """The kind of service that a unit is of, or a process of this name where its unit does not tell."""
    for row in gpu_services():
        if unit and row.units.fullmatch(unit):
            return row
    return next((row for row in gpu_services() if comm and row.comms.fullmatch(comm)), None)


def service_of_cut(comm: str) -> GpuService | None:
    """The kind of service by a process's name that lsof may have cut to nine letters; None where two kinds fit."""
    if (exact := service_of("", comm)) is not None or len(comm) != CUT_BY_LSOF:
        return exact
    fits = [row for row in gpu_services() if any(one.startswith(comm) for one in row.comms.pattern.split("|"))]
    return fits[0] if len(fits) == 1 else None
