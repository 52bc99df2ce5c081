"""The nvidia module file that modprobe takes for a kernel, and what stands in it; and what DKMS has built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from nvdiag.facts import reading
from nvdiag.facts.module_places import MAIN_MODULE, candidates, is_unlisted
from nvdiag.facts.modules import Flavour
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease, KernelRelease


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFile:
    """One nvidia module file. None means that it could not be told; `how` says where the release was read.

    `built_for` is the kernel release of its vermagic: a module for another kernel does not load, but for those that
    weak-updates links to, which were found to fit. `listed` is False where modules.dep, by which modprobe goes, does
    not have it.
    """

    path: str
    kernel: KernelRelease
    release: DriverRelease | None
    how: str
    built_for: str | None = None
    flavour: Flavour | None = None
    signer: str | None = None
    signed: bool | None = None
    listed: bool = True


def module_for(host: Host, kernel: KernelRelease, system: str = "") -> ModuleFile | None:
    """The nvidia module that modprobe takes for a kernel, None where there certainly is none. Unknown."""
    found = candidates(host, kernel, system)
    if not found:
        return None
    chosen = _chosen(host, found)
    try:
        file = _read(host, chosen, kernel)
    except Absent:
        return None
    if file.listed and is_unlisted(host, chosen):
        return replace(file, listed=False)
    return file


def _chosen(host: Host, found: tuple[str, ...]) -> str:
    """Several names beside each other are Debian's: /etc/modprobe.d/nvidia.conf says which one `nvidia` means."""
    said = reading.text(host, "/etc/modprobe.d/nvidia.conf") or ""
    match = re.search(
        r"^[ \t]{0,80}install[ \t]{1,9}nvidia[ \t].{0,200}modprobe[ \t].{0,200}-i[ \t]{1,9}(\S{1,200})", said, re.M
    )
    if match:
        for path in found:
            name = MAIN_MODULE.fullmatch(path.rpartition("/")[2])
            if name and name[1] == match[1]:
                return path
    return found[0]


def _read(host: Host, path: str, kernel: KernelRelease) -> ModuleFile:
    try:
        fields = host.modinfo(path)
    except Absent:
        raise
    except Unknown as why:
        return _by_path(host, path, kernel, why)
    return ModuleFile(
        path=path,
        kernel=kernel,
        release=DriverRelease.or_none(fields.get("version")),
        how=f"modinfo {path}",
        built_for=fields.get("vermagic", "").partition(" ")[0] or None,
        flavour=flavour_of_licence(fields.get("license")),
        signer=fields.get("signer"),
        signed=fields["signed"] == "yes" if "signed" in fields else ("sig_id" in fields or "signer" in fields),
    )


def flavour_of_licence(licence: str | None) -> Flavour | None:
    """The open modules say "Dual MIT/GPL", the proprietary ones "NVIDIA" (seen in modinfo of both)."""
    if not licence:
        return None
    return Flavour.OPEN if "GPL" in licence else Flavour.PROPRIETARY


def _by_path(host: Host, path: str, kernel: KernelRelease, why: Unknown) -> ModuleFile:
    """Where the file itself cannot be read, DKMS's tree has the release that it was built as."""
    built = built_by_dkms(host, kernel) if "/updates/" in path else None
    if built is None:
        raise Unknown(f"the release of {path}: {why}")
    return ModuleFile(path=path, kernel=kernel, release=built, how=f"DKMS's build for {kernel}, since modinfo: {why}")


def built_by_dkms(host: Host, kernel: KernelRelease) -> DriverRelease | None:
    """The release that DKMS built for a kernel, where that is one."""
    built = {release for release, one in dkms_builds(host) if one == kernel}
    return built.pop() if len(built) == 1 else None


def dkms_builds(host: Host) -> Iterator[tuple[DriverRelease, KernelRelease]]:
    """What DKMS's trees (/var/lib/dkms/nvidia*/RELEASE/KERNEL) have built, each once."""
    found = {
        (release, KernelRelease(kernel)): None
        for tree in reading.names(host, "/var/lib/dkms")
        if tree.startswith("nvidia")
        for label in reading.names(host, f"/var/lib/dkms/{tree}")
        if (release := DriverRelease.or_none(label))
        for kernel in reading.names(host, f"/var/lib/dkms/{tree}/{label}")
        if re.match(r"\d+\.\d+", kernel)
    }
    return iter(found)
