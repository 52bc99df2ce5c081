"""GPUs that another driver holds: by mistake, or on purpose as for a virtual machine."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.module_files import RunningKernelModule
from nvdiag.facts.modules import KernelModules
from nvdiag.facts.pci import DEVICES, GpusOnBus, PciGpu
from nvdiag.facts.smi_report import SmiReport
from nvdiag.facts.system import Distribution
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Risk, Severity
from nvdiag.model.unknown import Unknown


@check("gpu-bound-to-other-driver", area="driver")
def gpus_are_held_by_nvidia(
    gpus: GpusOnBus,
    modules: KernelModules | Unknown,
    disk: RunningKernelModule | Unknown,
    distribution: Distribution | Unknown,
    smi: SmiReport | Unknown,
) -> Iterator[Finding]:
    """No other kernel driver (nouveau, nova, vfio-pci) holds a GPU that NVIDIA's is meant to drive."""
    installed = isinstance(disk, RunningKernelModule) and disk.file is not None
    loaded = isinstance(modules, KernelModules) and modules.nvidia is not None
    tried = isinstance(smi, SmiReport) and not smi.works
    spare = any(gpu.driver == "nvidia" for gpu in gpus.gpus)
    for gpu in gpus.gpus:
        if gpu.driver not in (None, "nvidia"):
            yield _bound(gpu, distribution, wanted=installed or loaded or tried, spare=spare)


def on_purpose(gpu: PciGpu) -> bool:
    """Whether the GPU is kept for a virtual machine: vfio-pci and its variants, and the stubs that hold a place."""
    return gpu.driver is not None and (
        re.search(r"vfio", gpu.driver) is not None or gpu.driver in ("pci-stub", "pciback", "xen-pciback")
    )


def _bound(gpu: PciGpu, distribution: Distribution | Unknown, *, wanted: bool, spare: bool) -> Finding:
    given = on_purpose(gpu)
    severity = Severity.INFO if given and (spare or not wanted) else Severity.WARNING if given else Severity.ERROR
    if given:
        detail = (
            f"{gpu.driver} keeps a GPU for a virtual machine, usually on purpose; this system's CUDA cannot use it."
        )
        remedy = Remedy(
            summary=f"if this system is to use it, find what gives it to {gpu.driver}, and take it out there",
            commands=("grep -rE 'vfio|pci-stub|pciback|10de' /etc/modprobe.d /etc/default/grub",),
            risk=Risk.DISRUPTIVE,
        )
    elif not wanted:
        detail = f"{gpu.driver} drives displays, and no CUDA; the nvidia module takes over where it is installed."
        remedy = Remedy(
            summary=f"install NVIDIA's driver first; its packages keep {gpu.driver} from loading",
            prediction=f"without a driver to follow, keeping {gpu.driver} out may leave this machine without a display",
        )
    else:
        detail = f"While {gpu.driver} has the GPU, the nvidia module finds no device."
        from nvdiag.checks import _remedies

        remedy = _remedies.keep_from_loading(gpu.driver or "", distribution)
    return Finding(
        id="gpu-bound-to-other-driver",
        subject=gpu.address,
        severity=severity,
        confidence=Confidence.CERTAIN,
        title=f"the GPU at {gpu.address} is held by {gpu.driver}",
        detail=detail,
        evidence=(of_gpu(gpu),),
        remedies=(remedy,),
        explains=frozenset()
        if given
        else frozenset({"driver-not-loaded", "gpu-init-failed", "device-nodes-missing", "no-cuda-device"}),
        layers=(Layer.GPU,),
    )


def of_gpu(gpu: PciGpu) -> Evidence:
    """A GPU on the bus, as evidence."""
    driver = gpu.driver or ("not readable" if gpu.driver_hidden else "none")
    return Evidence(source=f"{DEVICES}/{gpu.address}", excerpt=f"10de:{gpu.device_id}, driver {driver}")
