"""Which kernel boots next, as far as the boot loader's own files tell; Unknown with the reason where they do not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nvdiag.facts import reading
from nvdiag.facts.system import Distribution, Family, Surroundings
from nvdiag.host import Absent, Host, Refused
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import KernelRelease

MODULE_FOLDERS = ("/lib/modules", "/usr/lib/modules")


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
            if names:
                return cls(tuple(sorted(KernelRelease(name) for name in names)), folder)
        raise Unknown("neither /boot nor /lib/modules shows an installed kernel")


@dataclass(frozen=True, slots=True)
class NextBootKernel:
    """The kernel that the next boot takes; `how` says by which rule that is known."""

    release: KernelRelease
    how: str

    @classmethod
    def collect(
        cls,
        host: Host,
        surroundings: Surroundings,
        installed: InstalledKernels | Unknown,
        distribution: Distribution | Unknown,
    ) -> NextBootKernel:
        if not surroundings.has_own_kernel_modules:
            raise NotApplicable("the kernel that boots next is not this system's own")
        if isinstance(installed, Unknown):
            raise installed
        if isinstance(distribution, Distribution) and distribution.image_based:
            raise Unknown("an image deployment decides which kernel boots next, and nvdiag does not read deployments")
        if len(installed.releases) == 1:
            return cls(installed.releases[0], f"the only kernel in {installed.source}")
        if isinstance(distribution, Distribution) and distribution.family is Family.ARCH:
            raise Unknown(
                f"{len(installed.releases)} kernels are installed, and their images have no release in their names"
            )
        return cls(*_by_grub(host, installed.releases))


def _by_grub(host: Host, installed: Sequence[KernelRelease]) -> tuple[KernelRelease, str]:
    environment = _grubenv(host)
    if once := environment.get("next_entry"):
        return _named(once, installed, "grubenv's next_entry, for one boot")
    default = _grub_default(host)
    saved = environment.get("saved_entry")
    if default == "saved" and saved:
        return _named(saved, installed, "grubenv's saved_entry")
    if default in ("saved", "0"):
        return max(installed), f"the newest of {len(installed)} kernels, which GRUB_DEFAULT={default} takes"
    if default is None and saved:
        return _named(saved, installed, "grubenv's saved_entry")
    if default is None:
        raise Unknown("no GRUB default is set here, so another boot loader or its built-in rule decides")
    return _named(default, installed, "GRUB_DEFAULT")


def _grubenv(host: Host) -> dict[str, str]:
    for path in ("/boot/grub/grubenv", "/boot/grub2/grubenv"):
        try:
            return parse_grubenv(host.read(path))
        except Refused as refused:
            raise Unknown(f"which kernel boots next stands in {refused}") from refused
        except (Absent, Unknown):
            continue
    return {}


def parse_grubenv(text: str) -> dict[str, str]:
    """GRUB's environment block: NAME=value lines, then a padding of # signs (grub-editenv)."""
    lines = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, equals, value in lines if equals}


def _grub_default(host: Host) -> str | None:
    texts = [reading.text(host, "/etc/default/grub") or ""]
    folder = "/etc/default/grub.d"
    texts += [
        reading.text(host, f"{folder}/{name}") or "" for name in reading.names(host, folder) if name.endswith(".cfg")
    ]
    found = re.findall(r"^[ \t]{0,80}GRUB_DEFAULT=(.*)$", "\n".join(texts), re.M)
    return found[-1].strip().strip("\"'") if found else None


def _named(entry: str, installed: Sequence[KernelRelease], source: str) -> tuple[KernelRelease, str]:
    """The installed kernel whose release stands in a menu entry's name; the longest, for 6.8.0-8 is in 6.8.0-85."""
    fits = [kernel for kernel in installed if re.search(rf"(?<![\d.]){re.escape(kernel.text)}(?![\d])", entry)]
    if not fits:
        raise Unknown(f"{source} is {entry[:80]!r}, which names none of the installed kernels")
    return max(fits, key=lambda kernel: len(kernel.text)), source
