"""The driver's packages as the package manager lists them: asked only where something does not fit, for it is slow."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.facts.libraries import DriverLibraries
from nvdiag.facts.module_files import NextBootModule
from nvdiag.facts.modules import KernelModules
from nvdiag.facts.obstacles import NextBootObstacles
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import Distribution, Family
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

DPKG = ("dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\\n",
         "*nvidia*", "libcuda1*", "cuda-drivers*", "xserver-xorg-video-nvidia*")  # fmt: skip
RPM = ("rpm", "-qa", "--qf", "ii %{NAME} %{VERSION}-%{RELEASE}\\n", "*nvidia*", "cuda-drivers*", "libcuda*")
PACMAN = ("pacman", "-Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One installed package; `state` is dpkg's two letters ("ii" is well, "hi" is held and well), "ii" elsewhere."""

    name: str
    version: str
    state: str = "ii"

    @property
    def installed(self) -> bool:
        """False for what was removed and has left its configuration, and for what is to be removed."""
        return self.state[:1] in ("i", "h") and self.state[1:2] != "c"

    @property
    def release(self) -> DriverRelease | None:
        """The driver's release that its version begins with, after the epoch; None for another kind of version."""
        found = re.match(r"(?:\d{1,4}:)?(\d{3,4}(?:\.\d{1,4}){1,2})(?![.\d])", self.version)
        return DriverRelease.or_none(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class PackageSearch:
    """The package manager's listing, under way in its child while files are read.

    Only where the driver's parts, by the names of files alone, do not fit.
    """

    @classmethod
    def collect(
        cls, host: Host, distribution: Distribution, modules: KernelModules, libraries: DriverLibraries | Unknown
    ) -> PackageSearch:
        if not _in_pieces(modules, libraries):
            raise NotApplicable("the loaded module and the libraries are one release")
        host.start_command(*_command(distribution))
        return cls()


@dataclass(frozen=True, slots=True)
class DriverPackages:
    """The installed packages of the driver. `source` is the program that listed them."""

    packages: tuple[Package, ...]
    source: str

    @classmethod
    def collect(
        cls,
        host: Host,
        search: PackageSearch | Unknown,
        distribution: Distribution,
        modules: KernelModules,
        libraries: DriverLibraries | Unknown,
        following: NextBootModule | Unknown,
        obstacles: NextBootObstacles | Unknown,
        surroundings: Surroundings | Unknown,
    ) -> DriverPackages:
        if not _something_to_repair(modules, libraries, following) and not _stands_against(obstacles):
            raise NotApplicable("no module and no library is to be repaired, so no package is in question")
        try:
            return listed(host, distribution)
        except Absent as why:
            if isinstance(surroundings, Surroundings) and surroundings.container:
                raise NotApplicable(f"this container has no package manager: {why}") from why
            raise

    def matching(self, pattern: str) -> tuple[str, ...]:
        """The names of installed packages that match a regular expression from start to end."""
        return tuple(one.name for one in self.packages if re.fullmatch(pattern, one.name) and one.installed)

    def of_release(self, release: DriverRelease) -> tuple[Package, ...]:
        """The installed packages of one release of the driver, each name once."""
        fits = {one.name: one for one in self.packages if one.installed and one.release == release}
        return tuple(fits.values())


def listed(host: Host, distribution: Distribution) -> DriverPackages:
    """Ask the package manager, whatever is in question."""
    command = _command(distribution)
    return DriverPackages(tuple(parse_packages(host.run(*command).stdout)), command[0])


def _command(distribution: Distribution) -> tuple[str, ...]:
    return {Family.DEBIAN: DPKG, Family.UBUNTU: DPKG, Family.ARCH: PACMAN}.get(distribution.family, RPM)


def _stands_against(obstacles: NextBootObstacles | Unknown) -> bool:
    """Whether something else than the module keeps the driver from working after the next boot."""
    return isinstance(obstacles, NextBootObstacles) and any(reason.decides for reason in obstacles.reasons)


def _something_to_repair(
    modules: KernelModules, libraries: DriverLibraries | Unknown, following: NextBootModule | Unknown
) -> bool:
    """Whether a remedy could need a package's name: something is missing, or not all is one release."""
    if isinstance(libraries, Unknown) or _in_pieces(modules, libraries):
        return True
    if isinstance(following, Unknown):
        return False
    if following.file is None or following.libraries is not None:
        return following.file is None or following.file.release != following.libraries
    return any(copy.release != following.file.release for copy in libraries.taken)


def _in_pieces(modules: KernelModules, libraries: DriverLibraries | Unknown) -> bool:
    """Whether the module is not loaded, a library is missing, or they are not one release."""
    if modules.nvidia is None or isinstance(libraries, Unknown) or len(libraries.taken) < 2:
        return True
    return any(copy.release not in (None, modules.nvidia.release) for copy in libraries.taken)


def parse_packages(text: str) -> Iterator[Package]:
    """Lines of [STATE] NAME VERSION, as the commands above print them; packages of other software are left out."""
    for line in text.splitlines():
        state, *words = line.split() if re.match(r"[a-z][a-zA-Z]R?\s", line) else ["ii", *line.split()]
        if len(words) == 2 and re.search(r"nvidia|libcuda|cuda-drivers", words[0]) and "container" not in words[0]:
            yield Package(name=words[0], version=words[1], state=state)
