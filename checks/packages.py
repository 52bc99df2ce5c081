"""What installers and package managers tell: driver packages that clash, and drivers that are not there."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _driver_remedies, _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages
from nvdiag.facts.pci import PciGpus
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import Distribution, Family
from nvdiag.model.finding import Confidence, Finding, Layer, Remedy
from nvdiag.model.unknown import NotApplicable, Unknown

_BUILD_FAILED = (
    "dpkg-dkms-script-failed", "dkms-build-failed", "dkms-no-module-file", "dkms-autoinstall-failed", "dkms-no-headers",
    "dkms-patch-failed", "module-compile-error", "modpost-gpl-only", "modpost-undefined", "compiler-check-failed",
)  # fmt: skip
"""Messages of a failed build of the module, which leaves its packages half-configured."""

_FOLLOWS_A_BUILD = ("dpkg-dependency-problems", "dpkg-errors", "dpkg-half-state", "dpkg-script-failed")
"""Messages about packages that a failed build of the module brings about, too."""


@check("driver-package-conflict", area="driver")
def the_texts_tell_of_no_clash_of_packages(
    messages: Messages, distribution: Distribution | Unknown
) -> Iterator[Finding]:
    """The driver's packages agree with each other, as far as the texts tell."""
    said = _said.about(messages, "driver-package-conflict")
    by_build = bool(messages.named(*_BUILD_FAILED)) and all(one.message.name in _FOLLOWS_A_BUILD for one in said)
    if by_build:
        raise NotApplicable("the packages are half-configured because the module's build failed")
    two_ways = messages.named("installer-other-installer", "installer-altered")
    yield _said.finding(
        said,
        "driver-package-conflict",
        detail="Two ways of installing the driver, .run installer and packages, overwrite each other's files."
        if two_ways
        else "All packages of one driver must be of one release and from one source. Mixed ones stop the package"
        " manager half-way, and what is then installed may not fit together.",
        remedies=_driver_remedies.untangle(_driver_remedies.family(distribution, said)),
        explains=frozenset({"driver-not-built", "driver-not-installed", "driver-not-loaded", "driver-disk-mismatch"}),
        layers=(Layer.LOADED_MODULE, Layer.NVML, Layer.LIBCUDA),
    )


@check("driver-not-installed", area="driver")
def the_texts_tell_of_a_driver_that_is_there(
    messages: Messages, distribution: Distribution | Unknown, gpus: PciGpus | Unknown, surroundings: Surroundings
) -> Iterator[Finding]:
    """The driver's programs are there, as far as the texts tell."""
    said = (*messages.proving("driver-not-installed"), *messages.named("nvidia-smi-command-missing"))
    inside = surroundings.container or surroundings.wsl or surroundings.tegra
    if not said or inside or messages.named("shell-container-prompt", "shell-in-container", "shell-starts-container"):
        raise NotApplicable("no message in the text tells of it, or the driver would come from outside")
    beside = messages.named("modprobe-not-found", "systemd-module-not-found", "modinfo-not-found")
    on_bus = isinstance(gpus, PciGpus) and any(gpu.driver != "nvidia" and not gpu.driver_hidden for gpu in gpus.gpus)
    offered = any("can be installed with" in one.text or "Command 'nvidia-smi'" in one.text for one in said)
    if not (beside or on_bus or offered or messages.proving("driver-not-installed")):
        raise NotApplicable(
            "that nvidia-smi is not found decides nothing alone: a container or a bare module lack it, too"
        )
    which = _driver_remedies.family(distribution, said)
    yield _said.finding(
        said,
        "driver-not-installed",
        confidence=Confidence.LIKELY,
        title="the driver's programs are not installed here, and so most likely no driver is",
        detail="nvidia-smi comes with every installation of the driver. In a container it comes from the host, in WSL"
        " from Windows (/usr/lib/wsl/lib), and there nothing is to be installed.",
        remedies=(
            Remedy(summary="see whether there is a GPU, and whether a module of its driver", commands=_LOOK),
            _install(which),
        ),
        explains=frozenset({"driver-not-loaded", "driver-not-built", "no-cuda-device", "gpu-init-failed"}),
        layers=(Layer.LOADED_MODULE,),
    )


_LOOK = ("lspci -nnk -d 10de:", "modinfo nvidia | head -n 3")


def _install(which: Family) -> Remedy:
    commands = {
        Family.UBUNTU: ("ubuntu-drivers list", "sudo ubuntu-drivers install"),
        Family.DEBIAN: ("sudo apt install linux-headers-$(uname -r) nvidia-driver firmware-misc-nonfree",),
        Family.FEDORA: ("sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda", "sudo akmods --force"),
        Family.RHEL: ("sudo dnf install kernel-devel-$(uname -r) nvidia-open",),
        Family.ARCH: ("sudo pacman -S nvidia-open nvidia-utils",),
    }.get(which, ())
    return Remedy(
        summary="install the driver the distribution's way",
        commands=commands,
        needs_root=bool(commands),
        reboots=True,
        prediction="Ubuntu: sudo ubuntu-drivers install. Fedora: akmod-nvidia of RPM Fusion. Debian: nvidia-driver of"
        " the component non-free. GPUs before Turing need the proprietary flavour of branch 580 or older",
    )
