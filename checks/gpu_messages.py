"""What a text says of a GPU itself: that it does not start, is gone, switched off, slowed, or closed to programs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.model.finding import Confidence, Finding, FindingClass, Layer, Remedy, Risk, Severity
from nvdiag.model.unknown import NotApplicable

READ_THE_LOG = Remedy(
    summary="read what the driver and the PCI bus wrote to the kernel log",
    commands=(
        "sudo dmesg | grep -iE 'nvrm|nvidia|xid|pcieport|AER|BAR'",
        "sudo journalctl -k -b -1 | grep -iE 'nvrm|xid'",
    ),
    needs_root=True,
)
POWER_CYCLE = Remedy(
    summary="shut the machine down, take its power away for a minute, and start it again",
    commands=("sudo poweroff",),
    risk=Risk.DISRUPTIVE,
    needs_root=True,
    reboots=True,
    prediction="a GPU that comes back had lost its link or its firmware's state; one that does not is badly seated,"
    " badly powered or defective",
)
_BAD_STATE = ("gsp-wpr2-already-up", "gsp-bad-state")


@check("gpu-init-failed", area="device")
def the_driver_starts_every_gpu(messages: Messages) -> Iterator[Finding]:
    """No message tells of a GPU that the driver could not start."""
    said = sorted(_said.about(messages, "gpu-init-failed"), key=_is_outside)
    names = {one.message.name for one in said}
    address = _address(said)
    powerless = "nvrm-power-cables" in names
    yield _said.finding(
        said,
        "gpu-init-failed",
        title=_titled(said, address),
        detail=(
            "The card has less power than it needs to start. Its plugs are on the card itself; adapters and the cables"
            " of another power supply are common culprits."
            if powerless
            else "The line before the first failure names the reason where there is one. If other findings stand"
            " above this one, look there first."
        ),
        kind=FindingClass.HARDWARE,
        remedies=(
            *((_CONNECT,) if powerless else ()),
            READ_THE_LOG,
            *((_function_reset(address),) if names.intersection(_BAD_STATE) else ()),
            POWER_CYCLE,
        ),
        explains=frozenset({"no-cuda-device", "uvm-not-loaded", "device-ordinal-invalid", "compute-mode-restricted"}),
        layers=(Layer.GPU,),
    )


_CONNECT = Remedy(
    summary="switch the machine off and plug in every power cable that the card has a socket for",
    prediction="some data-centre cards take a CPU (EPS) plug, not a PCIe one: the card's data sheet says which",
)


def _function_reset(address: str) -> Remedy:
    where = address or "ADDRESS"
    return Remedy(
        summary="reset the GPU on the bus while nothing uses it, then load the driver again",
        commands=(
            "sudo fuser -v /dev/nvidia*",
            "sudo modprobe -r nvidia_drm nvidia_modeset nvidia_uvm nvidia",
            f"echo 1 | sudo tee /sys/bus/pci/devices/{where}/reset",
            "sudo modprobe nvidia",
        ),
        risk=Risk.DISRUPTIVE,
        needs_root=True,
        prediction="a reset clears what an earlier driver (nouveau, a guest, a crash) left in the GPU",
    )


@check("gpu-fallen-off-bus", area="device")
def no_gpu_has_fallen_off_the_bus(messages: Messages) -> Iterator[Finding]:
    """No message tells of a GPU that stopped answering on PCI."""
    said = _said.about(messages, "gpu-fallen-off-bus")
    asleep = all(one.message.name == "pci-power-state-stuck" for one in said)
    yield _said.finding(
        said,
        "gpu-fallen-off-bus",
        title=_titled(said, _address(said)),
        detail=(
            "It was asleep and did not wake: power saving on the PCI bus, or a cable or dock, lost it."
            if asleep
            else "Reading its registers gives only ones. Heat, the power supply, the slot, a riser or cable, power"
            " saving on the bus, or the card itself is the reason; a program is not."
        ),
        kind=FindingClass.HARDWARE,
        remedies=(READ_THE_LOG, POWER_CYCLE, _STAY_AWAKE),
        explains=frozenset(
            {
                "gpu-init-failed",
                "no-cuda-device",
                "uvm-not-loaded",
                "gpu-reset-required",
                "xid-reported",
                "compute-mode-restricted",
                "device-ordinal-invalid",
            }
        ),
        layers=(Layer.GPU,),
    )


_STAY_AWAKE = Remedy(
    summary="if it happens when the GPU is idle or wakes up (laptop, external GPU), keep it awake, then reboot",
    commands=(
        "echo 'options nvidia NVreg_DynamicPowerManagement=0x00' | sudo tee /etc/modprobe.d/nvidia-stay-awake.conf",
    ),
    needs_root=True,
    reboots=True,
    prediction="if that is not enough, add pcie_port_pm=off to the kernel's command line",
)

SWITCH_ON: dict[str, tuple[str, tuple[str, ...]]] = {
    "bbswitch": ("switch the GPU on, and remove bbswitch", ("echo ON | sudo tee /proc/acpi/bbswitch",)),
    "prime": ("let the NVIDIA GPU run beside the other one, then reboot", ("sudo prime-select on-demand",)),
    "envycontrol": ("switch to hybrid graphics, then reboot", ("sudo envycontrol -s hybrid",)),
    "supergfxctl": ("switch to hybrid graphics, then log in anew", ("supergfxctl -m Hybrid",)),
    "other": ("switch to hybrid graphics, then reboot", ("sudo system76-power graphics hybrid",)),
    "dgpu": (
        "clear the firmware's switch, then reboot",
        ("echo 0 | sudo tee /sys/devices/platform/asus-nb-wmi/dgpu_disable",),
    ),
    "udev": (
        "find the rule that removes the GPU, delete it, and reboot",
        ("grep -rn 0x10de /etc/udev/rules.d /lib/udev/rules.d",),
    ),
    "nvrm": (
        "find where the GPU is excluded, and reload the driver without it",
        ("grep -rnE 'NVreg_(ExcludedGpus|GpuBlacklist)' /etc/modprobe.d /lib/modprobe.d", "nvidia-smi -B"),
    ),
    "thunderbolt": ("authorise the Thunderbolt device", ("boltctl list", "sudo boltctl enroll UUID")),
}
"""Ways on, by the first word of the message's name."""


