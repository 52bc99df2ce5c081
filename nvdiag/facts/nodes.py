"""The device nodes /dev/nvidia*: by stat alone, before anybody calls into the driver."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nvdiag.facts import reading
from nvdiag.facts.modules import KernelModules
from nvdiag.host import Absent, FileStat, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

MODPROBE_HELPER = "/usr/bin/nvidia-modprobe"


@dataclass(frozen=True, slots=True)
class DeviceNodes:
    """The nodes that exist, by path. `made_on_use` is True where a setuid nvidia-modprobe makes missing ones."""

    nodes: Mapping[str, FileStat]
    made_on_use: bool

    @classmethod
    def collect(cls, host: Host) -> DeviceNodes:
        try:
            listed: tuple[str, ...] = host.folder("/dev")
        except Unknown as why:
            listed = tuple(path.rpartition("/")[2] for path in host.recorded("stats") if path.startswith("/dev/nvidia"))
            if not listed:
                raise Unknown(f"which device nodes exist: {why}") from why
        names = (name for name in listed if re.fullmatch(r"nvidia([0-9]{1,9}|ctl|-uvm|-uvm-tools|-modeset)", name))
        found = {}
        for path in (f"/dev/{name}" for name in names):
            try:
                found[path] = host.stat(path)
            except Absent:  # it went away since /dev was listed
                continue
            except Unknown as why:
                raise Unknown(f"{path} is there and could not be looked at: {why}") from why
        helper = reading.stat(host, MODPROBE_HELPER)
        return cls(found, helper is not None and helper.uid == 0 and helper.mode[3:4] in ("s", "S"))

    @property
    def gpus(self) -> tuple[str, ...]:
        """The nodes of single GPUs, /dev/nvidia0 and so on, by number."""
        numbers = (path.removeprefix("/dev/nvidia") for path in self.nodes)
        return tuple(f"/dev/nvidia{number}" for number in sorted(filter(str.isdigit, numbers), key=int))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAccess:
    """What opening each node gave this user: "ok" or an errno's name. Asked in a child, once the module is loaded."""

    opens: Mapping[str, str]

    waits_for_child = True

    @classmethod
    def collect(cls, host: Host, nodes: DeviceNodes, modules: KernelModules) -> NodeAccess:
        if modules.nvidia is None:
            raise NotApplicable("the nvidia module is not loaded, and opening a node could load it")
        opens: dict[str, str] = {}
        silent: Unknown | None = None
        for path in openable(nodes, modules):
            try:
                opens[path] = host.open_error(path)
            except Unknown as why:
                silent = why
        if not opens and silent is not None:
            raise Unknown(f"whether the device nodes open: {silent}")
        return cls(opens=opens)


def openable(nodes: DeviceNodes, modules: KernelModules) -> tuple[str, ...]:
    """The nodes that may be opened without loading anything: nvidia-uvm's only while its module is loaded."""
    wanted = ["/dev/nvidiactl", *nodes.gpus]
    if "nvidia_uvm" in modules.others:
        wanted.append("/dev/nvidia-uvm")
    return tuple(path for path in wanted if path in nodes.nodes)
