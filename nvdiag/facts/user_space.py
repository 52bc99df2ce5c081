"""The release of the driver's user-space side, as a program on this machine gets it."""

from __future__ import annotations

from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.libraries import DriverLibraries, Kind
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease


def user_space_release(libraries: DriverLibraries, nvml: NvmlAnswer | Unknown) -> DriverRelease | None:
    """The release of the driver's libraries that a program gets: libnvidia-ml's, asked or by name, else libcuda's."""
    if isinstance(nvml, NvmlAnswer) and nvml.release is not None:
        return nvml.release
    for copy in (libraries.nvml.taken, libraries.libcuda.taken):
        if copy is not None and copy.kind is Kind.DRIVER:
            return copy.release
    return None
