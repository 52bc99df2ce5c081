"""The driver's kernel modules as they are loaded, from sysfs, which never waits for the driver."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from enum import Enum

from nvdiag.facts import reading
from nvdiag.facts.smi_report import SmiReport
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import NotApplicable, ParseError, Unknown
from nvdiag.model.versions import DriverRelease

SUBMODULES = ("nvidia_uvm", "nvidia_modeset", "nvidia_drm", "nvidia_peermem")
"""The modules that come with nvidia and must be of its release, by their names in sysfs."""

UNLOAD_ORDER = ("nvidia_peermem", "nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia")
"""Dependants first, as NVIDIA's installer unloads them (nvidia-installer, conflicting-kernel-modules.c)."""

VERSION_FILE = "/proc/driver/nvidia/version"
LIST = "/proc/modules"
"""What lsmod prints: asked only where sysfs cannot be looked at."""


class Flavour(Enum):
    """The two builds of the kernel modules."""

    OPEN = "open"
    PROPRIETARY = "proprietary"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModule:
    """A kernel module in memory. `refcount` counts its users, dependants among them; `source` is where it was read."""

    name: str
    release: DriverRelease | None
    flavour: Flavour | None = None
    refcount: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class KernelModules:
    """What of the driver is loaded. `nvidia` is None where the module is certainly not loaded.

    `unseen` has those of the others of which nothing says whether they are. Unknown where neither /sys/module nor
    /proc/driver/nvidia can be looked at.
    """

    nvidia: LoadedModule | None
    others: Mapping[str, LoadedModule] = field(default_factory=dict)
    unseen: Mapping[str, Unknown] = field(default_factory=dict)

    @classmethod
    def collect(cls, host: Host) -> KernelModules:
        nvidia = _loaded_nvidia(host)
        if nvidia is None:
            return cls(None)
        told = {name: _submodule(host, name) for name in SUBMODULES}
        return cls(
            nvidia,
            {name: module for name, module in told.items() if isinstance(module, LoadedModule)},
            {name: why for name, why in told.items() if isinstance(why, Unknown)},
        )

    @property
    def loaded(self) -> tuple[LoadedModule, ...]:
        """All of them, nvidia first."""
        return () if self.nvidia is None else (self.nvidia, *self.others.values())


@dataclass(frozen=True, slots=True)
class LoadedDriver:
    """The loaded nvidia module with its release; NotApplicable where none is loaded."""

    release: DriverRelease
    flavour: Flavour | None
    source: str
    modules: KernelModules

    @classmethod
    def collect(
        cls, modules: KernelModules | Unknown, smi: SmiReport | Unknown, surroundings: Surroundings
    ) -> LoadedDriver:
        if isinstance(modules, KernelModules):
            if modules.nvidia is None:
                raise NotApplicable("the nvidia kernel module is not loaded")
            if modules.nvidia.release is not None:
                return cls(modules.nvidia.release, modules.nvidia.flavour, modules.nvidia.source, modules)
        header = smi.header if isinstance(smi, SmiReport) else None
        if header is not None and not header.of_windows and not surroundings.wsl:
            told = LoadedModule(name="nvidia", release=header.driver, source="nvidia-smi")
            others = modules.others if isinstance(modules, KernelModules) else {}
            return cls(header.driver, None, "nvidia-smi", KernelModules(told, others))
        if isinstance(modules, Unknown):
            raise modules
        raise Unknown("the loaded nvidia module does not say its release")


@dataclass(frozen=True, slots=True)
class DriverHere:
    """A driver's kernel side is here: the loaded module, or WSL's, Tegra's or a sandbox's, which is no such module.

    `release` is None where the kernel side does not tell it. NotApplicable where there is certainly no driver.
    """

    release: DriverRelease | None
    evidence: Evidence

    @classmethod
    def collect(cls, modules: KernelModules | Unknown, surroundings: Surroundings) -> DriverHere:
        if surroundings.wsl or surroundings.tegra or surroundings.sandbox:
            return cls(None, surroundings.evidence[0])
        if isinstance(modules, Unknown):
            raise modules
        if modules.nvidia is None:
            raise NotApplicable("the nvidia kernel module is not loaded")
        release = modules.nvidia.release
        return cls(release, Evidence(source=modules.nvidia.source, excerpt=release.text if release else "is there"))


@dataclass(frozen=True, slots=True)
class VersionFile:
    """/proc/driver/nvidia/version, which the driver itself writes: read in a child, since it takes driver locks."""

    release: DriverRelease
    flavour: Flavour
    line: str

    waits_for_child = True

    @classmethod
    def collect(cls, host: Host, modules: KernelModules) -> VersionFile:
        if modules.nvidia is None:
            raise NotApplicable("the nvidia kernel module is not loaded")
        try:
            return parse_version_file(host.read(VERSION_FILE))
        except ParseError as error:
            raise Unknown(str(error)) from error


