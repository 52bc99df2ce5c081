"""The services that join GPUs, on machines that need them: fabric manager, IMEX; and confidential computing's state."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.answers import CudaAnswer, NvmlAnswer
from nvdiag.facts.fabric import FABRIC_MANAGER, IMEX_NODES, NOT_READY, Imex, NvSwitches, UnseenFabric
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.units import UnitState
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Risk, Severity
from nvdiag.model.unknown import NotApplicable, Unknown


@check("fabric-manager-not-running", area="device")
def the_fabric_manager_runs(
    loaded: LoadedDriver, switches: NvSwitches, cuda: CudaAnswer | Unknown
) -> Iterator[Finding]:
    """A fabric manager runs where NVSwitches join the GPUs."""
    init = cuda.init if isinstance(cuda, CudaAnswer) else None
    if init == 0:
        return
    if isinstance(switches.unit, Unknown):
        raise switches.unit
    if switches.unit.running:
        return
    from nvdiag.checks.fabric_messages import SEE_FABRIC, START_FABRIC

    yield Finding(
        id="fabric-manager-not-running",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if init == NOT_READY else Confidence.LIKELY,
        title="NVSwitches join the GPUs here, and the fabric manager "
        + ("is not installed" if switches.unit.load == "not-found" else f"does not run ({switches.unit.active})"),
        detail="Until it has set the fabric up, CUDA answers 802 (system not yet initialized), and nvidia-smi works. It"
        " must be of exactly the driver's release.",
        evidence=(
            switches.unit.evidence,
            Evidence(source="/sys/bus/pci/devices", excerpt=f"{len(switches.addresses)} NVSwitches (10de, class 0680)"),
            *((Evidence(source="cuInit", excerpt=str(init)),) if init is not None else ()),
        ),
        remedies=(SEE_FABRIC, START_FABRIC),
        explains=frozenset({"no-cuda-device", "nccl-transport-failed"}),
        layers=(Layer.GPU,),
    )


@check("fabric-manager-not-running", area="device")
def cuda_waits_for_no_fabric_from_elsewhere(
    loaded: LoadedDriver, fabric: UnseenFabric, nvml: NvmlAnswer | Unknown, surroundings: Surroundings
) -> Iterator[Finding]:
    """CUDA waits for no fabric that the host of this container or machine sets up, or that lies behind NVLink 5."""
    if isinstance(nvml, NvmlAnswer) and nvml.confidential and not nvml.ready:
        raise NotApplicable("the GPU is in confidential-computing mode, which explains 802 without a fabric manager")
    if fabric.unit is not None and fabric.unit.running:
        raise Unknown(
            "why CUDA answers 802 while a fabric manager runs: `nvidia-smi -q` has the state of each GPU's fabric, and"
            " /var/log/fabricmanager.log the reason"
        )
    from nvdiag.checks.fabric_messages import SEE_FABRIC, START_FABRIC

    remedies = (SEE_FABRIC, START_FABRIC) if fabric.unit is not None else (_ON_THE_HOST,)
    if fabric.unit is None:
        title = "CUDA waits for a fabric that the host's fabric manager has not set up"
    elif surroundings.virtual_machine:
        title = "CUDA waits for a fabric that the host of this virtual machine, or a fabric manager here, has to set up"
    else:
        told = "is not installed" if fabric.unit.load == "not-found" else f"does not run ({fabric.unit.active})"
        title = f"CUDA waits for a fabric, no NVSwitch is on the bus, and the fabric manager {told}"
    yield Finding(
        id="fabric-manager-not-running",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=title,
        detail="Error 802 is that of GPUs whose NVLinks go through NVSwitches, until a fabric manager of the driver's"
        " release has set them up; nvidia-smi works meanwhile. NVLink 5 (HGX B200) needs its subnet manager, nvlsm, as"
        " well, and the modules ib_umad and mlx5_ib.",
        evidence=(
            Evidence(source="cuInit", excerpt=str(NOT_READY)),
            *((fabric.unit.evidence,) if fabric.unit is not None else surroundings.evidence[:1]),
        ),
        remedies=remedies,
        explains=frozenset({"no-cuda-device", "nccl-transport-failed"}),
        layers=(Layer.GPU,),
    )


_ON_THE_HOST = Remedy(
    summary="start the fabric manager on the host, then this container anew",
    commands=("systemctl status nvidia-fabricmanager", "nvidia-smi -q | grep -A 3 -E '^ +Fabric'"),
    prediction="these commands are for the host; under the GPU Operator the driver's own container runs it",
)


@check("fabric-manager-mismatch", area="device")
def the_installed_fabric_manager_is_of_the_drivers_release(
    loaded: LoadedDriver, switches: NvSwitches
) -> Iterator[Finding]:
    """The installed fabric manager is of exactly the loaded driver's release, where NVSwitches need it."""
    if switches.release is None:
        raise NotApplicable("no fabric manager is installed, or it does not tell its release")
    if switches.release == loaded.release:
        return
    runs = isinstance(switches.unit, UnitState) and switches.unit.running
    from nvdiag.checks.fabric_messages import install_fabric_manager

    yield Finding(
        id="fabric-manager-mismatch",
        severity=Severity.WARNING if runs else Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=f"the installed fabric manager is {switches.release}, the loaded driver {loaded.release}",
        detail="The one that runs was started before it was replaced; at its next start it refuses the driver."
        if runs
        else "They must be equal to the last number; often an automatic update took only one of the two.",
        evidence=(
            Evidence(source=f"{FABRIC_MANAGER} --version", excerpt=switches.release.text),
            Evidence(source=loaded.source, excerpt=loaded.release.text),
            *((switches.unit.evidence,) if isinstance(switches.unit, UnitState) else ()),
        ),
        remedies=(
            install_fabric_manager(loaded.release.text),
            Remedy(
                summary="start it, and keep the two together from now on",
                commands=("sudo systemctl restart nvidia-fabricmanager", "systemctl status nvidia-fabricmanager"),
                risk=Risk.DISRUPTIVE,
                needs_root=True,
                prediction="if the driver was upgraded too and not loaded yet, reboot instead",
            ),
        ),
        explains=frozenset({"fabric-manager-not-running", "no-cuda-device"}),
        layers=(Layer.GPU,),
    )


