"""Taking a driver away by the packages that brought it: exactly those that are installed here."""

from __future__ import annotations

import shlex

from nvdiag.checks import _remedies
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.system import Distribution, Family
from nvdiag.model.unknown import Unknown

_OF_DRIVER = (
    r"nvidia-(?:driver|dkms|kernel|headless|utils|compute-utils|firmware|modprobe|settings|persistenced|prime|smi|open"
    r"|alternative|installer|vdpau|vulkan|egl|legacy|xconfig|lts)(?:-.*)?|nvidia|lib(?:32-)?nvidia-.*|lib32-nvidia-.*"
    r"|libcuda1(?:-.*)?|cuda-drivers(?:-.*)?|libnvcuvid1?|linux-(?:modules|objects|signatures)-nvidia-.*"
    r"|xserver-xorg-video-nvidia.*|xorg-x11-drv-nvidia.*|[ak]?kmod-nvidia.*"
)
"""Packages of the usual driver by their distributions' names: not those of toolkits, of the container tools, of L4T
and of the vGPU driver."""

_REMOVE = {
    Family.FEDORA: "sudo dnf remove",
    Family.RHEL: "sudo dnf remove",
    Family.SUSE: "sudo zypper remove",
    Family.ARCH: "sudo pacman -Rns",
}
_LIST = {
    Family.FEDORA: "rpm -qa '*nvidia*'",
    Family.RHEL: "rpm -qa '*nvidia*'",
    Family.SUSE: "rpm -qa '*nvidia*'",
    Family.ARCH: "pacman -Qs nvidia",
}


def driver_packages(packages: DriverPackages | Unknown) -> tuple[str, ...]:
    """The names of the installed packages of the usual driver; none where they are not known."""
    return packages.matching(_OF_DRIVER) if isinstance(packages, DriverPackages) else ()


def removal(names: tuple[str, ...], distribution: Distribution | Unknown) -> tuple[str, ...]:
    """The command that takes these packages away; where they are not known, the one that lists them before it."""
    family = _remedies.family(distribution)
    command = _REMOVE.get(family, "sudo apt-get remove --purge")
    if names:
        return (f"{command} {shlex.join(names)}",)
    look = _LIST.get(family, "dpkg -l | grep -E 'nvidia-(driver|dkms|utils|kernel)|libnvidia-compute|libcuda1'")
    return (look, f"{command} PACKAGE")
