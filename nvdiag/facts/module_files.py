"""The driver's kernel modules on disk: what modprobe would load for the running kernel, and what the next boot will."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from nvdiag.facts import reading
from nvdiag.facts.boot import InstalledKernels, NextBootKernel
from nvdiag.facts.boot_entries import MODULE_FOLDERS
from nvdiag.facts.libraries import NVML, release_in
from nvdiag.facts.module_places import MAIN_MODULE, candidates, is_unlisted
from nvdiag.facts.modules import Flavour
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import RunningKernel
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease, KernelRelease

MODINFO = "modinfo nvidia"


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
        said = _by_modinfo_nvidia(host, kernel)
        if said is not None:
            return cls(said.kernel, said)
        if isinstance(running, Unknown):
            raise running
        try:
            return cls(running.release, module_for(host, running.release))
        except Unknown as why:
            return cls(running.release, _as_modinfo_told(host, running.release, why), f"{MODINFO}, lspci -k")

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


def _by_modinfo_nvidia(host: Host, running: KernelRelease | None) -> ModuleFile | None:
    """By a recorded `modinfo nvidia`, which tells of the module that modprobe takes for the running kernel."""
    if "modinfo nvidia" not in host.recorded("commands"):
        return None
    fields = parse_modinfo(host.run("modinfo", "nvidia").stdout)
    path = fields.get("filename", "")
    named = re.search(r"/modules/([^/]{3,80})/", path) or re.match(r"(\S{3,80})", fields.get("vermagic", ""))
    kernel = running or (KernelRelease(named[1]) if named else None)
    release = DriverRelease.or_none(fields.get("version"))
    if kernel is None or (release is None and not path):
        return None
    return ModuleFile(
        path=path or "nvidia",
        kernel=kernel,
        release=release,
        how="modinfo nvidia",
        built_for=fields.get("vermagic", "").partition(" ")[0] or None,
        flavour=flavour_of_licence(fields.get("license")),
        signer=fields.get("signer"),
        signed=("sig_id" in fields or "signer" in fields) or None,
    )


def parse_modinfo(text: str) -> dict[str, str]:
    """modinfo's output, `name:  value` a line; of a name that is there several times, the first value."""
    found: dict[str, str] = {}
    for name, value in re.findall(r"^([a-z_]{2,20}):[ \t]{1,40}(\S.{0,1000})$", text, re.M):
        found.setdefault(name, value.strip())
    return found


def _own_modules(host: Host, surroundings: Surroundings) -> None:
    if not surroundings.has_own_kernel_modules:
        raise NotApplicable("the kernel's modules are not on this system's disk")
    if surroundings.driver_root:
        raise NotApplicable(f"the driver comes from {surroundings.driver_root}, not from this system's packages")


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


def _libraries(host: Host, root: str) -> DriverRelease | None:
    """The release of libnvidia-ml in another root, by its link."""
    if not root:
        return None
    target = reading.link(host, f"{root}/usr/lib64/{NVML}") or reading.link(host, f"{root}/usr/lib/{NVML}") or ""
    return release_in(target)


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
    built = _built_by_dkms(host, kernel) if "/updates/" in path else None
    if built is None:
        raise Unknown(f"the release of {path}: {why}")
    return ModuleFile(path=path, kernel=kernel, release=built, how=f"DKMS's build for {kernel}, since modinfo: {why}")


def _built_by_dkms(host: Host, kernel: KernelRelease) -> DriverRelease | None:
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


def _as_modinfo_told(host: Host, kernel: KernelRelease, why: Unknown) -> ModuleFile | None:
    """The module that a recorded `modinfo nvidia` found for the running kernel; perhaps only its vermagic was kept.

    That it found none proves nothing alone: distributions gave the file other names. With lspci's word that no module
    of the driver is known for the GPU (it reads the running kernel's modules.alias), it does.
    """
    if MODINFO not in host.recorded("commands"):
        raise why
    told = host.run(*MODINFO.split()).stdout
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in told.splitlines())}
    if "vermagic" not in fields:
        known = _modules_by_lspci(host)
        if known and not any(re.match(r"nvidia(?!fb)", name) for name in known):
            return None
        raise why
    release = DriverRelease.or_none(fields.get("version")) or _recorded_release(host)
    how = MODINFO
    if release is None and (release := _built_by_dkms(host, kernel)):
        how = f"{MODINFO}, and DKMS's build for {kernel}"
    return ModuleFile(
        path="nvidia", kernel=kernel, release=release, how=how, built_for=fields["vermagic"].partition(" ")[0]
    )


def _recorded_release(host: Host) -> DriverRelease | None:
    command = f"{MODINFO.partition(' ')[0]} -F version nvidia"
    return DriverRelease.or_none(host.run(*command.split()).stdout) if command in host.recorded("commands") else None


def _modules_by_lspci(host: Host) -> tuple[str, ...]:
    """The modules that a recorded lspci names for GPUs, bound or not."""
    names: list[str] = []
    for command in host.recorded("commands"):
        if command.startswith("lspci -nnvs "):
            told = host.run(*command.split()).stdout
            if re.search(r"^\S{1,20} (?:VGA compatible|3D|Display) controller", told):
                names += re.findall(r"[\w-]+", " ".join(re.findall(r"^\s*Kernel modules: (.{1,400})$", told, re.M)))
    return tuple(dict.fromkeys(names))


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
