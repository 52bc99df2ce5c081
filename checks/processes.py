"""What processes do to each other: CUDA over a fork, and GPU memory that others hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.facts.smi_report import SmiGpu, SmiProcess, SmiReport
from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Remedy, Risk, Severity
from nvdiag.model.unknown import NotApplicable, Unknown

GIB = 1 << 30

_CONTEXT = GIB
"""What a CUDA context, its libraries' workspaces and fragmentation take beside what a framework counts, at most."""

_UNUSABLE = 128 << 20
"""What may be free and still not be had: it is in pieces, and the allocator asks the driver for more than it needs."""

_MUCH = 0.15
"""The part of a GPU's memory from which on what others hold is a reason for failing; a desktop holds less."""


@check("cuda-after-fork", area="environment")
def cuda_is_not_carried_over_a_fork(messages: Messages) -> Iterator[Finding]:
    """No process uses CUDA that its parent initialised before it forked."""
    said = messages.proving("cuda-after-fork")
    refused, workers = messages.named("cuda-initialization-error"), messages.named("forked-worker")
    if not said and not (refused and workers):
        raise NotApplicable("no message in the text tells of it")
    yield _said.finding(
        said or (*refused, *workers),
        "cuda-after-fork",
        confidence=None if said else Confidence.LIKELY,
        title="" if said else "CUDA does not initialise in a process that was forked",
        kind=FindingClass.APPLICATION,
        detail="A CUDA context does not survive fork(). Even torch.cuda.is_available() or a tensor on the GPU at import"
        " time may start CUDA in the parent.",
        remedies=(
            Remedy(
                summary="start the workers by spawn instead of fork, before anything uses CUDA",
                commands=("export VLLM_WORKER_MULTIPROC_METHOD=spawn",)
                if any("vllm" in one.text.lower() for one in (*said, *workers))
                else (),
                prediction='torch.multiprocessing.set_start_method("spawn", force=True) under'
                ' if __name__ == "__main__"; for a DataLoader multiprocessing_context="spawn", or keep CUDA out of its'
                " workers",
            ),
        ),
        explains=frozenset({"no-cuda-device"}),
    )


SEE_HOLDERS = Remedy(
    summary="see which processes hold GPU memory, also those that nvidia-smi does not list",
    commands=(
        "nvidia-smi --query-compute-apps=pid,used_memory,process_name --format=csv",
        "sudo fuser -v /dev/nvidia*",
    ),
    needs_root=True,
    prediction="in a container nvidia-smi lists no processes: look on the host",
)
_END_THEM = Remedy(
    summary="end those that are not wanted any more, gently first",
    commands=("kill PID",),
    risk=Risk.DISRUPTIVE,
    prediction="their memory is free as soon as they are gone; kill -9 only where that does not help",
)


@check("gpu-memory-held", area="environment")
def gpu_memory_is_free_for_the_program(messages: Messages) -> Iterator[Finding]:
    """No other process holds the GPU memory that a program needs."""
    said = [*messages.proving("gpu-memory-held"), *_by_arithmetic(messages)]
    if not said:
        raise NotApplicable("no message in the text tells of it")
    yield _said.finding(
        said,
        "gpu-memory-held",
        confidence=Confidence.LIKELY,
        title=_title(said[0]),
        kind=FindingClass.ENVIRONMENT,
        detail="What the program itself holds is far less than what is taken, so others hold the rest: other jobs,"
        " notebooks whose kernels still run, or processes that were left over.",
        remedies=(
            SEE_HOLDERS,
            _END_THEM,
            Remedy(
                summary="or use another GPU, or take less",
                prediction="CUDA_VISIBLE_DEVICES chooses the GPU; vLLM takes --gpu-memory-utilization, JAX"
                " XLA_PYTHON_CLIENT_MEM_FRACTION",
            ),
        ),
        explains=frozenset({"llama-model-does-not-fit", "llama-layers-on-cpu", "llama-server-unhealthy"}),
    )


@check("gpu-memory-held", area="environment")
def the_processes_account_for_the_memory(
    smi: SmiReport, messages: Messages | Unknown, surroundings: Surroundings
) -> Iterator[Finding]:
    """nvidia-smi lists the processes that hold its GPUs' memory."""
    if surroundings.container or surroundings.wsl:
        raise NotApplicable("nvidia-smi lists no processes in a container, nor under WSL")
    if smi.header is None:
        raise NotApplicable("no table of nvidia-smi's is at hand")
    if not smi.whole:
        raise Unknown("the end of nvidia-smi's table is not there")
    for gpu in smi.gpus:
        if _nobody_holds(gpu, smi.processes):
            yield _left_over(gpu, messages)


