"""Who may open the device nodes: their mode and owner, a job's device cgroup, SELinux around a container."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.nodes import DeviceNodes, NodeAccess
from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Risk, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable


@check("device-nodes-forbidden", area="device")
def this_user_may_open_the_nodes(
    access: NodeAccess, nodes: DeviceNodes, surroundings: Surroundings
) -> Iterator[Finding]:
    """This user may open the device nodes."""
    refused = refused_nodes(access)
    if not refused:
        return
    by_mode = "EACCES" in refused.values()
    if not by_mode and surroundings.container:
        raise NotApplicable("in a container the engine allows the devices, which container-devices-revoked is about")
    labelled = bool(surroundings.container) and all(_open_to_all(nodes, path) for path in refused)
    yield Finding(
        id="device-nodes-forbidden",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY if labelled else Confidence.CERTAIN,
        kind=FindingClass.CONFIGURATION if by_mode else FindingClass.ENVIRONMENT,
        title=f"this user may not open {listed(sorted(refused))}",
        detail=(
            "The nodes' mode would allow it: in a container it is then SELinux, which gives containers no access to"
            " the host's graphics devices, or a mount with the option nodev."
            if labelled
            else "The nodes' mode and owner forbid it."
            if by_mode
            else "The mode is not the reason: the device cgroup of this job does not allow the device."
        ),
        evidence=(
            *(
                Evidence(source=f"open {path}", excerpt=f"{error}{_owner(nodes, path)}")
                for path, error in sorted(refused.items())
            ),
            *(surroundings.evidence[:1] if surroundings.container else ()),
        ),
        remedies=_by_label(surroundings)
        if labelled
        else _let_in(nodes, refused, surroundings)
        if by_mode
        else (_ASK_FOR_DEVICES,),
        explains=frozenset({"gpu-init-failed", "no-cuda-device"}),
        layers=(Layer.GPU,),
    )


def _open_to_all(nodes: DeviceNodes, path: str) -> bool:
    stat = nodes.nodes.get(path)
    return stat is not None and stat.mode[7:9] == "rw"


def _by_label(around: Surroundings) -> tuple[Remedy, ...]:
    engine = around.container if around.container in ("docker", "podman") else "podman"
    return (
        Remedy(
            summary="see on the host whether SELinux is on, and what it refused",
            commands=("getenforce", "sudo ausearch -m avc -ts recent | grep nvidia"),
            needs_root=True,
            prediction="where it prints Enforcing and names a container's process, the next line ends it",
        ),
        Remedy(
            summary="let containers use the host's devices (on the host)",
            commands=("sudo setsebool -P container_use_devices on",),
            needs_root=True,
            prediction="for every container, and without a restart of this one",
        ),
        Remedy(
            summary="or start this one container without SELinux' separation",
            commands=(f"{engine} run --security-opt=label=disable --device nvidia.com/gpu=all IMAGE nvidia-smi",),
            risk=Risk.DISRUPTIVE,
            prediction="NVIDIA's documentation of the toolkit names this way; nothing else of the host is opened by it",
        ),
    )


def refused_nodes(access: NodeAccess) -> dict[str, str]:
    """The nodes that this user may not open, with the errors.

    Where nvidiactl and at least one GPU open, a device cgroup that refuses others (EPERM) keeps them for other jobs.
    """
    gpus = {path: error for path, error in access.opens.items() if path.removeprefix("/dev/nvidia").isdigit()}
    share = access.opens.get("/dev/nvidiactl") == "ok" and "ok" in gpus.values()
    return {
        path: error
        for path, error in access.opens.items()
        if error == "EACCES" or (error == "EPERM" and not (share and path in gpus))
    }


def _owner(nodes: DeviceNodes, path: str) -> str:
    stat = nodes.nodes.get(path)
    return f" ({stat.mode}, owner {stat.uid}, group {stat.gid})" if stat else ""


def _let_in(nodes: DeviceNodes, refused: dict[str, str], around: Surroundings) -> tuple[Remedy, ...]:
    group = next((stat.gid for path in refused if (stat := nodes.nodes.get(path)) and stat.mode[4:6] == "rw"), None)
    if group and around.container:
        keep = "keep-groups" if around.container == "podman" else str(group)
        engine = around.container if around.container in ("docker", "podman") else "docker"
        return (
            Remedy(
                summary=f"start the container with the group {group} that owns the nodes (on the host)",
                commands=(f"{engine} run --group-add {keep} --device nvidia.com/gpu=all IMAGE nvidia-smi",),
                risk=Risk.DISRUPTIVE,
                prediction="rootless Podman keeps the groups of the user who starts it: join that group on the host"
                if around.container == "podman"
                else "the group may read and write them",
            ),
        )
    if group:
        return (
            Remedy(
                summary=f"join the group {group} that owns the nodes, and log in again",
                commands=(f'sudo usermod -aG "$(getent group {group} | cut -d: -f1)" "$USER"',),
                needs_root=True,
                prediction="the group may read and write them",
            ),
        )
    return (
        Remedy(
            summary="see which mode the driver is configured to give its nodes, and have them made again with it",
            commands=(
                "grep -E 'DeviceFile' /proc/driver/nvidia/params",
                "grep -rE 'NVreg_DeviceFile' /etc/modprobe.d /lib/modprobe.d",
                "sudo nvidia-modprobe -c 255 -c 0",
            ),
            needs_root=True,
            prediction="the default is mode 0666 (DeviceFileMode: 438) for everybody; another value was set on purpose",
        ),
    )


_ASK_FOR_DEVICES = Remedy(
    summary="ask the scheduler for a GPU: the job's device cgroup allows none",
    commands=("srun --gpus=1 --pty nvdiag",),
    prediction="inside an allocation with a GPU the device opens",
)
