"""Is there an NVIDIA GPU at all?"""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks.bound_gpus import of_gpu
from nvdiag.engine import check
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.container_view import GivenGpus
from nvdiag.facts.pci import DEVICES, PciGpus
from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown


@check("no-nvidia-gpu", area="driver")
def a_gpu_is_there(
    gpus: PciGpus | Unknown, surroundings: Surroundings, nvml: NvmlAnswer | Unknown, given: GivenGpus | Unknown
) -> Iterator[Finding]:
    """An NVIDIA GPU is on the PCI bus, or the driver shows one (WSL, Tegra, sandboxes)."""
    kept = isinstance(given, GivenGpus) and given.nothing
    if isinstance(gpus, PciGpus) and gpus.gpus and not kept:
        return
    counted = nvml.count if isinstance(nvml, NvmlAnswer) and nvml.init == 0 else None
    if counted:
        return
    if counted is None and (surroundings.wsl or surroundings.tegra):
        raise NotApplicable("under WSL and on Tegra the GPU is not on a PCI bus that this system sees")
    if counted is None and surroundings.sandbox and isinstance(given, GivenGpus) and given.given:
        raise NotApplicable("this sandbox was given nodes or libraries of a GPU, and shows no PCI bus")
    if counted is None and isinstance(gpus, Unknown):
        raise gpus
    where = surroundings.described
    from nvdiag.checks.installation import WITHOUT_DRIVER

    yield Finding(
        id="no-nvidia-gpu",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title="no NVIDIA GPU was given to this container, though its host has one"
        if isinstance(gpus, PciGpus) and gpus.gpus
        else "no NVIDIA GPU is visible on this machine",
        detail=(
            f"This is {where}: it has only what it was given."
            if where
            else "The PCI bus shows none: no card, or one switched off, badly seated or disabled in the firmware."
            if isinstance(gpus, PciGpus)
            else "The driver itself counts none, and the PCI bus could not be looked at."
        ),
        evidence=(
            *_no_gpu_on(gpus, surroundings),
            *((Evidence(source="nvmlDeviceGetCount", excerpt="0"),) if counted == 0 else ()),
            *surroundings.evidence[:2],
        ),
        remedies=_find_a_gpu(surroundings),
        explains=WITHOUT_DRIVER | {"driver-not-installed", "driver-not-built"},
        layers=(Layer.GPU,),
    )


def _no_gpu_on(gpus: PciGpus | Unknown, surroundings: Surroundings) -> Iterator[Evidence]:
    if isinstance(gpus, PciGpus) and gpus.gpus:
        yield Evidence(source="/dev", excerpt="no nvidia node")
        yield of_gpu(gpus.gpus[0])
    elif isinstance(gpus, PciGpus) and not (surroundings.wsl or surroundings.tegra):
        yield Evidence(source=DEVICES, excerpt="no device of vendor 10de and class 0300 or 0302")


def _find_a_gpu(surroundings: Surroundings) -> tuple[Remedy, ...]:
    if surroundings.container:
        from nvdiag.checks import _container_ways

        return _container_ways.start(surroundings)
    if surroundings.wsl:
        return (
            Remedy(
                summary="look whether nvidia-smi works in Windows; if it does, update WSL (in PowerShell)",
                commands=("nvidia-smi", "wsl --update", "wsl --shutdown"),
            ),
        )
    if surroundings.virtual_machine or surroundings.sandbox:
        return (Remedy(summary="give this system a GPU (passthrough, vGPU, or an instance type with one)"),)
    return (
        Remedy(
            summary="look whether the bus shows the card at all",
            commands=("lspci -d 10de:",),
            prediction="if it prints nothing, it is the card, its power, its slot or the firmware, not the driver",
        ),
    )
