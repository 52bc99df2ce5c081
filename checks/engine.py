"""What became of nvdiag's own questions to the driver: a call that does not return is a finding, not a long wait."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.probing import ProbeTrouble, ProbeTroubles
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity

LONG_SILENCE = 10.0
SILENCE_PER_FURTHER_GPU = 3.0
"""Seconds. Eight GPUs without persistence mode were seen to take over 25 to initialise; what is shorter may be slow."""

_LAYERS = {
    "nvml": (Layer.NVML,),
    "cuda": (Layer.LIBCUDA,),
    "nodes": (Layer.GPU,),
    "driver-files": (Layer.LOADED_MODULE,),
    "smoke": (Layer.GPU,),
}
_LIBRARIES = {"nvml": "libnvidia-ml", "cuda": "libcuda", "smoke": "libcuda"}


@check("probe-hung", "probe-crashed", "check-failed")
def probes_came_back(troubles: ProbeTroubles) -> Iterator[Finding]:
    """Every call into NVIDIA's libraries and files came back."""
    for trouble in troubles.troubles:
        yield of_trouble(trouble, troubles.gpus)


def of_trouble(trouble: ProbeTrouble, gpus: int) -> Finding:
    """The finding that a probe's trouble is, on a machine with so many GPUs to wait for."""
    if trouble.error == "hung":
        return _hung(trouble, gpus)
    return _crashed(trouble) if trouble.error == "crashed" else _failed(trouble)


def _layers(trouble: ProbeTrouble) -> tuple[Layer, ...]:
    return _LAYERS.get(trouble.probe.partition(" ")[0], ())


def _hung(trouble: ProbeTrouble, gpus: int) -> Finding:
    stuck = trouble.state == "D"
    long = trouble.silent_seconds >= 0.9 * (LONG_SILENCE + SILENCE_PER_FURTHER_GPU * max(0, gpus - 1))
    confidence = Confidence.CERTAIN if stuck else Confidence.LIKELY if long else Confidence.POSSIBLE
    detail = (
        "The process is in uninterruptible sleep: it waits inside the kernel, and nothing can end it but the driver."
        if stuck
        else "The driver may be wedged."
        if long
        else "It may merely be slow, as GPUs without persistence mode are: a longer --deadline tells."
    )
    return Finding(
        id="probe-hung",
        subject=trouble.probe,
        severity=Severity.ERROR,
        confidence=confidence,
        kind=FindingClass.HARDWARE if stuck else FindingClass.CONFIGURATION,
        title=f"{trouble.stage} did not return within {trouble.silent_seconds:g} seconds",
        detail=detail + (" nvdiag left its child behind." if trouble.left_behind else ""),
        evidence=(
            Evidence(
                source=f"probe {trouble.probe}",
                excerpt=f"in {trouble.stage} for {trouble.silent_seconds:g} s, process state {trouble.state or '?'}",
            ),
        ),
        remedies=(
            Remedy(
                summary="read what the driver wrote to the kernel log",
                commands=("sudo dmesg | grep -iE 'nvrm|xid|hung_task' | tail -n 20",),
                needs_root=True,
            ),
            Remedy(
                summary="give it more time",
                commands=(f"nvdiag{' check --smoke' if trouble.probe.startswith('smoke') else ''} --deadline 60",),
                prediction="an answer then means slow, not dead",
            ),
        ),
        layers=_layers(trouble),
    )


def _crashed(trouble: ProbeTrouble) -> Finding:
    library = _LIBRARIES.get(trouble.probe.partition(" ")[0], "the library")
    damaged = trouble.signal == "SIGBUS" or trouble.stage.startswith("dlopen")
    return Finding(
        id="probe-crashed",
        subject=trouble.probe,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=f"{trouble.stage} crashed with {trouble.signal}",
        detail=(
            f"That is what a file of {library} that is cut short or damaged does."
            if damaged
            else f"Every program that makes this call of {library} crashes the same way."
        ),
        evidence=(Evidence(source=f"probe {trouble.probe}", excerpt=f"{trouble.signal} in {trouble.stage}"),),
        remedies=(
            Remedy(
                summary=f"install the package of {library} again, in the loaded module's release",
                commands=("ldconfig -p | grep -E 'libnvidia-ml|libcuda'",),
                needs_root=True,
            ),
        ),
        layers=_layers(trouble),
    )


def _failed(trouble: ProbeTrouble) -> Finding:
    return Finding(
        id="check-failed",
        subject=f"probe {trouble.probe}",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.TOOL,
        title=f"nvdiag's own probe {trouble.probe} failed, so what it asks was not judged",
        evidence=(Evidence(source=f"probe {trouble.probe}", excerpt=trouble.stage),),
        remedies=(
            Remedy(summary="report it to nvdiag's maintainers with a snapshot", commands=("nvdiag snapshot FILE",)),
        ),
    )
