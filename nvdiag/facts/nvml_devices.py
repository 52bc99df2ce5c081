"""One GPU as NVML sees it, from what the probe `nvml` answered for it.

A probe's document may come out of a snapshot: a field of another type than expected counts as not answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import Any

from nvdiag.facts.cgroups import Place, place_of
from nvdiag.facts.pci import normal_address
from nvdiag.model.dataclass import dataclass
from nvdiag.model.versions import DriverRelease


class ComputeMode(Enum):
    """Who may open a CUDA context on a GPU: nvmlComputeMode_t of nvml.h. 1 (one thread) is no longer to be had."""

    DEFAULT = 0
    EXCLUSIVE_THREAD = 1
    PROHIBITED = 2
    EXCLUSIVE_PROCESS = 3


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process on a GPU. Memory is in bytes, None where the driver does not say.

    `name` is its comm, cut to 15 letters; None where /proc does not show the process. `cgroup` is that file's text.
    `computes` says whether it has a CUDA context, and does not only draw.
    """

    pid: int
    name: str | None
    memory: int | None
    user: str = ""
    uid: int | None = None
    cgroup: str = ""
    computes: bool = True

    @property
    def place(self) -> Place:
        """What it is stopped and started with: a service, a container, a job."""
        return place_of(self.cgroup)


@dataclass(frozen=True, slots=True)
class MigInstance:
    """A part of a GPU under MIG, which CUDA sees as a device of its own; memory in bytes."""

    uuid: str | None
    memory_total: int | None
    memory_used: int | None


@dataclass(frozen=True, slots=True)
class Licence:
    """What a GPU may be licensed for, and whether it is."""

    product: str
    licensed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlDevice:
    """One GPU as NVML sees it. A value that NVML refused is None; `errors` has NVML's number for each of those.

    `handle_error` is set where NVML could not even give a handle (15: the GPU is lost). Memory in bytes, power in
    milliwatts, temperature in degrees Celsius, utilisation in percent. `virtualization` is NVML's number of the GPU's
    mode (`nvdiag.facts.vgpu`); `licences` are asked of virtual and handed-in GPUs, `guest_drivers` of those that are
    made into virtual ones. `mig` says whether MIG mode is on and `mig_pending` whether it is to be on after the next
    reset, None for a GPU without MIG; `instances` are None where it is off.
    """

    index: int
    handle_error: int | None = None
    name: str | None = None
    uuid: str | None = None
    address: str | None = None
    minor: int | None = None
    memory_total: int | None = None
    memory_used: int | None = None
    compute_capability: str | None = None
    utilisation: int | None = None
    temperature: int | None = None
    power: int | None = None
    power_limit: int | None = None
    compute_mode: ComputeMode | None = None
    processes: tuple[GpuProcess, ...] | None = None
    virtualization: int | None = None
    licences: tuple[Licence, ...] = ()
    guest_drivers: tuple[DriverRelease, ...] = ()
    mig: bool | None = None
    mig_pending: bool | None = None
    instances: tuple[MigInstance, ...] | None = None
    errors: Mapping[str, int] = field(default_factory=dict)


def device_of(one: dict[str, Any]) -> NvmlDevice:
    """The GPU that one entry of the probe's `devices` tells of."""
    told = one.get("memory_bytes")
    memory: dict[str, Any] = told if isinstance(told, dict) else {}
    handle = number_in(one, "handle")
    mode, errors = number_in(one, "compute_mode"), one.get("errors")
    return NvmlDevice(
        index=number_in(one, "index") or 0,
        handle_error=handle or None,
        name=text_in(one, "name"),
        uuid=text_in(one, "uuid"),
        address=normal_address(text_in(one, "pci") or ""),
        minor=number_in(one, "minor"),
        memory_total=number_in(memory, "total"),
        memory_used=number_in(memory, "used"),
        compute_capability=text_in(one, "compute_capability"),
        utilisation=number_in(one, "utilisation_percent"),
        temperature=number_in(one, "temperature_celsius"),
        power=number_in(one, "power_milliwatts"),
        power_limit=number_in(one, "power_limit_milliwatts"),
        compute_mode=next((known for known in ComputeMode if known.value == mode), None),
        processes=_processes(one),
        virtualization=number_in(one, "virtualization"),
        licences=tuple(
            Licence(text_in(row, "product") or "", row.get("licensed") is True) for row in _rows(one, "licences")
        ),
        guest_drivers=tuple(
            release for row in _rows(one, "guests") if (release := DriverRelease.or_none(text_in(row, "driver")))
        ),
        mig=_is_on(one, "mig_mode"),
        mig_pending=_is_on(one, "mig_pending"),
        instances=_instances(one),
        errors={str(name): code for name, code in errors.items() if isinstance(code, int)}
        if isinstance(errors, dict)
        else {},
    )


def _is_on(one: Mapping[str, Any], name: str) -> bool | None:
    mode = number_in(one, name)
    return None if mode is None else mode == 1


def _instances(one: dict[str, Any]) -> tuple[MigInstance, ...] | None:
    """The GPU's MIG instances; None where MIG is not on."""
    if not isinstance(one.get("mig_instances"), list):
        return None
    rows = [(row, row.get("memory_bytes")) for row in _rows(one, "mig_instances")]
    return tuple(
        MigInstance(text_in(row, "uuid"), number_in(memory, "total"), number_in(memory, "used"))
        for row, memory in ((row, memory if isinstance(memory, dict) else {}) for row, memory in rows)
    )


def _rows(one: dict[str, Any], name: str) -> list[dict[str, Any]]:
    rows = one.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _processes(one: dict[str, Any]) -> tuple[GpuProcess, ...] | None:
    """Compute and graphics processes together, each once; None where NVML told neither list."""
    lists = [one.get(name) for name in ("graphics_processes", "compute_processes")]
    if not any(isinstance(rows, list) for rows in lists):
        return None
    return tuple(
        {
            row["pid"]: GpuProcess(
                row["pid"],
                text_in(row, "name"),
                number_in(row, "memory_bytes"),
                text_in(row, "user") or "",
                number_in(row, "uid"),
                text_in(row, "cgroup") or "",
                computes,
            )
            for rows, computes in zip(lists, (False, True), strict=True)
            for row in (rows if isinstance(rows, list) else ())
            if isinstance(row, dict) and isinstance(row.get("pid"), int)
        }.values()
    )


def text_in(document: Mapping[str, Any], name: str) -> str | None:
    """A text in a document, None for anything else."""
    value = document.get(name)
    return value if isinstance(value, str) else None


def number_in(document: Mapping[str, Any], name: str) -> int | None:
    """A whole number in a document, None for anything else."""
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
