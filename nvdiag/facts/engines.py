"""Which container engine runs this system, by what each leaves inside: files, variables and mounts.

Signs come from systemd's detect_container (src/basic/virt.c), from the engines' sources and from mount tables that
they made. A mount cannot be left behind in an image, so mounts count before files; a machine made from a container's
image keeps /.dockerenv.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.facts import reading
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import Unknown

MOUNTS = "/proc/self/mountinfo"

NAMES = {
    "docker": "a Docker container", "podman": "a Podman container", "kubernetes": "a Kubernetes pod",
    "containerd": "a containerd container", "lxc": "an LXC container", "lxd": "an LXD container",
    "incus": "an Incus container", "apptainer": "an Apptainer container", "enroot": "an Enroot container",
    "systemd-nspawn": "a systemd-nspawn container", "flatpak": "a Flatpak sandbox", "snap": "a confined snap",
}  # fmt: skip
"""The engines by the names that facts and checks use, and in words."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine's name, what shows it, and the container's id at the engine where a mount tells it."""

    name: str
    evidence: Evidence
    id: str = ""


def engine_of(host: Host) -> Engine | None:
    """The engine and what shows it; None where no sign of a container is seen."""
    if found := _manager(host):
        return found
    root = _root(host)
    if root is not None and root[1].startswith(_PARTITIONS):
        return None
    for look in (_engines_mounts, _lxcfs):
        if found := look(host):
            return found
    if root is not None and _is_a_disk(*root):
        return None
    for look in (_snap, _kubernetes, _recording, _files, _first_process):
        if found := look(host):
            return found
    return None


def _manager(host: Host) -> Engine | None:
    """What the container's manager told its init, and systemd wrote down (systemd's CONTAINER_INTERFACE)."""
    for path in ("/run/host/container-manager", "/run/systemd/container"):
        said = (reading.text(host, path) or "").strip()
        if said and said not in ("wsl", "oci"):
            name = {"lxc": _kind_of_lxc(host), "lxc-libvirt": "lxc"}.get(said, said)
            return Engine(name, Evidence(source=path, excerpt=said[:60]))
    return None


_BEHIND_ETC = (
    ("kubernetes", r"/kubelet/pods/|/io\.containerd\.grpc\.v1\.cri/|/crio/"),
    ("podman", r"/overlay-containers/(?P<id>[0-9a-f]{12,64})/userdata/"),
    ("containerd", r"/nerdctl/"),
    ("docker", r"(?:^|/)containers/(?P<id>[0-9a-f]{12,64})/"),
)
"""Where on the host the file lies that an engine mounts on /etc/hosts, by the mount's root in mountinfo."""


def _engines_mounts(host: Host) -> Engine | None:
    """The host's file that lies over /etc/hosts or /etc/resolv.conf; the lock that Enroot mounts over itself."""
    for point in ("/etc/hosts", "/etc/resolv.conf"):
        for root in _roots_at(host, point):
            for name, form in _BEHIND_ETC:
                if found := re.search(form, root):
                    seen = Evidence(source=MOUNTS, excerpt=f"{root} on {point}"[:160])
                    return Engine(name, seen, found.groupdict().get("id", ""))
    for root in _roots_at(host, "/.lock"):
        return Engine("enroot", Evidence(source=MOUNTS, excerpt=f"{root} on /.lock"))
    return None


def _roots_at(host: Host, point: str) -> Iterator[str]:
    """The roots of the mounts at a place: the path inside the file system that is mounted (proc_pid_mountinfo(5))."""
    try:
        lines = host.lines_with(f" {point} ", MOUNTS)
    except Unknown:
        return
    for line in lines:
        fields = line.split()
        if len(fields) > 4 and fields[4] == point:
            yield fields[3]


