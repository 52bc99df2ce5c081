"""What a text says of who may use a GPU together: compute mode, MPS, and vGPU."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.model.finding import Confidence, Finding, FindingClass, Layer, Remedy, Risk, Severity
from nvdiag.model.unknown import NotApplicable

_WHY_46 = frozenset({"gpu-hardware-fault", "gpu-reset-required", "mig-misconfigured", "gpu-memory-held"})


@check("compute-mode-restricted", area="device")
def programs_may_open_a_context(messages: Messages) -> Iterator[Finding]:
    """No message tells of a compute mode, or a program that holds the GPU alone, which refuses others."""
    said = _said.about(messages, "compute-mode-restricted")
    exclusive = messages.named("compute-mode-exclusive")
    settled = exclusive or any(one.message.confidence is Confidence.CERTAIN for one in said)
    if not settled and any(one.message.proves in _WHY_46 for one in messages.said):
        raise NotApplicable("CUDA 46 has another reason here, which its own finding tells")
    yield _said.finding(
        (*said, *exclusive),
        "compute-mode-restricted",
        title=f"{said[0].told}, and {exclusive[0].told}" if exclusive else "",
        confidence=Confidence.CERTAIN if settled else Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        detail="In the mode Exclusive_Process one program has the GPU to itself, in Prohibited none may use CUDA."
        + ("" if settled else " A GPU in MIG mode without instances, or after a fault, answers with the same error."),
        remedies=(
            Remedy(
                summary="see the mode, and who holds the GPU",
                commands=(
                    "nvidia-smi --query-gpu=index,compute_mode,mig.mode.current --format=csv",
                    "nvidia-smi --query-compute-apps=pid,name --format=csv",
                    "sudo fuser -v /dev/nvidia*",
                ),
                needs_root=True,
            ),
            Remedy(
                summary="if the mode is not meant (a batch system may set it), let all programs in",
                commands=("sudo nvidia-smi -i 0 -c DEFAULT",),
                needs_root=True,
                prediction="it holds until the driver is unloaded or the machine reboots",
            ),
        ),
        explains=frozenset({"no-cuda-device"}),
        layers=(Layer.GPU,),
    )


_FULL = ("cuda-808", "cuda-809")
_ENDED = ("cuda-810", "mps-server-fatal")


@check("mps-unavailable", area="environment")
def mps_serves_its_programs(messages: Messages) -> Iterator[Finding]:
    """No message tells of an MPS server that refuses a program, or is not there."""
    said = _said.about(messages, "mps-unavailable")
    daemonless = messages.named("mps-no-daemon")
    names = {one.message.name for one in said}
    if names.intersection(_FULL):
        detail = "One MPS server serves 48 programs (16 before Volta), and their connections share the hardware."
    elif names.intersection(_ENDED):
        detail = "A fault of one program ends all programs of the same server; its Xid stands in the kernel log."
    else:
        detail = (
            "With a pipe folder of MPS in sight, CUDA goes through the MPS daemon. It may have stopped, belong to"
            " another user, or be out of reach of this container."
        )
    yield _said.finding(
        (*said, *daemonless),
        "mps-unavailable",
        confidence=Confidence.CERTAIN if daemonless else None,
        kind=FindingClass.ENVIRONMENT,
        detail=detail,
        remedies=(SEE_MPS, _FEWER if names.intersection(_FULL) else WITHOUT_MPS, RESTART_MPS),
        explains=frozenset({"no-cuda-device", "compute-mode-restricted"}),
        layers=(Layer.LIBCUDA,),
    )


SEE_MPS = Remedy(
    summary="see the daemon, its users and its logs",
    commands=(
        "ps -eo user,pid,args | grep '[n]vidia-cuda-mps'",
        "env | grep CUDA_MPS",
        "sudo tail -n 20 /var/log/nvidia-mps/control.log /var/log/nvidia-mps/server.log",
    ),
    needs_root=True,
)
WITHOUT_MPS = Remedy(
    summary="run the program past MPS, to see whether it works without",
    commands=("CUDA_MPS_PIPE_DIRECTORY=/nonexistent PROGRAM",),
    prediction="it works unless the compute mode is Exclusive_Process, which only MPS may use",
)
_FEWER = Remedy(summary="run fewer programs at a time on this GPU, or lower CUDA_DEVICE_MAX_CONNECTIONS in them")
RESTART_MPS = Remedy(
    summary="restart the daemon, as the user whose programs it serves (stops all programs that use it)",
    commands=("echo quit | nvidia-cuda-mps-control", "nvidia-cuda-mps-control -d"),
    risk=Risk.DISRUPTIVE,
    prediction="a container needs --ipc=host and the pipe folder mounted; its user must be the daemon's",
)

WITHOUT_LICENCE = "Without a licence a vGPU is slowed down after some time, and CUDA is limited."
WITHOUT_LICENCE_WHOLE = (
    "A GPU that was handed in whole works without a licence; only what the vGPU product adds is missing."
)
WHAT_GOES_TOGETHER = (
    "A vGPU manager serves guests whose driver is of its own branch, of the branch before, or of the long-term branch"
    " before where its own is one, too; never of a later branch."
)
_LICENCE = ("gridd-license-failed", "gridd-license-missing", "vgpu-unlicensed")


@check("vgpu-misconfigured", area="device")
def vgpu_guest_and_host_agree(messages: Messages) -> Iterator[Finding]:
    """No message tells of a vGPU without a licence, or of guest and host drivers that do not go together."""
    licensed = messages.named("gridd-license-acquired")
    said = tuple(
        one
        for one in _said.about(messages, "vgpu-misconfigured")
        if one.message.name not in _LICENCE or not _later(licensed, one)
    )
    if not said:
        raise NotApplicable("the licence was acquired afterwards")
    licence = all(one.message.name in _LICENCE for one in said)
    whole = bool(messages.named("smi-gpu-passed-through")) and {one.message.name for one in said} == {"vgpu-unlicensed"}
    yield _said.finding(
        said,
        "vgpu-misconfigured",
        title="the GPU, which was handed in whole, has no vGPU licence" if whole else "",
        severity=Severity.WARNING if whole else Severity.ERROR,
        confidence=Confidence.POSSIBLE if whole else None,
        detail=WITHOUT_LICENCE_WHOLE
        if whole
        else WITHOUT_LICENCE
        if licence
        else f"{WHAT_GOES_TOGETHER} A guest needs the vGPU (GRID) driver, not the data-centre one.",
        remedies=LICENCE_WAYS if licence else RELEASE_WAYS,
        explains=frozenset({"gpu-init-failed", "no-cuda-device", "gpu-slowed"}),
        layers=(Layer.GPU,),
    )


def _later(licensed: tuple[Said, ...], failure: Said) -> bool:
    return any(one.source == failure.source and one.line > failure.line for one in licensed)


LICENCE_WAYS = (
    Remedy(
        summary="see what the licence daemon says",
        commands=("nvidia-smi -q | grep -A 3 'vGPU Software'", "sudo journalctl -u nvidia-gridd -n 30"),
        needs_root=True,
    ),
    Remedy(
        summary="check the token, the clock and the way to the licence server, then ask again",
        commands=(
            "ls -l /etc/nvidia/ClientConfigToken/",
            "timedatectl",
            "grep -vE '^#|^$' /etc/nvidia/gridd.conf",
            "sudo systemctl restart nvidia-gridd",
        ),
        needs_root=True,
        prediction="License acquired successfully stands in the journal within a minute; containers share the guest's",
    ),
)
RELEASE_WAYS = (
    Remedy(
        summary="compare the releases of guest and host",
        commands=("nvidia-smi --query-gpu=driver_version --format=csv,noheader", "sudo dmesg | grep -iE 'nvrm|vgpu'"),
        needs_root=True,
    ),
    Remedy(
        summary="install in the guest the vGPU driver of the host's vGPU release",
        prediction="it comes from NVIDIA's licensing portal or the cloud's own repository, not from a distribution",
    ),
)
