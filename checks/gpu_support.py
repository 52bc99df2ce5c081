"""What the kernel log tells of GPUs that this driver branch, this flavour or its firmware does not drive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nvdiag.checks import _said
from nvdiag.checks._branch_ways import UNUSABLE, legacy_branch, newer_branch, other_flavour
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.facts.system import Distribution
from nvdiag.knowledge.gpu_generations import Generation, OpenModules, generation_of, newest_device
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A GPU that a release of the kernel module refused; `verdict` is the id that the table's branches lead to."""

    said: Said
    device: int
    release: DriverRelease
    generation: Generation | None

    @property
    def verdict(self) -> tuple[str, Confidence]:
        branch, row = self.release.branch, self.generation
        if row is None:
            newer = self.device > newest_device()
            return ("gpu-needs-newer-driver" if newer else "gpu-needs-legacy-driver"), Confidence.LIKELY
        if branch < row.first:
            return "gpu-needs-newer-driver", Confidence.CERTAIN
        if row.last is not None and branch > row.last:
            return "gpu-needs-legacy-driver", Confidence.CERTAIN
        if branch <= row.boards:
            return "gpu-needs-newer-driver", Confidence.LIKELY
        return "gpu-init-failed", Confidence.LIKELY

    @property
    def name(self) -> str:
        return f"10de:{self.device:04x}" + (f" ({self.generation.name})" if self.generation else "")


def _refusals(messages: Messages, *verdicts: str) -> tuple[_Refusal, ...]:
    found = []
    for one in messages.named("nvrm-gpu-not-supported"):
        release = DriverRelease.or_none(one.groups.get("release"))
        if "device" in one.groups and release is not None:
            device = int(one.groups["device"], 16)
            found.append(_Refusal(one, device, release, generation_of(device)))
    return tuple(one for one in found if one.verdict[0] in verdicts)


@check("gpu-needs-newer-driver", area="driver")
def the_branch_is_not_older_than_a_gpu(messages: Messages) -> Iterator[Finding]:
    """The driver's branch is not older than a GPU that it refuses, as far as the texts tell."""
    refused = _refusals(messages, "gpu-needs-newer-driver")
    if not refused:
        raise NotApplicable("no text tells of a GPU that is newer than the driver")
    first = refused[0]
    since = f"branch {first.generation.first}" if first.generation else "a newer branch"
    open_only = first.generation is None or first.generation.open_modules is OpenModules.REQUIRED
    yield _said.finding(
        tuple(one.said for one in refused),
        "gpu-needs-newer-driver",
        title=f"the driver {first.release} is older than the GPU {first.name}, which {since} is the first to drive"
        if first.verdict[1] is Confidence.CERTAIN
        else f"the driver {first.release} does not know the GPU {first.name}; a later release does",
        detail="The module looked at the chip and found it in none of its tables."
        + (" GPUs of this generation work only with the open kernel modules." if open_only else ""),
        confidence=first.verdict[1],
        remedies=(newer_branch(first.generation, open_only),),
        explains=UNUSABLE,
        layers=(Layer.LOADED_MODULE, Layer.GPU),
    )


@check("gpu-needs-legacy-driver", area="driver")
def the_branch_has_not_dropped_a_gpu(messages: Messages) -> Iterator[Finding]:
    """The driver's branch has not dropped a GPU of this machine, as far as the texts tell."""
    refused = _refusals(messages, "gpu-needs-legacy-driver")
    said = (*_most_telling(messages.proving("gpu-needs-legacy-driver"), "branch"), *(one.said for one in refused))
    if not said:
        raise NotApplicable("no text tells of a GPU that the driver has dropped")
    branch = next((one.groups["branch"] for one in said if "branch" in one.groups), "")
    last = next((str(one.generation.last) for one in refused if one.generation), branch)
    yield _said.finding(
        said,
        "gpu-needs-legacy-driver",
        title=_legacy_title(said, refused),
        detail="NVIDIA's newer branches leave out older generations; Kepler ended with branch 470, Maxwell, Pascal and"
        " Volta with 580.",
        confidence=Confidence.CERTAIN if len(said) > len(refused) else refused[0].verdict[1],
        remedies=(legacy_branch(last),),
        explains=UNUSABLE,
        layers=(Layer.LOADED_MODULE, Layer.GPU),
    )


