"""Installing the driver where there is none, or its libraries, by each distribution's own way."""

from __future__ import annotations

from nvdiag.checks import _remedies
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.pci import GpusOnBus
from nvdiag.facts.system import Distribution, Family
from nvdiag.model.finding import Remedy, Risk
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease

FIRST_TURING_DEVICE = 0x1E00
"""PCI device ids from here on are Turing or newer, which the open modules support (nvidia-installer, nvGpus.h)."""


FIRST_MAXWELL_DEVICE = 0x1340
"""PCI device ids from here on are Maxwell or newer (pci.ids: GM108M); branch 580 drives them, 470 is Kepler's last."""


FIRST_BLACKWELL_DEVICE = 0x2900
"""PCI device ids from here on are Blackwell (pci.ids: GB100), which only the open modules drive."""


def install_driver(distribution: Distribution | Unknown, gpus: GpusOnBus) -> Remedy:
    """Install a driver where there is none, by the distribution's own way."""
    modern = all(_number(gpu.device_id) >= FIRST_TURING_DEVICE for gpu in gpus.gpus)
    old = _older_gpus(gpus)
    if _remedies.without_ostree(distribution):
        return Remedy(
            summary="switch to an image that has NVIDIA's driver in it",
            commands=("sudo bootc status",),
            prediction="packages are installed where the image is built; sudo bootc switch IMAGE takes another one"
            + old,
        )
    if _remedies.is_image(distribution):
        return Remedy(
            summary="install NVIDIA's driver into the next deployment",
            commands=(
                "sudo rpm-ostree install akmod-nvidia xorg-x11-drv-nvidia-cuda",
                "sudo rpm-ostree kargs --append=rd.driver.blacklist=nouveau,nova_core"
                " --append=modprobe.blacklist=nouveau,nova_core",
                "sudo systemctl reboot",
            ),
            risk=Risk.DISRUPTIVE,
            needs_root=True,
            reboots=True,
            prediction="the packages are RPM Fusion's nonfree repository's; an image with the driver in it needs none"
            + old,
        )
    match _remedies.family(distribution):
        case Family.UBUNTU:
            commands: tuple[str, ...] = ("ubuntu-drivers list", "sudo ubuntu-drivers install")
            note = "ubuntu-drivers picks the branch for this GPU; on a server add --gpgpu"
        case Family.DEBIAN:
            commands = ("sudo apt install linux-headers-$(uname -r) nvidia-driver firmware-misc-nonfree",)
            note = "the sources need the components contrib, non-free and non-free-firmware" + old
        case Family.FEDORA:
            commands = (
                "sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda"
                if modern
                else "sudo dnf install akmod-nvidia-580xx xorg-x11-drv-nvidia-580xx-cuda",
                "sudo akmods --force",
            )
            note = "the packages are RPM Fusion's nonfree repository's" + old
        case Family.RHEL:
            commands = (
                "sudo dnf install kernel-devel-$(uname -r)",
                "sudo dnf install nvidia-open" if modern else "sudo dnf module install nvidia-driver:580-dkms",
            )
            streams = "" if modern else "; module streams are of releases 8 and 9"
            note = "the packages are in NVIDIA's CUDA repository for this release" + streams + old
        case Family.SUSE:
            commands = (
                "sudo zypper install nvidia-open-driver-G06-signed-kmp-default nvidia-compute-utils-G06"
                if modern
                else "sudo zypper install nvidia-driver-G06-kmp-default nvidia-compute-utils-G06",
            )
            note = "the second package is in NVIDIA's own repository for SUSE" + old
        case Family.ARCH:
            commands = (
                ("sudo pacman -S nvidia-open nvidia-utils",)
                if modern
                else ("sudo pacman -S --needed linux-headers dkms",)
            )
            note = (
                "for a kernel other than linux take nvidia-open-dkms"
                if modern
                else "take nvidia-580xx-dkms from the AUR" + old
            )
        case Family.NIXOS:
            commands = ()
            note = (
                'set services.xserver.videoDrivers = [ "nvidia" ] and hardware.nvidia.open, then nixos-rebuild switch'
            )
        case _:
            commands = ()
            note = "take the driver from the distribution, or NVIDIA's installer from its Linux driver archive" + old
    return Remedy(
        summary="install NVIDIA's driver",
        commands=commands,
        needs_root=True,
        prediction=note + "; a reboot follows",
        reboots=True,
    )


def _older_gpus(gpus: GpusOnBus) -> str:
    """What the oldest GPU here asks of the driver, and whether one driver can serve all of them at all."""
    numbers = [_number(gpu.device_id) for gpu in gpus.gpus]
    if min(numbers) >= FIRST_TURING_DEVICE:
        return ""
    if max(numbers) >= FIRST_BLACKWELL_DEVICE:
        return (
            "; no one driver serves all GPUs here: one is older than Turing and needs the proprietary modules,"
            " one is of Blackwell and needs the open ones"
        )
    if min(numbers) < FIRST_MAXWELL_DEVICE:
        return "; a GPU here is older than Maxwell, which needs a legacy branch: 470 for Kepler, 390 for Fermi"
    return "; a GPU here is older than Turing, which needs the proprietary modules of branch 580 or older"


def libraries_package(
    distribution: Distribution | Unknown, packages: DriverPackages | Unknown, release: DriverRelease | None, nvml: bool
) -> Remedy:
    """Install the package that brings libnvidia-ml (or libcuda) of the loaded module's release."""
    branch = release.branch if release else "BRANCH"
    match _remedies.family(distribution):
        case Family.UBUNTU:
            server = "-server" if _remedies.matching(packages, r".*nvidia.*-server.*") else ""
            commands: tuple[str, ...] = (f"sudo apt install libnvidia-compute-{branch}{server}",)
        case Family.DEBIAN:
            commands = (f"sudo apt install {'libnvidia-ml1' if nvml else 'libcuda1'}",)
        case Family.FEDORA:
            commands = ("sudo dnf install xorg-x11-drv-nvidia-cuda-libs",)
        case Family.RHEL:
            commands = (f"sudo dnf install {'libnvidia-ml' if nvml else 'nvidia-driver-cuda-libs'}",)
        case Family.SUSE:
            commands = ("sudo zypper install nvidia-compute-G06",)
        case Family.ARCH:
            commands = ("sudo pacman -S nvidia-utils",)
        case _:
            commands = ()
    which = f" of release {release}" if release else ""
    return Remedy(
        summary=f"install the driver's {'management' if nvml else 'CUDA'} library{which}",
        commands=commands,
        needs_root=True,
        prediction=f"it must be of the loaded module's release{f', {release}' if release else ''}",
    )


def _number(device_id: str) -> int:
    try:
        return int(device_id, 16)
    except ValueError:
        return FIRST_TURING_DEVICE
