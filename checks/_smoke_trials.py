"""What it means where a GPU does not pass the smoke test: nvdiag's own kernel is right, so no program is to blame."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from nvdiag.checks import _gpu_processes, engine
from nvdiag.checks._gpu_remedies import repair, reset
from nvdiag.checks.driver_words import COMPLETE_LIBRARIES
from nvdiag.checks.fabric import SET_READY
from nvdiag.checks.fabric_messages import SEE_FABRIC, START_FABRIC
from nvdiag.checks.gpu_messages import READ_THE_LOG
from nvdiag.checks.processes import SEE_HOLDERS
from nvdiag.checks.sharing_messages import LICENCE_WAYS, RESTART_MPS, SEE_MPS, WITHOUT_MPS
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.nvml_devices import NvmlDevice
from nvdiag.facts.smoke import Smoke
from nvdiag.facts.smoke_trials import Outcome, Step, Trial
from nvdiag.knowledge.cuda_errors import CudaError, cuda_error
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Risk, Severity
from nvdiag.model.unknown import Unknown

INIT, FAULT, RESET = "gpu-init-failed", "gpu-hardware-fault", "gpu-reset-required"
MEMORY, MODE, MPS = "gpu-memory-held", "compute-mode-restricted", "mps-unavailable"
FABRIC, CONFIDENTIAL, VGPU = "fabric-manager-not-running", "confidential-computing-not-ready", "vgpu-misconfigured"
LIBRARIES, FOREIGN, STUB = "driver-library-incomplete", "libcuda-mismatch", "libcuda-stub-loaded"
COMPAT = "cuda-compat-unsupported"

_RUNNING = ("cuLaunchKernel", "cuCtxSynchronize", "cuMemcpyDtoH_v2")
_KERNEL_FAULTS = range(700, 721)
"""CUresults by which a kernel is ended: illegal address, illegal instruction, launch failure and the like (cuda.h)."""
_BEFORE_A_DEVICE = ("import", "dlopen", "cuInit", "start")
_OUT_OF_MEMORY = 2
"""CUDA_ERROR_OUT_OF_MEMORY of cuda.h."""
_DEFAULT_MODE = 0
"""CU_COMPUTEMODE_DEFAULT of cuda.h."""
_ENOUGH = 1 << 30
"""Bytes of free memory with which a context can be had: it takes some hundred MiB."""
_GIB = 1 << 30


def findings(smoke: Smoke, nvml: NvmlAnswer | Unknown) -> Iterator[Finding]:
    """A finding for each GPU that failed; what is of the machine and not of a GPU is the same finding for all."""
    for trial in smoke.trials:
        if trial.trouble is not None:
            yield from _troubled(trial, smoke)
        elif trial.outcome is Outcome.WRONG:
            yield _wrong(trial, smoke)
        elif trial.outcome is Outcome.FAILED:
            yield _failed(trial, trial.steps[-1], smoke, nvml)


def _beside(smoke: Smoke) -> str:
    """What the other GPUs did, as a sentence; empty where there is none."""
    passed = _passed(smoke)
    if len(smoke.trials) < 2:
        return ""
    return f" {f'Of {len(smoke.trials)} GPUs {passed}' if passed else 'No GPU here'} ran the kernel right."


def _passed(smoke: Smoke) -> int:
    return sum(trial.outcome is Outcome.PASSED for trial in smoke.trials)


def _troubled(trial: Trial, smoke: Smoke) -> Iterator[Finding]:
    """A child that hung or crashed. What it did before there was a device is the same for all GPUs."""
    trouble = trial.trouble
    assert trouble is not None
    alone = not trouble.stage.startswith(_BEFORE_A_DEVICE)
    told = replace(
        trouble,
        probe=f"smoke {trial.ordinal}" if alone else "smoke",
        stage=f"{trouble.stage} of {trial.gpu}" if alone else f"{trouble.stage} of the smoke test",
    )
    finding = engine.of_trouble(told, len(smoke.trials))
    if alone and finding.subject == told.probe:
        finding = replace(finding, subject=_subject(trial), detail=finding.detail + _beside(smoke))
    if trial.outcome is Outcome.CRASHED and alone and _passed(smoke):
        finding = replace(
            finding, detail=f"It is this GPU and no library's file.{_beside(smoke)}", remedies=_log_then_reset(trial)
        )
    yield finding
    if trial.outcome is Outcome.HUNG and smoke.mps and trouble.stage in ("cuInit", "cuCtxCreate_v2"):
        yield Finding(
            id=MPS,
            severity=Severity.ERROR,
            confidence=finding.confidence,
            kind=FindingClass.ENVIRONMENT,
            title=f"{trouble.stage} does not return through the MPS server, and cuInit past it does",
            detail="The server may be waiting for programs of another user to end, or be wedged.",
            evidence=finding.evidence,
            remedies=(SEE_MPS, WITHOUT_MPS, RESTART_MPS),
            explains=frozenset({"probe-hung"}),
            layers=(Layer.LIBCUDA,),
        )


def _wrong(trial: Trial, smoke: Smoke) -> Finding:
    wrong = trial.wrong
    assert wrong is not None
    return Finding(
        id=FAULT,
        subject=_subject(trial),
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        kind=FindingClass.HARDWARE,
        title=f"{trial.gpu} computes wrong: {wrong.words} of {wrong.compared} words came back damaged",
        detail=f"Every call answered that all is well, so programs get wrong results unnoticed.{_beside(smoke)}",
        evidence=(
            Evidence(
                source=f"smoke test of {trial.gpu}",
                excerpt=f"word {wrong.word}: 0x{wrong.got:08x} instead of 0x{wrong.wanted:08x}",
            ),
        ),
        remedies=repair(),
        explains=frozenset({INIT}),
        layers=(Layer.GPU,),
    )


def _failed(trial: Trial, step: Step, smoke: Smoke, nvml: NvmlAnswer | Unknown) -> Finding:
    row = cuda_error(step.result)
    device = _device(trial, nvml)
    identifier = _identifier(trial, step, row, device, nvml)
    way = _WAYS[identifier]
    name = step.name or (row.driver_name if row else None) or ""
    said = f"{step.call} answers {step.result} {name}".rstrip()
    who, full = trial.gpu if way.of_gpu else "a GPU", identifier == MEMORY
    short = identifier == INIT and step.result == _OUT_OF_MEMORY
    return Finding(
        id=identifier,
        subject=_subject(trial) if way.of_gpu else "",
        severity=Severity.ERROR,
        confidence=way.confidence,
        kind=_ENVIRONMENT if short else way.kind,
        title=f"{who} runs no kernel: {said}",
        detail=(way.detail or _meaning(row)) + _beside(smoke),
        evidence=tuple(_evidence(trial, step, name, smoke, device if full else None)),
        remedies=(
            *way.remedies(trial)[:1],
            *(_gpu_processes.end(device.processes or (), "its memory is free then") if device and full else ()),
            *((_by_table(row),) if row is not None and identifier == INIT and not short else ()),
            *way.remedies(trial)[1:],
        ),
        explains=way.explains,
        layers=way.layers,
    )


def _by_table(row: CudaError) -> Remedy:
    return Remedy(summary=row.remedy.rstrip("."), risk=Risk.DISRUPTIVE)


def _subject(trial: Trial) -> str:
    return trial.address or f"CUDA device {trial.ordinal}"


def _device(trial: Trial, nvml: NvmlAnswer | Unknown) -> NvmlDevice | None:
    devices = nvml.devices if isinstance(nvml, NvmlAnswer) and trial.address else ()
    return next((one for one in devices if one.address == trial.address and one.instances is None), None)


def _identifier(
    trial: Trial, step: Step, row: CudaError | None, device: NvmlDevice | None, nvml: NvmlAnswer | Unknown
) -> str:
    """The finding by the error's number, unless something else that is known speaks against that."""
    if step.call in _RUNNING and step.result in _KERNEL_FAULTS:
        return FAULT
    identifier = row.smoke if row is not None and row.smoke else INIT
    free = None
    if device is not None and device.memory_total is not None and device.memory_used is not None:
        free = device.memory_total - device.memory_used
    if identifier == MODE and trial.compute_mode == _DEFAULT_MODE:
        return INIT
    if identifier == MEMORY and free is not None and free >= _ENOUGH:
        return INIT
    if identifier == FABRIC and isinstance(nvml, NvmlAnswer) and nvml.confidential and not nvml.ready:
        return CONFIDENTIAL
    return identifier


