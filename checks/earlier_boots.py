"""What the logs of earlier boots say of a GPU: the same fault boot after boot is the hardware's."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.earlier_boots import EarlierBoots, FailingGpu
from nvdiag.model.finding import Confidence, Finding, FindingClass, Layer, Remedy, Risk, Severity

_BOOTS = 2
"""In one boot such a fault may have passed; a second one says that starting anew did not cure it."""


@check("gpu-hardware-fault", area="device")
def no_gpu_fails_boot_after_boot(boots: EarlierBoots) -> Iterator[Finding]:
    """No GPU had the same kind of grave fault in several boots."""
    for gpu in boots.failing:
        if gpu.earlier + gpu.now >= _BOOTS:
            yield _finding(gpu)


def _finding(gpu: FailingGpu) -> Finding:
    counted = f"in {gpu.earlier} earlier boot{'s' if gpu.earlier > 1 else ''} or loads of the driver"
    return Finding(
        id="gpu-hardware-fault",
        subject=gpu.address,
        severity=Severity.ERROR if gpu.now else Severity.WARNING,
        confidence=Confidence.LIKELY,
        kind=FindingClass.HARDWARE,
        title=f"the GPU at {gpu.address} failed {counted}, {'and' if gpu.now else 'not'} in this one",
        detail="Each boot starts the GPU anew, so what comes back after it is no passing state and hardly a program's"
        " doing: the board, its power supply or its slot is suspect.",
        evidence=gpu.evidence,
        remedies=(
            Remedy(
                summary="take this GPU out of work and test it, or have programs leave it alone till then",
                commands=(f"nvidia-smi -q -i {gpu.address}", "sudo journalctl -k | grep -iE 'nvrm|xid'"),
                needs_root=True,
            ),
            Remedy(
                summary="power off, reseat the card and its power cables, try another slot; if the fault follows the"
                " card, have it replaced",
                risk=Risk.DISRUPTIVE,
                reboots=True,
                prediction="if it stays with the slot or the cable, those are at fault",
            ),
        ),
        explains=frozenset({"gpu-reset-required", "gpu-init-failed", "xid-reported", "no-cuda-device"}),
        layers=(Layer.GPU,),
    )
