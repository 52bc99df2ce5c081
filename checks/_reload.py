"""The driver's modules taken out and loaded again without a reboot: what to stop, in which order, or why not."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from nvdiag.checks import _remedies
from nvdiag.checks._holder_words import BY_ID, SHORT_ID, called
from nvdiag.facts.cgroups import Home
from nvdiag.facts.holders import Holder, ModuleHolders
from nvdiag.facts.modules import KernelModules
from nvdiag.knowledge.gpu_services import GpuService, service_of, service_of_cut
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Remedy, Risk
from nvdiag.model.text import listed
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease

_PROGRAMS, _PODS = 10, 20
"""Programs are stopped before every known service, and what starts pods before the pods."""

_CONTAINERS = {
    Home.DOCKER: ("docker stop", "docker start"),
    Home.PODMAN: ("podman stop", "podman start"),
    Home.CONTAINERD: ("nerdctl stop", "nerdctl start"),
    Home.PROXMOX: ("pct shutdown", "pct start"),
    Home.LXC: ("lxc-stop -n", "lxc-start -n"),
    Home.NSPAWN: ("machinectl poweroff", "machinectl start"),
}
"""How each kind is stopped and started, as its own manual page has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One thing to stop. `again` starts it once the modules are back, empty where nothing can."""

    order: int
    stop: tuple[str, ...]
    again: tuple[str, ...] = ()
    what: str = ""


def ways(
    modules: KernelModules, holders: ModuleHolders | Unknown, wanted: DriverRelease, source: str
) -> tuple[Remedy, ...]:
    """The plan; the bare commands where nothing is known of the holders; nothing where it cannot be done."""
    if isinstance(holders, Unknown):
        return (_remedies.reload_modules(modules, wanted, source),)
    return () if why_not(holders) else (plan(holders, f"it will end the mismatch: {source} is {wanted}"),)


def why_not(holders: ModuleHolders) -> str:
    """Why the modules cannot be taken out while this kernel runs; empty where they can, as far as it is known."""
    if not holders.stuck:
        return ""
    names = listed([called(one) for one in holders.stuck[:4]])
    return (
        f"Without a reboot it cannot be done: {names} waits in the kernel (state D) with the GPU open, and no signal"
        " ends it."
    )


def plan(holders: ModuleHolders, does: str) -> Remedy:
    """Stop what is really there, unload, load, start again, each in its order; not for a machine with `why_not`.

    `does` is the clause that its prediction begins with.
    """
    steps = sorted(_steps(holders), key=lambda step: step.order)
    again = [name for name in reversed(holders.modules) if name != "nvidia"]
    return Remedy(
        summary="reload the kernel modules, without a reboot"
        + (" (interrupts everything that uses the GPU, displays too)" if steps or not free(holders) else ""),
        commands=(
            *(command for step in steps for command in step.stop),
            " ".join(("sudo fuser -v /dev/nvidia*", *_cards(holders))),
            f"sudo rmmod {shlex.join(holders.modules)}",
            "sudo modprobe nvidia",
            *(f"sudo modprobe {shlex.quote(name.replace('_', '-'))}" for name in again),
            *((f"sudo nvidia-ctk cdi generate --output={holders.cdi}",) if holders.cdi else ()),
            *(command for step in reversed(steps) for command in step.again),
            "nvidia-smi",
        ),
        risk=Risk.DISRUPTIVE,
        needs_root=True,
        prediction=_prediction(holders, steps, does),
    )


def free(holders: ModuleHolders) -> bool:
    """Whether nothing holds the modules, neither by what was seen nor by their own counts."""
    return not holders.processes and not holders.console and not any(holders.counts.values())


def _cards(holders: ModuleHolders) -> list[str]:
    """The nodes of nvidia-drm that are open: other GPUs have such nodes, too."""
    return sorted({node for one in holders.processes for node in one.nodes if node.startswith("/dev/dri/")})


def _prediction(holders: ModuleHolders, steps: Sequence[_Step], does: str) -> str:
    words = [does]
    if free(holders):
        words[0] += ", and nothing holds the modules now"
    elif steps:
        words[0] += f"; to be stopped: {listed([step.what for step in steps if step.what])}"
    words += _hidden(holders)
    if holders.console:
        words.append(
            "the text console is drawn by this GPU: do it over ssh, for the screen stays dark until it is loaded again"
        )
    if not free(holders):
        words.append("fuser must show nothing before rmmod; never force it with rmmod -f")
    return "; ".join(words)


def _hidden(holders: ModuleHolders) -> Iterator[str]:
    """What the modules' own counts say beyond what was seen, and what could not be looked at."""
    extra = [f"{name} has {count} user{'s' if count > 1 else ''}" for name, count in _unexplained(holders)]
    if holders.why_blind:
        yield f"which processes use the GPU could not be seen: {holders.why_blind}"
    elif extra and not holders.refused:
        yield f"{listed(extra)}, which no process explains that was seen: another PID namespace or the kernel itself"
    elif extra:
        yield (
            f"{listed(extra)}, and {holders.refused} processes of other users could not be looked at: as root"
            " (sudo nvdiag) all are seen"
        )


