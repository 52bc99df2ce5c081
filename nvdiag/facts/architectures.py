"""The GPUs' compute capabilities, and the architectures that this environment asks builds for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nvdiag.facts import reading
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.pci import GpusOnBus
from nvdiag.facts.python_packages import GpuNames
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable, Unknown

_LISTS = ("TORCH_CUDA_ARCH_LIST", "CUDAARCHS", "CMAKE_CUDA_ARCHITECTURES")
"""PyTorch's extensions read the first (torch/utils/cpp_extension.py), CMake the second (cmake-env-variables(7)), and
projects pass the third on as CMake's variable of that name."""

_FLAGS = ("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS")
_IN_FLAGS = regex(r"\b(?:compute|sm|lto)_(\d{2,3})[a-z]?\b")
_IN_LISTS = regex(r"(?<![\w.])(\d{1,2}\.\d|\d{2,3})[a-z]?(?=\+PTX|-real|-virtual|[;,\s]|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedArchitectures:
    """Compute capabilities that variables ask code for, each with the variable that names it first.

    `native` is the variable that asks for this machine's own GPUs, None where none does. Names of generations, which
    PyTorch takes too, are not among them. NotApplicable where no variable asks for any.
    """

    capabilities: Mapping[str, str]
    native: str | None
    values: Mapping[str, str]

    @classmethod
    def collect(cls, host: Host) -> WantedArchitectures:
        values = {name: value for name in (*_LISTS, *_FLAGS) if (value := reading.variable(host, name))}
        found: dict[str, str] = {}
        native = None
        for name, value in values.items():
            for number in (_IN_FLAGS if name in _FLAGS else _IN_LISTS).findall(value):
                found.setdefault(number if "." in number else f"{number[:-1]}.{number[-1]}", name)
            if native is None and re.search(r"(?:^|[=;\s])native\b", value):
                native = name
        if not found and native is None:
            raise NotApplicable("no variable names the GPU architectures of a build")
        return cls(capabilities=found, native=native, values=values)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCapability:
    """A GPU and its compute capability; several where only its generation is known, by its PCI device id."""

    gpu: str
    capabilities: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class GpuCapabilities:
    """The GPUs here, by NVML's word, else by their names, else by their PCI ids. Unknown where none of it tells.

    NotApplicable where there is no GPU.
    """

    gpus: tuple[GpuCapability, ...]

    @classmethod
    def collect(
        cls, nvml: NvmlAnswer | Unknown, names: GpuNames | Unknown, bus: GpusOnBus | Unknown
    ) -> GpuCapabilities:
        found = _by_nvml(nvml) or _by_name(names) or _by_id(bus)
        if not found and isinstance(bus, NotApplicable):
            raise bus
        if not found:
            raise Unknown("neither NVML nor a name nor a PCI id tells the GPUs' compute capabilities")
        return cls(tuple(found))


def _by_nvml(nvml: NvmlAnswer | Unknown) -> list[GpuCapability]:
    if isinstance(nvml, Unknown):
        return []
    return [
        GpuCapability(
            gpu=f"{device.name or 'the GPU'} at {device.address}" if device.address else device.name or "the GPU",
            capabilities=(device.compute_capability,),
            source="nvmlDeviceGetCudaComputeCapability",
        )
        for device in nvml.devices
        if device.compute_capability
    ]


def _by_name(names: GpuNames | Unknown) -> list[GpuCapability]:
    if isinstance(names, Unknown):
        return []
    from nvdiag.knowledge.compute_capabilities import compute_of_gpu

    rows = ((name, source, compute_of_gpu(name)) for name, source in names.names.items())
    return [GpuCapability(gpu=name, capabilities=(row.capability,), source=source) for name, source, row in rows if row]


def _by_id(bus: GpusOnBus | Unknown) -> list[GpuCapability]:
    if isinstance(bus, Unknown):
        return []
    from nvdiag.knowledge.gpu_generations import generation_of

    found = []
    for gpu in bus.gpus:
        row = generation_of(int(gpu.device_id, 16)) if re.fullmatch(r"[0-9a-f]{4}", gpu.device_id) else None
        if row is not None and row.capabilities:
            source = f"{gpu.address}: 10de:{gpu.device_id}, {row.name}"
            found.append(GpuCapability(gpu=f"the GPU at {gpu.address}", capabilities=row.capabilities, source=source))
    return found
