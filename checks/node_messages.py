"""What a text says of the device nodes, and of nvidia_uvm, without which CUDA alone fails."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.model.finding import Confidence, Finding, FindingClass, Layer, Remedy, Risk
from nvdiag.model.unknown import NotApplicable

FRONTEND_MAJOR = "195"
"""The number of nvidiactl and of the GPUs' nodes (NV_MAJOR_DEVICE_NUMBER of nv-chardev-numbers.h)."""

_MAKE_NODES = Remedy(
    summary="make the nodes",
    commands=("sudo nvidia-modprobe -c 255 -c 0", "sudo nvidia-modprobe -u -c 0", "ls -l /dev/nvidia*"),
    needs_root=True,
    prediction="the first makes nvidiactl and nvidia0, the second loads nvidia_uvm and makes its node, until the next"
    " boot; nvidia-persistenced and a setuid nvidia-modprobe do it at every boot",
)


@check("device-nodes-missing", area="device")
def no_node_is_missed(messages: Messages) -> Iterator[Finding]:
    """No message tells of a device node that does not exist."""
    said = _said.about(messages, "device-nodes-missing")
    lines = {one.line for one in said}
    silent = [one for one in messages.suggesting("driver-not-loaded") if one.line not in lines]
    if silent:
        raise NotApplicable("the driver does not answer at all, so missing nodes need not be the reason")
    yield _said.finding(
        said,
        "device-nodes-missing",
        title=_of_node(said),
        detail="Programs reach the driver through these files. The kernel does not make them: nvidia-modprobe, a udev"
        " rule or nvidia-persistenced does. If the module is not loaded either, load that first.",
        remedies=(
            Remedy(
                summary="see whether the module is loaded",
                commands=("cat /proc/driver/nvidia/version", "lsmod | grep ^nvidia"),
            ),
            _MAKE_NODES,
            Remedy(
                summary="in a container: make them on the host, then start the container again",
                commands=("docker run --rm --gpus all IMAGE nvidia-smi",),
                prediction="the engine copies the nodes that the host has when the container starts",
            ),
        ),
        explains=frozenset({"gpu-init-failed", "no-cuda-device"}),
        layers=(Layer.GPU,),
    )


@check("device-nodes-forbidden", area="device")
def no_node_is_refused(messages: Messages) -> Iterator[Finding]:
    """No message tells of a device node that this user or process may not open."""
    said = _said.about(messages, "device-nodes-forbidden")
    cgroup = all(one.message.name == "node-not-permitted" for one in said)
    tegra = any(one.message.name == "nvmap-permission-denied" for one in said)
    yield _said.finding(
        said,
        "device-nodes-forbidden",
        title=_of_node(said),
        kind=FindingClass.ENVIRONMENT if cgroup else FindingClass.CONFIGURATION,
        detail=(
            "Not the mode of the node is the reason, but the device cgroup of this container or batch job."
            if cgroup
            else "Owner, group and mode of the node shut this user out. As root it works."
        ),
        remedies=(_ALLOW,) if cgroup else (_SEE_WHO, _JETSON_GROUPS if tegra else _JOIN),
        explains=frozenset({"gpu-init-failed", "no-cuda-device", "uvm-not-loaded", "device-nodes-missing"}),
        layers=(Layer.GPU,),
    )


_SEE_WHO = Remedy(
    summary="see what the nodes allow, and who you are",
    commands=("ls -l /dev/nvidia* /dev/nvmap /dev/dri", "id"),
)
_JOIN = Remedy(
    summary="join the group that owns the nodes, and log in again",
    commands=('sudo usermod -aG "$(stat -c %G /dev/nvidiactl)" "$USER"',),
    needs_root=True,
    prediction="where the group is root nobody meant it: look for NVreg_DeviceFileMode in /etc/modprobe.d",
)
_JETSON_GROUPS = Remedy(
    summary="join the groups that own the Jetson's GPU, and log in again (a service needs them in its unit)",
    commands=('sudo usermod -aG video,render "$USER"',),
    needs_root=True,
    prediction="a container needs --runtime nvidia and, for another user than root, --group-add video",
)
_ALLOW = Remedy(
    summary="restart the container with its GPUs, or ask the scheduler for one",
    commands=("docker restart CONTAINER", "srun --gpus=1 --pty bash"),
    risk=Risk.DISRUPTIVE,
    prediction="the devices are allowed when a container or job starts, and only then",
)


