"""What nvidia-smi -q says of a GPU's memory, and whether the GPU asks for a reset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from nvdiag.checks._gpu_remedies import REBOOT, repair, reset
from nvdiag.engine import check
from nvdiag.facts.smi_query import GpuHealth, HealthLine
from nvdiag.model.finding import Confidence, Finding, FindingClass, Layer, Severity

FAULT, RESET = "gpu-hardware-fault", "gpu-reset-required"
_MOST_GPUS = 64
_MOST_EVIDENCE = 8
_FOLLOWS = frozenset({"gpu-init-failed", "no-cuda-device"})


@check(FAULT, RESET, area="device")
def no_memory_waits_for_repair(health: GpuHealth) -> Iterator[Finding]:
    """nvidia-smi -q shows no memory that waits for a reset or cannot be replaced, and no GPU that wants a reset."""
    gpus: dict[str, list[HealthLine]] = {}
    for line in health.lines:
        gpus.setdefault(line.address or "", []).append(line)
    for gpu, lines in list(gpus.items())[:_MOST_GPUS]:
        yield from _of_memory(gpu, lines)


def _of_memory(gpu: str, lines: Sequence[HealthLine]) -> Iterator[Finding]:
    where = f" of the GPU at {gpu}" if gpu else ""
    yes = [line for line in lines if line.value == "Yes"]
    failed = [line for line in yes if line.name in ("Remapping Failure Occurred", "SRAM Threshold Exceeded")]
    pending = [line for line in yes if line.name.startswith("Pending")]
    asked = [line for line in yes if line.name in ("Reset Required", "Drain and Reset Recommended")]
    asked += [line for line in lines if line.name == "GPU Recovery Action" and _wants_reset(line.value)]
    wrong = [line for line in lines if line.name.split()[1:2] == ["Uncorrectable"] and line.value.strip("0").isdigit()]
    fault = Finding(
        id=FAULT,
        subject=gpu,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.HARDWARE,
        title=f"memory{where} is faulty beyond what can be replaced",
        detail="NVIDIA takes this for a reason to replace the board, once its diagnostic agrees.",
        evidence=tuple(line.evidence for line in (*failed, *wrong, *lines)[:_MOST_EVIDENCE]),
        remedies=repair(),
        explains=_FOLLOWS,
        layers=(Layer.GPU,),
    )
    if failed:
        yield fault
    elif wrong:
        yield replace(
            fault,
            severity=Severity.WARNING,
            confidence=Confidence.POSSIBLE,
            title=f"memory{where} has had uncorrectable errors",
            detail="The rows or pages may have been replaced since; errors that keep coming are a hardware fault.",
            explains=frozenset(),
        )
    if asked or pending:
        yield Finding(
            id=RESET,
            subject=gpu,
            severity=Severity.ERROR if asked else Severity.WARNING,
            confidence=Confidence.CERTAIN,
            kind=FindingClass.HARDWARE,
            title=f"the GPU{f' at {gpu}' if gpu else ''} "
            + ("asks for a reset" if asked else "has memory that is replaced at the next reset"),
            detail="" if asked else "The GPU works on until then, and the faulty memory stays in use or is blocked.",
            evidence=tuple(line.evidence for line in (*asked, *pending)[:_MOST_EVIDENCE]),
            remedies=(REBOOT,) if any("eboot" in line.value for line in asked) else reset(gpu),
            explains=_FOLLOWS if asked else frozenset(),
            layers=(Layer.GPU,),
        )


def _wants_reset(action: str) -> bool:
    return any(word in action.lower() for word in ("reset", "reboot"))
