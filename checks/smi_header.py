"""What the head of nvidia-smi's table gives away: which libcuda it met, and whose driver it spoke to."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.messages import Messages
from nvdiag.facts.smi import SmiHeader
from nvdiag.facts.smi_report import SmiReport
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.toolkits import Toolkits
from nvdiag.facts.vgpu import HOST_WITHOUT_CUDA, VirtualGpus
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown

_NO_CUDA = frozenset({"no-cuda-device", "driver-too-old-for-cuda"})


def _header(smi: SmiReport) -> SmiHeader:
    if smi.header is None:
        raise NotApplicable("no head of nvidia-smi's table is there")
    return smi.header


def _seen(header: SmiHeader) -> Evidence:
    cuda = f", CUDA Version: {header.cuda_text}" if header.cuda_text else ""
    smi = f"NVIDIA-SMI {header.smi}, " if header.smi else ""
    return Evidence(source="nvidia-smi", excerpt=f"{smi}Driver Version: {header.driver}{cuda}")


@check("libcuda-missing", area="libraries")
def nvidia_smi_meets_a_libcuda(
    smi: SmiReport, surroundings: Surroundings, toolkits: Toolkits | Unknown, virtual: VirtualGpus | Unknown
) -> Iterator[Finding]:
    """nvidia-smi finds a libcuda, whose CUDA version it prints in its table's head."""
    header = _header(smi)
    if surroundings.container:
        raise NotApplicable("in a container the libraries come from outside: container-driver-libraries-missing looks")
    if header.cuda_text != "N/A":
        return
    if isinstance(virtual, VirtualGpus) and virtual.hosting:
        raise NotApplicable(HOST_WITHOUT_CUDA)
    wanted = isinstance(toolkits, Toolkits) and bool(toolkits.found)
    yield Finding(
        id="libcuda-missing",
        severity=Severity.ERROR if wanted else Severity.WARNING,
        confidence=Confidence.LIKELY,
        title='nvidia-smi finds no libcuda: its table says "CUDA Version: N/A"',
        detail="NVML works without libcuda, CUDA programs do not.",
        evidence=(_seen(header),),
        remedies=(
            Remedy(summary="see whether the loader knows a libcuda", commands=("ldconfig -p | grep libcuda.so.1",)),
            Remedy(
                summary="install the driver's compute libraries, of the driver's own release",
                commands=("dpkg -l 'libnvidia-compute-*' 'libcuda1' || rpm -qa 'nvidia-driver-cuda-libs' '*compute*'",),
                prediction="nvidia-smi then prints a CUDA version",
            ),
        ),
        explains=_NO_CUDA,
        layers=(Layer.LIBCUDA,),
    )


@check("container-driver-libraries-missing", area="container")
def nvidia_smi_meets_a_libcuda_in_the_container(smi: SmiReport, surroundings: Surroundings) -> Iterator[Finding]:
    """nvidia-smi finds a libcuda in a container."""
    header = _header(smi)
    if not surroundings.container:
        raise NotApplicable("this is not a container")
    if header.cuda_text != "N/A":
        return
    yield Finding(
        id="container-driver-libraries-missing",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title='this container has no libcuda: nvidia-smi says "CUDA Version: N/A" in it',
        detail="The engine injects libcuda for the capability compute, nvidia-smi and NVML for utility. Here only the"
        " second was asked for, by NVIDIA_DRIVER_CAPABILITIES or by the image's lack of it.",
        evidence=(_seen(header), *surroundings.evidence[:1]),
        remedies=(
            Remedy(
                summary="start the container with both capabilities",
                commands=("docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility IMAGE nvidia-smi",),
                prediction="the table's head then prints a CUDA version",
            ),
        ),
        explains=_NO_CUDA | {"libcuda-missing"},
        layers=(Layer.LIBCUDA,),
    )


