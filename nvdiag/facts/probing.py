"""What the driver itself answers: NVML and libcuda, asked in children that change nothing, and what became of those."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from nvdiag.facts.modules import KernelModules, LoadedDriver
from nvdiag.facts.nodes import DeviceNodes, openable
from nvdiag.facts.pci import PciGpus, normal_address
from nvdiag.facts.system import Surroundings
from nvdiag.host import Absent, Host
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion, DriverRelease

BASE_SECONDS = 10.0
SECONDS_PER_FURTHER_GPU = 3.0
"""Eight GPUs without persistence mode were seen to take over 25 seconds to initialise."""


@dataclass(frozen=True, slots=True)
class DriverReach:
    """Whether NVIDIA's code may be called here without changing the machine.

    Calling NVML, opening a node or cuInit loads modules and makes nodes where they are missing. `why_not` is None
    where it may be called. `why_no_cuinit` is None where cuInit may be, too.
    """

    why_not: Unknown | None
    why_no_cuinit: Unknown | None

    @classmethod
    def collect(
        cls, surroundings: Surroundings, modules: KernelModules | Unknown, nodes: DeviceNodes | Unknown
    ) -> DriverReach:
        if surroundings.wsl or surroundings.tegra or surroundings.sandbox == "gvisor":
            return cls(None, None)
        if isinstance(modules, Unknown):
            refusal = Unknown(f"NVML was not called, since that could load a module ({modules})")
            return cls(refusal, refusal)
        if modules.nvidia is None:
            absence = NotApplicable("the nvidia module is not loaded, and calling NVML could load it")
            return cls(absence, absence)
        if isinstance(nodes, DeviceNodes) and "/dev/nvidiactl" not in nodes.nodes:
            missing = NotApplicable("/dev/nvidiactl is missing, and calling NVML would make it")
            return cls(missing, missing)
        if "nvidia_uvm" not in modules.others:
            return cls(None, NotApplicable("nvidia_uvm is not loaded, and cuInit could load it"))
        if isinstance(nodes, DeviceNodes) and "/dev/nvidia-uvm" not in nodes.nodes:
            return cls(None, NotApplicable("/dev/nvidia-uvm is missing, and cuInit would make it"))
        return cls(None, None)


@dataclass(frozen=True, slots=True)
class Probes:
    """The probes of this run, under way in their children. Collected first, so that they work while files are read."""

    names: tuple[str, ...]

    @classmethod
    def collect(
        cls,
        host: Host,
        reach: DriverReach,
        gpus: PciGpus | Unknown,
        nodes: DeviceNodes | Unknown,
        modules: KernelModules | Unknown,
    ) -> Probes:
        names = []
        if reach.why_not is None:
            names.append("nvml")
        names.append("cuda init" if reach.why_no_cuinit is None else "cuda")
        if isinstance(modules, KernelModules) and modules.nvidia is not None:
            names.append("driver-files")
            if isinstance(nodes, DeviceNodes) and (wanted := openable(nodes, modules)):
                names.append(shlex.join(["nodes", *wanted]))
        count = len(gpus.gpus) if isinstance(gpus, PciGpus) else 1
        host.begin(names, BASE_SECONDS + SECONDS_PER_FURTHER_GPU * max(0, count - 1))
        return cls(tuple(names))


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """A process on a GPU. Memory is in bytes, None where the driver does not say."""

    pid: int
    name: str | None
    memory: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlDevice:
    """One GPU as NVML sees it. A value that NVML refused is None; `errors` has NVML's number for each of those.

    `handle_error` is set where NVML could not even give a handle (15: the GPU is lost). Memory in bytes, power in
    milliwatts, temperature in degrees Celsius, utilisation in percent.
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
    errors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlAnswer:
    """What NVML said. `init` is nvmlInit's number (0: well), None where it never returned.

    `release` is the library's own release, asked of itself; `driver` is the driver's, which NVML tells only after a
    successful init. `library` is the file that the loader really took.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTrouble:
    """A probe that hung or crashed. `stage` is the call that it was in; `state` its process state when given up."""

    probe: str
    error: str
    stage: str
    state: str = ""
    left_behind: bool = False
    silent_seconds: float = 0.0
    signal: str = ""


@dataclass(frozen=True, slots=True)
class ProbeTroubles:
    """The probes of this run that did not come back with an answer."""

    troubles: tuple[ProbeTrouble, ...]
    gpus: int = 1

    waits_for_child = True

    @classmethod
    def collect(cls, host: Host, probes: Probes, gpus: PciGpus | Unknown) -> ProbeTroubles:
        found, heard = [], False
        for name in (*probes.names, *(name for name in host.recorded("probes") if name not in probes.names)):
            try:
                document = host.probe(name)
            except Unknown:
                continue  # a recording without this probe; what would have used it says so itself
            heard = True
            if isinstance(document.get("error"), str):
                found.append(_trouble(name, document))
        if not heard:
            raise Unknown("no probe's answer is recorded")
        return cls(tuple(found), len(gpus.gpus) if isinstance(gpus, PciGpus) else 1)


@dataclass(frozen=True, slots=True)
class DriverCuda:
    """The highest CUDA version that the driver supports, and who said so."""

    version: CudaVersion
    source: str

    waits_for_child = True

    @classmethod
    def collect(
        cls, nvml: NvmlAnswer | Unknown, cuda: CudaAnswer | Unknown, loaded: LoadedDriver | Unknown
    ) -> DriverCuda:
        if isinstance(nvml, NvmlAnswer) and nvml.cuda is not None:
            return cls(nvml.cuda, "nvmlSystemGetCudaDriverVersion")
        if isinstance(cuda, CudaAnswer) and cuda.version is not None:
            return cls(cuda.version, "cuDriverGetVersion")
        if isinstance(loaded, LoadedDriver):
            from nvdiag.knowledge.cuda import cuda_of_branch

            if (version := cuda_of_branch(loaded.release.branch)) is not None:
                return cls(version, f"nvdiag's table for branch {loaded.release.branch}")
        raise Unknown("neither NVML nor libcuda tells the driver's CUDA version")


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
        errors={str(name): code for name, code in errors.items() if isinstance(code, int)}
        if isinstance(errors, dict)
        else {},
    )


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


def _trouble(name: str, document: dict[str, Any]) -> ProbeTrouble:
    silent = document.get("silent_seconds")
    return ProbeTrouble(
        probe=name.partition(" ")[0],
        error=str(document["error"]),
        stage=_text(document, "stage") or "its start",
        state=_text(document, "state") or "",
        left_behind=document.get("left_behind") is True,
        silent_seconds=float(silent) if isinstance(silent, (int, float)) and 0 <= silent < 1e9 else 0.0,
        signal=_text(document, "signal") or "",
    )


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
