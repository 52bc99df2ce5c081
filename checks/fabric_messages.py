"""What a text says of the services that join GPUs: fabric manager, IMEX, and confidential computing's ready state."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages
from nvdiag.model.finding import Confidence, Finding, Layer, Remedy, Risk
from nvdiag.model.unknown import NotApplicable

_FABRIC = ("fabricmanager-failed", "fabricmanager-inactive", "fabric-state-waiting", "cuda-fabric-probe-wait")


@check("fabric-manager-not-running", area="device")
def the_fabric_is_ready(messages: Messages) -> Iterator[Finding]:
    """No message tells of CUDA waiting for a fabric manager (802)."""
    said = _said.about(messages, "fabric-manager-not-running")
    beside = messages.named("fabricmanager-inactive", "fabricmanager-nothing-to-do")
    if messages.named("cc-not-ready", "cc-mode-on") and not messages.named(*_FABRIC):
        raise NotApplicable("the GPU is in confidential-computing mode, which explains 802 without a fabric manager")
    nothing = bool(messages.named("fabricmanager-nothing-to-do"))
    told = next((one.told for one in (*beside, *said) if one.message.name.startswith("fabric")), "")
    yield _said.finding(
        (*said, *beside),
        "fabric-manager-not-running",
        title=f"{said[0].told}; {told}"
        if told and told != said[0].told
        else f"{said[0].told}: no fabric manager is at work",
        confidence=Confidence.CERTAIN if messages.named("fabricmanager-inactive") else Confidence.LIKELY,
        detail=(
            "This system sees no NVSwitch. In a virtual machine the host runs the fabric manager; on NVLink 5 it needs"
            " the packages and modules of nvlsm as well (ib_umad, mlx5_ib)."
            if nothing
            else "GPUs that NVSwitches join (SXM boards with 4, 8 or 16) need nvidia-fabricmanager of exactly the"
            " driver's release; until it has set the fabric up, CUDA answers 802, and nvidia-smi works."
        ),
        remedies=(SEE_FABRIC, START_FABRIC),
        explains=frozenset({"no-cuda-device", "nccl-transport-failed"}),
        layers=(Layer.GPU,),
    )


SEE_FABRIC = Remedy(
    summary="see the service, its log, and what the GPUs say of the fabric",
    commands=(
        "systemctl status nvidia-fabricmanager",
        "sudo tail -n 30 /var/log/fabricmanager.log",
        "nvidia-smi -q | grep -A 3 -E '^ +Fabric'",
    ),
    needs_root=True,
)
START_FABRIC = Remedy(
    summary="install the fabric manager of the driver's release where there is none, start it, and try again",
    commands=(
        "nvidia-smi --query-gpu=driver_version --format=csv,noheader",
        "sudo systemctl enable --now nvidia-fabricmanager",
    ),
    needs_root=True,
    prediction="after a minute the fabric's state is Completed and CUDA starts; a container only needs a new start."
    " The package is nvidia-fabricmanager-BRANCH (Debian, Ubuntu) or nvidia-fabric-manager (RHEL family)",
)


@check("fabric-manager-mismatch", area="device")
def the_fabric_manager_is_of_the_drivers_release(messages: Messages) -> Iterator[Finding]:
    """No message tells of a fabric manager of another release than the driver."""
    said = _said.about(messages, "fabric-manager-mismatch")
    driver = next((one.groups["driver"] for one in said if one.groups.get("driver")), "")
    yield _said.finding(
        said,
        "fabric-manager-mismatch",
        detail="They must be equal to the last number; often an automatic update took only one of the two.",
        remedies=(
            install_fabric_manager(driver),
            Remedy(
                summary="start it, and keep the two together from now on",
                commands=("sudo systemctl restart nvidia-fabricmanager", "systemctl status nvidia-fabricmanager"),
                risk=Risk.DISRUPTIVE,
                needs_root=True,
                prediction="if the driver was updated too and not loaded yet, reboot instead",
            ),
        ),
        explains=frozenset({"fabric-manager-not-running", "imex-not-running", "no-cuda-device"}),
        layers=(Layer.GPU,),
    )


def install_fabric_manager(driver: str) -> Remedy:
    """Install the fabric manager of the driver's release; of one that is not known by a placeholder."""
    branch = driver.partition(".")[0] or "BRANCH"
    release = driver or "RELEASE"
    deb = shlex.quote(f"nvidia-fabricmanager-{branch}={release}*")
    rpm = shlex.quote(f"nvidia-fabric*manager-{release}*")
    return Remedy(
        summary=f"install the fabric manager of the driver's release{f', {driver}' if driver else ''}",
        commands=(f"sudo apt install {deb}", f"sudo dnf install {rpm}    # RHEL family"),
        needs_root=True,
        prediction="where the repository has it no more, bring driver and fabric manager both to a newer release",
    )