def parse_version_file(text: str) -> VersionFile:
    """The first line of /proc/driver/nvidia/version, in its proprietary and its open form, whole or cut."""
    match = re.search(
        r"NVRM version:.{0,60}Kernel Module(?: for \S{1,20})?\s{1,9}(\d{1,4}(?:\.\d{1,4}){1,2})\b.*", text
    )
    if not match:
        raise ParseError(f"{VERSION_FILE} is not of the form that the driver writes")
    line = match[0].strip()
    flavour = Flavour.OPEN if "Open Kernel Module" in line else Flavour.PROPRIETARY
    return VersionFile(DriverRelease.of(match[1]), flavour, line)


def _loaded_nvidia(host: Host) -> LoadedModule | None:
    folder = "/sys/module/nvidia"
    try:
        version = host.read(f"{folder}/version")
    except Absent:
        return _without_version(host)
    except Unknown as why:
        return _from_version_file(host, why)
    return LoadedModule(
        name="nvidia",
        release=DriverRelease.or_none(version) or _release_of_version_file(host),
        flavour=_flavour(host),
        refcount=_number(host, f"{folder}/refcnt"),
        source=f"{folder}/version",
    )


def _without_version(host: Host) -> LoadedModule | None:
    """No version in sysfs: not loaded, unless the folder is there all the same (a module built without version)."""
    if "nvidia" in reading.names(host, "/sys/module"):
        return LoadedModule(name="nvidia", release=None, source="/sys/module/nvidia")
    return None


def _release_of_version_file(host: Host) -> DriverRelease | None:
    """The release by the driver's own file, where sysfs has a text that is none."""
    try:
        return parse_version_file(host.read(VERSION_FILE)).release
    except (Unknown, ParseError):
        return None


def _from_version_file(host: Host, why: Unknown) -> LoadedModule | None:
    """Where sysfs cannot be asked, the driver's own file tells, or the kernel's list of modules, without a release."""
    listed = _listed(host)
    try:
        said = parse_version_file(host.read(VERSION_FILE))
    except (Unknown, ParseError) as silent:
        if listed is not None:
            return listed.get("nvidia")
        if isinstance(silent, Absent):
            return None
        raise Unknown(f"whether the nvidia module is loaded: {why}") from why
    users = listed["nvidia"].refcount if listed and "nvidia" in listed else None
    return LoadedModule(name="nvidia", release=said.release, flavour=said.flavour, refcount=users, source=VERSION_FILE)


def _listed(host: Host) -> dict[str, LoadedModule] | None:
    """The modules in the kernel's list, by a recorded lsmod or by /proc/modules, which it reads; None without both."""
    if "lsmod" in host.recorded("commands"):
        text, source = host.run("lsmod").stdout, "lsmod"
    else:
        text, source = reading.text(host, LIST) or "", LIST
    if not text:
        return None
    rows = re.findall(r"^\s{0,8}(\w{1,64})\s{1,60}\d{1,12}\s{1,20}(-?\d{1,9})\b", text, re.M)
    return {name: LoadedModule(name=name, release=None, refcount=int(users), source=source) for name, users in rows}


def _submodule(host: Host, name: str) -> LoadedModule | Unknown | None:
    """One of the others; None where it is not loaded, Unknown where neither sysfs nor the kernel's list can tell."""
    folder = f"/sys/module/{name}"
    version = reading.text(host, f"{folder}/version")
    if version is None:
        try:
            host.stat(folder)
        except Absent:
            return None
        except Unknown as why:
            listed = _listed(host)
            return why if listed is None else listed.get(name)
    return LoadedModule(
        name=name,
        release=DriverRelease.or_none(version),
        refcount=_number(host, f"{folder}/refcnt"),
        source=f"{folder}/version",
    )


def _flavour(host: Host) -> Flavour | None:
    """By the module's taint (P: proprietary licence, admin-guide/tainted-kernels.rst), else by its own file."""
    taint = reading.text(host, "/sys/module/nvidia/taint")
    if taint is not None:
        return Flavour.PROPRIETARY if "P" in taint else Flavour.OPEN
    try:
        return parse_version_file(host.read(VERSION_FILE)).flavour
    except (Unknown, ParseError):
        return None


def _number(host: Host, path: str) -> int | None:
    said = (reading.text(host, path) or "").strip()
    return int(said) if re.fullmatch(r"-?[0-9]{1,11}", said) else None