@check("imex-not-running", area="device")
def imex_runs_where_it_is_set_up(loaded: LoadedDriver, imex: Imex) -> Iterator[Finding]:
    """The IMEX service runs where its list of nodes was filled in and the service enabled."""
    if imex.unit.running or not imex.nodes:
        return
    if imex.unit.active != "failed" and imex.unit.enabled != "enabled":
        raise NotApplicable("IMEX is installed here and nobody enabled its service")
    yield Finding(
        id="imex-not-running",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"IMEX is set up for {imex.nodes} nodes, and its service does not run ({imex.unit.active})",
        detail="Without it GPUs of several machines on one NVLink cannot map each other's memory.",
        evidence=(imex.unit.evidence, Evidence(source=IMEX_NODES, excerpt=f"{imex.nodes} nodes")),
        remedies=(
            Remedy(
                summary="see why it stopped, and start it on every machine of the domain",
                commands=("systemctl status nvidia-imex", "sudo systemctl enable --now nvidia-imex"),
                needs_root=True,
                prediction="it must be of the driver's release, and have the same list of nodes on every machine",
            ),
        ),
        explains=frozenset({"nccl-transport-failed"}),
        layers=(Layer.GPU,),
    )


@check("confidential-computing-not-ready", area="device")
def confidential_gpus_were_set_ready(nvml: NvmlAnswer, cuda: CudaAnswer | Unknown) -> Iterator[Finding]:
    """GPUs in confidential-computing mode were set ready."""
    if not nvml.confidential:
        raise NotApplicable("no GPU is in confidential-computing mode")
    if nvml.ready is None:
        raise Unknown("whether the GPUs were set ready: NVML does not tell")
    init = cuda.init if isinstance(cuda, CudaAnswer) else None
    if nvml.ready or init == 0:
        return
    yield Finding(
        id="confidential-computing-not-ready",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title="the GPU is in confidential-computing mode and was not set ready, so CUDA answers 802",
        detail="In this mode the GPU takes no work until its ready state is set, which attestation does, or a person;"
        " a reset or reboot clears it again.",
        evidence=(
            Evidence(source="nvmlSystemGetConfComputeGpusReadyState", excerpt="0"),
            *((Evidence(source="cuInit", excerpt=str(init)),) if init is not None else ()),
        ),
        remedies=(SET_READY,),
        explains=frozenset({"fabric-manager-not-running", "no-cuda-device"}),
        layers=(Layer.GPU,),
    )


SET_READY = Remedy(
    summary="attest the GPU where trust matters, then set the ready state",
    commands=("nvidia-smi conf-compute -grs", "sudo nvidia-smi conf-compute -srs 1"),
    needs_root=True,
    prediction="CUDA then starts; do it at every boot after nvidia-persistenced, and start containers anew",
)
