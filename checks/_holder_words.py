"""How what holds the driver's modules is named in findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from nvdiag.facts.cgroups import Home
from nvdiag.facts.holders import Holder, ModuleHolders
from nvdiag.model.finding import Evidence
from nvdiag.model.text import listed

SHORT_ID = 12
"""Letters of a container's id that the engines show and take."""
BY_ID = (Home.DOCKER, Home.PODMAN, Home.CONTAINERD, Home.POD)
_MOST_EVIDENCE = 6


def evidence(holders: ModuleHolders) -> tuple[Evidence, ...]:
    """Who has the GPU open, the stuck ones first, and the console."""
    rows = sorted(holders.seen, key=lambda one: not one.stuck)
    found = [
        Evidence(source=holders.told_by or f"/proc/{one.pid}/fd", excerpt=_shown(one)) for one in rows[:_MOST_EVIDENCE]
    ]
    if len(rows) > _MOST_EVIDENCE:
        more = f"{len(rows) - _MOST_EVIDENCE} more processes"
        found.append(Evidence(source=holders.told_by or "/proc/*/fd", excerpt=more))
    if holders.console:
        found.append(Evidence(source="/proc/fb", excerpt=holders.console.framebuffer))
    return tuple(found)


def shown(holders: Iterable[Holder], source: str) -> Iterator[Evidence]:
    """Who has the driver's nodes open, the first few."""
    for one in islice(holders, _MOST_EVIDENCE):
        yield Evidence(source=source, excerpt=_shown(one))


def called(one: Holder) -> str:
    """A process by its name and id."""
    return f"{one.name} ({one.pid})"


def _shown(one: Holder) -> str:
    where = "" if one.place.home is Home.OTHER else f", {one.place.home.value} {_short(one)}"
    state = ", in state D for good" if one.stuck else ""
    return f"{one.name}{f' of {one.user}' if one.user else ''} has {_nodes(one.nodes)} open{where}{state}"


def _short(one: Holder) -> str:
    return one.place.name[:SHORT_ID] if one.place.home in BY_ID else one.place.name[:40]


def _nodes(nodes: Iterable[str]) -> str:
    found = sorted(nodes)
    return listed(found[:3]) if len(found) <= 3 else f"{listed(found[:2])} and {len(found) - 2} more"
