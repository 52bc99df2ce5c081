"""Which GPU architectures the installed frameworks hold code for, read from their own libraries.

Only where a GPU's compute capability is known: without one there is nothing to hold it against.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from nvdiag.facts import reading
from nvdiag.facts.architectures import GpuCapabilities
from nvdiag.facts.frameworks import Framework, Frameworks, kernel_libraries
from nvdiag.host import Host
from nvdiag.knowledge.compute_capabilities import code_runs_on
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

_NAME = r"(?:sm|compute)_\d{2,3}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """What one framework holds: sm_90 is binary code, compute_90 PTX; `source` is the file that says so."""

    framework: Framework
    architectures: tuple[str, ...]
    source: str

    def runs_on(self, capabilities: tuple[str, ...]) -> bool:
        """Whether some of it runs on a GPU that has one of these compute capabilities."""
        return any(code_runs_on(self.architectures, capability) for capability in capabilities)


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
