"""What the environment says that CUDA and its launchers go by, and whose it is."""

from __future__ import annotations

from collections.abc import Mapping

from nvdiag.facts import reading
from nvdiag.host import Host, NotRecorded
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

NOTHING_CHOOSES = "no variable chooses among the GPUs"


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


@dataclass(frozen=True, slots=True)
class OwnUser:
    """The user that this process runs as, by the owner of its folder in /proc. Unknown where that is not to be had."""

    uid: int

    @classmethod
    def collect(cls, host: Host) -> OwnUser:
        return cls(host.stat("/proc/self").uid)


_CHOOSING = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
_ALIKE = 0.88
"""How alike two names are (difflib's ratio) of which one is taken for the other misspelt: two letters of twenty."""


@dataclass(frozen=True, slots=True)
class MisspeltVariables:
    """Variables whose names are almost those of ones that choose GPUs, by what they mean; those are not set.

    NotApplicable where there is none.
    """

    names: Mapping[str, str]

    @classmethod
    def collect(cls, host: Host) -> MisspeltVariables:
        try:
            found = {meant: host.env_names(meant.partition("_")[0] + "_") for meant in _CHOOSING}
        except NotRecorded as why:
            raise NotApplicable("the names of the environment's variables were not recorded") from why
        misspelt = {
            name: meant
            for meant, names in found.items()
            if meant not in names
            for name in names
            if name not in _CHOOSING and not name.startswith(meant) and _is_like(name, meant)
        }
        if not misspelt:
            raise NotApplicable(NOTHING_CHOOSES)
        return cls(misspelt)


def _is_like(name: str, meant: str) -> bool:
    if "VIS" not in name or abs(len(name) - len(meant)) > 3:
        return False
    from difflib import SequenceMatcher

    return SequenceMatcher(None, name, meant).ratio() >= _ALIKE


_RANKS = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK")
"""What torchrun and Open MPI number the processes of a node by (torch.distributed.run; Open MPI's mpirun(1))."""


@dataclass(frozen=True, slots=True)
class LocalRank:
    """The number that a launcher gave this process among its node's. NotApplicable where none did."""

    name: str
    number: int

    @classmethod
    def collect(cls, host: Host) -> LocalRank:
        for name in _RANKS:
            value = reading.variable(host, name) or ""
            if value.isascii() and value.isdigit() and len(value) < 5:
                return cls(name, int(value))
        raise NotApplicable(NOTHING_CHOOSES)
