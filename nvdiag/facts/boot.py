"""Which kernel boots next, and how that is known; Unknown with the reason where it cannot be told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nvdiag.facts import reading
from nvdiag.facts.module_places import MODULE_FOLDERS
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import Distribution
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import KernelRelease

if TYPE_CHECKING:  # a machine has one boot loader, and only its reader is imported
    from nvdiag.facts.boot_entries import BootEntry
    from nvdiag.facts.boot_grub import Booting

_NETWORK = frozenset({"nfs", "nfs4", "cifs", "9p", "virtiofs", "ceph"})
_MEMORY = frozenset({"tmpfs", "ramfs", "rootfs", "squashfs", "erofs", "iso9660"})
_INITRAMFS = (
    "/boot/initrd.img-{}", "/boot/initramfs-{}.img", "/boot/initrd-{}", "/boot/initramfs-{}",
    "/usr/lib/modules/{}/initramfs.img", "/usr/lib/modules/{}/initrd",
)  # fmt: skip
"""How distributions name a kernel's initramfs: Debian, Fedora and RHEL, SUSE, Alpine; images."""


@dataclass(frozen=True, slots=True)
class InstalledKernels:
    """The kernels that this system could boot, oldest first. `source` says where their names were read."""

    releases: tuple[KernelRelease, ...]
    source: str

    @classmethod
    def collect(cls, host: Host) -> InstalledKernels:
        """By /boot/vmlinuz-RELEASE; where kernels have names without a release (Arch), by /lib/modules."""
        images = [name.removeprefix("vmlinuz-") for name in reading.names(host, "/boot") if name.startswith("vmlinuz-")]
        releases = {KernelRelease(name) for name in images if re.match(r"\d+\.\d+", name) and "rescue" not in name}
        if releases:
            return cls(tuple(sorted(releases)), "/boot")
        for folder in MODULE_FOLDERS:
            names = [name for name in reading.names(host, folder) if re.match(r"\d+\.\d+", name)]
            packaged = [name for name in names if len(names) > 1 and reading.is_there(host, f"{folder}/{name}/pkgbase")]
            if names:
                return cls(tuple(sorted(KernelRelease(name) for name in packaged or names)), folder)
        raise Unknown("neither /boot nor /lib/modules shows an installed kernel")


@dataclass(frozen=True, slots=True)
class RootFilesystem:
    """What is mounted at /. `fleeting` says why a change to it may be gone after a boot; empty where it stays."""

    kind: str
    fleeting: str

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings, distribution: Distribution | Unknown) -> RootFilesystem:
        if not surroundings.has_own_kernel_modules:
            raise NotApplicable("the root is a container's")
        fields = [line.partition(" - ") for line in host.lines_with(" / ", "/proc/self/mountinfo")]
        roots = [after.split() for before, _, after in fields if before.split()[4:5] == ["/"]]
        if not roots or not roots[-1]:
            raise Unknown("/proc/self/mountinfo does not show what is mounted at /")
        kind = roots[-1][0]
        if isinstance(distribution, Distribution) and distribution.image_based:
            return cls(kind, "")
        if kind in _MEMORY:
            return cls(
                kind, f"/ is a {kind}: this system was started from an image, and what changes in it does not last"
            )
        if kind == "overlay":
            return cls(kind, "/ is an overlay: whether what changes in it lasts is decided by what started this system")
        if kind in _NETWORK:
            return cls(kind, f"/ is mounted by {kind}: the server that starts this machine gives it its kernel")
        return cls(kind, "")


