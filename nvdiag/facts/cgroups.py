"""Where a process belongs, by /proc/PID/cgroup: a service, a login, a container, a batch job.

The forms are those of systemd (systemd.slice(5), "/system.slice/NAME.service"), of container engines under both of
their cgroup drivers (docker-ID.scope and /docker/ID), of Kubernetes, LXC, Proxmox and Slurm, in cgroup v1 and v2.
"""

from __future__ import annotations

import re
from enum import Enum

from nvdiag.model.dataclass import dataclass


class Home(Enum):
    """The kind of thing that a process is stopped and started with."""

    SERVICE = "service"
    USER_SERVICE = "service of a user"
    LOGIN = "login"
    DOCKER = "docker container"
    PODMAN = "podman container"
    POD = "container of a Kubernetes pod"
    CONTAINERD = "containerd container"
    LXC = "LXC container"
    PROXMOX = "Proxmox container"
    NSPAWN = "systemd-nspawn container"
    SLURM = "Slurm job"
    OTHER = "process"


@dataclass(frozen=True, slots=True)
class Place:
    """`name` is a unit's name, a container's id or name, a job's number; empty for OTHER.

    `user_id` is of whom a user's service, login or rootless container is, where the path tells.
    """

    home: Home
    name: str = ""
    user_id: int | None = None


_ID = r"(?P<name>[0-9a-f]{12,64})"
_FORMS = (
    (Home.SLURM, r"(?:slurmstepd\.scope|/slurm(?:/uid_\d{1,10})?)/job_(?P<name>\d{1,12})"),
    (Home.POD, rf"kubepods.{{0,200}}?(?:(?:cri-containerd|crio|docker|libpod)[-:]|[/:]){_ID}(?:\.scope)?(?:/|$)"),
    (Home.DOCKER, rf"(?:/docker-|/docker/|docker:){_ID}(?:\.scope)?(?:/|$)"),
    (Home.PODMAN, rf"/libpod(?:-payload)?[-_/]{_ID}(?:\.scope)?(?:/|$)"),
    (Home.CONTAINERD, rf"(?:/nerdctl-|/default/|/containerd-){_ID}(?:\.scope)?(?:/|$)"),
    (Home.LXC, r"/lxc\.payload\.(?P<name>[\w.-]{1,80})"),
    (Home.PROXMOX, r"/lxc/(?P<name>\d{3,9})(?:/|$)"),
    (Home.LXC, r"/lxc/(?P<name>[\w.-]{1,80})"),
    (Home.NSPAWN, r"/systemd-nspawn@(?P<name>[\w.\\-]{1,80})\.service|/machine-(?P<other>[\w.\\-]{1,80})\.scope"),
    (Home.USER_SERVICE, r"/user@\d{1,10}\.service/.{0,200}?/?(?P<name>[^/]{1,120}\.service)(?:/|$)"),
    (Home.LOGIN, r"/user\.slice/.{0,200}?(?P<name>session-[\w-]{1,20}\.scope)"),
    (Home.LOGIN, r"(?P<name>/user@\d{1,10}\.service)/"),
    (Home.SERVICE, r"/(?P<name>[^/]{1,120}\.service)(?:/|$)"),
)  # fmt: skip


def place_of(cgroup: str) -> Place:
    """The place that a cgroup file's text tells; the line of systemd's own hierarchy counts where there are several."""
    lines = sorted(cgroup.splitlines(), key=lambda line: not re.match(r"0::|\d+:name=systemd:", line))
    paths = [line.split(":", 2)[2] for line in lines if line.count(":") >= 2]
    for home, form in _FORMS:
        for path in paths:
            found = re.search(form, path)
            if found:
                name = found["name"] or found.groupdict().get("other") or ""
                return Place(home, name.strip("/"), _user_id(path))
    return Place(Home.OTHER)


def _user_id(path: str) -> int | None:
    found = re.search(r"/user-(\d{1,10})\.slice|/user@(\d{1,10})\.service|/uid_(\d{1,10})/", path)
    return int(next(one for one in found.groups() if one)) if found else None
