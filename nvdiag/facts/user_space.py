"""The release of the driver's user-space side, as a program on this machine gets it."""

from __future__ import annotations

from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.libraries import DriverLibraries, Kind
from nvdiag.facts.smi_report import SmiReport
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease

_NOT_ASKED = Unknown("nvidia-smi was not asked")


def user_space_release(
    libraries: DriverLibraries, nvml: NvmlAnswer | Unknown, smi: SmiReport | Unknown = _NOT_ASKED
) -> DriverRelease | None:
    """The release of the driver's libraries that a program gets: libnvidia-ml's, asked or by name, else libcuda's.

    Where only libcuda is seen and nvidia-smi works, libnvidia-ml is of the module's release, which nvidia-smi prints.
    """
    if isinstance(nvml, NvmlAnswer) and nvml.release is not None:
        return nvml.release
    if libraries.nvml.taken is None and isinstance(smi, SmiReport) and smi.header is not None:
        return smi.header.driver
    for copy in (libraries.nvml.taken, libraries.libcuda.taken):
        if copy is not None and copy.kind is Kind.DRIVER:
            return copy.release
    return None