def _meaning(row: CudaError | None) -> str:
    if row is None:
        return "The kernel log may say why."
    return row.meaning + (f" Usual causes: {'; '.join(row.causes)}." if row.causes else "")


def _evidence(trial: Trial, step: Step, name: str, smoke: Smoke, device: NvmlDevice | None) -> Iterator[Evidence]:
    yield Evidence(source=f"smoke test of {trial.gpu}", excerpt=f"{step.call}: {step.result} {name}".rstrip())
    for line in trial.jit_log.splitlines()[:2]:
        yield Evidence(source="the driver's compiler", excerpt=line[:300])
    if trial.compute_mode:
        yield Evidence(source=f"compute mode of {trial.gpu}", excerpt=_MODES.get(trial.compute_mode, "restricted"))
    if smoke.mps:
        yield Evidence(source="smoke test", excerpt="went through the MPS server, as every program here does")
    if device is not None and device.memory_total and device.memory_used is not None:
        used = f"{device.memory_used / _GIB:.1f} of {device.memory_total / _GIB:.1f} GiB used"
        yield Evidence(source=f"NVML, GPU {device.index}", excerpt=used)
        yield from _gpu_processes.told_of(device.processes or (), "NVML's list of processes")


_MODES = {1: "exclusive to a thread", 2: "prohibited", 3: "exclusive to a process"}