def _legacy_title(said: Iterable[Said], refused: tuple[_Refusal, ...]) -> str:
    if refused:
        row = refused[0].generation
        last = f": branch {row.last} is the last one for it" if row else ""
        return f"the driver {refused[0].release} no longer drives the GPU {refused[0].name}{last}"
    named = next((one.groups for one in said if "gpu" in one.groups and "branch" in one.groups), None)
    return f"the driver no longer drives the {named['gpu']}: it needs branch {named['branch']}" if named else ""


@check("gpu-needs-open-module", area="driver")
def the_proprietary_module_drives_the_gpus(messages: Messages) -> Iterator[Finding]:
    """No GPU asks for the open kernel modules while the proprietary ones are loaded, as far as the texts tell."""
    said = _most_telling(messages.proving("gpu-needs-open-module"), "device")
    hints = messages.named("nvrm-init-not-supported")
    if not said and not hints:
        raise NotApplicable("no text tells of it")
    yield _said.finding(
        said or hints,
        "gpu-needs-open-module",
        title="" if said else "the GPU may be one that works only with the open kernel modules",
        confidence=None if said else Confidence.POSSIBLE,
        detail="GPUs from Blackwell on, and Grace Hopper, work only with the open flavour of the kernel modules. The"
        " release need not change, and neither do the libraries.",
        remedies=(other_flavour(opened=True),),
        explains=UNUSABLE,
        layers=(Layer.LOADED_MODULE,),
    )


@check("gpu-needs-proprietary-module", area="driver")
def the_open_module_drives_the_gpus(messages: Messages) -> Iterator[Finding]:
    """No GPU asks for the proprietary kernel modules while the open ones are loaded, as far as the texts tell."""
    said = _most_telling(_said.about(messages, "gpu-needs-proprietary-module"), "device")
    said = tuple(one for one in said if not _misread(one))
    if not said:
        raise NotApplicable("the GPUs that the open module refuses are ones that it should drive")
    early = all(one.message.name == "nvrm-open-data-center-only" for one in said)
    yield _said.finding(
        said,
        "gpu-needs-proprietary-module",
        detail="From branch 560 on the open modules drive GeForce and workstation GPUs of Turing or newer; this release"
        " does so only with NVreg_OpenRmEnableUnsupportedGpus=1."
        if early
        else "The open modules need a GPU System Processor, which GPUs before Turing (GeForce GTX 16, RTX 20) do not"
        " have. Branch 580 is the last one for Maxwell, Pascal and Volta.",
        remedies=(other_flavour(opened=False),),
        explains=UNUSABLE,
        layers=(Layer.LOADED_MODULE,),
    )


def _misread(said: Said) -> bool:
    """Whether the open module refuses a GPU that has what it misses: then it could not read the chip's registers."""
    if "device" not in said.groups:
        return False
    device = int(said.groups["device"], 16)
    row = generation_of(device)
    return device > newest_device() if row is None else row.open_modules is not OpenModules.UNSUPPORTED


def _most_telling(said: Iterable[Said], group: str) -> tuple[Said, ...]:
    """Those that have the group, all where none has: a message of many lines is also met without its head."""
    every = tuple(said)
    return tuple(one for one in every if group in one.groups) or every


@check("gpu-init-failed", area="device")
def a_refused_gpu_is_one_that_the_driver_does_not_know(messages: Messages) -> Iterator[Finding]:
    """The driver refuses no GPU that its branch and flavour drive, as far as the texts tell."""
    refused = tuple(one.said for one in _refusals(messages, "gpu-init-failed"))
    unread = tuple(one for one in messages.named("nvrm-open-refuses-gpu") if _misread(one))
    if not refused and not unread:
        raise NotApplicable("no text tells of a GPU that the driver refuses although it should drive it")
    yield _said.finding(
        (*refused, *unread),
        "gpu-init-failed",
        title="the kernel module refuses a GPU that its branch drives: it could not read what chip it is",
        detail="So it is not the driver's age or flavour. The usual reasons: the GPU does not answer (power saving, a"
        " bad passthrough into a virtual machine, a fault), or this is a vGPU, which needs NVIDIA's GRID guest driver"
        " of the host's vGPU release.",
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        remedies=(
            Remedy(
                summary="look whether the GPU answers, and whether this is a virtual machine",
                commands=(
                    "lspci -vvnn -d 10de: | head -n 40",
                    "systemd-detect-virt",
                    "sudo dmesg | grep -iE 'nvrm|pci'",
                ),
                needs_root=True,
                prediction="registers that read as ff mean that it does not answer: stop the machine, cut its power,"
                " start it again; in a guest, ask whether the host gives a whole GPU or a vGPU",
            ),
        ),
        explains=frozenset({"no-cuda-device", "driver-not-loaded", "gpu-bound-to-other-driver"}),
        layers=(Layer.GPU,),
    )


