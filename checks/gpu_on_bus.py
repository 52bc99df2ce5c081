"""What the PCI bus tells of a GPU that the driver does not show: gone, without a place in memory, or switched off."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages
from nvdiag.facts.pci import PciGpus
from nvdiag.facts.power_switches import PowerSwitches
from nvdiag.facts.quiet_gpus import QuietGpus
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Risk, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown

_FOLLOWS = frozenset({"gpu-init-failed", "no-cuda-device", "driver-not-loaded", "device-nodes-missing"})


@check("gpu-fallen-off-bus", area="device")
def every_gpu_answers_on_the_bus(quiet: QuietGpus) -> Iterator[Finding]:
    """No GPU's configuration space reads as ones."""
    silent = [one for one in quiet.gpus if one.silent]
    if not silent:
        raise _nothing()
    from nvdiag.checks.gpu_messages import POWER_CYCLE, READ_THE_LOG

    for one in silent:
        yield Finding(
            id="gpu-fallen-off-bus",
            subject=one.gpu.address,
            severity=Severity.ERROR,
            confidence=Confidence.CERTAIN,
            kind=FindingClass.HARDWARE,
            title=f"the GPU at {one.gpu.address} does not answer on the PCI bus: its registers read as ones",
            detail="The kernel still lists it, from the time when it did answer. Heat, power, the slot, a riser or"
            " cable, power saving on the bus, or the card itself is the reason; a program is not.",
            evidence=(Evidence(source=f"{one.folder}/config", excerpt="ff ff ff ff …"),),
            remedies=(READ_THE_LOG, POWER_CYCLE),
            explains=_FOLLOWS | {"gpu-reset-required", "xid-reported", "pci-resources-unavailable"},
            layers=(Layer.GPU,),
        )


_REFUSED = ("gpu-needs-legacy-driver", "gpu-needs-newer-driver", "gpu-bound-to-other-driver", "wsl-driver-misinstalled")


@check("no-nvidia-gpu", area="driver")
def the_driver_counts_a_gpu(messages: Messages, gpus: PciGpus | Unknown) -> Iterator[Finding]:
    """No message of the kernel module tells that it finds no GPU where none is known to be."""
    said = _said.about(messages, "no-nvidia-gpu")
    if isinstance(gpus, PciGpus) and gpus.gpus:
        raise NotApplicable("a GPU is on the PCI bus: the kernel module found none that it drives")
    if any(messages.proving(identifier) for identifier in _REFUSED):
        raise NotApplicable("the text tells why the kernel module does not take the GPU")
    from nvdiag.checks.gpu_messages import POWER_CYCLE

    yield _said.finding(
        said,
        "no-nvidia-gpu",
        detail="The kernel module looks on the PCI bus for GPUs of NVIDIA. It finds none where there is no card, where"
        " the card is switched off, badly seated, or disabled in the firmware, and where this release drives none.",
        remedies=(
            Remedy(
                summary="see whether a GPU is on the bus", commands=("lspci -nn -d 10de:", "sudo dmesg | grep NVRM")
            ),
            POWER_CYCLE,
        ),
        explains=_FOLLOWS | {"driver-not-installed", "driver-not-built"},
        layers=(Layer.GPU,),
    )


def _nothing() -> NotApplicable:
    """A GPU that is well on the bus is none yet that the driver shows: that nothing is found here is no health."""
    return NotApplicable("the bus tells of nothing that keeps the driver from the GPU")


@check("pci-resources-unavailable", area="device")
def every_gpu_has_its_place_in_memory(quiet: QuietGpus) -> Iterator[Finding]:
    """Each GPU has an address for its registers and for its memory's window."""
    homeless = [one for one in quiet.gpus if one.without_place]
    if not homeless:
        raise _nothing()
    for one in homeless:
        windows = listed([f"BAR{number}" for number in one.without_place or ()])
        yield Finding(
            id="pci-resources-unavailable",
            subject=one.gpu.address,
            severity=Severity.ERROR,
            confidence=Confidence.CERTAIN,
            title=f"nothing gave the GPU at {one.gpu.address} an address for {windows}",
            detail="Without it the driver cannot reach the GPU. The window for a GPU's whole memory does not fit below"
            " 4 GiB; in a virtual machine the guest's firmware and 64-bit window must be large enough, too.",
            evidence=(Evidence(source=f"{one.folder}/resource", excerpt=f"{windows}: not assigned"),),
            remedies=(
                Remedy(
                    summary="in the firmware's settings switch on Above 4G Decoding (64-bit MMIO) and switch CSM off",
                    reboots=True,
                    risk=Risk.DISRUPTIVE,
                ),
                Remedy(
                    summary="let the kernel assign the windows anew: add pci=realloc to its command line",
                    commands=("cat /proc/cmdline", f"sudo lspci -vv -s {one.gpu.address}"),
                    needs_root=True,
                    reboots=True,
                    risk=Risk.DISRUPTIVE,
                ),
            ),
            explains=_FOLLOWS,
            layers=(Layer.GPU,),
        )


@check("gpu-switched-off", area="device")
def no_switch_is_off(switches: PowerSwitches, gpus: PciGpus) -> Iterator[Finding]:
    """No switch of the firmware or of a tool for hybrid graphics keeps an NVIDIA GPU off."""
    if not switches.off:
        raise NotApplicable("no switch that nvdiag knows is off")
    kinds = list(dict.fromkeys(kind for kind, _ in switches.off))
    from nvdiag.checks.gpu_messages import SWITCH_ON

    ways = [SWITCH_ON[kind] for kind in kinds]
    unsure = kinds == ["thunderbolt"]
    yield Finding(
        id="gpu-switched-off",
        severity=Severity.ERROR,
        confidence=Confidence.POSSIBLE if unsure else Confidence.CERTAIN,
        title="a Thunderbolt device is not authorised; if the GPU is in it, that is why it is not seen"
        if unsure
        else f"the NVIDIA GPU is switched off on purpose ({listed(kinds)})",
        detail="It is not broken: a program or a setting that saves power turned it off or hid it.",
        evidence=tuple(evidence for _, evidence in switches.off),
        remedies=tuple(
            Remedy(
                summary=summary,
                commands=commands,
                risk=Risk.DISRUPTIVE,
                needs_root=any("sudo" in command for command in commands),
                reboots="reboot" in summary,
            )
            for summary, commands in ways
        ),
        explains=_FOLLOWS | ({"no-nvidia-gpu"} if not gpus.gpus else set()),
        layers=(Layer.GPU,),
    )