@check("imex-not-running", area="device")
def imex_serves_this_machine(messages: Messages) -> Iterator[Finding]:
    """No message tells of NVLink between machines without its IMEX service or channels."""
    said = _said.about(messages, "imex-not-running")
    yield _said.finding(
        said,
        "imex-not-running",
        detail="GPUs of several machines on one NVLink need the service nvidia-imex on each of them, with the same"
        " list of nodes, and a channel node for each user or container.",
        remedies=(
            Remedy(
                summary="see the service, the domain and the channels",
                commands=(
                    "systemctl status nvidia-imex",
                    "nvidia-imex-ctl -N",
                    "cat /etc/nvidia-imex/nodes_config.cfg",
                    "ls -l /dev/nvidia-caps-imex-channels",
                ),
            ),
            Remedy(
                summary="start the service on every machine of the domain",
                commands=("sudo systemctl enable --now nvidia-imex",),
                needs_root=True,
            ),
            Remedy(
                summary="have the driver make channel 0, then reboot; give it to containers by name",
                commands=(
                    "echo 'options nvidia NVreg_CreateImexChannel0=1' | sudo tee /etc/modprobe.d/nvidia-imex.conf",
                    "docker run --gpus all --device /dev/nvidia-caps-imex-channels/channel0 IMAGE",
                ),
                needs_root=True,
                reboots=True,
            ),
            Remedy(
                summary="or do without NVLink between machines for now",
                commands=("export NCCL_MNNVL_ENABLE=0",),
                prediction="NCCL then goes over the network, more slowly",
            ),
        ),
        explains=frozenset({"nccl-transport-failed"}),
        layers=(Layer.GPU,),
    )


@check("confidential-computing-not-ready", area="device")
def confidential_gpus_are_ready(messages: Messages) -> Iterator[Finding]:
    """No message tells of GPUs in confidential-computing mode that were not set ready."""
    said = messages.proving("confidential-computing-not-ready")
    waiting = messages.named("cuda-802-text", "cuda-802-name", "cuda-802-number", "nvml-not-ready")
    mode = messages.named("cc-mode-on")
    if not said and not (mode and waiting and not messages.named(*_FABRIC)):
        raise NotApplicable("no message in the text tells of it")
    yield _said.finding(
        (*said, *mode, *waiting),
        "confidential-computing-not-ready",
        title="" if said else "the GPU is in confidential-computing mode and not set ready, so CUDA answers 802",
        confidence=Confidence.CERTAIN if said else Confidence.LIKELY,
        detail="In this mode the GPU takes no work until its ready state is set, which attestation does, or a person;"
        " a reset or reboot clears it again. A fabric manager has no part in it on a machine with one GPU.",
        remedies=(
            Remedy(
                summary="see the mode and the state",
                commands=("nvidia-smi conf-compute -f", "nvidia-smi conf-compute -grs"),
            ),
            Remedy(
                summary="attest the GPU where trust matters, then set the ready state",
                commands=("sudo nvidia-smi conf-compute -srs 1",),
                needs_root=True,
                prediction="CUDA then starts; do it at every boot after nvidia-persistenced, and start containers anew",
            ),
        ),
        explains=frozenset({"fabric-manager-not-running", "no-cuda-device"}),
        layers=(Layer.GPU,),
    )
