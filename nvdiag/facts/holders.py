"""What holds the driver's modules in memory: processes, services, modules, the console. Asked where a reload is a way.

The walk over /proc is the probe `holders`; running units are the folders of systemd's control groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from nvdiag.facts import reading
from nvdiag.facts.cgroups import Place, place_of
from nvdiag.facts.libraries import DriverLibraries, Kind
from nvdiag.facts.messages import Messages
from nvdiag.facts.modules import UNLOAD_ORDER, KernelModules, LoadedDriver
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

PROBE = "holders"

_UNIT_FOLDERS = ("/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/systemd/system.slice")
"""Where systemd has a folder for each running service, in cgroup v2 and v1."""

CDI_SPECIFICATIONS = ("/etc/cdi/nvidia.yaml", "/var/run/cdi/nvidia.yaml")
"""Where the container toolkit's documentation has the generated list of the driver's files, by their releases."""

_KUBELETS = ("kubelet.service", "k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service")
_DEPENDENT = {"nvidia": ("nvidia_peermem", "nvidia_uvm", "nvidia_modeset"), "nvidia_modeset": ("nvidia_drm",)}
_MOST_MODULES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that has the driver's nodes open; `name` is its comm, which is cut to 15 letters.

    `seen` is False for one whose open files may not be looked at and that is a user of GPUs by its name. `stuck`: it
    waits in the kernel for good (state D). `old_libraries` are those that it has mapped and that are gone from disk.
    """

    pid: int
    name: str
    place: Place
    user: str = ""
    state: str = ""
    nodes: tuple[str, ...] = ()
    opens: int = 0
    stuck: bool = False
    old_libraries: tuple[str, ...] = ()
    seen: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """The text console on a frame buffer of nvidia-drm.

    `framebuffer` is its line in /proc/fb, `bound` the vtconsoles (vtcon1) that are drawn on frame buffers.
    """

    framebuffer: str
    bound: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HolderSearch:
    """The walk over /proc, under way in its child while other files are read. Only where a reload is in question."""

    @classmethod
    def collect(
        cls,
        host: Host,
        surroundings: Surroundings,
        loaded: LoadedDriver,
        libraries: DriverLibraries | Unknown,
    ) -> HolderSearch:
        if not surroundings.has_own_kernel_modules or surroundings.tegra:
            raise NotApplicable("the kernel's modules are not this system's own to reload")
        if not reload_in_question(loaded, libraries):
            raise NotApplicable("the loaded modules and the libraries are one release, so nothing is to be reloaded")
        host.start(PROBE)
        return cls()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleHolders:
    """What keeps the driver's modules from being unloaded.

    `modules` are those that depend on nvidia, and nvidia itself, in the order in which they unload. `refused` counts
    the processes that this user may not look at; `why_blind` says why none could be seen at all. `services` are
    running units of known users of the GPU, whether or not a process of theirs was seen. `kubelet` is the unit that
    starts pods, `cdi` the list of the driver's files that containers are started by. `told_by` is the program whose
    pasted output this is, empty for a look at the machine itself.
    """

    processes: tuple[Holder, ...]
    modules: tuple[str, ...]
    counts: Mapping[str, int]
    services: tuple[str, ...] = ()
    refused: int = 0
    why_blind: str = ""
    console: Console | None = None
    kubelet: str = ""
    cdi: str = ""
    told_by: str = ""

    waits_for_child = True

    @classmethod
    def collect(
        cls,
        host: Host,
        search: HolderSearch | Unknown,
        surroundings: Surroundings,
        messages: Messages | Unknown,
        modules: KernelModules | Unknown,
    ) -> ModuleHolders:
        if not surroundings.has_own_kernel_modules or surroundings.tegra:
            raise NotApplicable("the kernel's modules are not this system's own to reload")
        if PROBE in host.recorded("probes") and host.source.kind == "paste":
            told = isinstance(messages, Messages) and bool(messages.proving("driver-library-mismatch"))
            if not told and isinstance(search, Unknown):
                raise NotApplicable("the text tells of no mismatch, so nothing is to be reloaded")
            return _pasted(host, modules)
        if isinstance(search, Unknown):
            raise search
        after = _dependants(host)
        from nvdiag.knowledge.gpu_services import service_of

        document, why_blind = _walk(host)
        units = next((names for folder in _UNIT_FOLDERS if (names := reading.names(host, folder))), ())
        if why_blind and not units:
            raise Unknown(f"what holds the modules: {why_blind}")
        return cls(
            processes=tuple(holders_of(document)),
            modules=_unload_order(after),
            counts=_beyond_each_other(host, after),
            services=tuple(unit for unit in units if unit.endswith(".service") and service_of(unit)),
            refused=_number(document.get("refused")),
            why_blind=why_blind,
            console=_console(host),
            kubelet=next((unit for unit in _KUBELETS if unit in units), ""),
            cdi=next((path for path in CDI_SPECIFICATIONS if reading.is_there(host, path)), ""),
        )

    @property
    def stuck(self) -> tuple[Holder, ...]:
        """The processes that cannot be ended, so that only a reboot takes the modules out."""
        return tuple(one for one in self.processes if one.stuck)

    @property
    def seen(self) -> tuple[Holder, ...]:
        """Those whose open files were looked at."""
        return tuple(one for one in self.processes if one.seen)


