"""The processes that NVML lists on a GPU: how they are named in findings, and how each is ended."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

from nvdiag.checks._holder_words import BY_ID, SHORT_ID
from nvdiag.facts.cgroups import Home
from nvdiag.facts.nvml_devices import GpuProcess
from nvdiag.model.finding import Evidence, Remedy, Risk
from nvdiag.model.text import listed

MPS = "nvidia-cuda-mps"
"""comm of MPS's control daemon and of its server, cut to 15 letters: programs go through them."""

_MOST_NAMED = 6
_ENDED = {
    Home.SERVICE: "sudo systemctl stop {}",
    Home.USER_SERVICE: "systemctl --user stop {}",
    Home.DOCKER: "docker stop {}",
    Home.PODMAN: "podman stop {}",
    Home.CONTAINERD: "sudo nerdctl stop {}",
    Home.LXC: "sudo lxc-stop -n {}",
    Home.PROXMOX: "sudo pct stop {}",
    Home.NSPAWN: "sudo machinectl poweroff {}",
    Home.SLURM: "scancel {}",
}


def called(one: GpuProcess) -> str:
    """A process by its name and id, and whose it is."""
    return f"{one.name or 'a process'} ({one.pid}){f' of {one.user}' if one.user else ''}"


def told_of(processes: Sequence[GpuProcess], source: str) -> Iterator[Evidence]:
    """Who has a GPU and how much of its memory, the most first."""
    rows = sorted(processes, key=lambda one: -(one.memory or 0))
    for one in rows[:_MOST_NAMED]:
        memory = f": {one.memory >> 20} MiB" if one.memory is not None else ""
        yield Evidence(source=source, excerpt=f"{called(one)}{_where(one)}{memory}")
    if len(rows) > _MOST_NAMED:
        yield Evidence(source=source, excerpt=f"{len(rows) - _MOST_NAMED} more processes")


def _where(one: GpuProcess) -> str:
    if one.name is None:
        return ", which /proc does not show here: of another container, or it is ending"
    place = one.place
    return "" if place.home is Home.OTHER else f", {place.home.value} {_short(one)}"


def _short(one: GpuProcess) -> str:
    return one.place.name[:SHORT_ID] if one.place.home in BY_ID else one.place.name


def end(processes: Iterable[GpuProcess], what_then: str) -> tuple[Remedy, ...]:
    """How to end them, each by what it was started with; nothing where there is none to name."""
    shown = list(processes)[:_MOST_NAMED]
    commands = dict.fromkeys(_command(one) for one in shown)
    if not commands:
        return ()
    return (
        Remedy(
            summary=f"end {listed(list(dict.fromkeys(called(one) for one in shown)))}, if that is not wanted any more:"
            " ask first where others work here",
            commands=tuple(commands),
            risk=Risk.DISRUPTIVE,
            needs_root=any(command.startswith("sudo ") for command in commands),
            prediction=what_then,
        ),
    )


def _command(one: GpuProcess) -> str:
    form = _ENDED.get(one.place.home)
    if form is not None and one.place.name:
        return form.format(shlex.quote(_short(one)))
    return f"{'sudo ' if one.uid == 0 else ''}kill {one.pid}"
