"""Whether the driver's parts disagree at all: only then are costly questions about the next boot asked."""

from __future__ import annotations

from nvdiag.facts.libraries import DriverLibraries, Kind
from nvdiag.facts.module_files import NextBootModule
from nvdiag.facts.modules import LoadedDriver
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The loaded module, the module of the next boot and the libraries are not one release; `what` says which differ.

    By names of files alone, so it waits for no child. NotApplicable where they agree.
    """

    what: str

    @classmethod
    def collect(
        cls,
        loaded: LoadedDriver | Unknown,
        libraries: DriverLibraries | Unknown,
        following: NextBootModule | Unknown,
    ) -> Disagreement:
        installed = named_release(libraries) if isinstance(libraries, DriverLibraries) else None
        if isinstance(loaded, Unknown):
            if isinstance(loaded, NotApplicable) and installed is not None:
                return cls("libraries are installed and no module is loaded")
            raise NotApplicable("nothing of the driver is both loaded and installed")
        if installed is not None and installed != loaded.release:
            return cls(f"{loaded.release} is loaded and the libraries are {installed}")
        if isinstance(following, NextBootModule):
            if following.file is None:
                return cls(f"{following.kernel} boots next and has no module")
            if following.file.release not in (None, following.libraries or installed or loaded.release):
                return cls(f"{following.file.release} is loaded at the next boot")
        raise NotApplicable("the loaded module, the libraries and the module of the next boot agree")


def named_release(libraries: DriverLibraries) -> DriverRelease | None:
    """The release in the name of the driver's library that a program gets: libnvidia-ml's, else libcuda's."""
    for copy in (libraries.nvml.taken, libraries.libcuda.taken):
        if copy is not None and copy.kind is Kind.DRIVER and copy.release is not None:
            return copy.release
    return None
