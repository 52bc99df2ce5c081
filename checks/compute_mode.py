"""The GPUs' compute modes, as NVML tells them: whether a further program may open a context on any that is visible."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from nvdiag.checks import _gpu_processes
from nvdiag.engine import check
from nvdiag.facts.environment import OwnUser, VisibleDevices
from nvdiag.facts.nvml_devices import ComputeMode, GpuProcess, NvmlDevice
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.visible_gpus import NvmlGpus, VisibleGpus
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown

_SPOKEN = {
    ComputeMode.DEFAULT: "Default",
    ComputeMode.EXCLUSIVE_THREAD: "Exclusive_Thread",
    ComputeMode.PROHIBITED: "Prohibited",
    ComputeMode.EXCLUSIVE_PROCESS: "Exclusive_Process",
}
_ALONE = (ComputeMode.EXCLUSIVE_PROCESS, ComputeMode.EXCLUSIVE_THREAD)


@check("compute-mode-restricted", area="device")
def a_further_program_may_open_a_context(
    listed_gpus: NvmlGpus,
    visible: VisibleGpus | Unknown,
    chosen: VisibleDevices,
    surroundings: Surroundings,
    user: OwnUser | Unknown,
) -> Iterator[Finding]:
    """No compute mode keeps a further program off every GPU that is visible here."""
    gpus = visible.gpus if isinstance(visible, VisibleGpus) else listed_gpus.gpus
    if not any(gpu.compute_mode for gpu in gpus):
        raise NotApplicable("NVML tells no compute mode here")
    closed = [gpu for gpu in gpus if gpu.compute_mode is ComputeMode.PROHIBITED]
    alone = [gpu for gpu in gpus if gpu.compute_mode in _ALONE and not _through_mps(gpu)]
    held = [gpu for gpu in alone if _computing(gpu)]
    named = chosen.value is not None
    free = [gpu for gpu in listed_gpus.gpus if gpu not in (*closed, *held) and gpu.compute_mode is ComputeMode.DEFAULT]
    if closed and (named or len(closed) == len(gpus)):
        yield _prohibited(closed, free, whole=len(closed) == len(gpus))
    elif held and len(closed) + len(held) == len(gpus):
        yield _taken(held, free, _severity(held, named, user))
    elif alone and surroundings.container and not held and len(closed) + len(alone) == len(gpus):
        raise Unknown("the GPUs let one program in at a time, and a container does not show who has them")


def _through_mps(gpu: NvmlDevice) -> bool:
    return any((one.name or "").startswith(_gpu_processes.MPS) for one in gpu.processes or ())


def _computing(gpu: NvmlDevice) -> list[GpuProcess]:
    return [one for one in gpu.processes or () if one.computes]


def _severity(held: Sequence[NvmlDevice], named: bool, user: OwnUser | Unknown) -> Severity:
    """That a job has its GPU to itself is what the mode is for; that another user has the one that was given is not."""
    own = user.uid if isinstance(user, OwnUser) else None
    foreign = all(one.uid != own for gpu in held for one in _computing(gpu))
    return Severity.WARNING if named and own is not None and foreign else Severity.INFO


def _modes(gpus: Sequence[NvmlDevice]) -> Iterator[Evidence]:
    for gpu in gpus[:4]:
        if gpu.compute_mode is not None:
            told = f"{gpu.compute_mode.value}, {_SPOKEN[gpu.compute_mode]}"
            yield Evidence(source=f"nvmlDeviceGetComputeMode({gpu.index})", excerpt=told)


def _prohibited(closed: Sequence[NvmlDevice], free: Sequence[NvmlDevice], *, whole: bool) -> Finding:
    which = _named(closed)
    return Finding(
        id="compute-mode-restricted",
        severity=Severity.ERROR if whole else Severity.WARNING,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.ENVIRONMENT,
        title=f"{which} {'is' if len(closed) == 1 else 'are'} in the compute mode Prohibited: no program may use CUDA"
        " there",
        detail="CUDA then fails with error 46 (device unavailable), though nvidia-smi works."
        + ("" if whole else " CUDA_VISIBLE_DEVICES asks for it."),
        evidence=tuple(_modes(closed)),
        remedies=(*_another(free), _let_in(closed)),
        explains=frozenset({"no-cuda-device"}),
        layers=(Layer.GPU,),
    )


def _taken(held: Sequence[NvmlDevice], free: Sequence[NvmlDevice], severity: Severity) -> Finding:
    holders = [one for gpu in held for one in _computing(gpu)]
    return Finding(
        id="compute-mode-restricted",
        severity=severity,
        confidence=Confidence.CERTAIN if severity is Severity.INFO else Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"{_named(held)} let{'s' if len(held) == 1 else ''} one program in at a time, and"
        f" {listed([_gpu_processes.called(one) for one in holders[:3]])} {'has' if len(holders) == 1 else 'have'} it",
        detail="A further one fails with error 46 (device unavailable) until that one ends. That is well where jobs are"
        " to have a GPU to themselves.",
        evidence=(*_modes(held), *_gpu_processes.told_of(holders, "NVML's list of processes")),
        remedies=(
            *_another(free),
            *_gpu_processes.end(holders, "the GPU then lets the next program in"),
            _let_in(held),
        ),
        explains=frozenset({"no-cuda-device"}),
        layers=(Layer.GPU,),
    )


def _named(gpus: Sequence[NvmlDevice]) -> str:
    return f"GPU{'' if len(gpus) == 1 else 's'} {listed([str(gpu.index) for gpu in gpus])}"


def _another(free: Sequence[NvmlDevice]) -> tuple[Remedy, ...]:
    """The way without root: a GPU that lets everybody in."""
    if not free:
        return ()
    return (
        Remedy(
            summary=f"use GPU {free[0].index}, which lets every program in",
            commands=(f"export CUDA_VISIBLE_DEVICES={shlex.quote(free[0].uuid or str(free[0].index))}",),
            prediction="no root and no change to the machine; in a batch job ask the scheduler for a GPU instead",
        ),
    )


def _let_in(gpus: Sequence[NvmlDevice]) -> Remedy:
    return Remedy(
        summary="if the mode is not meant (a batch system or MPS may want it), let all programs in, on the host",
        commands=tuple(f"sudo nvidia-smi -i {gpu.index} -c DEFAULT" for gpu in gpus),
        needs_root=True,
        prediction="it holds until the driver is unloaded or the machine reboots",
    )
