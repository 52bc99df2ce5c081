"""What CUDA itself answers in this environment, where the driver is otherwise well."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.answers import CudaAnswer, NvmlAnswer
from nvdiag.facts.environment import VisibleDevices
from nvdiag.facts.modules import DriverHere
from nvdiag.facts.probing import DriverReach
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Risk, Severity
from nvdiag.model.unknown import NotApplicable, Unknown

NO_DEVICE, UNAVAILABLE = 100, 46
"""CUDA_ERROR_NO_DEVICE and CUDA_ERROR_DEVICE_UNAVAILABLE of cuda.h."""

MPS_ERRORS = range(805, 811)
"""CUDA_ERROR_MPS_CONNECTION_FAILED to …_CLIENT_TERMINATED: nvdiag asks past the MPS server, which may be the cause."""


@check("no-cuda-device")
def cuda_initialises(
    driver: DriverHere, reach: DriverReach, cuda: CudaAnswer, nvml: NvmlAnswer | Unknown, hidden: VisibleDevices
) -> Iterator[Finding]:
    """cuInit succeeds and finds a device, where NVML shows the driver to be well."""
    if isinstance(nvml, NvmlAnswer) and nvml.init not in (None, 0):
        raise NotApplicable("NVML does not initialise either, so it is not CUDA alone: gpu-init-failed speaks of that")
    if cuda.trouble is not None:
        raise Unknown(f"libcuda did not come back with an answer ({cuda.trouble})")
    if cuda.dlopen_error is not None:
        raise NotApplicable("libcuda could not be loaded, which libcuda-missing is about")
    if cuda.init is None:
        raise Unknown(f"whether CUDA initialises: {reach.why_no_cuinit or 'cuInit was not called'}")
    if cuda.init == 0 and cuda.count != 0:
        return
    yield _no_device(driver, cuda, hidden)


def _no_device(driver: DriverHere, cuda: CudaAnswer, hidden: VisibleDevices) -> Finding:
    from nvdiag.knowledge.cuda_errors import cuda_error

    number = cuda.init or NO_DEVICE
    row = cuda_error(number)
    name = cuda.init_name or (row.driver_name if row else None) or ""
    call = "cuDeviceGetCount" if cuda.init == 0 else "cuInit"
    said = "0 devices" if cuda.init == 0 else f"{number} {name}".strip()
    chosen = hidden.value is not None and number == NO_DEVICE
    own_doing = number == UNAVAILABLE or number in MPS_ERRORS
    causes = f" Usual causes: {'; '.join(row.causes)}." if row and row.causes and not chosen else ""
    return Finding(
        id="no-cuda-device",
        severity=Severity.ERROR,
        confidence=Confidence.POSSIBLE if chosen or own_doing else Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"CUDA has no device here: {call} answers {said}",
        detail=(
            f"CUDA_VISIBLE_DEVICES is {hidden.value!r}, which may hide every GPU from this environment on purpose."
            if chosen
            else f"{row.meaning if row else 'CUDA programs fail at their start.'}{causes}"
        ),
        evidence=(
            Evidence(source=call, excerpt=said),
            driver.evidence,
            *((Evidence(source="environment", excerpt=f"CUDA_VISIBLE_DEVICES={hidden.value}"),) if chosen else ()),
        ),
        remedies=_give_cuda_a_device(row.remedy if row else "", chosen=chosen),
        layers=(Layer.LIBCUDA,),
    )


def _give_cuda_a_device(words: str, *, chosen: bool) -> tuple[Remedy, ...]:
    if chosen:
        return (
            Remedy(
                summary="if the GPUs are not hidden on purpose, look again without the variable",
                commands=("env -u CUDA_VISIBLE_DEVICES nvdiag",),
            ),
        )
    look = Remedy(
        summary="read what the driver wrote to the kernel log",
        commands=("sudo dmesg | grep -iE 'nvrm|nvidia|xid' | tail -n 20",),
        needs_root=True,
    )
    return (Remedy(summary=words.rstrip("."), risk=Risk.DISRUPTIVE), look) if words else (look,)
