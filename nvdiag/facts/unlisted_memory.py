"""GPU memory that is in use and that no process accounts for, and who has the driver's nodes open beside those.

NVML lists the processes with a context; one that is left over in the kernel, or that ends, holds memory without one.
"""

from __future__ import annotations

from nvdiag.facts.holders import PROBE, Holder, holders_of
from nvdiag.facts.nvml_devices import NvmlDevice
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.vgpu import HOST
from nvdiag.facts.visible_gpus import NvmlGpus
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable, Unknown

_MUCH = 0.4
"""The part of a GPU's memory from which on it is a question who holds it; what the driver itself takes is far less."""

_SHARED_WITH_THE_SYSTEM = regex(r"\bG[HB]\d{2,3}\b")
"""Grace's GPUs: their memory is a NUMA node of the system, which the kernel fills as it does any other."""


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A GPU with the bytes that are in use beyond those of its processes."""

    gpu: NvmlDevice
    memory: int

    @property
    def node(self) -> str:
        """The GPU's device node."""
        return f"/dev/nvidia{self.gpu.index if self.gpu.minor is None else self.gpu.minor}"


@dataclass(frozen=True, slots=True)
class UnlistedMemory:
    """GPUs much of whose memory no process accounts for. NotApplicable where there is none, or nobody can know.

    `beside` are the processes that have those GPUs' nodes open and that NVML does not list; `why_blind` says why none
    could be seen.
    """

    found: tuple[Unlisted, ...]
    beside: tuple[Holder, ...]
    why_blind: str = ""

    waits_for_child = True

    @classmethod
    def collect(cls, host: Host, listed: NvmlGpus, surroundings: Surroundings) -> UnlistedMemory:
        if surroundings.container or surroundings.wsl or surroundings.sandbox:
            raise NotApplicable("NVML lists no processes in a container, nor under WSL")
        found = tuple(one for gpu in listed.gpus if (one := _unlisted(gpu)) is not None)
        if not found:
            raise NotApplicable("the processes account for the GPUs' memory, as far as NVML tells")
        known = {one.pid for gpu in listed.gpus for one in gpu.processes or ()}
        nodes = {one.node for one in found}
        try:
            seen = holders_of(host.probe(PROBE))
        except Unknown as why:
            return cls(found, (), str(why))
        return cls(found, tuple(one for one in seen if one.pid not in known and nodes.intersection(one.nodes)))


def _unlisted(gpu: NvmlDevice) -> Unlisted | None:
    """NVML tells no memory of a process under MIG to who may not manage it, nor of virtual machines'."""
    if gpu.memory_used is None or not gpu.memory_total or gpu.processes is None:
        return None
    if gpu.mig or gpu.virtualization == HOST or _SHARED_WITH_THE_SYSTEM.search(gpu.name or ""):
        return None
    if any(one.memory is None for one in gpu.processes):
        return None
    beyond = gpu.memory_used - sum(one.memory or 0 for one in gpu.processes)
    return Unlisted(gpu, beyond) if beyond > _MUCH * gpu.memory_total else None