@check("gpu-switched-off", area="device")
def no_switch_keeps_the_gpu_off(messages: Messages) -> Iterator[Finding]:
    """No message tells of a switch, rule or setting that keeps the GPU off on purpose."""
    said = messages.proving("gpu-switched-off")
    if not said and messages.proving("no-nvidia-gpu"):
        said = messages.named("thunderbolt-unauthorized")
    if not said:
        raise NotApplicable("no message in the text tells of it")
    switches = dict.fromkeys(one.message.name.partition("-")[0] for one in said)
    gone = bool(messages.proving("gpu-fallen-off-bus"))
    ways = [SWITCH_ON[switch] for switch in switches if switch in SWITCH_ON]
    yield _said.finding(
        said,
        "gpu-switched-off",
        severity=Severity.WARNING if gone else Severity.ERROR,
        confidence=Confidence.POSSIBLE if gone else Confidence.LIKELY if "thunderbolt" in switches else None,
        detail="A switch that saves power may be why the GPU is gone from the bus."
        if gone
        else "The GPU is not broken: a program or setting that saves power has turned it off or hidden it.",
        remedies=tuple(
            Remedy(
                summary=summary,
                commands=commands,
                risk=Risk.DISRUPTIVE,
                needs_root=any(command.startswith("sudo") or "| sudo" in command for command in commands),
                reboots="reboot" in summary,
            )
            for summary, commands in ways
        ),
        explains=frozenset(
            {
                "no-nvidia-gpu",
                "gpu-init-failed",
                "driver-not-loaded",
                "device-nodes-missing",
                "no-cuda-device",
                "uvm-not-loaded",
                "framework-cpu-only",
            }
        ),
        layers=(Layer.GPU,),
    )


