"""Inside a container: the GPU nodes are there, and the device cgroup does not allow them."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _container_ways, _evidence
from nvdiag.checks.container_inside import CGROUPFS, KEEP
from nvdiag.checks.node_access import refused_nodes
from nvdiag.engine import check
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.container_view import ContainerStart
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.nodes import DeviceNodes, NodeAccess
from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Risk, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import Unknown

_OWN_RULES = ("lxc", "lxd", "incus", "systemd-nspawn")
"""Engines whose device rules are written in the container's own configuration, and that lose none later."""


@check("container-devices-revoked", "container-cgroup-forbidden", area="container")
def a_container_may_open_its_nodes(
    access: NodeAccess,
    nodes: DeviceNodes,
    loaded: LoadedDriver,
    start: ContainerStart,
    surroundings: Surroundings,
    nvml: NvmlAnswer | Unknown,
) -> Iterator[Finding]:
    """A container's device cgroup allows the GPU nodes that the container has."""
    refused = sorted(path for path, error in refused_nodes(access).items() if error == "EPERM")
    if not refused:
        return
    never = start.maps_users or surroundings.container in _OWN_RULES
    yield Finding(
        id="container-cgroup-forbidden" if never else "container-devices-revoked",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"the device cgroup does not allow {listed(refused)} in this container"
        if never
        else f"this container has {listed(refused)} and may no longer open {'it' if len(refused) == 1 else 'them'}",
        detail="The nodes' mode is not the reason: opening gives EPERM and not EACCES. "
        + (
            "Only the host can allow devices in a container's cgroup, and here it does not: this container is"
            " unprivileged, nested in another one, or its configuration does not name the devices."
            if never
            else "The host rewrote the container's device rules, without the GPUs that NVIDIA's hook had allowed:"
            " systemd does so at each daemon-reload, docker update and some kubelet settings do, too. Where it never"
            " worked, the nodes were mounted in and not given as devices."
        ),
        evidence=(
            *(Evidence(source=f"open {path}", excerpt=f"EPERM{_node(nodes, path)}") for path in refused),
            Evidence(source=loaded.source, excerpt=loaded.release.text),
            *_evidence.of_nvml(nvml),
            *([Evidence(source="/proc/self/uid_map", excerpt="a user namespace")] if start.maps_users else []),
            *surroundings.evidence[:1],
        ),
        remedies=_allow(nodes, refused, surroundings)
        if never
        else (_container_ways.restart(surroundings), KEEP, CGROUPFS),
        explains=frozenset({"gpu-init-failed", "no-cuda-device"}),
        layers=(Layer.GPU,),
    )


def _node(nodes: DeviceNodes, path: str) -> str:
    stat = nodes.nodes.get(path)
    number = f", {stat.rdev[0]}:{stat.rdev[1]}" if stat and stat.rdev else ""
    return f" ({stat.mode}{number})" if stat else ""


def _allow(nodes: DeviceNodes, refused: list[str], around: Surroundings) -> tuple[Remedy, ...]:
    """Allow the devices where the container's configuration is: on its host, with the numbers that the nodes have."""
    found = (stat.rdev for path in refused if (stat := nodes.nodes.get(path)))
    majors = sorted({number[0] for number in found if number})
    if around.container == "lxc":
        rules = "".join(f"lxc.cgroup2.devices.allow: c {major}:* rwm\\n" for major in majors)
        return (
            Remedy(
                summary="allow the devices in the container's configuration (on its host; this is Proxmox' file, LXC's"
                " own is /var/lib/lxc/NAME/config)",
                commands=(f"printf '{rules}' | sudo tee -a /etc/pve/lxc/ID.conf", "pct reboot ID"),
                risk=Risk.DISRUPTIVE,
                needs_root=True,
                prediction="nvidia-uvm's number changes when the host loads its modules in another order; pct set"
                " ID -dev0 /dev/nvidia-uvm names the node instead",
            ),
        )
    if around.container in _OWN_RULES:
        return _container_ways.start(around)
    return (
        Remedy(
            summary="let the outer container have and allow the devices, and leave its cgroup alone inside: where the"
            " inner engine runs, tell the toolkit so",
            commands=("sudo nvidia-ctk config --set nvidia-container-cli.no-cgroups=true --in-place",),
            needs_root=True,
            prediction="the outer container's own configuration must then name "
            + listed([f"c {major}:* rwm" for major in majors]),
        ),
        *_container_ways.start(around),
    )
