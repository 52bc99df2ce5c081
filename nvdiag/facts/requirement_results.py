"""What each requirement of this run was held against, and whether it holds."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum

from nvdiag.facts import reading
from nvdiag.facts.answers import DriverCuda, NvmlAnswer
from nvdiag.facts.frameworks import Frameworks
from nvdiag.facts.modules import KernelModules, LoadedDriver
from nvdiag.facts.nvml_devices import NvmlDevice
from nvdiag.facts.pci import PciGpus
from nvdiag.facts.python_packages import PythonPackages
from nvdiag.facts.requirements import VERSIONS, Requirement, Requirements
from nvdiag.facts.toolkits import Toolkits
from nvdiag.facts.visible_gpus import VisibleGpus
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "!=": operator.ne, ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
GIB = 2**30
_NOMINAL = (
    1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 16, 20, 24, 32, 36, 40, 48, 64, 72, 80, 94, 96, 128, 141, 144, 180, 192, 288,
)  # fmt: skip
"""The sizes in GiB that NVIDIA's products are sold with (its data sheets).

A driver reports less: some hundred MiB are the firmware's, and with ECC on GDDR a sixteenth holds the check bits."""
_LEAST_OF_NOMINAL = 0.92


class Answer(Enum):
    """Whether a requirement holds."""

    MET = "met"
    NOT_MET = "not met"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One thing that a requirement was held against: a value as it is shown, of what, and who said so."""

    value: str
    source: str
    of: str = ""
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One requirement with its answer; `why` says why it cannot be told."""

    requirement: Requirement
    answer: Answer
    held: tuple[Held, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class RequirementResults:
    """The results in the order of the requirements. NotApplicable where nothing was required."""

    results: tuple[Result, ...]

    waits_for_child = True

    @classmethod
    def collect(
        cls,
        host: Host,
        requirements: Requirements,
        loaded: LoadedDriver | Unknown,
        modules: KernelModules | Unknown,
        nvml: NvmlAnswer | Unknown,
        cuda: DriverCuda | Unknown,
        toolkits: Toolkits | Unknown,
        gpus: VisibleGpus | Unknown,
        bus: PciGpus | Unknown,
        packages: PythonPackages | Unknown,
        frameworks: Frameworks | Unknown,
    ) -> RequirementResults:
        machine = _Machine(host, loaded, modules, nvml, cuda, toolkits, gpus, bus, packages, frameworks)
        return cls(tuple(machine.result(one) for one in requirements.given if one.key != "healthy"))


class _Missing(Exception):
    """What is asked for is certainly not there."""


@dataclass(frozen=True, slots=True)
class _Machine:
    """The facts that requirements are held against."""

    host: Host
    loaded: LoadedDriver | Unknown
    modules: KernelModules | Unknown
    nvml: NvmlAnswer | Unknown
    cuda: DriverCuda | Unknown
    toolkits: Toolkits | Unknown
    gpus: VisibleGpus | Unknown
    bus: PciGpus | Unknown
    packages: PythonPackages | Unknown
    frameworks: Frameworks | Unknown

    def result(self, one: Requirement) -> Result:
        """Hold one requirement against the machine."""
        try:
            held = tuple(self._held(one))
        except _Missing as missing:
            return Result(requirement=one, answer=Answer.NOT_MET, why=str(missing))
        except Unknown as why:
            return Result(requirement=one, answer=Answer.UNKNOWN, why=str(why))
        holds = (any if one.any_gpu else all)(each.holds for each in held)
        return Result(requirement=one, answer=Answer.MET if holds else Answer.NOT_MET, held=held)

    def _held(self, one: Requirement) -> Iterator[Held]:
        if one.key in VERSIONS:
            versions = {
                "driver": self._driver, "cuda": self._cuda, "toolkit": self._toolkit, "torch": self._torch,
                "cudnn": self._cudnn, "nccl": self._nccl,
            }[one.key]()  # fmt: skip
            for value, source in versions:
                yield Held(value=value, source=source, holds=_satisfies(value, one.value))
        elif one.key == "gpus":
            count, source = self._count()
            yield Held(value=str(count), source=source, holds=_within(count, one))
        elif one.key == "module":
            value, source = self._flavour()
            yield Held(value=value, source=source, holds=_matches(value, one.value))
        elif one.key == "torch-build":
            words, source = self._build()
            yield Held(value=words[-1], source=source, holds=any(_matches(word, one.value) for word in words))
        else:
            yield from self._of_gpus(one)

    def _driver(self) -> list[tuple[str, str]]:
        if isinstance(self.loaded, LoadedDriver):
            return [(self.loaded.release.text, self.loaded.source)]
        if isinstance(self.nvml, NvmlAnswer) and self.nvml.driver is not None:
            return [(self.nvml.driver.text, "nvmlSystemGetDriverVersion")]
        if isinstance(self.modules, KernelModules) and self.modules.nvidia is None:
            raise _Missing("the nvidia kernel module is not loaded")
        raise self.loaded

    def _cuda(self) -> list[tuple[str, str]]:
        if isinstance(self.modules, KernelModules) and self.modules.nvidia is None and not self._elsewhere():
            raise _Missing("the nvidia kernel module is not loaded, so no driver supports CUDA")
        if isinstance(self.cuda, Unknown):
            raise self.cuda
        return [(self.cuda.version.text, self.cuda.source)]

    def _elsewhere(self) -> bool:
        """Whether NVML answers without a module of this system's."""
        return isinstance(self.nvml, NvmlAnswer) and self.nvml.init == 0

    def _toolkit(self) -> list[tuple[str, str]]:
        if isinstance(self.toolkits, Unknown):
            raise self.toolkits
        if not self.toolkits.found:
            raise _Missing("no CUDA toolkit is found")
        first = self.toolkits.found[0]
        if first.chosen_by is None and len(self.toolkits.found) > 1:
            raise Unknown("neither PATH nor CUDA_HOME picks one of several toolkits")
        if first.version is None:
            raise Unknown(f"{first.root} does not tell its version: {first.source}")
        return [(first.version.text, first.root)]

    def _package(self, *patterns: str) -> list[tuple[str, str]]:
        if isinstance(self.packages, Unknown):
            raise Unknown(str(self.packages))
        found = [
            (version, f"{name} in {self.packages.source}")
            for pattern in patterns
            for name, versions in self.packages.like(pattern).items()
            for version in versions
        ]
        if not found:
            raise _Missing(f"{self.packages.source}: none of that name")
        return found

    def _torch(self) -> list[tuple[str, str]]:
        if isinstance(self.frameworks, Frameworks) and (torch := self.frameworks.found.get("torch")):
            return [(torch.version, torch.source)]
        return self._package("torch|pytorch")

    def _cudnn(self) -> list[tuple[str, str]]:
        return self._package(r"nvidia-cudnn-cu\d+|cudnn")

    def _nccl(self) -> list[tuple[str, str]]:
        return self._package(r"nvidia-nccl-cu\d+|nccl")

    def _build(self) -> tuple[list[str], str]:
        """The words for PyTorch's build, the most telling last: cuda, cu12, cu128."""
        if not isinstance(self.frameworks, Frameworks) or "torch" not in self.frameworks.found:
            self._torch()  # raises where it is missing or not known
            raise Unknown("a list of packages does not tell how PyTorch was built")
        torch = self.frameworks.found["torch"]
        if torch.cpu_only:
            return ["cpu"], torch.source
        if torch.cuda is None:
            return ["rocm"] if "rocm" in torch.version else ["other"], torch.source
        major, short = torch.cuda.major, torch.cuda.short
        return ["cuda", f"cu{major}", f"cu{short.text.replace('.', '')}"], torch.source

    def _flavour(self) -> tuple[str, str]:
        if isinstance(self.modules, Unknown):
            raise self.modules
        if self.modules.nvidia is None:
            raise _Missing("the nvidia kernel module is not loaded")
        if self.modules.nvidia.flavour is None:
            raise Unknown("the loaded module does not tell whether it is the open one")
        return self.modules.nvidia.flavour.value, self.modules.nvidia.source

    def _count(self) -> tuple[int, str]:
        if isinstance(self.gpus, VisibleGpus):
            return len([one for one in self.gpus.gpus if one.handle_error is None]), self.gpus.source
        if isinstance(self.bus, PciGpus) and not self.bus.gpus and not self._elsewhere():
            return 0, "/sys/bus/pci/devices"
        raise self.gpus

    def _of_gpus(self, one: Requirement) -> Iterator[Held]:
        count, source = self._count()
        if count == 0:
            raise _Missing(f"no GPU is visible ({source})")
        if isinstance(self.gpus, Unknown):
            raise self.gpus
        for gpu in self.gpus.gpus:
            of = gpu.address or f"GPU {gpu.index}"
            if gpu.handle_error is not None:
                yield Held(value=f"NVML cannot reach it (error {gpu.handle_error})", source=source, of=of, holds=False)
                continue
            value, holds = self._of_gpu(one, gpu)
            yield Held(value=value, source=source, of=of, holds=holds)

    def _of_gpu(self, one: Requirement, gpu: NvmlDevice) -> tuple[str, bool]:
        if one.key == "gpu-name":
            return _told(gpu.name, "name", gpu), _matches(gpu.name or "", one.value)
        if one.key == "compute":
            capability = _told(gpu.compute_capability, "compute capability", gpu)
            return capability, _satisfies(capability, one.value)
        total, used = gpu.memory_total, gpu.memory_used
        if total is None:
            total, used = self._shared_memory(gpu)
        if one.key == "memory":
            return f"{total / GIB:.2f} GiB", _within(nominal(total), one)
        if used is None:
            raise Unknown(f"NVML does not tell how much memory of GPU {gpu.index} is used")
        return f"{(total - used) / GIB:.2f} GiB free", _within(total - used, one)

    def _shared_memory(self, gpu: NvmlDevice) -> tuple[int, int]:
        """Total and used bytes of the system's memory, which is the GPU's where NVML says Not Supported (GB10)."""
        if gpu.errors.get("memory_bytes") != _NOT_SUPPORTED:
            raise Unknown(f"NVML does not tell the memory of GPU {gpu.index}")
        text = reading.text(self.host, "/proc/meminfo") or ""
        found = {name: int(kib) * 1024 for name, kib in re.findall(r"^(MemTotal|MemAvailable): +(\d+) kB$", text, re.M)}
        if len(found) < 2:
            raise Unknown("the GPU shares the system's memory, and /proc/meminfo does not tell that")
        return found["MemTotal"], found["MemTotal"] - found["MemAvailable"]


_NOT_SUPPORTED = 3
"""NVML_ERROR_NOT_SUPPORTED of nvml.h."""


def nominal(reported: int) -> int:
    """The size that a GPU is sold with, in bytes, by what its driver reports: 24 GiB for 23.99, or for 22.49 with ECC.

    What is near no such size, as an instance under MIG or a vGPU's share, counts as it is.
    """
    size = next((size * GIB for size in _NOMINAL if size * GIB >= reported), reported)
    return size if reported >= size * _LEAST_OF_NOMINAL else reported


def _told(value: str | None, what: str, gpu: NvmlDevice) -> str:
    if value is None:
        raise Unknown(f"NVML does not tell the {what} of GPU {gpu.index}")
    return value


def _satisfies(version: str, specifier: str) -> bool:
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        return SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except InvalidVersion:
        raise Unknown(f"{version} is no version that can be compared") from None


def _within(value: float, one: Requirement) -> bool:
    return all(_COMPARE[sign](value, bound) for sign, bound in one.bounds)


def _matches(value: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(value.lower(), pattern.lower())


def shown(held: Sequence[Held]) -> str:
    """The values as one line; of several GPUs each with its name."""
    return ", ".join(f"{one.of}: {one.value}" if one.of else one.value for one in held)