def _pasted(host: Host, modules: KernelModules | Unknown) -> ModuleHolders:
    """By the output of fuser or lsof; which modules are loaded lsmod may tell."""
    document, _ = _walk(host)
    loaded = {one.name for one in modules.loaded} if isinstance(modules, KernelModules) else set()
    usual = UNLOAD_ORDER[1:]  # nvidia_peermem is loaded on few machines
    return ModuleHolders(
        processes=tuple(holders_of(document)),
        modules=tuple(name for name in UNLOAD_ORDER if name in loaded) if len(loaded) > 1 else usual,
        counts={},
        told_by=_text(document, "told_by"),
    )


def reload_in_question(loaded: LoadedDriver, libraries: DriverLibraries | Unknown) -> bool:
    """Whether the loaded modules differ from each other or from the libraries, as far as files tell."""
    releases = {module.release for module in loaded.modules.loaded if module.release is not None}
    if isinstance(libraries, DriverLibraries):
        releases |= {copy.release for copy in libraries.taken if copy.kind is Kind.DRIVER and copy.release is not None}
    return len(releases | {loaded.release}) > 1


def _walk(host: Host) -> tuple[dict[str, Any], str]:
    """The probe's answer, and why there is none."""
    try:
        document = host.probe(PROBE)
    except Unknown as why:
        return {}, str(why)
    failed = document.get("error")
    return document, f"the look at /proc ended early ({failed})" if isinstance(failed, str) else ""


def holders_of(document: Mapping[str, Any]) -> Iterator[Holder]:
    """The processes that the walk's answer has, those first whose open files were seen."""
    for seen, name in ((True, "processes"), (False, "supposed")):
        rows = document.get(name)
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and isinstance(row.get("pid"), int):
                yield _holder(row, seen)


def _holder(row: Mapping[str, Any], seen: bool) -> Holder:
    nodes = row.get("nodes")
    libraries = row.get("old_libraries")
    return Holder(
        pid=row["pid"],
        name=_text(row, "comm") or "?",
        place=place_of(_text(row, "cgroup")),
        user=_text(row, "user"),
        state=_text(row, "state"),
        nodes=tuple(str(node) for node in nodes) if isinstance(nodes, dict) else (),
        opens=sum(_number(count) for count in nodes.values()) if isinstance(nodes, dict) else 0,
        stuck=row.get("stuck") is True,
        old_libraries=tuple(str(path) for path in libraries) if isinstance(libraries, list) else (),
        seen=seen,
    )


def _dependants(host: Host) -> dict[str, tuple[str, ...]]:
    """Each loaded module of the driver, or that uses it (gdrdrv, nvidia_fs), with those that depend on it."""
    found: dict[str, tuple[str, ...]] = {}
    ahead = ["nvidia"]
    while ahead and len(found) < _MOST_MODULES:
        name = ahead.pop()
        if name not in found:
            found[name] = _after(host, name)
            ahead += found[name]
    return found


def _after(host: Host, name: str) -> tuple[str, ...]:
    """The modules that depend on one; by what is known of the driver's own where the kernel's list cannot be read."""
    try:
        return host.folder(f"/sys/module/{name}/holders")
    except Unknown:
        return tuple(one for one in _DEPENDENT.get(name, ()) if reading.is_there(host, f"/sys/module/{one}"))


def _unload_order(after: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Dependants before what they depend on; nvidia's own modules in the order of NVIDIA's installer."""
    rank = {name: index for index, name in enumerate(UNLOAD_ORDER)}
    order: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in order or name in path:
            return
        for one in sorted(after.get(name, ()), key=lambda other: (rank.get(other, -1), other)):
            visit(one, (*path, name))
        order.append(name)

    for name in sorted(after, key=lambda other: (rank.get(other, -1), other)):
        visit(name, ())
    return tuple(order)


def _beyond_each_other(host: Host, after: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """How many users each module has besides the modules that depend on it, where its count can be read."""
    counts = {}
    for name, holders in after.items():
        said = (reading.text(host, f"/sys/module/{name}/refcnt") or "").strip()
        if re.fullmatch(r"\d{1,9}", said):
            counts[name] = max(0, int(said) - len(holders))
    return counts


def _console(host: Host) -> Console | None:
    lines = [line.strip() for line in (reading.text(host, "/proc/fb") or "").splitlines() if "nvidia" in line]
    if not lines:
        return None
    folder = "/sys/class/vtconsole"
    bound = [
        name
        for name in reading.names(host, folder)
        if "frame buffer" in (reading.text(host, f"{folder}/{name}/name") or "")
        and (reading.text(host, f"{folder}/{name}/bind") or "").strip() == "1"
    ]
    return Console(framebuffer=lines[0], bound=tuple(bound))


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
