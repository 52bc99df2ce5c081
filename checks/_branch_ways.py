"""Another branch or flavour of the driver: what a GPU needs that the installed one does not drive."""

from __future__ import annotations

from nvdiag.knowledge.gpu_generations import Generation
from nvdiag.model.finding import Remedy

UNUSABLE = frozenset(
    {
        "driver-not-loaded",
        "driver-not-built",
        "gpu-init-failed",
        "device-nodes-missing",
        "no-cuda-device",
        "gpu-bound-to-other-driver",
    }
)
"""What follows, or cannot be the cause: a module that refuses a GPU was there and did run."""


def newer_branch(row: Generation | None, open_only: bool) -> Remedy:
    """Install a branch that knows the GPUs of this generation."""
    return Remedy(
        summary=f"install a newer driver: the newest of branch {row.boards} or a later branch"
        if row
        else "install the newest branch of the driver",
        commands=("lspci -nn -d 10de:", "apt-cache search --names-only '^nvidia-driver-[0-9]+' || dnf search nvidia"),
        reboots=True,
        prediction=("take the open flavour (packages with -open in their names). " if open_only else "")
        + "If the distribution's newest branch is too old, NVIDIA's own repository has newer ones",
    )


def legacy_branch(branch: str) -> Remedy:
    """Install the last branch for the GPU; empty where only a message names it."""
    which = branch or "that the message names"
    packages = {
        "580": "nvidia-driver-580 (Ubuntu), akmod-nvidia-580xx (RPM Fusion), nvidia-580xx-dkms (AUR)",
        "470": "nvidia-driver-470 (Ubuntu), nvidia-tesla-470-driver (Debian), akmod-nvidia-470xx (RPM Fusion),"
        " nvidia-470xx-dkms (AUR)",
        "390": "nvidia-legacy-390xx-driver (Debian), akmod-nvidia-390xx (RPM Fusion), nvidia-390xx-dkms (AUR)",
        "340": "nvidia-legacy-340xx-driver (Debian), nvidia-340xx-dkms (AUR)",
    }.get(branch, "the distribution's package of that branch")
    return Remedy(
        summary=f"install the legacy branch {which}, in the proprietary flavour",
        commands=("lspci -nn -d 10de:", "uname -r"),
        reboots=True,
        prediction=f"packages: {packages}. Old branches compile only for kernels of their time; hold the kernel if so",
    )


def other_flavour(opened: bool) -> Remedy:
    """Install the open kernel modules in place of the proprietary ones, or the other way."""
    wanted, other = ("open", "proprietary") if opened else ("proprietary", "open")
    packages = (
        "nvidia-driver-570-open in place of nvidia-driver-570 (Ubuntu), nvidia-open-kernel-dkms (Debian),"
        " nvidia-open (NVIDIA's repository), nvidia-open or nvidia-open-dkms (Arch)"
        if opened
        else "nvidia-driver-580 in place of nvidia-driver-580-open (Ubuntu), nvidia-kernel-dkms (Debian),"
        " akmod-nvidia-580xx (RPM Fusion), nvidia-580xx-dkms (AUR)"
    )
    return Remedy(
        summary=f"install the {wanted} flavour of the kernel modules in place of the {other} one, then reboot",
        commands=("modinfo -F license nvidia", "lspci -nn -d 10de:"),
        reboots=True,
        prediction=f"modinfo prints Dual MIT/GPL for the open flavour, NVIDIA for the proprietary one. Packages:"
        f" {packages}",
    )
