"""Whether every GPU that this process may see computes: tried where somebody asks for it, by a child for each GPU."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from nvdiag.facts import reading
from nvdiag.facts.answers import CudaAnswer
from nvdiag.facts.char_devices import CharacterDevices
from nvdiag.facts.mps import MpsDaemon
from nvdiag.facts.nodes import DeviceNodes
from nvdiag.facts.probing import DriverReach
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

if TYPE_CHECKING:
    from nvdiag.facts.smoke_trials import Trial

ASKED = "NVDIAG_SMOKE"
"""The variable that asks for it."""

BASE_SECONDS = 15.0
SECONDS_PER_FURTHER_GPU = 3.0
"""How long the GPUs have, beginning with their trials: a context takes far less, once the driver is initialised."""

_MOST_TOLD = 4
_MOST = 256
"""More devices than a machine has; a recording may count any number."""


@dataclass(frozen=True, slots=True)
class SmokeAsked:
    """That somebody asks for it. NotApplicable where nobody does."""

    by: str

    @classmethod
    def collect(cls, host: Host) -> SmokeAsked:
        if not reading.variable(host, ASKED):
            raise NotApplicable("the smoke test was not asked for: --smoke")
        return cls(ASKED)


@dataclass(frozen=True, slots=True)
class Smoke:
    """What each GPU did, in CUDA's order. NotApplicable where nobody asks for it.

    `mps` says that the trials went through an MPS server, as every other program here does. Unknown where no GPU could
    be tried without changing the machine, or where CUDA shows none.
    """

    trials: tuple[Trial, ...]
    mps: bool

    waits_for_child = True

    @property
    def untold(self) -> str:
        """Of which GPUs it cannot be told whether they work, and why; empty where there is none."""
        told = [f"whether {one.gpu} works: {one.why}" for one in self.trials if one.why]
        more = [f"and of {len(told) - _MOST_TOLD} more"] if len(told) > _MOST_TOLD else []
        return "; ".join((*told[:_MOST_TOLD], *more))

    @classmethod
    def collect(
        cls,
        host: Host,
        asked: SmokeAsked,
        reach: DriverReach,
        cuda: CudaAnswer | Unknown,
        nodes: DeviceNodes | Unknown,
        devices: CharacterDevices | Unknown,
        daemon: MpsDaemon | Unknown,
    ) -> Smoke:
        count = _count(reach, cuda)
        if isinstance(nodes, DeviceNodes) and isinstance(devices, CharacterDevices):
            _hold_to_numbers(nodes, devices)
        from nvdiag.facts.smoke_trials import trial

        mps = isinstance(daemon, MpsDaemon) and daemon.socket and daemon.answers is not False
        names = [shlex.join(["smoke", str(ordinal), *(["mps"] if mps else [])]) for ordinal in range(count)]
        host.prolong(BASE_SECONDS + SECONDS_PER_FURTHER_GPU * (count - 1))
        for name in names:
            host.start(name)
        return cls(tuple(trial(host, name, ordinal) for ordinal, name in enumerate(names)), mps)


def _count(reach: DriverReach, cuda: CudaAnswer | Unknown) -> int:
    """How many devices CUDA shows to this process; Unknown where it shows none."""
    if reach.why_no_cuinit is not None:
        raise Unknown(f"no GPU was tried: {reach.why_no_cuinit}")
    if isinstance(cuda, Unknown):
        raise Unknown(f"no GPU was tried: {cuda}")
    if cuda.trouble is not None:
        raise Unknown(f"no GPU was tried: libcuda did not come back with an answer ({cuda.trouble})")
    if cuda.dlopen_error is not None:
        raise Unknown(f"no GPU was tried: {cuda.dlopen_error}")
    if cuda.init != 0:
        raise Unknown(f"no GPU was tried: cuInit answers {cuda.init} {cuda.init_name or ''}".rstrip())
    if cuda.count is None or cuda.count < 1:
        raise Unknown("no GPU was tried: CUDA shows none to this process")
    return min(cuda.count, _MOST)


def _hold_to_numbers(nodes: DeviceNodes, devices: CharacterDevices) -> None:
    """Unknown where root's libcuda would take a node away, to make it anew."""
    for path, stat in nodes.nodes.items():
        if devices.wanted(path) not in (None, stat.rdev):
            raise Unknown(
                f"no GPU was tried: {path} has not the number of the loaded module, and CUDA could replace it"
            )
