"""NVIDIA GPUs on the PCI bus, from sysfs: they are seen there whatever the driver does."""

from __future__ import annotations

import re

from nvdiag.facts import reading
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

DEVICES = "/sys/bus/pci/devices"
VENDOR = "0x10de"
GPU_CLASSES = ("0x0300", "0x0302")
"""VGA and 3D controllers (pci.ids classes 0300 and 0302); a GPU's audio and USB functions have other classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PciGpu:
    """One GPU. `address` is domain:bus:device.function; `driver` the kernel driver bound to it, None for none.

    `driver_hidden` is True where that could not be looked at.
    """

    address: str
    device_id: str
    driver: str | None
    driver_hidden: bool = False


@dataclass(frozen=True, slots=True)
class PciGpus:
    """All NVIDIA GPUs on the bus, in the bus's order."""

    gpus: tuple[PciGpu, ...]

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings) -> PciGpus:
        try:
            addresses = host.folder(DEVICES)
        except Absent:
            busless = surroundings.wsl or surroundings.tegra or surroundings.sandbox
            if not busless and reading.certainly_absent(host, "/sys/bus"):
                raise Unknown("/sys shows no bus at all: it is not mounted here, or hidden") from None
            return cls(())
        found = tuple(_gpu(host, address) for address in addresses if _is_gpu(host, address))
        if not found and (silent := [one for one in addresses if _is_silent(host, one)]):
            raise Unknown(f"whether {silent[0]} on the PCI bus is an NVIDIA GPU: its vendor or class cannot be read")
        return cls(found)

    @property
    def by_nvidia(self) -> tuple[PciGpu, ...]:
        """Those that NVIDIA's own kernel module drives."""
        return tuple(gpu for gpu in self.gpus if gpu.driver == "nvidia")


@dataclass(frozen=True, slots=True)
class GpusOnBus:
    """The GPUs on the bus where there is at least one; NotApplicable where there is none."""

    gpus: tuple[PciGpu, ...]

    @classmethod
    def collect(cls, all_gpus: PciGpus) -> GpusOnBus:
        if not all_gpus.gpus:
            raise NotApplicable("no NVIDIA GPU is on the PCI bus")
        return cls(all_gpus.gpus)


def _is_gpu(host: Host, address: str) -> bool:
    vendor = reading.text(host, f"{DEVICES}/{address}/vendor")
    if vendor is None or vendor.strip() != VENDOR:
        return False
    return (reading.text(host, f"{DEVICES}/{address}/class") or "").startswith(GPU_CLASSES)


def _is_silent(host: Host, address: str) -> bool:
    """Whether a device does not tell if it is one of NVIDIA's GPUs: no vendor to be read, or NVIDIA's and no class."""
    vendor = reading.text(host, f"{DEVICES}/{address}/vendor")
    if vendor is None:
        return True
    return vendor.strip() == VENDOR and reading.text(host, f"{DEVICES}/{address}/class") is None


def _gpu(host: Host, address: str) -> PciGpu:
    folder = f"{DEVICES}/{address}"
    driver, hidden = None, False
    try:
        driver = host.link(f"{folder}/driver")
    except Absent:
        pass
    except Unknown:
        hidden = True
    return PciGpu(
        address=address,
        device_id=(reading.text(host, f"{folder}/device") or "").strip().removeprefix("0x"),
        driver=driver.rpartition("/")[2] if driver else None,
        driver_hidden=hidden,
    )


def normal_address(text: str) -> str | None:
    """A PCI address as sysfs writes it, from NVML's form with eight digits of domain; None for another text."""
    match = re.fullmatch(r"([0-9A-Fa-f]{4,8}):([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2})\.([0-7])", text.strip())
    if not match:
        return None
    return f"{int(match[1], 16):04x}:{match[2].lower()}:{match[3].lower()}.{match[4]}"
