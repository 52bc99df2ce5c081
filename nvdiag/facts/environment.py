"""What the environment says that CUDA itself goes by."""

from __future__ import annotations

from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown


@dataclass(frozen=True, slots=True)
class VisibleDevices:
    """CUDA_VISIBLE_DEVICES as it is set, None where it is not set or not known. An empty one hides every GPU."""

    value: str | None

    @classmethod
    def collect(cls, host: Host) -> VisibleDevices:
        try:
            return cls(host.env("CUDA_VISIBLE_DEVICES"))
        except Unknown:
            return cls(None)