def _unexplained(holders: ModuleHolders) -> list[tuple[str, int]]:
    """Modules with more users than the open files that were seen. uvm, modeset and drm have nodes of their own."""
    seen = dict.fromkeys(holders.counts, 0)
    for one in holders.seen:
        for node in one.nodes:
            seen[_served_by(node)] = seen.get(_served_by(node), 0) + 1
    opened = {name for name, count in seen.items() if count}
    drawn = {"nvidia_drm"} if holders.console else set()
    counts = [(name, holders.counts.get(name, 0)) for name in holders.modules]
    return [(name, count) for name, count in counts if count and name not in opened | drawn]


def _served_by(node: str) -> str:
    if node.startswith("/dev/nvidia-uvm"):
        return "nvidia_uvm"
    if node.startswith("/dev/nvidia-modeset"):
        return "nvidia_modeset"
    return "nvidia_drm" if node.startswith("/dev/dri/") else {"/dev/gdrdrv": "gdrdrv"}.get(node, "nvidia")


def _steps(holders: ModuleHolders) -> Iterator[_Step]:
    yield from _services(holders)
    yield from _pods(holders)
    for home, (stop, start) in _CONTAINERS.items():
        names = list(dict.fromkeys(one.place.name for one in holders.processes if one.place.home is home))
        if names:
            yield _containers(home, names, stop, start, holders)
    jobs = list(dict.fromkeys(one.place.name for one in holders.processes if one.place.home is Home.SLURM))
    if jobs:
        yield _Step(
            order=_PROGRAMS,
            stop=(f"sudo scancel {' '.join(jobs)}",),
            what=f"Slurm job{'s' if len(jobs) > 1 else ''} {listed(jobs)}",
        )
    yield from _programs(holders)
    if holders.console:
        paths = [f"/sys/class/vtconsole/{name}/bind" for name in holders.console.bound]
        yield _Step(
            order=_LAST,
            stop=tuple(f"echo 0 | sudo tee {path}" for path in paths),
            again=tuple(f"echo 1 | sudo tee {path}" for path in paths),
            what="the text console on this GPU",
        )


_LAST = 99


def _services(holders: ModuleHolders) -> Iterator[_Step]:
    """Units of systemd: those whose processes have the GPU open; known users of it that run, where not all was seen.

    A graphical session's programs end with the display manager, which itself holds nothing.
    """
    units = {
        one.place.name: service_of(one.place.name, one.name)
        for one in holders.processes
        if one.place.home is Home.SERVICE
    }
    all_seen = not holders.refused and not holders.why_blind
    for unit in holders.services:
        kind = service_of(unit)
        if not all_seen or (_is_display(kind) and (_cards(holders) or _graphical(holders))):
            units.setdefault(unit, kind)
    for unit, kind in units.items():
        yield _unit_step(unit, kind)


def _unit_step(unit: str, kind: GpuService | None) -> _Step:
    name = shlex.quote(unit)
    return _Step(
        order=kind.order if kind else _PROGRAMS,
        stop=(f"sudo systemctl stop {name}",),
        again=(f"sudo systemctl start {name}",),
        what=f"{unit} ({kind.says})" if kind else unit,
    )


