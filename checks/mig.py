"""MIG as NVML tells of it: a mode without instances or that waits for a reset, and instances named in vain."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from nvdiag.checks import _gpu_processes
from nvdiag.engine import check
from nvdiag.facts.device_choice import DeviceChoice, Entry
from nvdiag.facts.nvml_devices import NvmlDevice
from nvdiag.facts.vgpu import HOST
from nvdiag.facts.visible_gpus import NvmlGpus
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Risk, Severity
from nvdiag.model.unknown import NotApplicable

_FOLLOWS = frozenset({"no-cuda-device", "device-ordinal-invalid"})


@check("mig-misconfigured", area="environment")
def a_gpu_in_mig_mode_has_instances(listed: NvmlGpus) -> Iterator[Finding]:
    """Each GPU in MIG mode has an instance that this process may use, and no change of the mode waits for a reset."""
    gpus = [gpu for gpu in listed.gpus if gpu.mig is not None and gpu.virtualization != HOST]
    if not gpus:
        raise NotApplicable("no GPU here knows MIG, or they are made into virtual ones")
    usable = [gpu for gpu in listed.gpus if not _is_barren(gpu)]
    for gpu in gpus:
        if gpu.mig_pending is not None and gpu.mig_pending != gpu.mig:
            yield _waits(gpu)
        elif _is_barren(gpu):
            yield _barren(gpu, whole=not usable)


def _is_barren(gpu: NvmlDevice) -> bool:
    """Whether it is in MIG mode without an instance; a list that NVML refused is no empty one."""
    return gpu.mig is True and gpu.instances == () and "mig_instances" not in gpu.errors


def _barren(gpu: NvmlDevice, *, whole: bool) -> Finding:
    return Finding(
        id="mig-misconfigured",
        subject=gpu.address or f"GPU {gpu.index}",
        severity=Severity.ERROR if whole else Severity.WARNING,
        confidence=Confidence.CERTAIN,
        title=f"GPU {gpu.index} is in MIG mode, and has no instance that a program could use",
        detail="CUDA sees instances in place of a GPU in this mode, and here there is none. They are gone after a reset"
        " or a reboot unless something makes them anew; a container sees those alone that it was given.",
        evidence=(
            Evidence(source=f"nvmlDeviceGetMigMode({gpu.index})", excerpt="1, enabled"),
            Evidence(source=f"nvmlDeviceGetMigDeviceHandleByIndex({gpu.index})", excerpt="no MIG device at any place"),
        ),
        remedies=(_make(gpu), _switch_off(gpu)),
        explains=_FOLLOWS if whole else frozenset(),
        layers=(Layer.GPU,),
    )


def _make(gpu: NvmlDevice) -> Remedy:
    return Remedy(
        summary="make an instance, with its compute instance (-C), on the host",
        commands=(f"sudo nvidia-smi mig -i {gpu.index} -lgip", f"sudo nvidia-smi mig -i {gpu.index} -cgi PROFILE -C"),
        needs_root=True,
        prediction="CUDA sees it at once, under the identifier that nvidia-smi -L shows; PROFILE is a number of the"
        " list. A container must be given it and started anew",
    )


def _switch_off(gpu: NvmlDevice) -> Remedy:
    return Remedy(
        summary="or, if MIG is not wanted, switch the mode off",
        commands=(f"sudo nvidia-smi -i {gpu.index} -mig 0",),
        risk=Risk.DISRUPTIVE,
        needs_root=True,
        prediction="the whole GPU is one device again; on Ampere the GPU is reset for that, so nothing may use it",
    )


def _waits(gpu: NvmlDevice) -> Finding:
    to_be = "on" if gpu.mig_pending else "off"
    others = gpu.processes or ()
    return Finding(
        id="mig-misconfigured",
        subject=gpu.address or f"GPU {gpu.index}",
        severity=Severity.WARNING,
        confidence=Confidence.CERTAIN,
        title=f"MIG mode of GPU {gpu.index} is to be switched {to_be}, and waits for a reset of the GPU",
        detail="It was asked for while something used the GPU. Until the reset the GPU works on in the mode before.",
        evidence=(
            Evidence(
                source=f"nvmlDeviceGetMigMode({gpu.index})",
                excerpt=f"current {int(gpu.mig is True)}, pending {int(gpu.mig_pending is True)}",
            ),
            *_gpu_processes.told_of(others, "NVML's list of processes"),
        ),
        remedies=(
            *_gpu_processes.end(others, "the GPU can be reset then"),
            Remedy(
                summary="reset the GPU, which nothing may use then, monitoring included; where that is refused, reboot",
                commands=("sudo fuser -v /dev/nvidia*", f"sudo nvidia-smi --gpu-reset -i {gpu.index}"),
                risk=Risk.DISRUPTIVE,
                needs_root=True,
                prediction=f"the mode is {to_be} afterwards",
            ),
            Remedy(
                summary="or take the change back",
                commands=(f"sudo nvidia-smi -i {gpu.index} -mig {int(gpu.mig is True)}",),
                needs_root=True,
            ),
        ),
        layers=(Layer.GPU,),
    )


@check("mig-misconfigured", area="environment")
def instances_that_are_named_are_here(choice: DeviceChoice, listed: NvmlGpus) -> Iterator[Finding]:
    """CUDA_VISIBLE_DEVICES names no MIG instance that is not here."""
    if "MIG-" not in choice.value:
        raise NotApplicable("CUDA_VISIBLE_DEVICES names no MIG instance")
    if choice.end is not Entry.NO_SUCH_INSTANCE or choice.sees:
        return
    here = [one.uuid for gpu in listed.gpus for one in gpu.instances or () if one.uuid]
    modes = [gpu for gpu in listed.gpus if gpu.mig]
    yield Finding(
        id="mig-misconfigured",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if choice.sees == 0 else Confidence.LIKELY,
        title="CUDA_VISIBLE_DEVICES names a MIG instance that is not here"
        + ("" if modes else ", and no GPU is in MIG mode"),
        detail="CUDA finds no device then. An instance that is made anew has another identifier, also after a reboot.",
        evidence=(
            Evidence(source="environment", excerpt=f"CUDA_VISIBLE_DEVICES={choice.value}"[:200]),
            Evidence(
                source="NVML's list of MIG devices",
                excerpt=f"{len(here)} instance{'' if len(here) == 1 else 's'}: {', '.join(here[:4])}"
                if here
                else "no instance",
            ),
        ),
        remedies=tuple(_name_another(here, listed.gpus, modes)),
        explains=_FOLLOWS,
        layers=(Layer.GPU,),
    )


def _name_another(here: Sequence[str], gpus: Sequence[NvmlDevice], modes: Sequence[NvmlDevice]) -> Iterator[Remedy]:
    if here:
        yield Remedy(
            summary="name an instance that is here",
            commands=(f"export CUDA_VISIBLE_DEVICES={shlex.quote(here[0])}", "nvidia-smi -L"),
            prediction="take the one that is meant; in a job, take it from nvidia-smi -L as the job starts",
        )
    elif modes:
        yield _make(modes[0])
    else:
        yield Remedy(
            summary="name a GPU, or leave the variable out",
            commands=(f"export CUDA_VISIBLE_DEVICES={shlex.quote(gpus[0].uuid or '0')}",),
            prediction="without MIG a process sees the whole GPU",
        )
