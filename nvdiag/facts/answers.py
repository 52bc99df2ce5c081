"""What the driver itself answers: NVML and libcuda, asked by the probes of those names.

A probe's document may come out of a snapshot: a field of another type than expected counts as not answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from itertools import chain
from typing import Any, NamedTuple

from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.pci import normal_address
from nvdiag.facts.probing import DriverReach
from nvdiag.facts.python_packages import TorchEnvironment
from nvdiag.facts.reported import Reported
from nvdiag.facts.smi_report import SmiReport
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion, DriverRelease


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """A process on a GPU. Memory is in bytes, None where the driver does not say."""

    pid: int
    name: str | None
    memory: int | None


class MigInstance(NamedTuple):
    """A part of a GPU under MIG, which CUDA sees as a device of its own; memory in bytes."""

    uuid: str | None
    memory_total: int | None
    memory_used: int | None


class Licence(NamedTuple):
    """What a GPU may be licensed for, and whether it is."""

    product: str
    licensed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlDevice:
    """One GPU as NVML sees it. A value that NVML refused is None; `errors` has NVML's number for each of those.

    `handle_error` is set where NVML could not even give a handle (15: the GPU is lost). Memory in bytes, power in
    milliwatts, temperature in degrees Celsius, utilisation in percent. `virtualization` is NVML's number of the GPU's
    mode (`nvdiag.facts.vgpu`); `licences` are asked of virtual and handed-in GPUs, `guest_drivers` of those that are
    made into virtual ones.
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
    processes: tuple[GpuProcess, ...] | None = None
    virtualization: int | None = None
    licences: tuple[Licence, ...] = ()
    guest_drivers: tuple[DriverRelease, ...] = ()
    instances: tuple[MigInstance, ...] | None = None
    errors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlAnswer:
    """What NVML said. `init` is nvmlInit's number (0: well), None where it never returned.

    `release` is the library's own release, asked of itself; `driver` is the driver's, which NVML tells only after a
    successful init. `library` is the file that the loader really took. `confidential` says that the GPUs are in
    confidential-computing mode, `ready` that they were set ready in it; None where NVML does not tell.
    """

    library: str | None = None
    dlopen_error: str | None = None
    release: DriverRelease | None = None
    init: int | None = None
    init_text: str = ""
    driver: DriverRelease | None = None
    cuda: CudaVersion | None = None
    count: int | None = None
    devices: tuple[NvmlDevice, ...] = ()
    confidential: bool = False
    ready: bool | None = None
    trouble: str | None = None

    waits_for_child = True

    @classmethod
    def collect(cls, host: Host, reach: DriverReach) -> NvmlAnswer:
        return parse_nvml(_answer(host, reach.why_not, "nvml"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaAnswer:
    """What libcuda said. `version` is the library's own CUDA version, no proof of a driver; `init` a CUresult."""

    library: str | None = None
    dlopen_error: str | None = None
    version: CudaVersion | None = None
    init: int | None = None
    init_name: str | None = None
    count: int | None = None
    trouble: str | None = None

    waits_for_child = True

    @classmethod
    def collect(cls, host: Host, reach: DriverReach) -> CudaAnswer:
        names = ("cuda init", "cuda") if reach.why_no_cuinit is None else ("cuda", "cuda init")
        document = _first(host, names)
        return parse_cuda(document)


@dataclass(frozen=True, slots=True)
class DriverCuda:
    """The highest CUDA version that the driver supports, and who said so."""

    version: CudaVersion
    source: str

    waits_for_child = True

    @classmethod
    def collect(
        cls,
        nvml: NvmlAnswer | Unknown,
        cuda: CudaAnswer | Unknown,
        loaded: LoadedDriver | Unknown,
        smi: SmiReport | Unknown,
        environment: TorchEnvironment | Unknown,
        reported: Reported | Unknown,
    ) -> DriverCuda:
        if isinstance(nvml, NvmlAnswer) and nvml.cuda is not None:
            return cls(nvml.cuda, "nvmlSystemGetCudaDriverVersion")
        if isinstance(cuda, CudaAnswer) and cuda.version is not None:
            return cls(cuda.version, "cuDriverGetVersion")
        if isinstance(smi, SmiReport) and smi.header is not None and smi.header.cuda is not None:
            return cls(smi.header.cuda, "nvidia-smi")
        release = loaded.release if isinstance(loaded, LoadedDriver) else _told_release(environment, reported)
        if release is not None:
            from nvdiag.knowledge.cuda import cuda_of_branch

            if (version := cuda_of_branch(release.branch)) is not None:
                return cls(version, f"nvdiag's table for branch {release.branch}")
        raise Unknown("neither NVML nor libcuda tells the driver's CUDA version")


def _told_release(environment: TorchEnvironment | Unknown, reported: Reported | Unknown) -> DriverRelease | None:
    """The driver's release by torch's collect_env, else as somebody wrote it down."""
    told = environment.get("Nvidia driver version") if isinstance(environment, TorchEnvironment) else None
    written = reported.values.get("driver") if isinstance(reported, Reported) else None
    return DriverRelease.or_none(told) or DriverRelease.or_none(written)


def parse_nvml(document: Mapping[str, Any]) -> NvmlAnswer:
    """The answer in a probe's document; fields of another type than expected count as not answered."""
    devices = document.get("devices")
    return NvmlAnswer(
        library=_text(document, "library"),
        dlopen_error=_text(document, "dlopen_error"),
        release=_nvml_release(_text(document, "nvml_version")),
        init=_number(document, "init"),
        init_text=_text(document, "init_text") or "",
        driver=DriverRelease.or_none(_text(document, "driver_version")),
        cuda=_cuda(document, "cuda_driver_version"),
        count=_number(document, "count"),
        devices=tuple(_device(one) for one in devices if isinstance(one, dict)) if isinstance(devices, list) else (),
        confidential=document.get("confidential") == 1,
        ready=None if (ready := _number(document, "confidential_ready")) is None else ready == 1,
        trouble=_text(document, "error"),
    )


def parse_cuda(document: Mapping[str, Any]) -> CudaAnswer:
    """The answer in a probe's document; fields of another type than expected count as not answered."""
    return CudaAnswer(
        library=_text(document, "library"),
        dlopen_error=_text(document, "dlopen_error"),
        version=_cuda(document, "driver_version"),
        init=_number(document, "init"),
        init_name=_text(document, "init_name"),
        count=_number(document, "count"),
        trouble=_text(document, "error"),
    )


def _answer(host: Host, why_not: Unknown | None, name: str) -> dict[str, Any]:
    """A probe's document; a recorded one counts even where it would not be asked for here."""
    if why_not is not None and name not in host.recorded("probes"):
        raise why_not
    return _document(host, name)


def _first(host: Host, names: tuple[str, ...]) -> dict[str, Any]:
    recorded = host.recorded("probes")
    return _document(host, next((name for name in names if name in recorded), names[0]))


def _document(host: Host, name: str) -> dict[str, Any]:
    try:
        return host.probe(name)
    except Absent as why:
        raise NotApplicable(str(why)) from why


def _device(one: dict[str, Any]) -> NvmlDevice:
    told = one.get("memory_bytes")
    memory: dict[str, Any] = told if isinstance(told, dict) else {}
    handle = _number(one, "handle")
    errors = one.get("errors")
    return NvmlDevice(
        index=_number(one, "index") or 0,
        handle_error=handle or None,
        name=_text(one, "name"),
        uuid=_text(one, "uuid"),
        address=normal_address(_text(one, "pci") or ""),
        minor=_number(one, "minor"),
        memory_total=_number(memory, "total"),
        memory_used=_number(memory, "used"),
        compute_capability=_text(one, "compute_capability"),
        utilisation=_number(one, "utilisation_percent"),
        temperature=_number(one, "temperature_celsius"),
        power=_number(one, "power_milliwatts"),
        power_limit=_number(one, "power_limit_milliwatts"),
        processes=_processes(one),
        virtualization=_number(one, "virtualization"),
        licences=tuple(
            Licence(_text(row, "product") or "", row.get("licensed") is True) for row in _rows(one, "licences")
        ),
        guest_drivers=tuple(
            release for row in _rows(one, "guests") if (release := DriverRelease.or_none(_text(row, "driver")))
        ),
        instances=_instances(one),
        errors={str(name): code for name, code in errors.items() if isinstance(code, int)}
        if isinstance(errors, dict)
        else {},
    )


def _instances(one: dict[str, Any]) -> tuple[MigInstance, ...] | None:
    """The GPU's MIG instances; None where MIG is not on."""
    if not isinstance(one.get("mig_instances"), list):
        return None
    rows = [(row, row.get("memory_bytes")) for row in _rows(one, "mig_instances")]
    return tuple(
        MigInstance(_text(row, "uuid"), _number(memory, "total"), _number(memory, "used"))
        for row, memory in ((row, memory if isinstance(memory, dict) else {}) for row, memory in rows)
    )


def _rows(one: dict[str, Any], name: str) -> list[dict[str, Any]]:
    rows = one.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _processes(one: dict[str, Any]) -> tuple[GpuProcess, ...] | None:
    """Compute and graphics processes together, each once; None where NVML told neither list."""
    lists = [one[name] for name in ("compute_processes", "graphics_processes") if isinstance(one.get(name), list)]
    if not lists:
        return None
    found = {
        process["pid"]: GpuProcess(
            pid=process["pid"], name=_text(process, "name"), memory=_number(process, "memory_bytes")
        )
        for process in chain(*lists)
        if isinstance(process, dict) and isinstance(process.get("pid"), int)
    }
    return tuple(found.values())


def _text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) else None


def _number(document: Mapping[str, Any], name: str) -> int | None:
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _nvml_release(text: str | None) -> DriverRelease | None:
    """The driver release in NVML's own version, whose first number is NVML's: 12.550.163.01."""
    first, _, rest = (text or "").partition(".")
    return DriverRelease.or_none(rest) if first.isdigit() and len(first) <= 2 else DriverRelease.or_none(text)


def _cuda(document: Mapping[str, Any], name: str) -> CudaVersion | None:
    number = _number(document, name)
    return CudaVersion.from_number(number) if number is not None and 1000 <= number < 1_000_000 else None
