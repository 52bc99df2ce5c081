"""What NCCL's variables name of this machine's network, against what it has.

NCCL's user guide, "Environment Variables": NCCL_SOCKET_IFNAME and NCCL_IB_HCA are lists of beginnings of names, exact
ones after =, ones to be left out after ^; an entry of the latter may end in a port, as in mlx5_0:1.
"""

from __future__ import annotations

from collections.abc import Sequence

from nvdiag.facts import reading
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

INTERFACES, ADAPTERS = "/sys/class/net", "/sys/class/infiniband"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A variable of NCCL's, the names that there are, and those of them that it leaves."""

    name: str
    value: str
    folder: str
    there: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NcclSettings:
    """The network that NCCL is told to use. NotApplicable where no variable names one."""

    chosen: tuple[Chosen, ...]

    @classmethod
    def collect(cls, host: Host) -> NcclSettings:
        found = [_chosen(host, "NCCL_SOCKET_IFNAME", INTERFACES)]
        if reading.variable(host, "NCCL_IB_DISABLE") != "1":
            found.append(_chosen(host, "NCCL_IB_HCA", ADAPTERS))
        chosen = tuple(one for one in found if one is not None)
        if not chosen:
            raise NotApplicable("no variable tells NCCL which network to use")
        return cls(chosen)


def _chosen(host: Host, name: str, folder: str) -> Chosen | None:
    value = reading.variable(host, name)
    if not value:
        return None
    try:
        there = host.folder(folder)
    except Absent:
        there = ()
    except Unknown:
        return None
    return Chosen(name, value, folder, there, matching(value, there))


def matching(value: str, names: Sequence[str]) -> tuple[str, ...]:
    """The names that such a list leaves."""
    out = value.startswith("^")
    value = value.removeprefix("^")
    exact = value.startswith("=")
    words = [word.partition(":")[0] for word in value.removeprefix("=").split(",") if word]
    hit = [name for name in names if any(name == word if exact else name.startswith(word) for word in words)]
    return tuple(name for name in names if (name in hit) is not out)
