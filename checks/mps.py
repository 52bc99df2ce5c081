"""MPS as the files tell: where programs of this environment look for its daemon, and whether it is there for them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.environment import OwnUser
from nvdiag.facts.mps import VARIABLE, MpsDaemon
from nvdiag.facts.nvml_devices import ComputeMode
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.visible_gpus import NvmlGpus
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Risk, Severity
from nvdiag.model.unknown import NotApplicable, Unknown

_ROOT = 0


@check("mps-unavailable", area="environment")
def the_mps_daemon_that_is_wanted_answers(
    daemon: MpsDaemon, gpus: NvmlGpus, user: OwnUser | Unknown, surroundings: Surroundings
) -> Iterator[Finding]:
    """Where an MPS daemon is wanted, it is there, and serves this user."""
    exclusive = [gpu for gpu in gpus.gpus if gpu.compute_mode is ComputeMode.EXCLUSIVE_PROCESS]
    if not daemon.named and not exclusive:
        raise NotApplicable(f"{VARIABLE} is not set, and no GPU is in the mode that MPS asks for")
    if daemon.answers is False:
        yield _finding(
            daemon,
            title=f"{VARIABLE} names {daemon.folder}, where no MPS daemon answers"
            if daemon.named
            else f"no MPS daemon answers in {daemon.folder}, and GPU {exclusive[0].index} is in the mode for it",
            detail="Programs then run without MPS"
            + (
                ", and in the compute mode Exclusive_Process one alone gets in; the others fail with error 46."
                if exclusive
                else ": each with a context of its own, one after the other on the GPU."
            ),
            explains=frozenset({"no-cuda-device", "compute-mode-restricted"}),
            remedies=(*_ways(daemon, surroundings), *((_LET_IN,) if exclusive else ())),
        )
    elif daemon.socket and daemon.owner != _ROOT and isinstance(user, OwnUser) and user.uid != daemon.owner:
        yield _finding(
            daemon,
            title=f"the MPS daemon of {daemon.folder} is user {daemon.owner}'s, and this is user {user.uid}",
            detail="A daemon that is not root's serves its own user alone: others' programs fail with error 805.",
            explains=frozenset({"no-cuda-device"}),
            remedies=tuple(_ways(daemon, surroundings)),
        )


def _finding(
    daemon: MpsDaemon, *, title: str, detail: str, explains: frozenset[str], remedies: tuple[Remedy, ...]
) -> Finding:
    control = f"{daemon.folder}/control"
    seen = "is not there" if not daemon.there else "no socket" if not daemon.socket else f"a socket of {daemon.owner}"
    stopped = (Evidence(source="/proc/net/unix", excerpt="nobody listens there"),) if daemon.socket else ()
    return Finding(
        id="mps-unavailable",
        severity=Severity.WARNING if daemon.named else Severity.INFO,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=title,
        detail=detail,
        evidence=(
            *((Evidence(source="environment", excerpt=f"{VARIABLE}={daemon.folder}"),) if daemon.named else ()),
            Evidence(source=control if daemon.there else daemon.folder, excerpt=seen),
            *(stopped if daemon.answers is False else ()),
        ),
        remedies=remedies,
        explains=explains,
        layers=(Layer.LIBCUDA,),
    )


def _ways(daemon: MpsDaemon, surroundings: Surroundings) -> Iterator[Remedy]:
    folder = shlex.quote(daemon.folder)
    if surroundings.container:
        yield Remedy(
            summary="give the container the daemon's folder and its shared memory",
            commands=(f"docker run --gpus all --ipc=host -v {folder}:{folder} -e {VARIABLE}={folder} IMAGE",),
            prediction="the daemon runs on the host, as the user of the container's program or as root",
        )
    else:
        yield Remedy(
            summary="start the daemon, as the user whose programs it is to serve",
            commands=(f"{VARIABLE}={folder} nvidia-cuda-mps-control -d",),
            prediction="it needs no root; root's daemon serves every user",
        )
    if daemon.named:
        yield Remedy(
            summary="or, if MPS is not wanted, take the variable away",
            commands=(f"unset {VARIABLE}",),
            prediction=f"programs then look into /tmp/nvidia-mps; {VARIABLE}=/nonexistent keeps one program off MPS",
        )


_LET_IN = Remedy(
    summary="or, if MPS is no longer wanted, let all programs in again, on the host",
    commands=("sudo nvidia-smi -c DEFAULT",),
    risk=Risk.DISRUPTIVE,
    needs_root=True,
    prediction="the compute mode Exclusive_Process is for MPS, or for jobs that have a GPU to themselves",
)