_NOBODY = ("[Not Found]", "Unknown Error", "(null)", "[Insufficient Permissions]")
"""What stands where the name of a process does not: it is gone, or of another namespace."""


def _nobody_holds(gpu: SmiGpu, processes: Sequence[SmiProcess]) -> bool:
    """Whether much of a GPU's memory is in use, and the processes that are listed with a name do not hold it."""
    if gpu.memory_used is None or not gpu.memory_total:
        return False
    named = sum(one.memory for one in processes if one.gpu == gpu.index and one.name not in _NOBODY)
    return gpu.memory_used - named > 0.4 * gpu.memory_total


def _left_over(gpu: SmiGpu, messages: Messages | Unknown) -> Finding:
    short = isinstance(messages, Messages) and messages.named("memory-exhausted")
    counted = isinstance(messages, Messages) and messages.named("torch-oom", "torch-oom-old", "vllm-memory-not-free")
    return Finding(
        id="gpu-memory-held",
        severity=Severity.ERROR if short and not counted else Severity.WARNING,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"{gpu.memory_used} of {gpu.memory_total} MiB of GPU {gpu.index} are in use, and nvidia-smi lists no"
        " process that holds them",
        detail="A process that is left over, or one in a container or of another user, holds them.",
        evidence=(Evidence(source="nvidia-smi", excerpt=f"{gpu.memory_used}MiB / {gpu.memory_total}MiB"),),
        remedies=(SEE_HOLDERS, _END_THEM),
    )


def _title(one: Said) -> str:
    free, total = one.groups.get("free"), one.groups.get("total")
    if one.message.proves or not (free and total):
        return one.told
    return f"{one.told}; other processes hold most of the rest"


def _by_arithmetic(messages: Messages) -> Iterator[Said]:
    """Messages whose numbers show that others hold the memory."""
    for one in messages.named("torch-oom", "torch-oom-old"):
        if _others_made_torch_fail(one):
            yield one
    for one in messages.named("vllm-memory-not-free"):
        total, free = float(one.groups["total"]), float(one.groups["free"])
        if total - free >= max(0.1 * total, 1.5):
            yield one
    if messages.named("memory-exhausted"):
        yield from (one for one in messages.named("tf-memory-at-start") if _mostly_taken(one))
    if messages.proving("llama-model-does-not-fit") or messages.proving("llama-layers-on-cpu"):
        yield from (one for one in messages.named("ollama-device-memory") if _mostly_taken(one))
        yield from _llama_cpp(messages)


def _others_made_torch_fail(one: Said) -> bool:
    """Whether the request would have fitted on an empty GPU, and much of it is neither free nor the process's own.

    In a container PyTorch may know its own process only as another one, so what it counts itself is looked at first.
    """
    groups = one.groups
    if groups.get("allowed"):
        return False  # a limit of the program's own made it fail
    total, free, asked = (_bytes(groups[name]) for name in ("total", "free", "asked"))
    counted = _bytes(groups.get("reserved", "")) or _bytes(groups.get("allocated", "")) + _bytes(groups.get("idle", ""))
    own = _bytes(groups.get("own", ""))
    if not counted and not own:
        return False
    mine = own if 0 < own <= total else counted + _CONTEXT
    others = total - free - mine
    return free < asked + _UNUSABLE and others >= _MUCH * total and mine + asked <= total


def _mostly_taken(one: Said) -> bool:
    total = _bytes(one.groups["total"])
    return total > 0 and _bytes(one.groups["free"]) < 0.6 * total


def _llama_cpp(messages: Messages) -> Sequence[Said]:
    """The free memory that llama.cpp saw, where there is one GPU whose total it names."""
    devices = [one for one in messages.named("llama-cuda-devices") if one.groups.get("total")]
    if not devices or devices[0].groups["count"] != "1":
        return ()
    total = float(devices[0].groups["total"])
    return [one for one in messages.named("llama-device-memory") if float(one.groups["free"]) < 0.6 * total]


def _bytes(text: str) -> float:
    """A size as PyTorch, TensorFlow and Ollama write it, in bytes; 0 where there is none."""
    found = re.match(r"([\d.]+) ?([KMGT]?)", text)
    if not found or found[1].count(".") > 1 or found[1] == ".":
        return 0.0
    return float(found[1]) * 1024.0 ** " KMGT".index(found[2] or " ")