@check("vgpu-misconfigured", area="device")
def a_refused_gpu_is_no_virtual_one(messages: Messages) -> Iterator[Finding]:
    """No GPU that the branch drives is refused where the guest driver for virtual GPUs was installed."""
    refused = tuple(one.said for one in _refusals(messages, "gpu-init-failed"))
    guest = messages.named("grid-guest-package")
    if not refused or not guest:
        raise NotApplicable("no text tells of a refused GPU beside a driver for virtual GPUs")
    yield _said.finding(
        (*refused, *guest),
        "vgpu-misconfigured",
        title="this looks like a virtual GPU, and an ordinary driver has taken the place of its guest driver",
        detail="A vGPU shows the PCI id of the card that it is a part of, and only NVIDIA's guest driver (GRID), of a"
        " release that the host's vGPU manager supports, drives it. The branch installed now drives that card itself,"
        " and refuses this one.",
        confidence=Confidence.LIKELY,
        remedies=(
            Remedy(
                summary="install the guest driver of the host's vGPU release again, in place of the ordinary packages",
                commands=("dpkg -l | grep -E 'nvidia-(linux-grid|vgpu)' || rpm -qa | grep -iE 'grid|vgpu'",),
                reboots=True,
                prediction="the driver comes from whoever runs the host or from NVIDIA's licensing portal, not from a"
                " distribution; hold its package so that no upgrade replaces it",
            ),
        ),
        explains=UNUSABLE,
        layers=(Layer.LOADED_MODULE, Layer.GPU),
    )


@check("gsp-firmware-missing", area="driver")
def the_module_finds_its_gsp_firmware(messages: Messages, distribution: Distribution | Unknown) -> Iterator[Finding]:
    """The kernel module finds GSP firmware of its own release, as far as the texts tell."""
    said = messages.proving("gsp-firmware-missing")
    interrupted = messages.named("kernel-gsp-firmware-other")
    hints = messages.named("nvrm-init-firmware-fetch")
    sure = [one for one in said if one.message.name != "nvrm-no-gsp-image"]
    if not said and not hints:
        raise NotApplicable("no text tells of it")
    if interrupted and not sure:
        raise NotApplicable("the firmware file could not be read for another reason than that it is missing")
    release = next((one.groups["release"] for one in (*said, *hints) if "release" in one.groups), "")
    yield _said.finding(
        said or hints,
        "gsp-firmware-missing",
        detail="The firmware that the GPU's own processor runs must be of exactly the kernel module's release. It lies"
        f" in /lib/firmware/nvidia/{release or 'RELEASE'}, and in the initramfs where the module is loaded from there.",
        confidence=None if said else Confidence.LIKELY,
        remedies=_firmware(release),
        explains=UNUSABLE,
        layers=(Layer.LOADED_MODULE, Layer.GPU),
        beside=tuple(Evidence(source=one.source, excerpt=one.text) for one in hints if said),
    )


def _firmware(release: str) -> tuple[Remedy, ...]:
    return (
        Remedy(
            summary="see which firmware is there, and which release the module is",
            commands=("ls /lib/firmware/nvidia/", "modinfo -F version nvidia", "cat /sys/module/nvidia/version"),
            prediction=f"the folder {release or 'named like the release'} must be there, with files gsp_*.bin in it",
        ),
        Remedy(
            summary="install the firmware package of the module's release, rebuild the initramfs, and reboot",
            commands=("sudo update-initramfs -u || sudo dracut --force", "sudo reboot"),
            needs_root=True,
            reboots=True,
            prediction="packages: nvidia-firmware-BRANCH-RELEASE (Ubuntu), firmware-nvidia-gsp (Debian, non-free),"
            " nvidia-kmod-common (NVIDIA's rpm), nvidia-utils (Arch)",
        ),
    )