def _usual_unit(kind: GpuService | None) -> str:
    """The unit that a known program is mostly of; empty where there are several ways to run it."""
    if kind is None or _is_display(kind):
        return "display-manager.service" if kind else ""
    name = kind.units.pattern.replace("\\", "")
    return name if re.fullmatch(r"[\w.-]+", name) else ""


def _pods(holders: ModuleHolders) -> Iterator[_Step]:
    """The kubelet first, which would start each container again; it starts them all itself afterwards."""
    names = list(dict.fromkeys(one.place.name for one in holders.processes if one.place.home is Home.POD))
    if not names:
        return
    tool = "k3s crictl" if holders.kubelet.startswith("k3s") else "crictl"
    unit = holders.kubelet or "kubelet.service"
    yield _Step(
        order=_PODS,
        stop=(
            f"sudo systemctl stop {unit}",
            f"sudo {tool} stop {' '.join(name[: SHORT_ID + 1] for name in names)}",
        ),
        again=(f"sudo systemctl start {unit}",),
        what=f"{len(names)} container{'s' if len(names) > 1 else ''} of Kubernetes (drain the node before, where its"
        " work can move)",
    )


def _containers(home: Home, names: list[str], stop: str, start: str, holders: ModuleHolders) -> _Step:
    short = [name[:SHORT_ID] if home in BY_ID else name for name in names]
    owner = next((one.user for one in holders.processes if one.place.name == names[0] and one.place.user_id), "")
    lead = f"sudo -u {shlex.quote(owner)}" if owner else "sudo"
    single = home in (Home.LXC, Home.PROXMOX)
    lines = [[one] for one in short] if single else [short]
    return _Step(
        order=_PROGRAMS,
        stop=tuple(f"{lead} {stop} {shlex.join(one)}" for one in lines),
        again=tuple(f"{lead} {start} {shlex.join(one)}" for one in lines),
        what=f"{home.value}{'s' if len(short) > 1 else ''} {listed(short)}",
    )


def _programs(holders: ModuleHolders) -> Iterator[_Step]:
    """What somebody started in a login or with a user's systemd; its user ends it, or a signal does."""
    mps = [one for one in _of(holders, Home.LOGIN, Home.OTHER) if one.name == "nvidia-cuda-mps"]
    if mps:
        yield _Step(order=50, stop=("echo quit | sudo nvidia-cuda-mps-control",), what="the MPS daemon")
    known = {}
    if holders.told_by:  # a paste tells no unit
        known = {one: unit for one in _of(holders, Home.OTHER) if (unit := _usual_unit(service_of_cut(one.name)))}
    for unit in dict.fromkeys(known.values()):
        yield _unit_step(unit, service_of(unit))
    graphical = _graphical(holders)
    running = any(_is_display(service_of(unit)) for unit in holders.services)
    ended = set(graphical) if running else set()
    loose = [one for one in _of(holders, Home.LOGIN, Home.OTHER) if one not in ended and one not in (*mps, *known)]
    for one in _of(holders, Home.USER_SERVICE):
        if one not in ended and one.user:
            unit = shlex.quote(one.place.name)
            manager = f"sudo systemctl --user --machine={shlex.quote(one.user)}@.host"
            yield _Step(
                order=_PROGRAMS,
                stop=(f"{manager} stop {unit}",),
                again=(f"{manager} start {unit}",),
                what=f"{one.place.name} of {one.user}",
            )
        elif one not in ended:
            loose.append(one)
    if loose:
        yield _Step(
            order=_PROGRAMS,
            stop=(f"sudo kill {' '.join(str(one.pid) for one in loose)}",),
            what=listed([called(one) for one in loose[:6]] + ([f"{len(loose) - 6} more"] if len(loose) > 6 else [])),
        )


def _graphical(holders: ModuleHolders) -> list[Holder]:
    """Processes that end with the graphical session: the session's own, and what else its user has on the screen."""
    return [
        one
        for one in _of(holders, Home.LOGIN, Home.USER_SERVICE, Home.OTHER)
        if _is_display(service_of("", one.name)) or any(node.startswith("/dev/dri/card") for node in one.nodes)
    ]


def _is_display(kind: GpuService | None) -> bool:
    return kind is not None and kind.name == "display manager"


def _of(holders: ModuleHolders, *homes: Home) -> list[Holder]:
    return [one for one in holders.processes if one.place.home in homes]
