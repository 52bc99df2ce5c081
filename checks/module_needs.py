"""What the module on disk needs to be taken and to start: a signature that the kernel knows, and GSP firmware."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _driver_remedies, _evidence, _remedies
from nvdiag.engine import check
from nvdiag.facts.gsp_firmware import LoadedFirmware
from nvdiag.facts.module_files import RunningKernelModule
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.pci import GpusOnBus
from nvdiag.facts.signatures import RunningSignature
from nvdiag.facts.system import Distribution, Family
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import Unknown

_UNUSABLE = frozenset(
    {"driver-not-loaded", "gpu-bound-to-other-driver", "gpu-init-failed", "device-nodes-missing", "no-cuda-device"}
)


@check("secure-boot-rejected", area="driver")
def the_kernel_takes_the_modules_signature(
    gpus: GpusOnBus,
    disk: RunningKernelModule,
    signature: RunningSignature,
    distribution: Distribution | Unknown,
) -> Iterator[Finding]:
    """The module on disk is signed by a key that the running kernel knows, where it asks for one."""
    if signature.accepted:
        return
    unsigned = disk.file is not None and disk.file.signed is False
    surely = Confidence.CERTAIN if unsigned else Confidence.LIKELY
    yield Finding(
        id="secure-boot-rejected",
        severity=Severity.ERROR,
        confidence=surely if signature.accepted is False else Confidence.POSSIBLE,
        title=f"the kernel takes only modules signed by keys that it knows; of the nvidia module: {signature.says}",
        detail="Secure Boot switches this on through the kernel's lockdown. The kernel log of a refused load says"
        ' "Key was rejected by service" or "Loading of unsigned module is rejected".',
        evidence=(
            *signature.evidence,
            Evidence(source="/sys/module/nvidia", excerpt="not there"),
            *_evidence.of_disk(Unknown("not asked"), disk),
        ),
        remedies=_driver_remedies.sign_module(_remedies.family(distribution)),
        explains=_UNUSABLE,
        layers=(Layer.LOADED_MODULE,),
    )


@check("gsp-firmware-missing", area="driver")
def the_loaded_module_has_its_firmware(
    loaded: LoadedDriver, firmware: LoadedFirmware, distribution: Distribution | Unknown
) -> Iterator[Finding]:
    """GSP firmware of the loaded module's own release is on disk, where it needs it and the driver does not answer."""
    if firmware.folders:
        return
    others = f"; there is {listed(list(firmware.others))}" if firmware.others else ""
    yield Finding(
        id="gsp-firmware-missing",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"the GSP firmware of the loaded module, {loaded.release}, is not on disk{others}",
        detail="The open kernel modules load it at each start of a GPU, and take no other release's."
        if firmware.asked_by is None
        else "The module loads it at each start of a GPU, takes no other release's, and was told not to do without it.",
        evidence=(
            *((firmware.asked_by,) if firmware.asked_by else ()),
            Evidence(source=firmware.looked[-1], excerpt=f"no nvidia/{loaded.release}/gsp_*.bin{others}"),
            Evidence(source=loaded.source, excerpt=loaded.release.text),
        ),
        remedies=(_firmware(_remedies.family(distribution), loaded),),
        explains=frozenset({"gpu-init-failed", "no-cuda-device", "device-nodes-missing"}),
        layers=(Layer.LOADED_MODULE, Layer.GPU),
    )


def _firmware(which: Family, loaded: LoadedDriver) -> Remedy:
    branch = loaded.release.branch
    commands = {
        Family.UBUNTU: (f"sudo apt install --reinstall nvidia-firmware-{branch}-{loaded.release}",),
        Family.DEBIAN: ("sudo apt install --reinstall firmware-nvidia-gsp",),
        Family.RHEL: ("sudo dnf reinstall nvidia-kmod-common",),
        Family.ARCH: ("sudo pacman -S nvidia-utils",),
    }.get(which, ())
    return Remedy(
        summary=f"install the firmware of exactly {loaded.release}, then load the module anew",
        commands=(*commands, "ls /lib/firmware/nvidia"),
        needs_root=bool(commands),
        prediction="if only the firmware of a newer release is there, the driver was upgraded under the loaded module:"
        " then a reboot, or a reload of the modules, brings the two together",
    )
