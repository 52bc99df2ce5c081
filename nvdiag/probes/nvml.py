"""What NVML answers, through NVIDIA's own binding `pynvml` (package nvidia-ml-py).

NVML error numbers are those of nvml.h; they stand beside the values, never among them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

from nvdiag.probes.child import Say
from nvdiag.probes.dlopen import library_path, load
from nvdiag.probes.memory import Json

SONAME = "libnvidia-ml.so.1"


def run(arguments: list[str], say: Say) -> dict[str, Json]:
    """The document: library, dlopen_error, nvml_version, init (number), driver_version, devices, … as far as it got."""
    document: dict[str, Json] = {}
    say(f"dlopen {SONAME}", document)
    library, error = load(SONAME)
    if library is None:
        return {**document, "dlopen_error": error}
    document["library"] = library_path(SONAME)
    say("nvmlSystemGetNVMLVersion", document)
    document["nvml_version"] = _version_before_init(library)
    say("nvmlInit", document)
    if (refused := _refused(library)) is not None:
        return {**document, **refused}
    say("import pynvml", document)
    import pynvml

    say("nvmlInit", document)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as failure:
        return {**document, "init": failure.value, "init_text": str(failure)}
    document["init"] = 0
    try:
        _system(pynvml, document, say)
        _devices(pynvml, document, say)
    finally:
        say("nvmlShutdown", document)
        pynvml.nvmlShutdown()
        library.nvmlShutdown()
    return document


def _version_before_init(library: ctypes.CDLL) -> str | None:
    """NVML's own release as "12.550.163.01"; None on 470 and older, which want to be initialised first."""
    try:
        ask = library.nvmlSystemGetNVMLVersion
    except AttributeError:
        return None
    text = ctypes.create_string_buffer(80)
    return text.value.decode("ascii", "replace") if ask(text, ctypes.c_uint(80)) == 0 else None


def _refused(library: ctypes.CDLL) -> dict[str, Json] | None:
    """NVML's error and its own words for it, where it does not initialise: pynvml then has nothing more to ask.

    It is a large module, and importing it would be the dearest part of a run on a machine whose driver is broken. NVML
    counts its initialisations, so this one lasts until it is shut down, too: the GPUs are started once.
    """
    try:
        initialise, words = library.nvmlInitWithFlags, library.nvmlErrorString
    except AttributeError:
        return None
    error = initialise(ctypes.c_uint(0))  # as pynvml's nvmlInit does
    if error == 0:
        return None
    words.restype = ctypes.c_char_p
    return {"init": error, "init_text": (words(error) or b"").decode("ascii", "replace")}


class _Asking:
    """Asks one thing after another and keeps answers and NVML's error numbers apart."""

    def __init__(self, pynvml: Any, before: Callable[[str], None]) -> None:
        self.pynvml = pynvml
        self.before = before
        self.values: dict[str, Json] = {}
        self.errors: dict[str, int] = {}

    def ask(
        self, name: str, function: str, *arguments: object, take: Callable[[Any], Json] = lambda value: value
    ) -> None:
        """Call pynvml's `function` and keep `take(answer)` as `name`, or the error's number."""
        self.before(function)
        try:
            self.values[name] = take(getattr(self.pynvml, function)(*arguments))
        except self.pynvml.NVMLError as error:
            self.errors[name] = error.value
        except UnicodeDecodeError:
            self.errors[name] = self.pynvml.NVML_ERROR_UNKNOWN


def _system(pynvml: Any, document: dict[str, Json], say: Say) -> None:
    asking = _Asking(pynvml, lambda call: say(call, document))
    asking.ask("driver_version", "nvmlSystemGetDriverVersion", take=_text)
    asking.ask("nvml_version", "nvmlSystemGetNVMLVersion", take=_text)
    asking.ask("cuda_driver_version", "nvmlSystemGetCudaDriverVersion_v2")
    asking.ask("count", "nvmlDeviceGetCount")
    document.update(asking.values)
    if asking.errors:
        document["errors"] = asking.errors
    _confidential(pynvml, document, say)


def _confidential(pynvml: Any, document: dict[str, Json], say: Say) -> None:
    """Whether the GPUs are in confidential-computing mode, and set ready; nothing where NVML knows of no such mode."""
    if not hasattr(pynvml, "nvmlSystemGetConfComputeGpusReadyState"):  # a binding older than that mode
        return
    asking = _Asking(pynvml, lambda call: say(call, document))
    asking.ask("confidential", "nvmlSystemGetConfComputeState", take=lambda state: state.ccFeature)
    if asking.values.get("confidential") == pynvml.NVML_CC_SYSTEM_FEATURE_ENABLED:
        document["confidential"] = 1
        asking.ask("confidential_ready", "nvmlSystemGetConfComputeGpusReadyState")
        document["confidential_ready"] = asking.values.get("confidential_ready")


def _devices(pynvml: Any, document: dict[str, Json], say: Say) -> None:
    devices: list[Json] = []
    document["devices"] = devices
    for index in range(document.get("count") or 0):
        call = f"nvmlDeviceGetHandleByIndex({index})"
        say(call, document)
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError as error:
            devices.append({"index": index, "handle": error.value, "handle_text": str(error)})
            continue
        asking = _Asking(pynvml, partial(_say_of, index, document, say))
        asking.values.update(index=index, handle=0, errors=asking.errors)
        devices.append(asking.values)
        _device(asking, handle)


