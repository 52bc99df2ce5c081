"""What joins GPUs: NVSwitches on the bus with their fabric manager, and IMEX between machines."""

from __future__ import annotations

import re

from nvdiag.facts import reading
from nvdiag.facts.answers import CudaAnswer
from nvdiag.facts.pci import DEVICES, VENDOR, GpusOnBus
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.units import UnitState, unit_state
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

FABRIC_MANAGER = "nv-fabricmanager"
FABRIC_UNIT = "nvidia-fabricmanager.service"
IMEX_UNIT = "nvidia-imex.service"
IMEX_NODES = "/etc/nvidia-imex/nodes_config.cfg"
NOT_READY = 802
"""CUDA_ERROR_SYSTEM_NOT_READY of cuda.h."""

_WITH_SWITCHES = frozenset({"7.0", "8.0", "9.0", "10.0", "10.3"})
"""Compute capabilities of the GPUs on NVSwitch baseboards: V100, A100, H100, B200, B300 (fabric manager user guide)."""

_BRIDGE = "0x0680"
"""An NVSwitch is a bridge of another kind (pci.ids class 0680) of NVIDIA's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NvSwitches:
    """A machine with NVSwitches: their addresses, and its fabric manager's unit and release, as far as they tell.

    NotApplicable without an NVSwitch, and where the services of the host are not seen.
    """

    addresses: tuple[str, ...]
    unit: UnitState | Unknown
    release: DriverRelease | None

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings, gpus: GpusOnBus) -> NvSwitches:
        if surroundings.container or surroundings.driver_root:
            raise NotApplicable("the fabric manager runs on the host, or in the driver's own container")
        found = tuple(address for address in reading.names(host, DEVICES) if _is_switch(host, address))
        if not found:
            raise NotApplicable("no NVSwitch is on the PCI bus")
        unit: UnitState | Unknown
        try:
            unit = unit_state(host, FABRIC_UNIT)
        except Unknown as why:
            unit = why
        return cls(addresses=found, unit=unit, release=_release(host))


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenFabric:
    """CUDA waits for a fabric (error 802) whose switches are not on this system's bus, or whose manager is elsewhere.

    NVSwitches of NVLink 5 are reached through network adapters and are no devices of NVIDIA's on the bus; those of a
    virtual machine's GPUs stay with its host. `unit` is this system's fabric manager, None where that is another's.
    """

    unit: UnitState | None

    waits_for_child = True

    @classmethod
    def collect(
        cls, host: Host, surroundings: Surroundings, gpus: GpusOnBus, cuda: CudaAnswer, switches: NvSwitches | Unknown
    ) -> UnseenFabric:
        if cuda.init != NOT_READY:
            raise NotApplicable("CUDA does not wait for a fabric")
        if isinstance(switches, NvSwitches):
            raise NotApplicable("the NVSwitches are on this system's bus")
        if not any(_may_have_switches(gpu.device_id) for gpu in gpus.gpus):
            raise NotApplicable("no GPU here is of a generation with NVSwitches")
        elsewhere = surroundings.container or surroundings.driver_root
        return cls(unit=None if elsewhere else unit_state(host, FABRIC_UNIT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Imex:
    """A machine on which somebody has set up IMEX: its unit, and how many nodes its configuration names."""

    unit: UnitState
    nodes: int

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings, gpus: GpusOnBus) -> Imex:
        if surroundings.container:
            raise NotApplicable("IMEX runs on the host")
        text = reading.text(host, IMEX_NODES)
        if text is None:
            raise NotApplicable("IMEX is not installed here")
        nodes = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        return cls(unit=unit_state(host, IMEX_UNIT), nodes=len(nodes))


def _may_have_switches(device_id: str) -> bool:
    """Whether boards of a GPU's generation come with NVSwitches; one that is newer than the table may have them."""
    from nvdiag.knowledge.gpu_generations import generation_of

    found = re.fullmatch(r"(?:0x)?([0-9a-f]{1,4})", device_id)
    generation = generation_of(int(found[1], 16)) if found else None
    return generation is None or bool(_WITH_SWITCHES.intersection(generation.capabilities))


def _is_switch(host: Host, address: str) -> bool:
    vendor = reading.text(host, f"{DEVICES}/{address}/vendor")
    if vendor is None or vendor.strip() != VENDOR:
        return False
    return (reading.text(host, f"{DEVICES}/{address}/class") or "").startswith(_BRIDGE)


def _release(host: Host) -> DriverRelease | None:
    """The release of the installed program, which `nv-fabricmanager --version` prints in words."""
    try:
        told = host.run(FABRIC_MANAGER, "--version")
    except Unknown:
        return None
    found = re.search(r"\d{3}\.\d{1,3}(?:\.\d{1,3})?", told.stdout)
    return DriverRelease.or_none(found[0]) if found else None
