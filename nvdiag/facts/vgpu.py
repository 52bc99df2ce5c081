"""NVIDIA's vGPU: virtual GPUs in this machine, their driver and licence, or the host that makes them for others.

The files are those of NVIDIA's guest and host packages (Virtual GPU Software User Guide and Client Licensing User
Guide): /usr/bin/nvidia-gridd comes with the guest driver and with no other, nvidia-vgpu-mgr with the host's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.facts import reading
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.nvml_devices import NvmlDevice
from nvdiag.facts.packages import DriverPackages, listed
from nvdiag.facts.pci import DEVICES, VENDOR, PciGpus
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import Distribution
from nvdiag.facts.units import UnitState, unit_state
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

PASSTHROUGH, GUEST, HOST = 1, 2, 3
"""NVML_GPU_VIRTUALIZATION_MODE_PASSTHROUGH, …_VGPU and …_HOST_VGPU of nvml.h."""

GRIDD = "/usr/bin/nvidia-gridd"
GRIDD_UNIT, MANAGER_UNIT = "nvidia-gridd.service", "nvidia-vgpu-mgr.service"
GRIDD_CONFIGURATION = "/etc/nvidia/gridd.conf"
TOKENS = "/etc/nvidia/ClientConfigToken"
HOST_MODULE = "/sys/module/nvidia_vgpu_vfio"


HOST_WITHOUT_CUDA = "a host of virtual GPUs has no libcuda: its driver is there for the guests alone"
"""Why nothing is amiss there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualGpus:
    """What there is of vGPU. NotApplicable where no GPU is virtual, and none is made or licensed as one.

    `guests` are this machine's virtual GPUs by PCI address or NVML's index, `passed_through` says that a whole GPU with
    something to license was handed in, `hosting` that this machine makes virtual GPUs for others. `evidence` says how
    that is known. `gridd` tells whether the vGPU guest driver's daemon is installed, None where that is not known.
    `licensed` is None where NVML tells of no licence, `product` what it is for. `unit` is the daemon's state, asked of
    a guest without a licence and of a host. `tokens` are the names of licence tokens, None where they were not looked
    at; `wanted` is a setting that asks for a licence. `drivers` are the releases in a host's guests. `packages` are
    asked for where a guest has another driver than its own.
    """

    guests: tuple[str, ...]
    passed_through: bool
    hosting: bool
    evidence: tuple[Evidence, ...]
    gridd: bool | None
    licensed: bool | None
    product: str
    unit: UnitState | Unknown
    tokens: tuple[str, ...] | None
    wanted: Evidence | None
    drivers: tuple[DriverRelease, ...]
    packages: DriverPackages | Unknown

    waits_for_child = True

    @classmethod
    def collect(
        cls,
        host: Host,
        surroundings: Surroundings,
        gpus: PciGpus | Unknown,
        nvml: NvmlAnswer | Unknown,
        distribution: Distribution | Unknown,
    ) -> VirtualGpus:
        devices = nvml.devices if isinstance(nvml, NvmlAnswer) else ()
        seen = dict(_by_nvml(devices)) or dict(_by_ids(host, surroundings, gpus))
        told = tuple(_told(host))
        hosting = bool(told) or HOST in {one.virtualization for one in devices} or reading.is_there(host, HOST_MODULE)
        licences = [licence for one in devices for licence in one.licences]
        if not seen and not hosting and not licences:
            raise NotApplicable("no GPU here is a virtual one, and this is no host of virtual GPUs")
        licensed = any(licence.licensed for licence in licences) if licences else None
        gridd = None if surroundings.container or surroundings.driver_root else _is_there(host, GRIDD)
        looked = licensed is False and not surroundings.container and gridd is not False
        evidence = seen.values() if seen or not hosting else (Evidence(source=HOST_MODULE, excerpt="is there"),)
        return cls(
            guests=tuple(seen),
            passed_through=not seen and bool(licences),
            hosting=hosting,
            evidence=tuple(evidence),
            gridd=gridd,
            licensed=licensed,
            product=next((licence.product for licence in licences if licence.product), ""),
            unit=_unit(host, MANAGER_UNIT if hosting else GRIDD_UNIT) if hosting or looked else _NOT_ASKED,
            tokens=_tokens(host) if looked else None,
            wanted=_wanted(host) if looked else None,
            packages=_packages(host, distribution) if seen and gridd is False else _NOT_ASKED,
            drivers=tuple(sorted({*told, *(release for one in devices for release in one.guest_drivers)})),
        )


