"""The GPUs for the JSON report."""

from __future__ import annotations

from typing import Any

from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.nvml_devices import GpuProcess, NvmlDevice
from nvdiag.facts.pci import PciGpus
from nvdiag.model.unknown import NotApplicable, Unknown

Json = Any


def gpus(pci: PciGpus | Unknown, nvml: NvmlAnswer | Unknown) -> Json:
    """Each GPU once, by its PCI address: what the bus shows and, under `nvml`, what NVML says of it."""
    if isinstance(pci, Unknown) and isinstance(nvml, Unknown):
        return {"not_applicable" if isinstance(pci, NotApplicable) else "unknown": str(pci)}
    devices = () if isinstance(nvml, Unknown) else nvml.devices
    by_address = {device.address: device for device in devices if device.address}
    rows = [
        {
            "address": gpu.address,
            "device_id": gpu.device_id,
            "kernel_driver": gpu.driver,
            "nvml": _device(by_address.pop(gpu.address)) if gpu.address in by_address else None,
        }
        for gpu in (() if isinstance(pci, Unknown) else pci.gpus)
    ]
    unseen = [device for device in devices if not device.address or device.address in by_address]
    return rows + [
        {"address": device.address, "device_id": None, "kernel_driver": None, "nvml": _device(device)}
        for device in unseen
    ]


def _device(device: NvmlDevice) -> dict[str, Json]:
    return {
        "index": device.index,
        "handle_error": device.handle_error,
        "name": device.name,
        "uuid": device.uuid,
        "minor": device.minor,
        "memory_total_bytes": device.memory_total,
        "memory_used_bytes": device.memory_used,
        "compute_capability": device.compute_capability,
        "utilisation_percent": device.utilisation,
        "temperature_celsius": device.temperature,
        "power_milliwatts": device.power,
        "power_limit_milliwatts": device.power_limit,
        "compute_mode": device.compute_mode.name.lower() if device.compute_mode else None,
        "mig": device.mig,
        "mig_pending": device.mig_pending,
        "mig_instances": None
        if device.instances is None
        else [
            {"uuid": one.uuid, "memory_total_bytes": one.memory_total, "memory_used_bytes": one.memory_used}
            for one in device.instances
        ],
        "processes": None if device.processes is None else [_process(one) for one in device.processes],
        "nvml_errors": dict(device.errors),
    }


def _process(one: GpuProcess) -> dict[str, Json]:
    place = one.place
    return {
        "pid": one.pid,
        "name": one.name,
        "memory_bytes": one.memory,
        "user": one.user or None,
        "kind": place.home.value,
        "place": place.name or None,
    }
