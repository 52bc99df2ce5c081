"""The GPUs that a process of this environment may see: those that NVML lists, less what CUDA_VISIBLE_DEVICES hides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from nvdiag.facts import reading
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.environment import VisibleDevices
from nvdiag.facts.nvml_devices import NvmlDevice
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown


@dataclass(frozen=True, slots=True)
class NvmlGpus:
    """The GPUs that NVML gave a handle of, and how many it counts.

    NotApplicable where it does not answer at all: others tell why.
    """

    gpus: tuple[NvmlDevice, ...]
    counted: int

    @classmethod
    def collect(cls, nvml: NvmlAnswer) -> NvmlGpus:
        if nvml.init != 0:
            raise NotApplicable("NVML does not answer for the GPUs here")
        found = tuple(device for device in nvml.devices if device.handle_error is None)
        if not found:
            raise NotApplicable("NVML lists no GPU here")
        return cls(found, max(nvml.count or 0, len(found)))


@dataclass(frozen=True, slots=True)
class VisibleGpus:
    """GPUs in NVML's order. Unknown where NVML does not answer for them, or where the variable can be read two ways.

    CUDA's programming guide ("CUDA Environment Variables"): numbers or beginnings of UUIDs; the first that names no GPU
    hides itself and all after it. Numbers follow CUDA_DEVICE_ORDER, the fastest first unless it says PCI_BUS_ID, so
    among unlike GPUs a number alone tells NVML's order only there.
    """

    gpus: tuple[NvmlDevice, ...]
    source: str

    waits_for_child = True

    @classmethod
    def collect(cls, host: Host, nvml: NvmlAnswer, chosen: VisibleDevices | Unknown) -> VisibleGpus:
        if nvml.init != 0 or nvml.count is None:
            raise Unknown(f"NVML does not answer for the GPUs ({nvml.init_text or nvml.dlopen_error or nvml.trouble})")
        if len(nvml.devices) < nvml.count:
            raise Unknown(f"NVML has not answered for all of its {nvml.count} GPUs")
        value = chosen.value if isinstance(chosen, VisibleDevices) else None
        if value is None:
            return cls(_in_parts(nvml.devices), "NVML")
        ordered = reading.variable(host, "CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
        devices = nvml.devices if "MIG-" not in value else _in_parts(nvml.devices)
        return cls(_in_parts(_chosen(devices, value, ordered)), f"NVML, with CUDA_VISIBLE_DEVICES={value}")


def _in_parts(devices: Sequence[NvmlDevice]) -> tuple[NvmlDevice, ...]:
    """Under MIG the instances of a GPU, each as the device that CUDA sees; a GPU that is not parted as it is."""
    found: list[NvmlDevice] = []
    for device in devices:
        if device.instances is None:
            found.append(device)
            continue
        found += [
            replace(device, uuid=one.uuid, memory_total=one.memory_total, memory_used=one.memory_used, instances=None)
            for one in device.instances
        ]
    return tuple(found)


def _chosen(devices: Sequence[NvmlDevice], value: str, ordered: bool) -> tuple[NvmlDevice, ...]:
    found: list[NvmlDevice] = []
    alike = len({device.name for device in devices}) < 2
    for word in (part.strip() for part in value.split(",")):
        if re.fullmatch(r"[0-9]{1,4}", word):
            if not (ordered or alike):
                raise Unknown(
                    f"CUDA_VISIBLE_DEVICES={value} counts unlike GPUs, and CUDA_DEVICE_ORDER is not PCI_BUS_ID"
                )
            named = [device for device in devices if device.index == int(word)]
        else:
            named = [
                device for device in devices if re.match("GPU-|MIG-", word) and (device.uuid or "").startswith(word)
            ]
        if len(named) != 1 or named[0] in found:
            break
        found += named
    return tuple(found)
