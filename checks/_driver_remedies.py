"""Ways out of what messages tell of the driver's installation: building, signing, replacing it.

Where the distribution is not known, the program that speaks tells its family: dpkg is not of Fedora.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from nvdiag.checks import _remedies
from nvdiag.facts.messages import Said
from nvdiag.facts.system import Distribution, Family
from nvdiag.model.finding import Remedy, Risk
from nvdiag.model.unknown import Unknown

_SPEAKERS = {
    "dpkg": Family.DEBIAN, "apt": Family.DEBIAN, "nvidia-support": Family.DEBIAN, "nvidia-detect": Family.DEBIAN,
    "nvidia-legacy-check": Family.DEBIAN, "akmods": Family.FEDORA, "dnf": Family.RHEL, "rpm": Family.RHEL,
    "pacman": Family.ARCH, "mkinitcpio": Family.ARCH, "DKMS of Arch Linux": Family.ARCH, "Nix": Family.NIXOS,
}  # fmt: skip


def family(distribution: Distribution | Unknown, said: Sequence[Said]) -> Family:
    """The distribution's family, known or told by who speaks; OTHER where neither tells."""
    known = _remedies.family(distribution)
    if known is not Family.OTHER:
        return known
    return next((_SPEAKERS[one.message.by] for one in said if one.message.by in _SPEAKERS), Family.OTHER)


def kernel_of(said: Sequence[Said]) -> str:
    """The kernel that a message names, quoted for a command; else the one that runs."""
    named = next((one.groups["kernel"] for one in said if "kernel" in one.groups), None)
    return shlex.quote(named.partition("/")[0]) if named else "$(uname -r)"


def build_for(which: Family, kernel: str) -> Remedy:
    """Install the kernel's headers and build the module again."""
    commands = {
        Family.DEBIAN: (f"sudo apt install linux-headers-{kernel}", f"sudo dkms autoinstall -k {kernel}"),
        Family.UBUNTU: (f"sudo apt install linux-headers-{kernel}", f"sudo dkms autoinstall -k {kernel}"),
        Family.FEDORA: (f"sudo dnf install kernel-devel-{kernel}", f"sudo akmods --force --kernels {kernel}"),
        Family.RHEL: (f"sudo dnf install kernel-devel-{kernel}", f"sudo dkms autoinstall -k {kernel}"),
        Family.SUSE: ("sudo zypper install kernel-default-devel", f"sudo dkms autoinstall -k {kernel}"),
        Family.ARCH: ("sudo pacman -Syu", "sudo pacman -S --needed linux-headers", "sudo dkms autoinstall"),
        Family.NIXOS: (),
    }.get(
        which,
        (
            f"sudo apt install linux-headers-{kernel} || sudo dnf install kernel-devel-{kernel}",
            f"sudo dkms autoinstall -k {kernel}",
        ),
    )
    return Remedy(
        summary="install the headers of that kernel, and build the module again",
        commands=commands,
        needs_root=True,
        prediction="with headers of exactly that kernel the build finds what it needs; if the repositories have none,"
        " update, and boot a kernel whose headers they have",
    )


READ_BUILD_LOG = Remedy(
    summary="read the first error of the build",
    commands=(
        "dkms status",
        "grep -n -m 5 -iE 'error|fatal|not found' /var/lib/dkms/nvidia*/*/build/make.log /var/log/nvidia-installer.log",
    ),
    prediction="the first error tells: missing headers or compiler, or a kernel that this release does not know",
)

OTHER_KERNEL_OR_BRANCH = Remedy(
    summary="boot the kernel that worked, or install a driver release that knows the new kernel",
    commands=("sudo reboot",),
    risk=Risk.DISRUPTIVE,
    needs_root=True,
    reboots=True,
    prediction="choose the older kernel under the boot menu's advanced options; a release of NVIDIA's driver that is"
    " older than the kernel often does not compile for it",
)

REPORT_WHAT_REFUSES = Remedy(
    summary="load it again, and read what the kernel says of it",
    commands=("sudo modprobe nvidia", "sudo dmesg | tail -n 30", "grep -rE 'nvidia' /etc/modprobe.d /lib/modprobe.d"),
    needs_root=True,
    prediction="the kernel log names the reason; a line blacklist, alias or install for nvidia keeps it out on purpose",
)


def sign_module(which: Family) -> tuple[Remedy, ...]:
    """Enrol the key that signs the module, take a module that the distribution signed, or switch Secure Boot off."""
    key = {
        Family.UBUNTU: "/var/lib/shim-signed/mok/MOK.der",
        Family.FEDORA: "/etc/pki/akmods/certs/public_key.der",
        Family.DEBIAN: "/var/lib/dkms/mok.pub",
    }.get(which, "/var/lib/dkms/mok.pub")
    return (
        Remedy(
            summary="enrol the key that signs the module, and confirm it at the next boot (needs the console)",
            commands=("mokutil --sb-state", f"sudo mokutil --import {key}", "sudo reboot"),
            risk=Risk.DISRUPTIVE,
            needs_root=True,
            reboots=True,
            prediction="the blue MOK manager asks once: Enroll MOK, then the password just chosen. On Ubuntu the key is"
            " /var/lib/shim-signed/mok/MOK.der, on Fedora /etc/pki/akmods/certs/public_key.der",
        ),
        Remedy(
            summary="or take a module that the distribution has signed",
            commands=("apt-cache search --names-only '^linux-modules-nvidia-'",)
            if which in (Family.UBUNTU, Family.OTHER)
            else (),
            prediction="Ubuntu's linux-modules-nvidia packages and SUSE's signed kmp load without a key of your own",
        ),
        Remedy(
            summary="or switch Secure Boot off in the firmware",
            risk=Risk.DISRUPTIVE,
            reboots=True,
            prediction="unsigned modules load then; a disk whose encryption is bound to Secure Boot (TPM, BitLocker)"
            " asks for its recovery key",
        ),
    )


def untangle(which: Family) -> tuple[Remedy, ...]:
    """Bring the driver's packages to one release from one source."""
    look, mend = {
        Family.DEBIAN: _APT, Family.UBUNTU: _APT,
        Family.FEDORA: _DNF, Family.RHEL: _DNF,
        Family.ARCH: (("pacman -Qs nvidia",), ("sudo pacman -Syu",)),
        Family.SUSE: (("rpm -qa '*nvidia*'", "zypper lr"), ("sudo zypper verify",)),
    }.get(which, (("dpkg -l '*nvidia*' | grep -v '^un' || rpm -qa '*nvidia*'",), ()))  # fmt: skip
    return (
        Remedy(
            summary="see which driver packages are there, of which release, and from where",
            commands=look,
            prediction="all must be of one release and one source: the distribution's, or NVIDIA's, not both",
        ),
        Remedy(
            summary="let the package manager finish and bring them to one release",
            commands=mend,
            needs_root=bool(mend),
            risk=Risk.DISRUPTIVE,
            prediction="if it still refuses, remove the packages of the other release or source that it names, then try"
            " again; with a .run installation beside packages, run sudo nvidia-uninstall first",
        ),
    )


_APT = (
    ("dpkg -l '*nvidia*' | grep -v '^un'", "apt-mark showhold"),
    ("sudo dpkg --configure -a", "sudo apt --fix-broken install"),
)
_DNF = (("rpm -qa '*nvidia*'", "dnf repolist"), ("sudo dnf distro-sync '*nvidia*'",))