def _lxcfs(host: Host) -> Engine | None:
    """LXC's containers have lxcfs over files of /proc; its host has it in /var/lib alone."""
    try:
        lines = host.lines_with(" fuse.lxcfs ", MOUNTS)
    except Unknown:
        return None
    for line in lines:
        fields = line.split()
        if len(fields) > 4 and fields[4].startswith("/proc/"):
            return Engine(_kind_of_lxc(host), Evidence(source=MOUNTS, excerpt=f"lxcfs on {fields[4]}"))
    return None


def _kind_of_lxc(host: Host) -> str:
    for name in ("lxd", "incus"):
        if reading.is_there(host, f"/dev/{name}/sock"):
            return name
    return "lxc"


_PARTITIONS = ("/dev/nvme", "/dev/sd", "/dev/vd", "/dev/xvd", "/dev/hd", "/dev/mmcblk")
"""Of these an engine makes no container's root; of a logical volume or a loop device LXC's storage does."""


def _is_a_disk(kind: str, source: str) -> bool:
    """True where / is the whole file system of a block device, as on a machine of its own.

    Storage drivers that give a container a device or a subvolume show another root or a device-mapper name; a confined
    snap has its base's squashfs for a root.
    """
    return source.startswith("/dev/") and "docker" not in source and kind not in ("overlay", "squashfs")


def _root(host: Host) -> tuple[str, str] | None:
    """The type and the source of the file system that is / as a whole; None where / is a part of one."""
    try:
        lines = host.lines_with(" / / ", MOUNTS)
    except Unknown:
        return None
    fields = [line.partition(" - ")[2].split() for line in lines]
    whole = [(found[0], found[1]) for found in fields if len(found) > 1]
    return whole[-1] if whole else None


def root_of_kata(host: Host) -> Evidence | None:
    """The virtiofs that Kata shares a container's root by, from its host into the virtual machine around it."""
    try:
        lines = host.lines_with(" - virtiofs ", MOUNTS)
    except Unknown:
        return None
    for line in lines:
        if line.split()[4:5] == ["/"]:
            return Evidence(source=MOUNTS, excerpt="virtiofs on /")
    return None


def _snap(host: Host) -> Engine | None:
    root, snap = _root(host), reading.variable(host, "SNAP")
    if snap and root is not None and root[0] == "squashfs":
        return Engine("snap", Evidence(source="environment", excerpt=f"SNAP={snap}"[:120]))
    return None


def _kubernetes(host: Host) -> Engine | None:
    if reading.variable(host, "KUBERNETES_SERVICE_HOST"):
        return Engine("kubernetes", Evidence(source="environment", excerpt="KUBERNETES_SERVICE_HOST is set"))
    return None


def _recording(host: Host) -> Engine | None:
    told = host.inside()
    return Engine(told[0], Evidence(source=told[1], excerpt=f"inside {told[0]}")) if told else None


def _files(host: Host) -> Engine | None:
    for path, name in (
        ("/.flatpak-info", "flatpak"),
        ("/.dockerenv", "docker"),
        ("/run/.containerenv", "podman"),
        ("/.singularity.d", "apptainer"),
        ("/dev/lxd/sock", "lxd"),
        ("/dev/incus/sock", "incus"),
    ):
        if reading.is_there(host, path):
            return Engine(name, Evidence(source=path, excerpt="is there"))
    return None


_IN_CGROUP = {
    "kubepods": "kubernetes", "libpod": "podman", "docker": "docker", "lxc": "lxc", "containerd": "containerd",
}  # fmt: skip


def _first_process(host: Host) -> Engine | None:
    """The variable that engines set for all of a container, or the first process's cgroup."""
    if said := reading.variable(host, "container"):
        seen = Evidence(source="environment", excerpt=f"container={said}"[:80])
        return Engine({"oci": "container"}.get(said, said), seen)
    for line in (reading.text(host, "/proc/1/cgroup") or "").splitlines():
        for sign, name in _IN_CGROUP.items():
            if sign in line:
                return Engine(name, Evidence(source="/proc/1/cgroup", excerpt=line[:120]))
    return None
