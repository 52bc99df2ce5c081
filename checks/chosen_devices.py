"""CUDA_VISIBLE_DEVICES of this environment against the GPUs that are here, and what comes of a wrong name or number."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.device_choice import DeviceChoice, Entry
from nvdiag.facts.environment import LocalRank, MisspeltVariables
from nvdiag.facts.mps import MpsDaemon
from nvdiag.facts.visible_gpus import NvmlGpus, VisibleGpus
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown

_VARIABLE = "CUDA_VISIBLE_DEVICES"
_WRONG = {
    Entry.NO_SUCH_NUMBER: "is a number that no GPU has",
    Entry.NO_SUCH_UUID: "is the identifier of no GPU here",
    Entry.SEVERAL: "begins the identifiers of several GPUs",
    Entry.UNREADABLE: "is neither a number nor an identifier",
}


@check("visible-devices-invalid", area="environment")
def the_chosen_devices_are_here(choice: DeviceChoice, listed: NvmlGpus, mps: MpsDaemon | Unknown) -> Iterator[Finding]:
    """Every entry of CUDA_VISIBLE_DEVICES names a GPU that is here, and it hides none that is named."""
    if choice.end in (Entry.FOUND, Entry.NO_SUCH_INSTANCE) or (choice.sees or 0) > choice.named:
        return
    if choice.end is Entry.NO_GPU_MEANT:
        if choice.named == 0:
            yield _hidden(choice)
        return
    yield _wrong(choice, listed, renumbered=isinstance(mps, MpsDaemon) and choice.sees is None)


def _evidence(choice: DeviceChoice, listed: NvmlGpus | None) -> Iterator[Evidence]:
    yield Evidence(source="environment", excerpt=f"{_VARIABLE}={choice.value}"[:200])
    if listed is not None:
        numbers = "0" if choice.count == 1 else f"0 to {choice.count - 1}"
        yield Evidence(source="nvmlDeviceGetCount", excerpt=f"{choice.count}: the numbers are {numbers}")
    if choice.sees is not None:
        yield Evidence(source="cuDeviceGetCount", excerpt=f"{choice.sees} visible")


def _hidden(choice: DeviceChoice) -> Finding:
    slurm = choice.word.lower() == "nodevfiles"
    return Finding(
        id="visible-devices-invalid",
        severity=Severity.ERROR,
        confidence=Confidence.POSSIBLE,
        kind=FindingClass.ENVIRONMENT,
        title=f"{_VARIABLE} is {choice.value!r}, which hides every GPU from CUDA",
        detail="Slurm sets this for a job that asked for no GPU."
        if slurm
        else "That may be meant so; a batch system also sets it for a job that asked for no GPU.",
        evidence=tuple(_evidence(choice, None)),
        remedies=(
            *((_ASK_SLURM,) if slurm else ()),
            Remedy(
                summary="if the GPUs are not hidden on purpose, look again without the variable",
                commands=(f"env -u {_VARIABLE} nvdiag",),
                prediction="every GPU is visible then; take the variable out of where it is set once that works",
            ),
        ),
        explains=frozenset({"no-cuda-device", "device-ordinal-invalid"}),
    )


_ASK_SLURM = Remedy(
    summary="ask for a GPU when the job is started",
    commands=("srun --gpus=1 nvidia-smi -L",),
    prediction="in a batch script: #SBATCH --gpus=1 (or --gres=gpu:1); Slurm then sets the variable itself",
)


def _wrong(choice: DeviceChoice, listed: NvmlGpus, *, renumbered: bool) -> Finding:
    sees = choice.named
    seen = "CUDA sees no GPU" if sees == 0 else f"CUDA sees {sees} GPU{'' if sees == 1 else 's'} and none after it"
    return Finding(
        id="visible-devices-invalid",
        severity=Severity.ERROR if sees == 0 else Severity.WARNING,
        confidence=Confidence.LIKELY if renumbered or choice.end is Entry.UNREADABLE else Confidence.CERTAIN,
        kind=FindingClass.ENVIRONMENT,
        title=f"{choice.word!r} in {_VARIABLE} {_WRONG[choice.end]}, so {seen}",
        detail="CUDA reads the list up to the first entry that names no GPU, and says nothing of it."
        + (" An MPS daemon is here, whose programs count the GPUs anew." if renumbered else ""),
        evidence=tuple(_evidence(choice, listed)),
        remedies=(
            Remedy(
                summary="name GPUs that are here: numbers from 0 on, or the identifiers that nvidia-smi -L shows",
                commands=(f"export {_VARIABLE}={shlex.quote(_right(choice))}", "nvidia-smi -L"),
                prediction="nvidia-smi shows all of them whatever the variable says; a batch system sets it itself",
            ),
            Remedy(summary="or leave it out: then every GPU is visible", commands=(f"unset {_VARIABLE}",)),
        ),
        explains=frozenset({"no-cuda-device", "device-ordinal-invalid"}),
    )


def _right(choice: DeviceChoice) -> str:
    """The entries that do name GPUs, else the first GPU."""
    words = [word.strip() for word in choice.value.split(",")]
    return ",".join(words[: choice.named]) or "0"


@check("visible-devices-invalid", area="environment")
def no_variable_is_a_misspelt_one(misspelt: MisspeltVariables) -> Iterator[Finding]:
    """No variable has a name that is almost that of one which chooses GPUs."""
    for name, meant in misspelt.names.items():
        yield Finding(
            id="visible-devices-invalid",
            subject=name,
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            kind=FindingClass.ENVIRONMENT,
            title=f"{name} is set, which CUDA does not read: its name is almost {meant}",
            detail=f"{meant} is not set, so a process sees every GPU, and jobs that were to have one each share them.",
            evidence=(Evidence(source="environment", excerpt=f"{name} is set, {meant} is not"),),
            remedies=(
                Remedy(summary="give it its right name", commands=(f'export {meant}="${name}"', f"unset {name}")),
            ),
        )


@check("device-ordinal-invalid", area="environment")
def each_rank_has_a_gpu(rank: LocalRank, visible: VisibleGpus) -> Iterator[Finding]:
    """The number that a launcher gave this process among its node's is one that a visible GPU has."""
    count = len(visible.gpus)
    if count == 0:
        raise NotApplicable("no GPU is visible, which other findings are about")
    if rank.number < count or count == 1:
        return
    yield Finding(
        id="device-ordinal-invalid",
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        kind=FindingClass.APPLICATION,
        title=f"{rank.name} is {rank.number}, and {count} GPUs are visible: their numbers end at {count - 1}",
        detail="A process that takes the GPU of its own number asks for one that is not there (CUDA error 101).",
        evidence=(
            Evidence(source="environment", excerpt=f"{rank.name}={rank.number}"),
            Evidence(source=visible.source, excerpt=f"{count} GPUs"),
        ),
        remedies=(
            Remedy(
                summary="start as many processes on this node as GPUs are visible",
                commands=(f"torchrun --nproc-per-node={count} PROGRAM",),
                prediction="or ask the scheduler for as many GPUs as tasks",
            ),
        ),
    )