@check("gpu-slowed", area="device")
def no_gpu_is_slowed(messages: Messages) -> Iterator[Finding]:
    """No message tells of a GPU that heat or its power supply slows."""
    said = _said.about(messages, "gpu-slowed")
    brake = any(one.message.name == "hw-power-brake" for one in said)
    yield _said.finding(
        said,
        "gpu-slowed",
        severity=Severity.WARNING,
        kind=FindingClass.HARDWARE,
        detail=(
            "The power supply or the chassis asserts a signal that makes the card save power at once."
            if brake
            else "The card protects itself: fans, air flow, dust, dried thermal paste, or a hot room."
        ),
        remedies=(
            Remedy(
                summary="watch clocks, temperatures and reasons while a load runs",
                commands=("nvidia-smi -q -d PERFORMANCE,TEMPERATURE,POWER,CLOCK",),
            ),
            Remedy(
                summary="check the power supplies and the power budget of the chassis"
                if brake
                else "clean the card's way of air, raise the fans' speed, or lower the power limit",
                commands=() if brake else ("sudo nvidia-smi -pl WATTS",),
                needs_root=not brake,
            ),
        ),
        layers=(Layer.GPU,),
    )


@check("pci-resources-unavailable", area="device")
def gpus_have_their_memory_windows(messages: Messages) -> Iterator[Finding]:
    """No message tells of a GPU without the PCI memory windows that it needs."""
    given = messages.named("kernel-bar-assigned")
    said = tuple(one for one in _said.about(messages, "pci-resources-unavailable") if not _given_later(one, given))
    if not said:
        raise NotApplicable("the kernel found room for the window at its next try")
    yield _said.finding(
        said,
        "pci-resources-unavailable",
        title=_titled(said, _address(said)),
        detail="The whole of a GPU's memory may want a place in the address space, more than fits below 4 GiB."
        " In a virtual machine the guest's firmware and 64-bit window must be large enough, too.",
        remedies=(
            Remedy(
                summary="in the firmware's settings switch on Above 4G Decoding (64-bit MMIO) and switch CSM off;"
                " update that firmware",
                reboots=True,
                risk=Risk.DISRUPTIVE,
            ),
            Remedy(
                summary="let the kernel assign the windows anew: add pci=realloc to its command line"
                " (pci=realloc=off where that made it worse)",
                commands=("cat /proc/cmdline", "sudo lspci -vv -d 10de: | grep -iE '^[0-9a-f]|Region'"),
                needs_root=True,
                reboots=True,
                risk=Risk.DISRUPTIVE,
            ),
        ),
        explains=frozenset(
            {"gpu-init-failed", "gpu-fallen-off-bus", "no-cuda-device", "driver-not-loaded", "uvm-not-loaded"}
        ),
        layers=(Layer.GPU,),
    )


def _given_later(one: Said, given: Sequence[Said]) -> bool:
    """Whether the kernel says further on that this window has its place after all."""
    if one.message.name != "kernel-bar-no-space":
        return False
    where = (one.groups.get("gpu"), one.groups.get("bar"))
    return any((other.groups.get("gpu"), other.groups.get("bar")) == where and other.line > one.line for other in given)


def _is_outside(one: Said) -> bool:
    """Whether a program says it, which knows less of the reason than the kernel module does."""
    return one.message.by in ("nvidia-smi", "NVML", "Linux")


def _titled(said: Sequence[Said], address: str) -> str:
    """What the first of the surest messages says, with the GPU's address where one is known and not in it yet."""
    told = next((one for one in said if one.message.confidence is Confidence.CERTAIN), said[0]).told
    return f"{told} (GPU {address})" if address and address[5:] not in told else told


def _address(said: Sequence[Said]) -> str:
    """The PCI address of the first GPU that is named, as sysfs writes it; empty where none is."""
    for one in said:
        found = re.search(
            r"(?<![0-9a-f])([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})(?:\.([0-9a-f]))?\b", one.text.lower()
        )
        if found:
            return f"{found[1][-4:]}:{found[2]}:{found[3]}.{found[4] or '0'}"
    return ""
