"""Which GPUs a process may see and which it asks for: CUDA_VISIBLE_DEVICES, device numbers, MIG instances."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Remedy, Risk
from nvdiag.model.unknown import NotApplicable

_SET = ("visible-devices-set", "visible-devices-printed", "visible-devices-empty")

_LOOK = Remedy(
    summary="see which GPUs there are, and what the program's environment says",
    commands=("nvidia-smi -L", "env | grep -E '^(CUDA|NVIDIA)_'"),
)
_UNSET = Remedy(
    summary="run the program without the variable; if that helps, correct it where it is set",
    commands=("unset CUDA_VISIBLE_DEVICES", "nvidia-smi -L"),
    prediction="every GPU is visible then; numbers begin at 0 and end at the first one that does not exist."
    " In a program, the variable must be set before CUDA starts",
)


@check("visible-devices-invalid", area="environment")
def variables_name_gpus_that_are_there(messages: Messages) -> Iterator[Finding]:
    """CUDA_VISIBLE_DEVICES and NVIDIA_VISIBLE_DEVICES hide no GPU that is wanted and name none that is not there."""
    said = messages.proving("visible-devices-invalid")
    wrong, confidence = _wrong_values(messages)
    if not said and not wrong:
        raise NotApplicable("no message in the text tells of it")
    yield _said.finding(
        said or wrong,
        "visible-devices-invalid",
        title="" if said else f"{wrong[0].told}, and CUDA finds no GPU",
        confidence=None if said else confidence,
        kind=FindingClass.ENVIRONMENT,
        detail=_why(wrong),
        remedies=(_ASK_FOR_OTHERS,) if any(one.message.by == "nvidia-container-cli" for one in said) else (_UNSET,),
        explains=frozenset({"no-cuda-device", "device-ordinal-invalid", "llama-built-without-cuda"}),
        beside=_said.evidence((*wrong, *messages.proving("no-cuda-device"))),
    )


_ASK_FOR_OTHERS = Remedy(
    summary="ask for GPUs that this machine has, by number or by UUID",
    commands=("nvidia-smi -L", "docker run --rm --gpus all IMAGE nvidia-smi -L"),
    prediction="the container starts once NVIDIA_VISIBLE_DEVICES or --gpus names GPUs of that list",
)


def _wrong_values(messages: Messages) -> tuple[tuple[Said, ...], Confidence]:
    """Values of CUDA_VISIBLE_DEVICES that tell why CUDA finds no device, where the text has no other value."""
    values = messages.named(*_SET)
    absent = messages.proving("no-cuda-device")
    if not values or any(one.groups.get("again") for one in values):
        return (), Confidence.LIKELY
    if all(_hides_all(one) for one in values):
        seen = bool(absent) or bool(messages.named("torch-cuda-unavailable", "gpu-not-seen", "llama-gpu-not-seen"))
        return (values if seen else ()), (Confidence.CERTAIN if absent else Confidence.LIKELY)
    names_missing = all(_hides_all(one) or _begins_late(one) for one in values)
    return (values if absent and names_missing else ()), Confidence.LIKELY


def _hides_all(one: Said) -> bool:
    value = one.groups.get("value", "")
    return not re.match(r"\d|GPU-|MIG-", value, re.IGNORECASE)


def _begins_late(one: Said) -> bool:
    """Whether the first entry is one that need not exist: a number other than 0, or an identifier."""
    value = one.groups.get("value", "")
    return bool(re.match(r"0*[1-9]|GPU-", value, re.IGNORECASE))


def _why(wrong: Sequence[Said]) -> str:
    if any(_hides_all(one) for one in wrong):
        return "An empty value, -1, or anything that is no number or identifier hides every GPU from CUDA."
    if wrong:
        return (
            "CUDA takes the list up to its first entry that does not exist; here that is the first one."
            " Numbers begin at 0."
        )
    return ""


@check("device-ordinal-invalid", area="environment")
def programs_ask_for_gpus_that_they_see(messages: Messages) -> Iterator[Finding]:
    """Programs ask for no more GPUs than they can see."""
    said = _said.about(messages, "device-ordinal-invalid")
    values = [one for one in messages.named(*_SET) if one.groups.get("value")]
    yield _said.finding(
        said,
        "device-ordinal-invalid",
        kind=FindingClass.APPLICATION,
        detail="Numbers begin at 0 and count the visible GPUs alone: with CUDA_VISIBLE_DEVICES=1 the one GPU that is"
        " left has number 0.",
        remedies=(
            _LOOK,
            Remedy(
                summary="ask for fewer GPUs, or for a smaller number, or let the process see more",
                commands=("unset CUDA_VISIBLE_DEVICES",) if values else (),
                prediction="cuda:0 always works where one GPU is visible; as many processes as GPUs, each with the"
                " number of its local rank",
            ),
        ),
        beside=_said.evidence(values),
    )


@check("no-cuda-device", area="environment")
def programs_find_a_cuda_device(messages: Messages) -> Iterator[Finding]:
    """No program says that CUDA finds no device."""
    said = _said.about(messages, "no-cuda-device")
    yield _said.finding(
        said,
        "no-cuda-device",
        kind=FindingClass.ENVIRONMENT,
        detail="The text does not say why. Usual reasons: CUDA_VISIBLE_DEVICES hides the GPUs, a container was started"
        " without them, device nodes are missing, or the driver does not hold the GPU.",
        remedies=(
            _LOOK,
            Remedy(
                summary="look at this machine itself, inside the container or job if there is one",
                commands=("nvdiag", "ls -l /dev/nvidia*"),
            ),
        ),
        explains=frozenset({"llama-layers-on-cpu"}),
    )


_WATCH = Remedy(
    summary="let the plug-in's container see all instances: it needs the variable, and to run privileged",
    commands=("kubectl set env daemonset/NAME -n NAMESPACE NVIDIA_MIG_MONITOR_DEVICES=all",),
    risk=Risk.DISRUPTIVE,
    prediction="NVIDIA's own charts set it; the pods restart and name the instances",
)


@check("mig-misconfigured", area="environment")
def mig_suits_how_gpus_are_addressed(messages: Messages) -> Iterator[Finding]:
    """MIG mode and its instances suit how programs address the GPU."""
    said = messages.proving("mig-misconfigured")
    absent = messages.proving("no-cuda-device")
    named = [one for one in messages.named(*_SET) if one.groups.get("value", "").upper().startswith("MIG-")]
    asked = messages.proving("device-ordinal-invalid") if named or messages.named("mig-in-use") else ()
    if not said and not (named and absent) and not asked:
        raise NotApplicable("no message in the text tells of it")
    beside: tuple[Evidence, ...] = _said.evidence((*named, *messages.named("mig-in-use")[:1], *absent))
    unwatched = bool(said) and all(one.message.name == "mig-may-not-be-watched" for one in said)
    yield _said.finding(
        said or asked or named,
        "mig-misconfigured",
        confidence=None if said else Confidence.LIKELY,
        title=""
        if said
        else "the program asks for a further GPU, and with MIG a process sees one instance alone"
        if asked
        else "CUDA_VISIBLE_DEVICES names a MIG instance, and CUDA does not find it",
        kind=FindingClass.CONFIGURATION,
        detail="An instance's figures are open only to who holds MIG's monitor capability."
        if unwatched
        else "CUDA lists a single MIG instance in each process, as number 0, however many there are."
        if asked
        else "Instances, and their identifiers, are gone after a reboot or a reset unless something makes them anew.",
        remedies=(
            *((_WATCH,) if unwatched else ()),
            Remedy(
                summary="see the mode, the instances and their identifiers",
                commands=(
                    "nvidia-smi -L",
                    "nvidia-smi --query-gpu=index,mig.mode.current,mig.mode.pending --format=csv",
                    "sudo nvidia-smi mig -lgi",
                ),
                needs_root=True,
            ),
            Remedy(
                summary="make an instance, where the mode is on and there is none",
                commands=("sudo nvidia-smi mig -lgip", "sudo nvidia-smi mig -cgi PROFILE -C"),
                needs_root=True,
                prediction="CUDA sees an instance as soon as it has a compute instance, which -C makes",
            ),
        ),
        explains=frozenset({"no-cuda-device", "device-ordinal-invalid"}),
        beside=beside,
    )