@check("libcuda-stub-loaded", area="libraries")
def nvidia_smi_meets_no_stub(smi: SmiReport) -> Iterator[Finding]:
    """The libcuda that nvidia-smi finds answers with a CUDA version."""
    header = _header(smi)
    if header.cuda_text != "ERR!":
        return
    yield Finding(
        id="libcuda-stub-loaded",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title='the libcuda that programs get is no working one: nvidia-smi says "CUDA Version: ERR!"',
        detail="Mostly it is the toolkit's link-time stub, found before the driver's library.",
        evidence=(_seen(header),),
        remedies=(
            Remedy(
                summary="find the folder that puts the stub in front, and take it out",
                commands=(
                    "echo $LD_LIBRARY_PATH",
                    "ldconfig -p | grep libcuda.so.1",
                    "grep -r stubs /etc/ld.so.conf.d",
                ),
                prediction="without it the table's head prints a CUDA version",
            ),
        ),
        explains=_NO_CUDA,
        layers=(Layer.LIBCUDA,),
    )


@check("libcuda-mismatch", area="libraries")
def the_cuda_version_shown_is_the_drivers(
    smi: SmiReport, surroundings: Surroundings, messages: Messages | Unknown
) -> Iterator[Finding]:
    """The CUDA version in nvidia-smi's head is one that a driver of this branch has."""
    header = _header(smi)
    newer = _newer_than_the_branch(header)
    if newer is None or _may_be_compat(smi, surroundings):
        return
    told = isinstance(messages, Messages) and messages.proving("libcuda-mismatch")
    yield Finding(
        id="libcuda-mismatch",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if told else Confidence.LIKELY,
        title=f"programs get a libcuda of CUDA {header.cuda}, but the driver {header.driver} has CUDA {newer}",
        detail="nvidia-smi prints the CUDA version of the libcuda that it finds: it is of another release.",
        evidence=(_seen(header), Evidence(source=f"driver branch {header.driver.branch}", excerpt=f"CUDA {newer}")),
        remedies=(
            Remedy(
                summary="find the other copy, and what puts it in front",
                commands=("ldconfig -p | grep libcuda.so.1", "echo $LD_LIBRARY_PATH", "ls -l /usr/local/cuda/compat"),
            ),
        ),
        explains=_NO_CUDA,
        layers=(Layer.LIBCUDA, Layer.CUDA_DRIVER),
    )


@check("cuda-compat-unsupported", area="libraries")
def cuda_compat_is_on_a_gpu_that_may_use_it(smi: SmiReport, surroundings: Surroundings) -> Iterator[Finding]:
    """A container's newer libcuda (cuda-compat) meets a GPU that forward compatibility is made for."""
    header = _header(smi)
    newer = _newer_than_the_branch(header)
    consumer = [gpu.name for gpu in smi.gpus if gpu.consumer]
    if newer is None or not surroundings.container or not consumer:
        return
    yield Finding(
        id="cuda-compat-unsupported",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"the image's libcuda is of CUDA {header.cuda}, the driver {header.driver} has {newer}, and {consumer[0]}"
        " may not use it",
        detail="Images carry cuda-compat, a libcuda of a newer release. Only data-centre GPUs (and some workstation"
        " ones) may use it; on others CUDA fails with error 804.",
        evidence=(_seen(header), Evidence(source="nvidia-smi", excerpt=consumer[0]), *surroundings.evidence[:1]),
        remedies=(
            Remedy(
                summary=f"use an image of CUDA {newer} or older, or a newer driver on the host",
                prediction="the host's own libcuda is then taken",
            ),
            Remedy(
                summary="or take the image's compat folder out of the loader's way",
                commands=("docker run --gpus all -e LD_LIBRARY_PATH= IMAGE nvidia-smi",),
            ),
        ),
        explains=_NO_CUDA | {"libcuda-mismatch"},
        layers=(Layer.LIBCUDA,),
    )


