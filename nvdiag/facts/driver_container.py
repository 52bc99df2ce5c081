"""The GPU Operator's driver container: the driver that Kubernetes brings, below /run/nvidia/driver on the node."""

from __future__ import annotations

from nvdiag.facts import reading
from nvdiag.facts.container_toolkit import on_the_host
from nvdiag.facts.libraries import DriverLibraries
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

ROOT = "/run/nvidia/driver"
VALIDATIONS = "/run/nvidia/validations"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverContainer:
    """What the node has of it; NotApplicable where there is none.

    `release` is that of the libraries in it and `library` the file that tells it. `validations` are the files that the
    operator's validator leaves when a part is ready: driver-ready, toolkit-ready, cuda-ready, plugin-ready.
    """

    release: DriverRelease | None
    library: str
    validations: tuple[str, ...]

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings, libraries: DriverLibraries | Unknown) -> DriverContainer:
        on_the_host(host, surroundings)
        if not (surroundings.driver_root or "").startswith(ROOT):
            raise NotApplicable("no driver container of the GPU Operator is here")
        choices = (libraries.nvml, libraries.libcuda) if isinstance(libraries, DriverLibraries) else ()
        copies = [copy for one in choices for copy in one.copies if copy.file.startswith(ROOT) and copy.release]
        return cls(
            release=copies[0].release if copies else None,
            library=copies[0].file if copies else "",
            validations=tuple(name.lstrip(".") for name in reading.names(host, VALIDATIONS)),
        )
