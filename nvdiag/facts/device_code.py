"""Which GPU architectures the installed frameworks hold code for, read from their own libraries.

Only where a GPU's compute capability is known: without one there is nothing to hold it against.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from nvdiag.facts import reading
from nvdiag.facts.architectures import GpuCapabilities
from nvdiag.facts.frameworks import Framework, Frameworks, kernel_libraries
from nvdiag.facts.toolkits import parse_nvcc
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, ParseError, Unknown
from nvdiag.model.versions import CudaVersion

_NAME = r"(?:sm|compute)_\d{2,3}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """What one framework holds: sm_90 is binary code, compute_90 PTX; `source` is the file that says so."""

    framework: Framework
    architectures: tuple[str, ...]
    source: str

    def runs_on(self, capabilities: tuple[str, ...]) -> bool:
        """Whether some of it runs on a GPU that has one of these compute capabilities."""
        from nvdiag.knowledge.compute_capabilities import code_runs_on

        return any(code_runs_on(self.architectures, capability) for capability in capabilities)

    def has_binary_for(self, capabilities: tuple[str, ...]) -> bool:
        """Whether some of it runs there without being compiled first."""
        from nvdiag.knowledge.compute_capabilities import code_runs_on

        binary = tuple(name for name in self.architectures if name.startswith("sm_"))
        return any(code_runs_on(binary, capability) for capability in capabilities)


@dataclass(frozen=True, slots=True)
class DeviceCodes:
    """The device code of each installed framework that tells it. NotApplicable where none does."""

    held: Mapping[str, DeviceCode]

    @classmethod
    def collect(cls, host: Host, frameworks: Frameworks, gpus: GpuCapabilities) -> DeviceCodes:
        found = {one.framework.name: one for one in _codes(host, frameworks, gpus)}
        if not found:
            raise NotApplicable("no framework here tells which GPUs it has code for")
        return cls(found)


@dataclass(frozen=True, slots=True)
class TritonAssembler:
    """The CUDA versions of the ptxas programs that Triton brings, each with its path.

    Newer releases have a second one, ptxas-blackwell, for newer GPUs. NotApplicable where Triton is not installed, or
    is told to use another one.
    """

    versions: Mapping[str, CudaVersion]
    triton: Framework

    @classmethod
    def collect(cls, host: Host, frameworks: Frameworks, gpus: GpuCapabilities) -> TritonAssembler:
        triton = frameworks.found.get("triton")
        if triton is None or any(reading.variable(host, name) for name in _OTHER_PTXAS):
            raise NotApplicable("no Triton with an assembler of its own is installed here")
        folder = f"{frameworks.environment.modules.get('triton', '')}/backends/nvidia/bin"
        found = {}
        for name in ("ptxas", "ptxas-blackwell"):
            if name in reading.names(host, folder):
                found[f"{folder}/{name}"] = _ptxas(host, f"{folder}/{name}")
        if not found:
            raise NotApplicable("no Triton with an assembler of its own is installed here")
        return cls(found, triton)


def _ptxas(host: Host, path: str) -> CudaVersion:
    try:
        return parse_nvcc(host.run(path, "--version").stdout)
    except ParseError as error:
        raise Unknown(f"{path} --version: {error}") from error


_OTHER_PTXAS = ("TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH")


def _codes(host: Host, frameworks: Frameworks, gpus: GpuCapabilities) -> Iterator[DeviceCode]:
    for framework in frameworks.found.values():
        if framework.architectures:
            yield DeviceCode(framework=framework, architectures=framework.architectures, source=framework.source)
            continue
        for path in kernel_libraries(host, frameworks, framework):
            if (code := _code(host, framework, path, gpus)) is not None:
                yield code
                break


def _code(host: Host, framework: Framework, path: str, gpus: GpuCapabilities) -> DeviceCode | None:
    """From the library's first containers; from all of them where those have no code for a GPU that is here."""
    for kind in ("fatbin", "fatbin-whole"):
        try:
            told = host.contents(kind, path)
        except Unknown:
            return None
        names = tuple(one for one in reading.texts(told.get("architectures")) if re.fullmatch(_NAME, one))
        code = DeviceCode(framework=framework, architectures=names, source=path)
        if not names:
            return None
        if told.get("whole") or all(code.runs_on(gpu.capabilities) for gpu in gpus.gpus):
            return code
    return None