def _told(host: Host) -> Iterator[DriverRelease]:
    """The guests' drivers in a pasted `nvidia-smi vgpu -q`, which only a host prints."""
    for _, text in host.handed_texts():
        if "Guest Driver Version" in text:
            for number in re.findall(r"Guest Driver Version\s{0,60}: (\d{3}\.[\d.]{2,9})$", text, re.M):
                if (release := DriverRelease.or_none(number)) is not None:
                    yield release


_NOT_ASKED = Unknown("nothing is in question there")


def _by_nvml(devices: tuple[NvmlDevice, ...]) -> Iterator[tuple[str, Evidence]]:
    for one in devices:
        if one.virtualization == GUEST:
            name = one.address or str(one.index)
            yield name, Evidence(source=f"nvmlDeviceGetVirtualizationMode({one.index})", excerpt=f"vGPU: {one.name}")


def _by_ids(host: Host, surroundings: Surroundings, gpus: PciGpus | Unknown) -> Iterator[tuple[str, Evidence]]:
    """Virtual GPUs by their PCI ids: the driver need not work. Only a virtual machine has some."""
    if not surroundings.virtual_machine or isinstance(gpus, Unknown):
        return
    for gpu in gpus.gpus:
        folder = f"{DEVICES}/{gpu.address}"
        vendor, subsystem = (
            (reading.text(host, f"{folder}/subsystem_{name}") or "").strip() for name in ("vendor", "device")
        )
        if vendor != VENDOR or not re.fullmatch(r"0x[0-9a-f]{4}", subsystem):
            continue
        from nvdiag.knowledge.vgpu import virtual_gpu_of

        if (name := virtual_gpu_of(gpu.device_id, subsystem[2:])) is not None:
            excerpt = f"10de:{gpu.device_id}, subsystem 10de:{subsystem[2:]}: a virtual GPU of the {name}"
            yield gpu.address, Evidence(source=folder, excerpt=excerpt)


def _is_there(host: Host, path: str) -> bool | None:
    try:
        return host.exists(path)
    except Unknown:
        return None


def _packages(host: Host, distribution: Distribution | Unknown) -> DriverPackages | Unknown:
    if isinstance(distribution, Unknown):
        return distribution
    try:
        return listed(host, distribution)
    except Unknown as why:
        return why


def _unit(host: Host, name: str) -> UnitState | Unknown:
    try:
        return unit_state(host, name)
    except Unknown as why:
        return why


def _tokens(host: Host) -> tuple[str, ...] | None:
    """The names of client configuration tokens; gridd takes those that end in .tok."""
    try:
        return tuple(name for name in host.folder(TOKENS) if name.endswith(".tok"))
    except Absent:
        return ()
    except Unknown:
        return None


def _wanted(host: Host) -> Evidence | None:
    """FeatureType of gridd.conf(5), where it asks for a licence; by default nothing does on a GPU handed in whole."""
    try:
        lines = host.lines_with("FeatureType", GRIDD_CONFIGURATION)
    except Unknown:
        return None
    asked = (line.strip() for line in lines if re.match(r"\s{0,8}FeatureType\s{0,8}=\s{0,8}[1-9]", line))
    return next((Evidence(source=GRIDD_CONFIGURATION, excerpt=line) for line in asked), None)
