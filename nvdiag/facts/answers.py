"""What the driver itself answers: NVML and libcuda, asked by the probes of those names.

A probe's document may come out of a snapshot: a field of another type than expected counts as not answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.nvml_devices import NvmlDevice, device_of, number_in, text_in
from nvdiag.facts.probing import DriverReach
from nvdiag.facts.python_packages import TorchEnvironment
from nvdiag.facts.reported import Reported
from nvdiag.facts.smi_report import SmiReport
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion, DriverRelease


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
        library=text_in(document, "library"),
        dlopen_error=text_in(document, "dlopen_error"),
        release=_nvml_release(text_in(document, "nvml_version")),
        init=number_in(document, "init"),
        init_text=text_in(document, "init_text") or "",
        driver=DriverRelease.or_none(text_in(document, "driver_version")),
        cuda=_cuda(document, "cuda_driver_version"),
        count=number_in(document, "count"),
        devices=tuple(device_of(one) for one in devices if isinstance(one, dict)) if isinstance(devices, list) else (),
        confidential=document.get("confidential") == 1,
        ready=None if (ready := number_in(document, "confidential_ready")) is None else ready == 1,
        trouble=text_in(document, "error"),
    )


def parse_cuda(document: Mapping[str, Any]) -> CudaAnswer:
    """The answer in a probe's document; fields of another type than expected count as not answered."""
    return CudaAnswer(
        library=text_in(document, "library"),
        dlopen_error=text_in(document, "dlopen_error"),
        version=_cuda(document, "driver_version"),
        init=number_in(document, "init"),
        init_name=text_in(document, "init_name"),
        count=number_in(document, "count"),
        trouble=text_in(document, "error"),
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


def _nvml_release(text: str | None) -> DriverRelease | None:
    """The driver release in NVML's own version, whose first number is NVML's: 12.550.163.01."""
    first, _, rest = (text or "").partition(".")
    return DriverRelease.or_none(rest) if first.isdigit() and len(first) <= 2 else DriverRelease.or_none(text)


def _cuda(document: Mapping[str, Any], name: str) -> CudaVersion | None:
    number = number_in(document, name)
    return CudaVersion.from_number(number) if number is not None and 1000 <= number < 1_000_000 else None
