"""What was required of this machine, held against what it has."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.requirement_results import Answer, RequirementResults, Result, shown
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Remedy, Severity

_OF_THE_DRIVER = frozenset({"driver", "cuda", "module"})
_OF_PYTHON = frozenset({"torch", "torch-build", "cudnn", "nccl"})


@check("requirement-not-met", "requirement-unknown")
def what_was_required_holds(required: RequirementResults) -> Iterator[Finding]:
    """Everything that was required of this machine holds."""
    for result in required.results:
        if result.answer is Answer.NOT_MET:
            yield _not_met(result)
        elif result.answer is Answer.UNKNOWN:
            yield _cannot_tell(result)


def _not_met(result: Result) -> Finding:
    wanted = result.requirement
    failing = [one for one in result.held if not one.holds]
    told = f", and this machine has {shown(failing)}" if failing else f": {result.why}"
    evidence = tuple(Evidence(source=one.source, excerpt=shown([one])) for one in result.held)
    return Finding(
        id="requirement-not-met",
        subject=wanted.text,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        kind=_kind(result),
        title=f"{wanted.text} was required{told}",
        evidence=evidence or (Evidence(source="requirement", excerpt=f"{wanted.text}: {result.why}"),),
        remedies=(_way(wanted.key),),
    )


def _kind(result: Result) -> FindingClass:
    """The driver is configuration; that a job asks for other GPUs or packages is no fault of the machine's."""
    return FindingClass.CONFIGURATION if result.requirement.key in _OF_THE_DRIVER else FindingClass.ENVIRONMENT


def _way(key: str) -> Remedy:
    if key in _OF_THE_DRIVER:
        return Remedy(
            summary="run the job where the driver is what it asks for, or install such a driver here",
            commands=("nvidia-smi",),
            prediction="in a container and under WSL the driver is the host's or Windows'",
        )
    if key in _OF_PYTHON:
        return Remedy(
            summary="install what is required into the environment that the job runs in, or name that environment",
            commands=("python3 -m pip list", "nvdiag check --python PATH"),
        )
    if key == "toolkit":
        return Remedy(
            summary="install the toolkit that is required, or point CUDA_HOME and PATH to it",
            commands=("ls -d /usr/local/cuda*", "nvcc --version"),
        )
    return Remedy(
        summary="run the job where such GPUs are, or ask the scheduler or the container engine for them",
        commands=("nvidia-smi -L", "env | grep VISIBLE_DEVICES"),
    )


def _cannot_tell(result: Result) -> Finding:
    wanted = result.requirement
    return Finding(
        id="requirement-unknown",
        subject=wanted.text,
        severity=Severity.ERROR,
        confidence=Confidence.POSSIBLE,
        kind=_kind(result),
        title=f"cannot tell whether {wanted.text} holds: {result.why}",
        evidence=(Evidence(source="requirement", excerpt=f"{wanted.text}: {result.why}"),),
        remedies=(Remedy(summary="see first what keeps nvdiag from telling", commands=("nvidia-smi", "nvdiag check")),),
    )
