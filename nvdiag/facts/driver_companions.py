"""The library by which libcuda compiles PTX: whether the loader has it for libcuda, and of which release.

libcuda opens libnvidia-ptxjitcompiler.so.1 by that name when a program brings PTX (the names stand in libcuda's own
text; NVIDIA's README, "Installed Components"). Without it cuModuleLoad answers 221, JIT compiler not found.
"""

from __future__ import annotations

from nvdiag.facts.libraries import DriverLibraries, Kind, LibraryChoice, LibraryCopy, LibrarySearch
from nvdiag.facts.search_path import SearchPath
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable

PTX_COMPILER = "libnvidia-ptxjitcompiler.so.1"


@dataclass(frozen=True, slots=True)
class PtxCompiler:
    """What the loader has under PTX_COMPILER's name, and the libcuda that will ask for it.

    NotApplicable where no libcuda of a driver's own release is taken, and where the driver is not this system's.
    """

    choice: LibraryChoice
    libcuda: LibraryCopy

    @classmethod
    def collect(
        cls, host: Host, path: SearchPath, libraries: DriverLibraries, surroundings: Surroundings
    ) -> PtxCompiler:
        if not surroundings.has_own_kernel_modules or surroundings.tegra or surroundings.driver_root:
            raise NotApplicable("the driver's libraries come from elsewhere than this system's packages")
        libcuda = libraries.libcuda.taken
        if libcuda is None or libcuda.release is None or libcuda.kind is not Kind.DRIVER:
            raise NotApplicable("the loader takes no libcuda of a driver's own")
        choice = LibrarySearch(host, path).choose(PTX_COMPILER)
        if choice.why_unknown is not None:
            raise choice.why_unknown
        return cls(choice, libcuda)
