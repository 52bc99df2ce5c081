"""The container engines of this host: which are installed, and what their settings say of GPUs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from nvdiag.facts import reading
from nvdiag.facts.container_toolkit import on_the_host
from nvdiag.facts.engine_settings import HOOK_FOLDERS, Engine, engine, imported, is_nvidia, runtimes_in
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Host, Refused
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

PLUGIN_SOCKET = "/var/lib/kubelet/device-plugins/nvidia-gpu.sock"
"""What NVIDIA's device plug-in for Kubernetes listens on (k8s-device-plugin, internal/plugin/server.go)."""

UNREAD_DROP_INS = "/etc/crio/conf.d"
"""Where toolkits from 1.18.0 on wrote CRI-O's drop-in file, and where CRI-O does not look (toolkit, PR 1829)."""

OTHER_USERS = ("enroot", "apptainer", "singularity", "lxd", "lxc", "incus")
"""Programs that run containers and call nvidia-container-cli of the toolkit without any settings of their own."""

_KUBELETS = ("/var/lib/kubelet/config.yaml", "/usr/bin/kubelet")
_SNAP_DOCKER = "/var/snap/docker/current/config/daemon.json"
ROOTLESS_DOCKER = "~/.config/docker/daemon.json"
"""The settings of Docker in rootless mode, of the user who looks (docs.docker.com, "Rootless mode")."""

_DOCKER_UNIT = "/etc/systemd/system/docker.service.d"
_RANCHER = "/var/lib/rancher/{}/agent/etc/containerd/config.toml"
"""Where k3s and RKE2 write the settings of their own containerd at each start (docs.k3s.io, advanced)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEngines:
    """All of them; NotApplicable without any. `plugin` is the socket of NVIDIA's device plug-in, where it is there.

    `others` are those of OTHER_USERS that are installed beside them.
    """

    engines: tuple[Engine, ...]
    plugin: str = ""
    others: tuple[str, ...] = ()

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings) -> ContainerEngines:
        on_the_host(host, surroundings)
        kubelet = any(reading.is_there(host, path) for path in _KUBELETS)
        engines = tuple(_engines(host, kubelet))
        if not engines:
            host.exists("/usr/bin/dockerd")  # Unknown where a recording is silent about engines
            raise NotApplicable("no container engine is installed")
        return cls(
            engines=engines,
            plugin=PLUGIN_SOCKET if reading.is_there(host, PLUGIN_SOCKET) else "",
            others=tuple(
                name for name in OTHER_USERS if _installed(host, name) or reading.is_there(host, f"/snap/bin/{name}")
            ),
        )


def _engines(host: Host, kubelet: bool) -> Iterator[Engine]:
    if _installed(host, "dockerd"):
        yield engine(host, "docker", "docker", ("/etc/docker/daemon.json",), more_runtimes=_on_command_line(host))
    if reading.is_there(host, _SNAP_DOCKER):
        yield engine(host, "docker (snap)", "docker", (_SNAP_DOCKER,))
    if reading.is_there(host, ROOTLESS_DOCKER):
        yield engine(host, "docker (rootless)", "docker", (ROOTLESS_DOCKER,))
    if kubelet and _installed(host, "containerd"):
        containerd = engine(host, "containerd", "containerd", imported(host, "/etc/containerd/config.toml"))
        if not containerd.off:  # else it serves Docker alone
            yield containerd
    for name in ("k3s", "rke2"):
        if _is_or_may_be_there(host, _RANCHER.format(name)):
            yield engine(host, name, "containerd", imported(host, _RANCHER.format(name)))
    if _installed(host, "crio"):
        yield _cri_o(host)
    if _installed(host, "podman"):
        files = ("/usr/share/containers/containers.conf", "/etc/containers/containers.conf")
        yield engine(host, "podman", "podman", files, hook_folders=HOOK_FOLDERS)


def _installed(host: Host, program: str) -> bool:
    return any(reading.is_there(host, f"{folder}/{program}") for folder in ("/usr/bin", "/usr/local/bin"))


def _is_or_may_be_there(host: Host, path: str) -> bool:
    try:
        return host.exists(path)
    except Refused:
        return True
    except Unknown:
        return False


def _on_command_line(host: Host) -> dict[str, str]:
    """The runtimes that drop-in files of Docker's unit give dockerd as options (dockerd(8), --add-runtime)."""
    found: dict[str, str] = {}
    for name in reading.names(host, _DOCKER_UNIT):
        text = reading.text(host, f"{_DOCKER_UNIT}/{name}") or ""
        found.update(re.findall(r"--add-runtime[= ]{1,4}([\w.-]{1,80})=(\S{1,400})", text))
    return found


def _cri_o(host: Host) -> Engine:
    """crio.conf, then the files of crio.conf.d by name (crio.conf.d(5))."""
    folder = "/etc/crio/crio.conf.d"
    files = ("/etc/crio/crio.conf", *(f"{folder}/{name}" for name in reading.names(host, folder)))
    found = engine(host, "cri-o", "cri-o", files, hook_folders=HOOK_FOLDERS)
    return found if found.nvidia else replace(found, misplaced=_misplaced(host))


def _misplaced(host: Host) -> str:
    for path in (f"{UNREAD_DROP_INS}/{name}" for name in reading.names(host, UNREAD_DROP_INS)):
        try:
            runtimes = runtimes_in(host.contents("settings:cri-o", path))
        except Unknown:
            continue
        if any(is_nvidia(name, program) for name, program in runtimes.items()):
            return path
    return ""