class _Way(NamedTuple):
    """How a finding is told. `of_gpu` where it is one GPU's, not the machine's; without a `detail` the table's is."""

    kind: FindingClass
    confidence: Confidence
    layers: tuple[Layer, ...]
    remedies: Callable[[Trial], tuple[Remedy, ...]]
    detail: str = ""
    explains: frozenset[str] = frozenset()
    of_gpu: bool = False


_SEE_LIMITS = Remedy(
    summary="see what of the machine's own memory is left, and which limits hold for this process",
    commands=("free -m", "ulimit -v -l", "cat /proc/self/cgroup"),
)
_SEE_LIBCUDA = Remedy(
    summary="see which libcuda programs get, and which release the loaded module is of",
    commands=("ldconfig -p | grep libcuda.so", "cat /sys/module/nvidia/version", "echo $LD_LIBRARY_PATH"),
)


def _let_in(trial: Trial) -> tuple[Remedy, ...]:
    which = shlex.quote(trial.address or str(trial.ordinal))
    return (
        Remedy(
            summary="see who has the GPU; where it is a job's, take another GPU or wait for its end",
            commands=(
                f"nvidia-smi -i {which} --query-gpu=compute_mode --format=csv",
                f"nvidia-smi -i {which} --query-compute-apps=pid,name --format=csv",
            ),
        ),
        Remedy(
            summary="if the mode is not meant (a batch system may set it), let all programs in",
            commands=(f"sudo nvidia-smi -i {which} -c DEFAULT",),
            needs_root=True,
            prediction="it holds until the driver is unloaded or the machine reboots",
        ),
    )


def _log_then_reset(trial: Trial) -> tuple[Remedy, ...]:
    return (READ_THE_LOG, *reset(trial.address or ""))


def _unless_full(trial: Trial) -> tuple[Remedy, ...]:
    """What helps a GPU that does not start; a reset makes no room in a machine's memory."""
    full = trial.steps[-1].result == _OUT_OF_MEMORY
    return (_SEE_LIMITS,) if full else _log_then_reset(trial)


_HARDWARE, _ENVIRONMENT = FindingClass.HARDWARE, FindingClass.ENVIRONMENT
_CONFIGURATION = FindingClass.CONFIGURATION
_SURE, _LIKELY = Confidence.CERTAIN, Confidence.LIKELY
_GPU, _LIBCUDA = (Layer.GPU,), (Layer.LIBCUDA,)
_WAYS = {
    INIT: _Way(_CONFIGURATION, _LIKELY, _GPU, _unless_full, of_gpu=True),
    FAULT: _Way(
        _HARDWARE,
        _LIKELY,
        _GPU,
        lambda trial: (READ_THE_LOG, *reset(trial.address or ""), *repair()),
        "The kernel is nvdiag's own and touches nothing but one page that it was given: where it is ended as faulty,"
        " the GPU or the driver is at fault, no program.",
        frozenset({INIT}),
        of_gpu=True,
    ),
    RESET: _Way(_HARDWARE, _SURE, _GPU, _log_then_reset, explains=frozenset({INIT}), of_gpu=True),
    MODE: _Way(
        _ENVIRONMENT,
        _LIKELY,
        _GPU,
        _let_in,
        "In the mode exclusive to a process one program has the GPU to itself, in the mode prohibited none may use it.",
    ),
    MEMORY: _Way(_ENVIRONMENT, _LIKELY, _GPU, lambda _: (SEE_HOLDERS,), of_gpu=True),
    MPS: _Way(_ENVIRONMENT, _SURE, _LIBCUDA, lambda _: (SEE_MPS, WITHOUT_MPS, RESTART_MPS), explains=frozenset({MODE})),
    FABRIC: _Way(_CONFIGURATION, _LIKELY, _GPU, lambda _: (SEE_FABRIC, START_FABRIC)),
    CONFIDENTIAL: _Way(
        _CONFIGURATION,
        _SURE,
        _GPU,
        lambda _: (SET_READY,),
        "In confidential-computing mode a GPU takes no work until its ready state is set.",
    ),
    VGPU: _Way(_CONFIGURATION, _LIKELY, _GPU, lambda _: LICENCE_WAYS),
    LIBRARIES: _Way(
        _CONFIGURATION,
        _LIKELY,
        _LIBCUDA,
        lambda _: COMPLETE_LIBRARIES,
        "The kernel is old PTX, which every release of the driver compiles. Its compiler is a library of its own"
        " (libnvidia-ptxjitcompiler), which is missing here or of another release.",
    ),
    FOREIGN: _Way(_CONFIGURATION, _SURE, _LIBCUDA, lambda _: (_SEE_LIBCUDA,), explains=frozenset({INIT})),
    STUB: _Way(_ENVIRONMENT, _SURE, _LIBCUDA, lambda _: (_SEE_LIBCUDA,)),
    COMPAT: _Way(_ENVIRONMENT, _SURE, _LIBCUDA, lambda _: (_SEE_LIBCUDA,)),
}
"""By the finding, all of those that the table of CUDA's errors names for the smoke test."""