def _say_of(index: int, document: dict[str, Json], say: Say, call: str) -> None:
    say(f"{call}({index})", document)


def _device(asking: _Asking, handle: object) -> None:
    """Ask everything of one GPU; the values grow in place, so that a crash half-way loses none of them."""
    ask = asking.ask
    ask("name", "nvmlDeviceGetName", handle, take=_text)
    ask("uuid", "nvmlDeviceGetUUID", handle, take=_text)
    ask("pci", "nvmlDeviceGetPciInfo", handle, take=lambda info: _text(info.busId))
    ask("minor", "nvmlDeviceGetMinorNumber", handle)
    ask("memory_bytes", "nvmlDeviceGetMemoryInfo", handle, take=_memory)
    ask("compute_capability", "nvmlDeviceGetCudaComputeCapability", handle, take=lambda pair: f"{pair[0]}.{pair[1]}")
    ask("utilisation_percent", "nvmlDeviceGetUtilizationRates", handle, take=lambda rates: rates.gpu)
    ask("temperature_celsius", "nvmlDeviceGetTemperature", handle, asking.pynvml.NVML_TEMPERATURE_GPU)
    ask("power_milliwatts", "nvmlDeviceGetPowerUsage", handle)
    ask("power_limit_milliwatts", "nvmlDeviceGetEnforcedPowerLimit", handle)
    ask("compute_mode", "nvmlDeviceGetComputeMode", handle)
    ask("mig_mode", "nvmlDeviceGetMigMode", handle, take=tuple)
    if "mig_mode" in asking.values:
        asking.values["mig_mode"], asking.values["mig_pending"] = asking.values["mig_mode"]
    if asking.values.get("mig_mode") == asking.pynvml.NVML_DEVICE_MIG_ENABLE:
        asking.values["mig_instances"] = _instances(asking, handle)
    ask("compute_processes", "nvmlDeviceGetComputeRunningProcesses", handle, take=_processes)
    ask("graphics_processes", "nvmlDeviceGetGraphicsRunningProcesses", handle, take=_processes)
    ask("virtualization", "nvmlDeviceGetVirtualizationMode", handle)
    _virtualised(asking, handle)


def _instances(asking: _Asking, handle: object) -> list[Json]:
    """The MIG instances of one GPU, each with its UUID and memory.

    A place without one is NVML's Not Found; another error than that is kept as the error of `mig_instances`.
    """
    found: list[Json] = []
    counted = _Asking(asking.pynvml, asking.before)
    counted.ask("count", "nvmlDeviceGetMaxMigDeviceCount", handle)
    if "count" in counted.errors:
        asking.errors["mig_instances"] = counted.errors["count"]
    for place in range(counted.values.get("count") or 0):
        asking.before("nvmlDeviceGetMigDeviceHandleByIndex")
        try:
            instance = asking.pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
        except asking.pynvml.NVMLError as error:
            if error.value != asking.pynvml.NVML_ERROR_NOT_FOUND:
                asking.errors["mig_instances"] = error.value
            continue
        one = _Asking(asking.pynvml, asking.before)
        one.ask("uuid", "nvmlDeviceGetUUID", instance, take=_text)
        one.ask("memory_bytes", "nvmlDeviceGetMemoryInfo", instance, take=_memory)
        found.append(one.values)
    return found


def _memory(memory: Any) -> Json:
    return {"total": memory.total, "used": memory.used, "free": memory.free}


def _virtualised(asking: _Asking, handle: object) -> None:
    """In a virtual machine, whether the GPU has its vGPU licence; on a host of virtual GPUs, their guests' drivers."""
    pynvml, mode = asking.pynvml, asking.values.get("virtualization")
    if mode in (pynvml.NVML_GPU_VIRTUALIZATION_MODE_PASSTHROUGH, pynvml.NVML_GPU_VIRTUALIZATION_MODE_VGPU):
        if hasattr(pynvml, "nvmlDeviceGetGridLicensableFeatures_v4"):  # a younger binding's
            asking.ask("licences", "nvmlDeviceGetGridLicensableFeatures_v4", handle, take=_licences)
    elif mode == pynvml.NVML_GPU_VIRTUALIZATION_MODE_HOST_VGPU:
        asking.ask("guests", "nvmlDeviceGetActiveVgpus", handle, take=partial(_guests, pynvml))


def _licences(found: Any) -> list[Json]:
    """The features that this GPU may be licensed for; empty where there is nothing to license."""
    if not found.isGridLicenseSupported:
        return []
    return [
        {"product": _text(one.productName), "licensed": bool(one.featureState), "enabled": bool(one.featureEnabled)}
        for one in found.gridLicensableFeatures[: found.licensableFeaturesCount]
    ]


def _guests(pynvml: Any, instances: list[Any]) -> list[Json]:
    return [{"driver": _text(pynvml.nvmlVgpuInstanceGetVmDriverVersion(one))} for one in instances]


def _processes(found: list[Any]) -> list[Json]:
    if not found:
        return []
    from nvdiag.probes import holders

    return [
        {"pid": process.pid, "memory_bytes": process.usedGpuMemory, **holders.told_of(process.pid)} for process in found
    ]


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
