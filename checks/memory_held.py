"""GPU memory that others hold, as NVML and /proc tell: who they are, where somebody wants the memory or nobody owns it.

A busy GPU is what one has it for. So this asks only where a requirement of free memory fails, or where much of the
memory is in use and no process that NVML lists has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nvdiag.checks import _gpu_processes, _holder_words
from nvdiag.engine import check
from nvdiag.facts.nvml_devices import GpuProcess, NvmlDevice
from nvdiag.facts.requirement_results import Answer, RequirementResults
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.unlisted_memory import Unlisted, UnlistedMemory
from nvdiag.facts.visible_gpus import VisibleGpus
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Risk, Severity
from nvdiag.model.unknown import NotApplicable

_FOLLOWS = frozenset({"requirement-not-met", "llama-model-does-not-fit", "llama-layers-on-cpu"})
_LISTED = "NVML's list of processes"
_LEAST = 256 << 20
"""Bytes; a driver with no program on the GPU takes about as much itself."""


@check("gpu-memory-held", area="environment")
def the_memory_that_is_required_is_free(
    required: RequirementResults, visible: VisibleGpus, surroundings: Surroundings
) -> Iterator[Finding]:
    """No process holds the GPU memory that free-memory requires."""
    wanted = [one for one in required.results if one.requirement.key == "free-memory"]
    if not wanted:
        raise NotApplicable("no free memory was required")
    failed = [one for one in wanted if one.answer is Answer.NOT_MET]
    short = {held.of for one in failed for held in one.held if not held.holds}
    for gpu in visible.gpus:
        used = gpu.memory_used or 0
        if (gpu.address or f"GPU {gpu.index}") in short and used > _LEAST:
            yield _held(gpu, used, failed[0].requirement.text, surroundings)


def _held(gpu: NvmlDevice, used: int, wanted: str, surroundings: Surroundings) -> Finding:
    processes = gpu.processes or ()
    total = (gpu.memory_total or 0) >> 20
    elsewhere = "the host or another container" if surroundings.container else "no process that is listed"
    return Finding(
        id="gpu-memory-held",
        subject=gpu.address or f"GPU {gpu.index}",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if processes else Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"{used >> 20} of {total} MiB of GPU {gpu.index} are held"
        + (f" by {_most(processes)}" if processes else f", by {elsewhere}"),
        detail=f"{wanted} was required. What they hold is free as soon as they end.",
        evidence=(
            Evidence(source=f"nvmlDeviceGetMemoryInfo({gpu.index})", excerpt=f"{used >> 20} MiB / {total} MiB"),
            *_gpu_processes.told_of(processes, _LISTED),
        ),
        remedies=(*_gpu_processes.end(processes, "its memory is free then"), *(() if processes else (_LOOK,))),
        explains=_FOLLOWS,
        layers=(Layer.GPU,),
    )


def _most(processes: Sequence[GpuProcess]) -> str:
    first, *others = sorted(processes, key=lambda one: -(one.memory or 0))
    return _gpu_processes.called(first) + (f" and {len(others)} more" if others else "")


_LOOK = Remedy(
    summary="see on the host who has the GPU open: NVML lists no processes of other containers",
    commands=("sudo fuser -v /dev/nvidia*",),
    needs_root=True,
)


@check("gpu-memory-held", area="environment")
def listed_processes_account_for_the_memory(unlisted: UnlistedMemory) -> Iterator[Finding]:
    """The processes that NVML lists hold the memory that is in use."""
    for one in unlisted.found:
        yield _left_over(one, unlisted)


def _left_over(one: Unlisted, unlisted: UnlistedMemory) -> Finding:
    gpu = one.gpu
    node = one.node
    beside = [holder for holder in unlisted.beside if node in holder.nodes]
    stuck = [holder for holder in beside if holder.stuck]
    total = (gpu.memory_total or 0) >> 20
    return Finding(
        id="gpu-memory-held",
        subject=gpu.address or f"GPU {gpu.index}",
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"{one.memory >> 20} of {total} MiB of GPU {gpu.index} are in use, and no process that NVML lists has"
        " them",
        detail=f"{_holder_words.called(stuck[0])} waits in the driver for good: only a restart ends it."
        if stuck
        else "A process that is left over holds them: it ended for its parent, and not for the driver.",
        evidence=(
            Evidence(
                source=f"nvmlDeviceGetMemoryInfo({gpu.index})",
                excerpt=f"{(gpu.memory_used or 0) >> 20} MiB / {total} MiB",
            ),
            *_gpu_processes.told_of(gpu.processes or (), _LISTED),
            *_holder_words.shown(beside, "/proc/*/fd"),
            *((Evidence(source="/proc/*/fd", excerpt=unlisted.why_blind),) if unlisted.why_blind else ()),
        ),
        remedies=(
            Remedy(
                summary="see who has the GPU open, also those that NVML does not list",
                commands=(f"sudo fuser -v {node} /dev/nvidia-uvm",),
                needs_root=True,
            ),
            *(
                Remedy(
                    summary=f"end {_holder_words.called(holder)}, if that is not wanted any more",
                    commands=(f"kill {holder.pid}",),
                    risk=Risk.DISRUPTIVE,
                )
                for holder in beside[:3]
                if not holder.stuck
            ),
            Remedy(
                summary="where nobody has it open, reset the GPU; nothing may use it then",
                commands=(f"sudo nvidia-smi --gpu-reset -i {gpu.index}",),
                risk=Risk.DISRUPTIVE,
                needs_root=True,
                prediction="the driver then takes all of its memory back",
            ),
        ),
        explains=_FOLLOWS,
        layers=(Layer.GPU,),
    )
