"""What the processes of one job need of this machine to reach each other, as variables, mounts and sysfs tell it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.checks.nccl import MORE_SHARED_MEMORY
from nvdiag.engine import check
from nvdiag.facts.nccl_settings import INTERFACES, Chosen, NcclSettings
from nvdiag.facts.shared_memory import PATH, SharedMemory
from nvdiag.facts.visible_gpus import VisibleGpus
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Remedy, Severity
from nvdiag.model.unknown import Unknown

_DEFAULT = 64 << 20
"""Bytes of a container's /dev/shm where nobody asked for more."""

_FULL = 0.9


@check("nccl-transport-failed", area="environment")
def nccls_network_is_here(settings: NcclSettings) -> Iterator[Finding]:
    """The network interfaces and adapters that NCCL's variables name are here."""
    for one in settings.chosen:
        if not one.left:
            yield _no_network(one)


def _no_network(one: Chosen) -> Finding:
    sockets = one.folder == INTERFACES
    what = "network interface" if sockets else "InfiniBand adapter"
    here = [name for name in one.there if name != "lo"]
    return Finding(
        id="nccl-transport-failed",
        subject=one.name,
        severity=Severity.ERROR if sockets else Severity.WARNING,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"{one.name}={one.value} leaves NCCL no {what}",
        detail="NCCL then fails at its start (no socket interface found), also within one machine."
        if sockets
        else "NCCL then goes over the network's sockets, which is slower.",
        evidence=(
            Evidence(source="environment", excerpt=f"{one.name}={one.value}"),
            Evidence(source=one.folder, excerpt=", ".join(one.there[:12]) or "empty"),
        ),
        remedies=(
            Remedy(
                summary="let NCCL choose",
                commands=(f"unset {one.name}",),
                prediction="it takes no interface of Docker's and no loopback while it has another",
            ),
            *(
                Remedy(
                    summary=f"or name one that is here: {', '.join(here[:8])}",
                    commands=(f"export {one.name}={shlex.quote(f'={name}')}",),
                    prediction="the one that joins the machines of the job; a name after = is taken exactly",
                )
                for name in here[:1]
            ),
        ),
    )


@check("shared-memory-too-small", area="environment")
def shared_memory_is_large_enough(memory: SharedMemory, gpus: VisibleGpus | Unknown) -> Iterator[Finding]:
    """A container's /dev/shm is not full, and not of the default size where PyTorch has several GPUs."""
    full = memory.used is not None and memory.used >= _FULL * memory.size
    several = isinstance(gpus, VisibleGpus) and len(gpus.gpus) > 1
    if not full and not (several and memory.size <= _DEFAULT):
        return
    size = f"{memory.size >> 20} MiB"
    yield Finding(
        id="shared-memory-too-small",
        severity=Severity.WARNING if full else Severity.INFO,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"{PATH} of this container has {size}, "
        + (
            f"and {(memory.used or 0) >> 20} MiB are used" if full else "the default, and PyTorch has several GPUs here"
        ),
        detail="PyTorch's data loaders hand batches over in it, and so does NCCL between GPUs without direct access."
        " Where it is too small they end with a bus error or an unhandled system error.",
        evidence=(
            Evidence(source="/proc/self/mountinfo", excerpt=memory.mount),
            *((Evidence(source=f"df -k {PATH}", excerpt=f"{(memory.used or 0) >> 10} KiB used"),) if full else ()),
            Evidence(source=memory.user.source, excerpt=f"{memory.user.name} {memory.user.version}"),
        ),
        remedies=MORE_SHARED_MEMORY,
        explains=frozenset({"nccl-transport-failed"}),
    )
