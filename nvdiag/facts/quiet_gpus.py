"""GPUs on the bus that the driver does not show: what the bus itself tells of them.

Only these are looked at: reading a GPU's configuration is of no use where the driver answers for it, and is left out
where the GPU sleeps, for it would be woken.
"""

from __future__ import annotations

import re

from nvdiag.facts import reading
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.pci import DEVICES, GpusOnBus, PciGpu
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

_WINDOWS = (0, 1)
"""The registers and the frame buffer's window (BAR0, BAR1), which every GPU has."""
_UNSET = 0x20000000
"""IORESOURCE_UNSET of linux/ioport.h: the size is known, and there is no place."""
_HEAD = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietGpu:
    """`silent`: its configuration space reads as ones; None where it could not be or was not read.

    `without_place` are the numbers of the windows that it needs and that nothing assigned, None where that is not told.
    """

    gpu: PciGpu
    asleep: bool
    silent: bool | None
    without_place: tuple[int, ...] | None

    @property
    def folder(self) -> str:
        return f"{DEVICES}/{self.gpu.address}"


@dataclass(frozen=True, slots=True)
class QuietGpus:
    """The GPUs that NVML does not reach and no virtual machine has. NotApplicable where there is none."""

    gpus: tuple[QuietGpu, ...]

    waits_for_child = True

    @classmethod
    def collect(cls, host: Host, gpus: GpusOnBus, nvml: NvmlAnswer | Unknown) -> QuietGpus:
        answering = {
            device.address
            for device in (nvml.devices if isinstance(nvml, NvmlAnswer) and nvml.init == 0 else ())
            if device.handle_error is None
        }
        quiet = [
            gpu
            for gpu in gpus.gpus
            if gpu.address not in answering and not re.search("vfio|stub|back", gpu.driver or "")
        ]
        if not quiet:
            raise NotApplicable("the driver answers for every GPU")
        return cls(tuple(_looked_at(host, gpu) for gpu in quiet))


def _looked_at(host: Host, gpu: PciGpu) -> QuietGpu:
    folder = f"{DEVICES}/{gpu.address}"
    asleep = (reading.text(host, f"{folder}/power/runtime_status") or "").strip() in ("suspended", "suspending")
    return QuietGpu(
        gpu=gpu,
        asleep=asleep,
        silent=None if asleep else is_silent(reading.text(host, f"{folder}/config")),
        without_place=unassigned(reading.text(host, f"{folder}/resource") or ""),
    )


def is_silent(config: str | None) -> bool | None:
    """Whether the head of a configuration space is all ones, each of which is no UTF-8 and was replaced."""
    head = (config or "")[:_HEAD]
    return None if len(head) < _HEAD // 2 else set(head) == {"\ufffd"}


def unassigned(resource: str) -> tuple[int, ...] | None:
    """Which of the windows that a GPU needs have no place, by sysfs' lines of start, end and flags."""
    rows = re.findall(r"^0x([0-9a-f]{8,16}) 0x([0-9a-f]{8,16}) 0x([0-9a-f]{8,16})$", resource, re.M)
    if len(rows) <= max(_WINDOWS):
        return None
    return tuple(number for number in _WINDOWS if int(rows[number][0], 16) == 0 or int(rows[number][2], 16) & _UNSET)