def _newer_than_the_branch(header: SmiHeader) -> object | None:
    """The branch's own highest CUDA version where the head shows a newer one; None where it fits or is not known."""
    from nvdiag.knowledge.cuda import cuda_of_branch

    own = None if header.of_windows else cuda_of_branch(header.driver.branch)
    return own if own is not None and header.cuda is not None and header.cuda.short > own.short else None


def _may_be_compat(smi: SmiReport, surroundings: Surroundings) -> bool:
    """Whether a newer libcuda may be cuda-compat on a GPU that is made for it, or whose kind is not shown."""
    return bool(surroundings.container) or (bool(smi.gpus) and not any(gpu.consumer for gpu in smi.gpus))


@check("wsl-driver-misinstalled", area="container")
def nvidia_smi_is_windows_own(smi: SmiReport) -> Iterator[Finding]:
    """Under WSL, nvidia-smi comes with Windows' driver, and is no newer than it."""
    header = _header(smi)
    if not header.of_windows:
        raise NotApplicable("the driver shown is no Windows release")
    if header.smi is None or header.smi.branch <= header.driver.branch:
        return
    yield Finding(
        id="wsl-driver-misinstalled",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"a Linux driver's nvidia-smi {header.smi} is installed inside WSL, over Windows' driver {header.driver}",
        detail="Under WSL all driver libraries come from Windows, below /usr/lib/wsl/lib. Linux driver packages put"
        " others in front of them.",
        evidence=(_seen(header),),
        remedies=(
            Remedy(
                summary="remove the Linux driver packages inside WSL (the toolkit may stay)",
                commands=("dpkg -l | grep -E 'nvidia-(driver|utils)|libnvidia-compute'", "which -a nvidia-smi"),
                needs_root=True,
                prediction="nvidia-smi of /usr/lib/wsl/lib is then found",
            ),
            Remedy(summary="update NVIDIA's driver in Windows, then restart WSL", commands=("wsl --shutdown",)),
        ),
        kind=FindingClass.CONFIGURATION,
        explains=frozenset({"no-cuda-device", "libcuda-mismatch", "gpu-init-failed"}),
        layers=(Layer.NVML, Layer.LIBCUDA),
    )


@check("container-devices-revoked", area="container")
def the_gpus_that_one_moment_shows_are_there_at_the_other(
    smi: SmiReport, surroundings: Surroundings
) -> Iterator[Finding]:
    """What answers on the host or at another moment answers here, too."""
    if "Failed to initialize NVML: Unknown Error" not in smi.failure:
        raise NotApplicable("nvidia-smi does not fail with an unknown error")
    well = [one for one in smi.elsewhere if one.works]
    if not well:
        raise Unknown("whether the host's own nvidia-smi works, which would tell a revoked device from a broken driver")
    shown = well[0].header
    beside = _seen(shown) if shown else Evidence(source="nvidia-smi -L", excerpt=f"{len(well[0].gpus)} GPUs")
    yield Finding(
        id="container-devices-revoked",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title="NVML fails here with an unknown error, while the same machine's GPUs answer elsewhere",
        detail="A container that has lost its devices looks so, typically after a `systemctl daemon-reload` on the host"
        " with the systemd cgroup driver: the device rules of running containers are written anew, without the GPUs.",
        evidence=(Evidence(source="nvidia-smi", excerpt=smi.failure), beside, *surroundings.evidence[:1]),
        remedies=(
            Remedy(
                summary="restart the container: a running one does not get its devices back",
                commands=("docker restart CONTAINER",),
                prediction="its nvidia-smi works again, until the next daemon-reload",
            ),
            Remedy(
                summary="to keep it from happening, give the devices by CDI, or name each with --device",
                commands=("docker run --device nvidia.com/gpu=all IMAGE nvidia-smi -L",),
                prediction="devices that the engine itself knows stay in the container's device rules",
            ),
        ),
        explains=frozenset({"gpu-init-failed", "device-nodes-forbidden", "no-cuda-device"}),
        layers=(Layer.GPU,),
    )