@check("device-nodes-stale", area="device")
def nodes_have_the_numbers_of_the_driver(messages: Messages) -> Iterator[Finding]:
    """No message tells of a device node with a number that the driver does not have."""
    wrong = [(one, why) for one in messages.named("node-listed") if (why := _wrong_number(one, messages))]
    said = (*messages.proving("device-nodes-stale"), *(one for one, _ in wrong))
    if not said:
        raise NotApplicable("no message in the text tells of it")
    node = f"/dev/{wrong[0][0].groups['node']}" if wrong else said[0].groups.get("node", "the node")
    yield _said.finding(
        said,
        "device-nodes-stale",
        title=f"{node} {wrong[0][1]}" if wrong else _of_node(said),
        confidence=Confidence.CERTAIN if wrong else Confidence.LIKELY,
        detail="A node is a name for a number. A udev rule, a script or an image that has the number written in it,"
        " or a node kept since the module was loaded anew, leads nowhere.",
        remedies=(
            Remedy(
                summary="compare the numbers",
                commands=("ls -l /dev/nvidia*", "grep nvidia /proc/devices"),
            ),
            Remedy(
                summary="remove the node and have it made anew",
                commands=(
                    f"sudo rm {shlex.quote(node) if node.startswith('/') else '/dev/nvidia-uvm'}",
                    "sudo nvidia-modprobe -c 255 -c 0",
                    "sudo nvidia-modprobe -u -c 0",
                ),
                risk=Risk.DISRUPTIVE,
                needs_root=True,
                prediction="if the wrong one comes back, look for mknod in /etc/udev/rules.d and start-up scripts;"
                " a container must be started again",
            ),
        ),
        explains=frozenset({"gpu-init-failed", "no-cuda-device", "uvm-not-loaded", "device-nodes-missing"}),
        layers=(Layer.GPU,),
    )


def _wrong_number(listed: Said, messages: Messages) -> str:
    """Why a listed node cannot be right, or nothing."""
    node, major = listed.groups["node"], listed.groups.get("major")
    if listed.groups["kind"] != "c":
        return "is no device node but a plain file or folder" if f"/dev/{node}" in listed.text else ""
    if node != "nvidia-uvm":
        return f"has the number {major}, not {FRONTEND_MAJOR}" if major != FRONTEND_MAJOR else ""
    real = {one.groups["major"] for one in messages.named("char-major-listed") if one.groups["driver"] == node}
    return f"has the number {major}, and nvidia-uvm is {min(real)}" if real and major not in real else ""


LOAD_UVM = Remedy(
    summary="load nvidia_uvm and make its node",
    commands=("sudo nvidia-modprobe -u -c 0", "ls -l /dev/nvidia-uvm", "sudo dmesg | grep -i nvidia-uvm | tail -n 20"),
    needs_root=True,
    prediction="CUDA then works at once; a setuid nvidia-modprobe does it by itself for every user",
)
RELOAD_UVM = Remedy(
    summary="stop all CUDA programs and load nvidia_uvm anew",
    commands=(
        "sudo fuser -v /dev/nvidia-uvm",
        "sudo modprobe -r nvidia_uvm",
        "sudo modprobe nvidia_uvm",
        "sudo nvidia-modprobe -u -c 0",
    ),
    risk=Risk.DISRUPTIVE,
    needs_root=True,
    prediction="nothing but CUDA programs holds it, so displays go on; a reboot does the same",
)
_WITHOUT_HMM = Remedy(
    summary="switch heterogeneous memory off in nvidia_uvm, and load it again",
    commands=(
        "echo 'options nvidia_uvm uvm_disable_hmm=1' | sudo tee /etc/modprobe.d/nvidia-uvm-hmm.conf",
        "sudo modprobe -r nvidia_uvm",
        "sudo modprobe nvidia_uvm",
    ),
    risk=Risk.DISRUPTIVE,
    needs_root=True,
    prediction="booting with nokaslr is NVIDIA's other way round this kernel's fault",
)