@dataclass(frozen=True, slots=True)
class NextBootKernel:
    """The kernel that the next boot takes; `how` says by which rule that is known.

    `options` is its command line and `initramfs` its path, None where they are not known; `without_initramfs` is the
    path of the one that it should have and has not. `root` is the folder of the deployment that it boots into, empty
    where that is this system's own root.
    """

    release: KernelRelease
    how: str
    options: str | None = None
    initramfs: str | None = None
    without_initramfs: str = ""
    root: str = ""

    @classmethod
    def collect(
        cls,
        host: Host,
        surroundings: Surroundings,
        installed: InstalledKernels | Unknown,
        distribution: Distribution | Unknown,
        filesystem: RootFilesystem | Unknown,
    ) -> NextBootKernel:
        if not surroundings.has_own_kernel_modules:
            raise NotApplicable("the kernel that boots next is not this system's own")
        if isinstance(distribution, Distribution) and distribution.image_based:
            return cls._of(host, _next_of_image(host, distribution))
        if isinstance(installed, Unknown):
            raise installed
        if isinstance(filesystem, RootFilesystem) and filesystem.fleeting:
            raise Unknown(filesystem.fleeting)
        from nvdiag.facts.boot_grub import Booting

        if len(installed.releases) == 1:
            return cls._of(host, Booting(installed.releases[0], f"the only kernel in {installed.source}"))
        if (reading.text(host, "/sys/kernel/kexec_loaded") or "").strip() == "1":
            raise Unknown(
                "a kernel waits for kexec, which a reboot may start, and the running kernel does not tell which"
            )
        return cls._of(host, _next_by_loader(host, installed.releases))

    @classmethod
    def _of(cls, host: Host, booting: Booting) -> NextBootKernel:
        entry = booting.entry
        options = entry.options if entry and entry.options and "$" not in entry.options else None
        initramfs = _initramfs(host, booting.release, entry)
        missing = "" if initramfs or booting.root else _missing_initramfs(host, booting.release, entry)
        return cls(booting.release, booting.how, options, initramfs, missing, booting.root)


def _next_of_image(host: Host, distribution: Distribution) -> Booting:
    if distribution.without_ostree:
        from nvdiag.facts.boot_composefs import next_by_composefs

        return next_by_composefs(host)
    from nvdiag.facts.boot_ostree import next_by_ostree

    return next_by_ostree(host)


def _next_by_loader(host: Host, kernels: tuple[KernelRelease, ...]) -> Booting:
    from nvdiag.facts import boot_extlinux, boot_grub, boot_systemd

    if boot_systemd.is_used(host):
        return boot_systemd.next_by_systemd_boot(host, kernels)
    if boot_extlinux.is_used(host):
        return boot_extlinux.next_by_extlinux(host, kernels)
    return boot_grub.next_by_grub(host, kernels)


def _initramfs(host: Host, kernel: KernelRelease, entry: BootEntry | None) -> str | None:
    """The initramfs of an entry, but for the processor's microcode; else by its usual names."""
    from nvdiag.facts.boot_entries import paths_of

    if entry is not None and entry.linux.endswith(".efi") and not entry.initrd:
        places = [entry.linux]
    else:
        places = _named_in(entry)
    paths = [path for place in places for path in paths_of(place)]
    paths += [name.format(kernel) for name in _INITRAMFS]
    found = next((path for path in paths if reading.is_there(host, path)), None)
    if found is None and not places:
        package = (reading.text(host, f"/usr/lib/modules/{kernel}/pkgbase") or "").strip()
        named = f"/boot/initramfs-{package}.img"
        return named if package and reading.is_there(host, named) else None
    return found


def _named_in(entry: BootEntry | None) -> list[str]:
    """The initramfs that an entry names, without the processor's microcode and what a variable adds ($tuned_initrd)."""
    return [path for path in (entry.initrd if entry else ()) if "ucode" not in path and not path.startswith("$")]


def _missing_initramfs(host: Host, kernel: KernelRelease, entry: BootEntry | None) -> str:
    """The initramfs that is certainly not there: the entry names it, or every other kernel in /boot has its own.

    Where the kernel's image lies shows which folder the entry's paths are of. GRUB's menu has no line for an initramfs
    that was not there when the menu was made. A kernel that runs without one needs none, and one of another make than
    those that have one may not.
    """
    from nvdiag.facts.boot_entries import paths_of

    for named in _named_in(entry):
        for image, path in zip(paths_of(entry.linux if entry else ""), paths_of(named), strict=False):
            if reading.is_there(host, image) and reading.certainly_absent(host, path):
                return path
    if entry is not None and (entry.initrd or entry.linux.endswith(".efi")):
        return ""
    if (reading.text(host, "/proc/sys/kernel/osrelease") or "").strip() in ("", kernel.text):
        return ""
    names = reading.names(host, "/boot")
    others = [one for name in names if (one := name.removeprefix("vmlinuz-")) != name and "rescue" not in one]
    for form in _INITRAMFS[:4]:
        have = [one for one in others if form.format(one).rpartition("/")[2] in names]
        alike = any(_make(one) == _make(kernel.text) for one in have)
        if kernel.text in others and alike and set(others) - set(have) == {kernel.text}:
            return form.format(kernel)
    return ""


def _make(kernel: str) -> list[str]:
    """What a release has besides numbers: ["generic"], ["amd"], ["el", "x"]."""
    return re.findall(r"[A-Za-z]+", kernel)
