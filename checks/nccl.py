"""How the processes of one job reach each other: NCCL's transports and shared memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.model.finding import Confidence, Finding, FindingClass, Remedy
from nvdiag.model.unknown import NotApplicable

_REFUSED = "nccl-shm-refused"
_NETWORK = ("nccl-no-interface", "nccl-ibv-failed", "nccl-ib-completion", "nccl-connect-failed")


@check("nccl-transport-failed", area="environment")
def nccl_reaches_every_gpu(messages: Messages) -> Iterator[Finding]:
    """NCCL has a transport between the GPUs of a job."""
    said = messages.proving("nccl-transport-failed")
    faults = messages.named("iommu-fault")
    stuck = messages.named("nccl-timeout", "nccl-unhandled-error")
    if not said and not (faults and stuck):
        raise NotApplicable("no message in the text tells of it")
    yield _said.finding(
        said or (*faults, *stuck),
        "nccl-transport-failed",
        confidence=None if said else Confidence.LIKELY,
        title="" if said else "the IOMMU refuses what GPUs write to each other, and NCCL does not get on",
        kind=FindingClass.ENVIRONMENT,
        remedies=_ways(said),
        beside=_said.evidence(faults),
    )


def _ways(said: Sequence[Said]) -> tuple[Remedy, ...]:
    look = Remedy(
        summary="let NCCL say what it tries, and look at how the GPUs are joined",
        commands=("export NCCL_DEBUG=INFO", "nvidia-smi topo -m", "nvidia-smi topo -p2p r"),
    )
    if said and all(one.message.name in _NETWORK for one in said):
        return (
            look,
            Remedy(
                summary="give NCCL the interface that joins the machines, and see whether it works without InfiniBand",
                commands=("ip -brief addr", "export NCCL_SOCKET_IFNAME=eth0", "export NCCL_IB_DISABLE=1"),
                prediction="name the interface as ip shows it, on every machine; NCCL_IB_DISABLE=1 is slower and only"
                " tells where the fault is. A registration that fails wants ulimit -l unlimited",
            ),
        )
    if said and all(one.message.name == _REFUSED for one in said):
        return (
            Remedy(
                summary="see who may write to /dev/shm, and what earlier runs of other users left there",
                commands=("ls -ld /dev/shm", "ls -l /dev/shm", "df -h /dev/shm"),
                prediction="it must be drwxrwxrwt; containers of one job need the same one (--ipc=host), and systemd"
                " removes a user's segments at logout unless RemoveIPC=no stands in logind.conf",
            ),
            Remedy(
                summary="until then, do without shared memory",
                commands=("export NCCL_SHM_DISABLE=1",),
                prediction="NCCL goes through the network's sockets then, which is slower",
            ),
        )
    return (
        look,
        Remedy(
            summary="do without direct access between the GPUs",
            commands=("export NCCL_P2P_DISABLE=1",),
            prediction="NCCL goes through the host's memory then, which is slower and works where PCIe access between"
            " GPUs does not",
        ),
        Remedy(
            summary="on bare metal, switch PCIe ACS off, or the IOMMU to pass-through, if GPUs shall reach each other",
            commands=("sudo lspci -vvv | grep ACSCtl", "cat /proc/cmdline"),
            needs_root=True,
            reboots=True,
            prediction="iommu=pt on the kernel's command line; ACS in the firmware. Virtual machines need ACS on",
        ),
    )


MORE_SHARED_MEMORY = (
    Remedy(
        summary="see how large it is, and what fills it",
        commands=("df -h /dev/shm", "ls -l /dev/shm"),
    ),
    Remedy(
        summary="start the container with more shared memory",
        commands=("docker run --gpus all --ipc=host IMAGE", "docker run --gpus all --shm-size=16g IMAGE"),
        prediction="either suffices; in Kubernetes mount an emptyDir with medium: Memory at /dev/shm, in"
        " compose set shm_size",
    ),
    Remedy(
        summary="until then, do without",
        prediction="num_workers=0 for a DataLoader; NCCL_SHM_DISABLE=1 for NCCL, which is slower",
    ),
)


@check("shared-memory-too-small", area="environment")
def shared_memory_suffices(messages: Messages) -> Iterator[Finding]:
    """/dev/shm has room for what data loaders and NCCL put there."""
    said = messages.proving("shared-memory-too-small")
    if messages.named("nccl-shm-refused") and not any("no space left" in one.text.lower() for one in said):
        said = tuple(one for one in said if one.message.name != "nccl-shm-full")
    banner = messages.named("shmem-banner")
    failed = [
        *messages.named("bus-error", "torch-shm-refused"),
        *(one for one in messages.named("nccl-unhandled-error") if "system" in one.text.lower()),
    ]
    if not said and not (banner and failed):
        raise NotApplicable("no message in the text tells of it")
    yield _said.finding(
        said or (*banner, *failed),
        "shared-memory-too-small",
        confidence=None if said else Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        detail="Containers get 64 MB of /dev/shm unless they are told otherwise.",
        remedies=MORE_SHARED_MEMORY,
        explains=frozenset({"nccl-transport-failed"}),
        beside=_said.evidence(banner),
    )