@check("uvm-not-loaded", area="device")
def nvidia_uvm_works(messages: Messages) -> Iterator[Finding]:
    """No message tells of a CUDA that fails for want of nvidia_uvm."""
    said = _said.about(messages, "uvm-not-loaded")
    sure = tuple(one for one in said if not one.message.name.startswith("cuda-"))
    if not sure:
        _no_other_reason(messages)
        if messages.suggesting("uvm-broken-after-suspend") and _suspended(messages):
            raise NotApplicable("the machine was suspended, which uvm-broken-after-suspend is about")
    hmm = bool(messages.named("uvm-hmm-no-region"))
    yield _said.finding(
        (*sure, *(one for one in said if one not in sure)),
        "uvm-not-loaded",
        title="" if sure else f"{said[0].told}: nvidia_uvm not loaded, or its node missing, is the usual reason",
        detail="CUDA needs the module nvidia_uvm and /dev/nvidia-uvm; nvidia-smi does not, and works without them."
        + ("" if sure else " If nvidia-smi fails as well, this is not the reason."),
        remedies=(*((_WITHOUT_HMM,) if hmm else ()), LOAD_UVM, RELOAD_UVM, _FOR_CONTAINERS),
        explains=frozenset({"no-cuda-device"}),
        layers=(Layer.LIBCUDA,),
    )


_FOR_CONTAINERS = Remedy(
    summary="in a container: make /dev/nvidia-uvm on the host, then start the container again with its GPUs",
    commands=("sudo nvidia-modprobe -u -c 0", "docker run --rm --gpus all IMAGE nvidia-smi"),
    needs_root=True,
)


@check("uvm-broken-after-suspend", area="device")
def cuda_survives_a_suspend(messages: Messages) -> Iterator[Finding]:
    """No message tells of a CUDA that fails since the machine was suspended."""
    failures = tuple(one for one in messages.proving("uvm-not-loaded") if one.message.name.startswith("cuda-"))
    slept = _suspended(messages)
    if not failures or not slept:
        raise NotApplicable("no message tells of a suspend and of CUDA's error 999")
    _no_other_reason(messages)
    yield _said.finding(
        (*failures[:4], *slept[:2]),
        "uvm-broken-after-suspend",
        title="CUDA fails with 999 (unknown error), and the machine was suspended before",
        confidence=Confidence.LIKELY,
        detail="nvidia_uvm often does not survive a suspend: what it kept in the GPU's memory is gone.",
        remedies=(
            RELOAD_UVM,
            Remedy(
                summary="have the driver keep the GPU's memory over a suspend",
                commands=(
                    "echo 'options nvidia NVreg_PreserveVideoMemoryAllocations=1'"
                    " | sudo tee /etc/modprobe.d/nvidia-suspend.conf",
                    "sudo systemctl enable nvidia-suspend nvidia-hibernate nvidia-resume",
                ),
                needs_root=True,
                reboots=True,
                prediction="it needs room for that memory in NVreg_TemporaryFilePath, by default /tmp",
            ),
        ),
        explains=frozenset({"uvm-not-loaded", "no-cuda-device"}),
        layers=(Layer.LIBCUDA,),
    )


def _suspended(messages: Messages) -> tuple[Said, ...]:
    """What shows a suspend, or a wake-up, in the text."""
    return messages.named("suspend-in-the-log", "suspend-in-words", "nvrm-preserve-memory")


_OTHER_AREAS = ("driver-", "container-", "gpu-", "libcuda-", "nvml-", "cuda-compat-", "secure-", "wsl-", "jetson-")
_OTHER_IDS = frozenset({"device-nodes-forbidden", "device-nodes-stale", "visible-devices-invalid", "no-nvidia-gpu"})
_NO_REASON = frozenset({"gpu-slowed", "gpu-arch-not-in-build", "gpu-memory-held"})


def _no_other_reason(messages: Messages) -> None:
    """CUDA's 999 alone says little: a message that names a fault of driver, GPU or container is the better reading."""
    for one in messages.said:
        proves = one.message.proves or ""
        if (proves.startswith(_OTHER_AREAS) or proves in _OTHER_IDS) and proves not in _NO_REASON:
            raise NotApplicable(f"CUDA's error 999 is a consequence here: {proves} is the better reading")
    if any(not _aside(one) for one in messages.suggesting("container-devices-revoked")):
        raise NotApplicable("NVML fails as well, so it is not CUDA's module alone")


def _aside(one: Said) -> bool:
    """Whether it is no failure: what somebody typed, or nvidia-smi's table, which works where CUDA fails alone."""
    return one.message.by == "shell" or one.message.name == "smi-works"


def _of_node(said: tuple[Said, ...]) -> str:
    """What the first of the surest messages says, with the node's name where the message has it."""
    first = next((one for one in said if one.message.confidence is Confidence.CERTAIN), said[0])
    node = first.groups.get("node", "")
    return f"{first.told}: {node}" if node and node not in first.told else first.told
