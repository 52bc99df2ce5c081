"""The device nodes, and whether the driver answers for every GPU."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks.node_access import refused_nodes
from nvdiag.engine import check
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.container_view import ContainerStart, GivenGpus
from nvdiag.facts.libraries import DriverLibraries
from nvdiag.facts.modules import DriverHere, KernelModules, LoadedDriver
from nvdiag.facts.nodes import MODPROBE_HELPER, DeviceNodes, NodeAccess
from nvdiag.facts.pci import PciGpus
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.user_space import user_space_release
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown

NO_PERMISSION, MISMATCH = 4, 18
"""NVML_ERROR_NO_PERMISSION and NVML_ERROR_LIB_RM_VERSION_MISMATCH of nvml.h."""


@check("device-nodes-missing")
def device_nodes_exist(
    loaded: LoadedDriver,
    modules: KernelModules,
    nodes: DeviceNodes,
    gpus: PciGpus,
    surroundings: Surroundings,
    given: GivenGpus | Unknown,
    start: ContainerStart | Unknown,
    libraries: DriverLibraries | Unknown,
) -> Iterator[Finding]:
    """/dev/nvidiactl, a node for each GPU and /dev/nvidia-uvm exist where their modules are loaded."""
    if isinstance(given, GivenGpus) and given.nothing:
        raise NotApplicable("this container was given no GPU, and nothing in it asks for one")
    missing = [] if "/dev/nvidiactl" in nodes.nodes else ["/dev/nvidiactl"]
    some = bool(surroundings.container and nodes.gpus)  # a container sees the host's whole bus, and gets what it asked
    if len(nodes.gpus) < len(gpus.by_nvidia) and not some:
        short = len(gpus.by_nvidia) - len(nodes.gpus)
        missing.append(
            "/dev/nvidia0" if len(gpus.by_nvidia) == 1 else f"{short} of the {len(gpus.by_nvidia)} /dev/nvidiaN"
        )
    if "nvidia_uvm" in modules.others and "/dev/nvidia-uvm" not in nodes.nodes and _wants_uvm(surroundings, libraries):
        missing.append("/dev/nvidia-uvm")
    if not missing:
        return
    evidence = (
        Evidence(source="/dev", excerpt=f"has {listed(sorted(nodes.nodes)) or 'no nvidia node'}"),
        Evidence(source=loaded.source, excerpt=loaded.release.text),
    )
    title = f"{listed(missing)} {'do' if len(missing) > 1 else 'does'} not exist, though the module is loaded"
    if surroundings.container:
        none = isinstance(start, ContainerStart) and start.visible == "none"
        detail = (
            "NVIDIA_VISIBLE_DEVICES is none, which brings the driver's libraries and no GPU."
            if none
            else "This container was started without its GPUs, or has lost them."
        )
        from nvdiag.checks import _container_ways

        again = () if none else (_container_ways.restart(surroundings),)
        yield _missing(Severity.ERROR, title, detail, evidence, *again, *_container_ways.start(surroundings))
    elif nodes.made_on_use:
        detail = f"{MODPROBE_HELPER} is setuid root and makes them on a program's first use, so this may be well."
        yield _missing(Severity.INFO, title, detail, evidence, _MAKE_NODES)
    else:
        detail = "No program can reach the GPU without them, and no setuid nvidia-modprobe is here to make them."
        yield _missing(Severity.ERROR, title, detail, evidence, _MAKE_NODES)


def _wants_uvm(surroundings: Surroundings, libraries: DriverLibraries | Unknown) -> bool:
    """A container for the capability utility alone gets neither libcuda nor this node (nvc_mount.c)."""
    return not surroundings.container or isinstance(libraries, Unknown) or libraries.libcuda.taken is not None


def _missing(severity: Severity, title: str, detail: str, evidence: tuple[Evidence, ...], *ways: Remedy) -> Finding:
    return Finding(
        id="device-nodes-missing",
        severity=severity,
        confidence=Confidence.CERTAIN,
        title=title,
        detail=detail,
        evidence=evidence,
        remedies=ways,
        explains=frozenset({"gpu-init-failed", "no-cuda-device"}),
        layers=(Layer.GPU,),
    )


_MAKE_NODES = Remedy(
    summary="make the nodes",
    commands=("sudo nvidia-modprobe -c 255 -c 0", "sudo nvidia-modprobe -u -c 0"),
    needs_root=True,
    prediction="the first makes nvidiactl and nvidia0, the second nvidia-uvm, all until the next boot;"
    " at boot nvidia-persistenced or the packages' udev rules make them",
)


@check("gpu-init-failed")
def the_driver_answers_for_every_gpu(
    driver: DriverHere,
    libraries: DriverLibraries | Unknown,
    nvml: NvmlAnswer,
    gpus: PciGpus | Unknown,
    access: NodeAccess | Unknown,
    surroundings: Surroundings,
) -> Iterator[Finding]:
    """NVML initialises and answers for every GPU that the module drives."""
    if nvml.trouble is not None:
        raise Unknown(
            f"NVML did not come back with an answer ({nvml.trouble}): probe-hung or probe-crashed speaks of it"
        )
    if nvml.init is None and nvml.dlopen_error is None:
        raise Unknown("NVML was called and its answer says nothing")
    if nvml.init is None:
        raise NotApplicable("libnvidia-ml could not be loaded")
    if nvml.init == MISMATCH and _releases_differ(driver, libraries, nvml):
        raise NotApplicable("NVML refuses a module of another release, which the mismatch's own check is about")
    if nvml.init == NO_PERMISSION and _forbidden(access):
        raise NotApplicable("NVML may not open the nodes, which device-nodes-forbidden is about")
    if nvml.init != 0:
        yield _silent_driver(driver, nvml, access)
        return
    lost = [device for device in nvml.devices if device.handle_error is not None]
    for device in lost:
        yield _finding(
            f"NVML lists GPU {device.index} and cannot reach it (error {device.handle_error})",
            (Evidence(source=f"nvmlDeviceGetHandleByIndex({device.index})", excerpt=str(device.handle_error)),),
            Confidence.LIKELY,
            subject=str(device.index),
        )
    mine = not surroundings.container or nvml.count == 0  # a container sees the host's bus, and gets what it asked for
    if nvml.count is None or isinstance(gpus, Unknown) or not mine:
        return
    yield from _without_driver(gpus, nvml)
    if nvml.count < len(gpus.by_nvidia):
        yield from _not_shown(gpus, nvml)


def _not_shown(gpus: PciGpus, nvml: NvmlAnswer) -> Iterator[Finding]:
    """GPUs that the module holds and NVML leaves out: each by its address, where NVML tells those of the others."""
    shown = {device.address for device in nvml.devices}
    missing = [gpu.address for gpu in gpus.by_nvidia if gpu.address not in shown]
    known = None not in shown and len(missing) == len(gpus.by_nvidia) - (nvml.count or 0)
    for address in missing if known else [""]:
        which = f" without the one at {address}" if address else ""
        yield _finding(
            f"the nvidia module holds {len(gpus.by_nvidia)} GPUs on the bus, and NVML shows {nvml.count}{which}",
            (
                Evidence(source="nvmlDeviceGetCount", excerpt=str(nvml.count)),
                *(
                    Evidence(source=f"/sys/bus/pci/devices/{gpu.address}", excerpt="driver nvidia")
                    for gpu in gpus.by_nvidia
                ),
            ),
            Confidence.LIKELY,
            subject=address,
        )


def _without_driver(gpus: PciGpus, nvml: NvmlAnswer) -> Iterator[Finding]:
    """GPUs that no kernel driver holds although nvidia is loaded: its probe refused them, or they were taken out."""
    answering = {device.address for device in nvml.devices if device.handle_error is None}
    for gpu in gpus.gpus:
        if gpu.driver is None and not gpu.driver_hidden and gpu.address not in answering:
            yield _finding(
                f"no kernel driver holds the GPU at {gpu.address}, though the nvidia module is loaded",
                (
                    Evidence(source=f"/sys/bus/pci/devices/{gpu.address}", excerpt=f"10de:{gpu.device_id}, no driver"),
                    Evidence(source="nvmlDeviceGetCount", excerpt=str(nvml.count)),
                ),
                Confidence.LIKELY,
                subject=gpu.address,
                detail="The module's probe refused it (a GPU that this release or flavour does not support, or one that"
                " does not start), or it was taken from the driver. The kernel log says which: look for NVRM lines.",
            )


def _releases_differ(driver: DriverHere, libraries: DriverLibraries | Unknown, nvml: NvmlAnswer) -> bool:
    """Whether a mismatch is in sight, or no library's release is: both are the mismatch check's matter."""
    if isinstance(libraries, Unknown) or driver.release is None:
        return False
    installed = user_space_release(libraries, nvml)
    return installed is None or installed != driver.release


def _forbidden(access: NodeAccess | Unknown) -> bool:
    return isinstance(access, NodeAccess) and bool(refused_nodes(access))


def _silent_driver(driver: DriverHere, nvml: NvmlAnswer, access: NodeAccess | Unknown) -> Finding:
    opens = access.opens if isinstance(access, NodeAccess) else {}
    return _finding(
        f"NVML does not initialise: {nvml.init} {nvml.init_text}",
        (
            Evidence(source="nvmlInit", excerpt=f"{nvml.init} {nvml.init_text}"),
            driver.evidence,
            *(Evidence(source=f"open {path}", excerpt=error) for path, error in opens.items() if error != "ok"),
        ),
        Confidence.POSSIBLE,
    )


_READ_THE_LOG = "The kernel log says why: look for NVRM lines (RmInitAdapter failed, fallen off the bus, Xid)."


def _finding(
    title: str,
    evidence: tuple[Evidence, ...],
    confidence: Confidence,
    subject: str = "",
    detail: str = _READ_THE_LOG,
) -> Finding:
    return Finding(
        id="gpu-init-failed",
        subject=subject,
        severity=Severity.ERROR,
        confidence=confidence,
        kind=FindingClass.HARDWARE if confidence is Confidence.LIKELY else FindingClass.CONFIGURATION,
        title=title,
        detail=detail,
        evidence=evidence,
        remedies=(
            Remedy(
                summary="read what the driver wrote to the kernel log",
                commands=("sudo dmesg | grep -iE 'nvrm|nvidia|xid'", "sudo journalctl -k -b | grep -iE 'nvrm|xid'"),
                needs_root=True,
            ),
        ),
        explains=frozenset({"no-cuda-device"}),
        layers=(Layer.GPU,),
    )
