"""The driver's packages as the package manager lists them: asked only where something does not fit, for it is slow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nvdiag.facts.libraries import DriverLibraries
from nvdiag.facts.module_files import NextBootModule
from nvdiag.facts.modules import KernelModules
from nvdiag.facts.obstacles import NextBootObstacles
from nvdiag.facts.system import Distribution, Family
from nvdiag.host import Host
from nvdiag.model.unknown import NotApplicable, Unknown

DPKG = ("dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\\n",
         "*nvidia*", "libcuda1*", "cuda-drivers*", "xserver-xorg-video-nvidia*")  # fmt: skip
RPM = ("rpm", "-qa", "--qf", "ii %{NAME} %{VERSION}-%{RELEASE}\\n", "*nvidia*", "cuda-drivers*", "libcuda*")
PACMAN = ("pacman", "-Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One installed package; `state` is dpkg's two letters ("ii" is well), "ii" elsewhere."""

    name: str
    version: str
    state: str = "ii"


@dataclass(frozen=True, slots=True)
class DriverPackages:
    """The installed packages of the driver. `source` is the program that listed them."""

    packages: tuple[Package, ...]
    source: str

    @classmethod
    def collect(
        cls,
        host: Host,
        distribution: Distribution,
        modules: KernelModules,
        libraries: DriverLibraries | Unknown,
        following: NextBootModule | Unknown,
        obstacles: NextBootObstacles | Unknown,
    ) -> DriverPackages:
        if not _something_to_repair(modules, libraries, following) and not _stands_against(obstacles):
            raise NotApplicable("no module and no library is to be repaired, so no package is in question")
        command = {Family.DEBIAN: DPKG, Family.UBUNTU: DPKG, Family.ARCH: PACMAN}.get(distribution.family, RPM)
        return cls(tuple(parse_packages(host.run(*command).stdout)), command[0])

    def matching(self, pattern: str) -> tuple[str, ...]:
        """The names of installed packages that match a regular expression from start to end."""
        return tuple(one.name for one in self.packages if re.fullmatch(pattern, one.name) and one.state.startswith("i"))


def _stands_against(obstacles: NextBootObstacles | Unknown) -> bool:
    """Whether something else than the module keeps the driver from working after the next boot."""
    return isinstance(obstacles, NextBootObstacles) and any(reason.decides for reason in obstacles.reasons)


def _something_to_repair(
    modules: KernelModules, libraries: DriverLibraries | Unknown, following: NextBootModule | Unknown
) -> bool:
    """Whether a remedy could need a package's name: a module or a library is missing, or the next boot's is wrong.

    A mere reboot or reload needs none.
    """
    if modules.nvidia is None or isinstance(libraries, Unknown) or len(libraries.taken) < 2:
        return True
    if isinstance(following, Unknown):
        return False
    if following.file is None or following.libraries is not None:
        return following.file is None or following.file.release != following.libraries
    return any(copy.release != following.file.release for copy in libraries.taken)


def parse_packages(text: str) -> Iterator[Package]:
    """Lines of [STATE] NAME VERSION, as the commands above print them; packages of other software are left out."""
    for line in text.splitlines():
        state, *words = line.split() if re.match(r"[a-z][a-zA-Z]R?\s", line) else ["ii", *line.split()]
        if len(words) == 2 and re.search(r"nvidia|libcuda|cuda-drivers", words[0]) and "container" not in words[0]:
            yield Package(name=words[0], version=words[1], state=state)
