"""The driver's kernel modules on disk: what modprobe would load for the running kernel, and what the next boot will."""

from __future__ import annotations

import re

from nvdiag.facts import reading
from nvdiag.facts.boot import InstalledKernels, NextBootKernel
from nvdiag.facts.chosen_module import ModuleFile, dkms_builds, module_for
from nvdiag.facts.libraries import NVML, release_in
from nvdiag.facts.module_places import MODULE_FOLDERS, candidates
from nvdiag.facts.recorded_modinfo import MODINFO, as_modinfo_told, by_modinfo_nvidia, parse_modinfo
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import RunningKernel
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease, KernelRelease


@dataclass(frozen=True, slots=True)
class RunningKernelModule:
    """What modprobe would load again for the kernel that runs; `file` is None where there is certainly none.

    `looked` says where that was looked for, where it was not in the kernel's own folder.
    """

    kernel: KernelRelease
    file: ModuleFile | None
    looked: str = ""

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings, running: RunningKernel | Unknown) -> RunningKernelModule:
        _own_modules(host, surroundings)
        kernel = running.release if isinstance(running, RunningKernel) else None
        said = by_modinfo_nvidia(host, kernel)
        if said is not None:
            return cls(said.kernel, said)
        if isinstance(running, Unknown):
            raise running
        try:
            return cls(running.release, module_for(host, running.release))
        except Unknown as why:
            return cls(running.release, as_modinfo_told(host, running.release, why), f"{MODINFO}, lspci -k")

    @property
    def source(self) -> str:
        """Where it was looked for."""
        return self.looked or f"/lib/modules/{self.kernel}"


@dataclass(frozen=True, slots=True)
class ModinfoRelease:
    """The release of the module that modprobe would take now, by a recorded modinfo, whether or not its kernel is told.

    NotApplicable where none was recorded.
    """

    release: DriverRelease

    @classmethod
    def collect(cls, host: Host) -> ModinfoRelease:
        said = parse_modinfo(host.run(*MODINFO.split()).stdout) if MODINFO in host.recorded("commands") else {}
        release = DriverRelease.or_none(said.get("version"))
        if release is None:
            raise NotApplicable("no output of modinfo with a release was recorded")
        return cls(release)


@dataclass(frozen=True, slots=True)
class NextBootModule:
    """What the next boot will load; `file` is None where there is certainly no module for that kernel.

    `gap` then says what is there in its place, where that is known; `root` is NextBootKernel's, and `libraries` the
    release of the libraries in that root, which are not those of the system that runs.
    """

    kernel: KernelRelease
    how: str
    file: ModuleFile | None
    gap: str = ""
    root: str = ""
    libraries: DriverRelease | None = None

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings, following: NextBootKernel) -> NextBootModule:
        _own_modules(host, surroundings)
        kernel, root = following.release, following.root
        file = module_for(host, kernel, root)
        return cls(
            kernel, following.how, file, _gap(host, kernel, root) if file is None else "", root, _libraries(host, root)
        )


@dataclass(frozen=True, slots=True)
class ModuleInstallation:
    """What of the driver's kernel side is installed: the kernels that have a module, and sources to build it from.

    `builds` are DKMS's: a release and the kernel that it was built for. Where it cannot be seen which kernels are
    installed, those are the ones that are known to have a module.
    """

    kernels: tuple[KernelRelease, ...]
    sources: tuple[str, ...]
    builds: tuple[tuple[DriverRelease, KernelRelease], ...] = ()

    @classmethod
    def collect(
        cls, host: Host, surroundings: Surroundings, installed: InstalledKernels | Unknown
    ) -> ModuleInstallation:
        _own_modules(host, surroundings)
        builds, sources = tuple(dkms_builds(host)), module_sources(host)
        if isinstance(installed, InstalledKernels):
            return cls(tuple(one for one in installed.releases if candidates(host, one)), sources, builds)
        if not sources:
            raise installed
        return cls(tuple(dict.fromkeys(kernel for _, kernel in builds)), sources, builds)


def _own_modules(host: Host, surroundings: Surroundings) -> None:
    if not surroundings.has_own_kernel_modules:
        raise NotApplicable("the kernel's modules are not on this system's disk")
    if surroundings.driver_root:
        raise NotApplicable(f"the driver comes from {surroundings.driver_root}, not from this system's packages")


def _libraries(host: Host, root: str) -> DriverRelease | None:
    """The release of libnvidia-ml in another root, by its link; None where it has none. Unknown."""
    if not root:
        return None
    unseen: Unknown | None = None
    for folder in ("lib64", "lib"):
        try:
            return release_in(host.link(f"{root}/usr/{folder}/{NVML}") or "")
        except Absent:
            continue
        except Unknown as why:
            unseen = why
    if unseen is not None:
        raise Unknown(f"which release the libraries of the next boot's root are: {unseen}") from unseen
    return None


def _gap(host: Host, kernel: KernelRelease, system: str) -> str:
    """What is there where a kernel has no module: Ubuntu's unlinked objects, or a name that leads nowhere."""
    for root in (f"{system}{folder}/{kernel}" for folder in MODULE_FOLDERS):
        for name in reading.names(host, f"{root}/kernel"):
            if name.startswith("nvidia-") and "bits" in reading.names(host, f"{root}/kernel/{name}"):
                return f"{root}/kernel/{name} has the objects (bits) of a prebuilt module that was never linked"
    for path in candidates(host, kernel, system):
        target = reading.link(host, path)
        return (
            f"{path} leads to {target}, which is not there"
            if target
            else f"modules.dep names {path}, which is not there"
        )
    return ""


def module_sources(host: Host) -> tuple[str, ...]:
    """Sources that a module could be built from: /usr/src/nvidia-*, DKMS trees, akmods."""
    found = [f"/usr/src/{name}" for name in reading.names(host, "/usr/src") if re.match(r"nvidia-\S*\d", name)]
    found += [f"/var/lib/dkms/{name}" for name in reading.names(host, "/var/lib/dkms") if name.startswith("nvidia")]
    found += [f"/usr/src/akmods/{name}" for name in reading.names(host, "/usr/src/akmods") if "nvidia" in name]
    return tuple(found)


def has_headers(host: Host, kernel: KernelRelease) -> bool | None:
    """Whether what a build needs of a kernel is there; None where that cannot be seen."""
    folder = f"/lib/modules/{kernel}/build"
    if reading.is_there(host, f"{folder}/Makefile"):
        return True
    return False if reading.certainly_absent(host, f"{folder}/Makefile") else None
