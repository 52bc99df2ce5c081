"""What the driver and the GPUs here can run: what remedies for CUDA programs go by."""

from __future__ import annotations

from nvdiag.facts.answers import DriverCuda, NvmlAnswer
from nvdiag.facts.architectures import GpuCapabilities, GpuCapability
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.python_packages import GpuNames
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion, DriverRelease


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverLimits:
    """The highest CUDA version that the driver supports, its release where it is known, and the GPUs.

    `names` are the GPUs' product names where something tells them.
    """

    cuda: CudaVersion
    release: DriverRelease | None
    gpus: tuple[GpuCapability, ...]
    names: tuple[str, ...]

    @classmethod
    def collect(
        cls,
        supported: DriverCuda,
        loaded: LoadedDriver | Unknown,
        gpus: GpuCapabilities | Unknown,
        nvml: NvmlAnswer | Unknown,
        named: GpuNames | Unknown,
    ) -> DriverLimits:
        names = [one.name for one in nvml.devices if one.name] if isinstance(nvml, NvmlAnswer) else []
        names = names or (list(named.names) if isinstance(named, GpuNames) else [])
        return cls(
            cuda=supported.version.short,
            release=loaded.release if isinstance(loaded, LoadedDriver) else None,
            gpus=gpus.gpus if isinstance(gpus, GpuCapabilities) else (),
            names=tuple(names),
        )
