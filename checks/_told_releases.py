"""The releases of module and libraries as a text tells them, and what it shows of the module on disk."""

from __future__ import annotations

from nvdiag.facts.dkms import DkmsStatus
from nvdiag.facts.libraries import DriverLibraries, Kind
from nvdiag.facts.messages import Messages, Said
from nvdiag.facts.module_files import ModinfoRelease, ModuleInstallation, NextBootModule, RunningKernelModule
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.system import RunningKernel
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Confidence
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease, KernelRelease

AT_BOOT = 60.0
"""Seconds since boot. A mismatch that is there so soon was made by no upgrade since: this boot loaded the module."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The two releases as far as they are known; `library` may be cut to two numbers, as nvidia-smi cuts it."""

    module: DriverRelease | None
    library: DriverRelease | None

    @property
    def in_words(self) -> str:
        module, library = self.module or "of another release", self.library or "not of it"
        return f"the loaded kernel module is {module}, the driver's libraries are {library}"


def sides_of(
    said: tuple[Said, ...], loaded: LoadedDriver | Unknown, libraries: DriverLibraries | Unknown, messages: Messages
) -> Sides:
    """The releases: what the kernel module itself says of both, else what else the text shows of each."""
    both = [one.groups for one in said if "module" in one.groups and "client" in one.groups]
    if both:
        return Sides(DriverRelease.or_none(both[-1]["module"]), DriverRelease.or_none(both[-1]["client"]))
    module = loaded.release if isinstance(loaded, LoadedDriver) else None
    if module is None:
        told = [one.groups["release"] for one in messages.named("nvrm-loading") if "release" in one.groups]
        module = DriverRelease.or_none(told[-1]) if told else None
    named = [one.groups["library"] for one in said if "library" in one.groups]
    library = DriverRelease.or_none(named[-1]) if named else None
    if isinstance(libraries, DriverLibraries):
        full = next((copy.release for copy in libraries.taken if copy.kind is Kind.DRIVER and copy.release), None)
        library = full if full is not None and full != module else library
    return Sides(module, library)


def why_disk_is_wrong(
    said: tuple[Said, ...],
    sides: Sides,
    on_disk: DriverRelease | None,
    following: NextBootModule | Unknown,
    dkms: DkmsStatus | Unknown,
    running: RunningKernel | Unknown,
) -> tuple[Confidence, str] | None:
    """Why a reboot will not help: the module on disk is not the libraries', or this very boot loaded it."""
    wanted = sides.library
    here = running.release if isinstance(running, RunningKernel) and on_disk is not None else None
    if wanted is not None and _boots_well(wanted, following, dkms, but=here):
        return None
    if on_disk is not None and wanted is not None and not _same(on_disk, wanted):
        too = ", too" if on_disk == sides.module else ""
        return Confidence.CERTAIN, f"The module on disk for {here or 'the kernel that runs'} is {on_disk}{too}."
    if on_disk is None and wanted is not None and (built := _built_otherwise(dkms, running)):
        return Confidence.LIKELY, f"DKMS has {built} installed, and no build of {wanted}."
    soon = [one.since_boot for one in said if one.since_boot is not None]
    if soon and min(soon) < AT_BOOT:
        return (
            Confidence.LIKELY,
            f"It was refused {min(soon):.0f} s after the boot: no upgrade came between, so this boot itself loaded a"
            " module that does not fit (an old one on disk, or a copy in the initramfs or the image).",
        )
    return None


def ahead_by_dkms(installation: ModuleInstallation | Unknown, running: RunningKernel | Unknown, sides: Sides) -> str:
    """What DKMS has built of another release than the loaded one, and what follows for a reboot; empty for nothing."""
    builds = installation.builds if isinstance(installation, ModuleInstallation) else ()
    others = [
        (release, kernel)
        for release, kernel in builds
        if release != sides.module and (sides.library is None or release.starts_with(sides.library))
    ]
    if sides.module is None or not others:
        return ""
    release, kernel = others[-1]
    kernels = {one for _, one in others}
    if isinstance(running, RunningKernel) and running.release not in kernels:
        return (
            f"a reboot will fix it if {kernel} boots: DKMS has built {release} for it, and only the old module is there"
            f" for {running.release}, which runs"
        )
    return f"a reboot will fix it: DKMS has built {release} for {kernel}"


def _same(release: DriverRelease, told: DriverRelease) -> bool:
    """Whether two releases can be one, where one of them may be cut to two numbers."""
    return release.starts_with(told) or told.starts_with(release)


def release_on_disk(disk: RunningKernelModule | Unknown, modinfo: ModinfoRelease | Unknown) -> DriverRelease | None:
    """The release of the module that the running kernel would load now."""
    if isinstance(disk, RunningKernelModule) and disk.file and disk.file.release:
        return disk.file.release
    return modinfo.release if isinstance(modinfo, ModinfoRelease) else None


def _boots_well(
    wanted: DriverRelease, following: NextBootModule | Unknown, dkms: DkmsStatus | Unknown, but: KernelRelease | None
) -> bool:
    """Whether the next boot's module, or one that DKMS has for a kernel, is of the libraries' release.

    `but` is a kernel whose module is known better than by DKMS.
    """
    if isinstance(following, NextBootModule) and following.file is not None and following.file.release is not None:
        return _same(following.file.release, wanted)
    return isinstance(dkms, DkmsStatus) and any(
        row.installed and row.kernel != but and _same(row.release, wanted) for row in dkms.rows
    )


def of_dkms_doubts(dkms: DkmsStatus | Unknown) -> str:
    """A sentence, after a blank, where DKMS says that a module on disk is not the one that it built; else empty."""
    rows = [row for row in dkms.rows if row.doubted] if isinstance(dkms, DkmsStatus) else []
    if not rows:
        return ""
    return (
        f" DKMS says of {rows[0].kernel} that the module on disk may not be its own{rows[0].note}: see"
        f" `modinfo -k {rows[0].kernel} -F version nvidia` before a reboot."
    )


def _built_otherwise(dkms: DkmsStatus | Unknown, running: RunningKernel | Unknown) -> str:
    """What DKMS has installed, told; for the running kernel alone where that is known. Empty where it has nothing."""
    if isinstance(dkms, Unknown):
        return ""
    if isinstance(running, RunningKernel) and (here := dkms.installed_for(running.release)):
        return f"{here[0]} for {running.release}"
    return next((f"{row.release} for {row.kernel}" for row in dkms.rows if row.installed), "")


def is_newer(module: DriverRelease, library: DriverRelease) -> bool:
    """Whether the module is newer; a library's release that is cut to two numbers decides only where those differ."""
    return not module.starts_with(library) and module > library
