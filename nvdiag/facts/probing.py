"""Asking the driver in children: whether that changes nothing on the machine, and what became of the children.

What they answered is in `nvdiag.facts.answers`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from nvdiag.facts.modules import KernelModules
from nvdiag.facts.nodes import DeviceNodes, openable
from nvdiag.facts.pci import PciGpus
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

BASE_SECONDS = 10.0
SECONDS_PER_FURTHER_GPU = 3.0
"""Eight GPUs without persistence mode were seen to take over 25 seconds to initialise."""

_APART = frozenset({"holders", "smoke"})
"""Probes that are no ordinary question to the driver: one calls nothing of its, one has facts of its own troubles."""


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
class ProbeTrouble:
    """A probe that hung, crashed or failed, as `error` says.

    `stage` is the call that it was in. Of one that hung, `state` is its process state when it was given up,
    `left_behind` whether it outlived its kill, and `silent_seconds` how long it had said nothing; of one that crashed,
    `signal` is the signal's name.
    """

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
        recorded = (name for name in host.recorded("probes") if name.partition(" ")[0] not in _APART)
        for name in dict.fromkeys((*probes.names, *recorded)):
            try:
                document = host.probe(name)
            except Unknown:
                continue  # a recording without this probe; what would have used it says so itself
            heard = True
            if isinstance(document.get("error"), str):
                found.append(probe_trouble(name.partition(" ")[0], document))
        if not heard:
            raise Unknown("no probe's answer is recorded")
        return cls(tuple(found), len(gpus.gpus) if isinstance(gpus, PciGpus) else 1)


def probe_trouble(probe: str, document: Mapping[str, Any]) -> ProbeTrouble:
    """What a probe's document says of the trouble that it had."""
    silent = document.get("silent_seconds")
    return ProbeTrouble(
        probe=probe,
        error=str(document["error"]),
        stage=_text(document, "stage") or "its start",
        state=_text(document, "state"),
        left_behind=document.get("left_behind") is True,
        silent_seconds=float(silent) if isinstance(silent, (int, float)) and 0 <= silent < 1e9 else 0.0,
        signal=_text(document, "signal"),
    )


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""
