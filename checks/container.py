"""Inside a container: the module is the host's, the libraries are injected, copied or forgotten."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _evidence
from nvdiag.engine import check
from nvdiag.facts.answers import CudaAnswer, NvmlAnswer
from nvdiag.facts.libraries import DriverLibraries
from nvdiag.facts.modules import DriverHere, LoadedDriver, VersionFile
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.toolkits import Toolkits
from nvdiag.facts.user_space import user_space_release
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown


@check("container-library-mismatch")
def libraries_are_the_hosts_release(
    loaded: LoadedDriver,
    libraries: DriverLibraries,
    surroundings: Surroundings,
    nvml: NvmlAnswer | Unknown,
    version: VersionFile | Unknown,
) -> Iterator[Finding]:
    """The driver libraries inside a container are the release of the host's kernel module."""
    _only_in_containers(surroundings)
    installed = user_space_release(libraries, nvml)
    if installed is None:
        raise NotApplicable("no driver library with a release is in this container")
    if installed == loaded.release:
        return  # should NVML refuse it all the same, gpu-init-failed says so
    yield Finding(
        id="container-library-mismatch",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=f"the container's driver libraries are {installed}, the host's kernel module is {loaded.release}",
        detail="Driver libraries baked into an image, or kept by a container that outlived a driver upgrade, do not fit"
        " the host. The host's own must be injected when the container starts.",
        evidence=(
            *_evidence.of_loaded(loaded, version),
            *(_evidence.of_library(copy) for copy in libraries.taken if copy.release is not None),
            *_evidence.of_nvml(nvml),
            *surroundings.evidence[:1],
        ),
        remedies=(
            Remedy(
                summary="start the container anew, so that the engine injects the host's libraries",
                commands=_start(surroundings),
                prediction=f"the libraries are then {loaded.release}, unless the host has a mismatch: run nvdiag there",
            ),
            Remedy(summary="if the image carries driver packages (libnvidia-*, libcuda1), build it without them"),
        ),
        explains=frozenset({"libcuda-mismatch", "gpu-init-failed", "no-cuda-device"}),
        layers=(Layer.LOADED_MODULE, Layer.NVML, Layer.LIBCUDA),
    )


@check("container-driver-libraries-missing")
def libraries_are_injected(
    driver: DriverHere,
    libraries: DriverLibraries,
    surroundings: Surroundings,
    nvml: NvmlAnswer | Unknown,
    cuda: CudaAnswer | Unknown,
    toolkits: Toolkits | Unknown,
) -> Iterator[Finding]:
    """A container on a host with a loaded driver has the driver's libraries."""
    _only_in_containers(surroundings)
    if surroundings.sandbox:
        raise NotApplicable("a sandbox does not show whether its host has a driver")
    has_nvml = libraries.nvml.taken is not None or (isinstance(nvml, NvmlAnswer) and nvml.library is not None)
    has_cuda = libraries.libcuda.taken is not None or (isinstance(cuda, CudaAnswer) and cuda.library is not None)
    if has_nvml and has_cuda:
        return
    if has_nvml or has_cuda:
        yield _half(driver, surroundings, toolkits, lacks_cuda=has_nvml)
        return
    yield Finding(
        id="container-driver-libraries-missing",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title="the host has a driver, and this container has none of its libraries",
        detail="It was started without its GPUs, or without the capability that brings the libraries.",
        evidence=(
            driver.evidence,
            Evidence(source="ldconfig -p and the loader's folders", excerpt="no libnvidia-ml.so.1 and no libcuda.so.1"),
            *surroundings.evidence[:1],
        ),
        remedies=(
            Remedy(
                summary="start the container with its GPUs",
                commands=_start(surroundings),
                prediction="the engine then injects libnvidia-ml and libcuda of the host's release",
            ),
        ),
        layers=(Layer.NVML, Layer.LIBCUDA),
    )


def _half(driver: DriverHere, surroundings: Surroundings, toolkits: Toolkits | Unknown, *, lacks_cuda: bool) -> Finding:
    """One of the two libraries alone: as intended for monitoring or pure computing, unless somebody wants the other."""
    soname, capability = ("libcuda.so.1", "compute") if lacks_cuda else ("libnvidia-ml.so.1", "utility")
    effect = "no CUDA program runs" if lacks_cuda else "nvidia-smi and monitoring fail"
    wanted = [one.root for one in toolkits.found] if lacks_cuda and isinstance(toolkits, Toolkits) else []
    return Finding(
        id="container-driver-libraries-missing",
        subject=soname,
        severity=Severity.ERROR if wanted else Severity.INFO,
        confidence=Confidence.LIKELY,
        title=f"this container has no {soname}, so {effect} in it",
        detail=f"The engine injects it for the capability {capability}."
        + ("" if wanted else " Nothing that wants it was seen, so this may be as intended."),
        evidence=(
            driver.evidence,
            Evidence(source="ldconfig -p and the loader's folders", excerpt=f"no {soname}"),
            *(Evidence(source="toolkits", excerpt=f"{root} is installed") for root in wanted[:1]),
            *surroundings.evidence[:1],
        ),
        remedies=(
            Remedy(
                summary="if it is wanted, start the container with both capabilities",
                commands=_start(surroundings),
                prediction=f"with {capability} in NVIDIA_DRIVER_CAPABILITIES the engine injects {soname}",
            ),
        ),
        layers=(Layer.LIBCUDA if lacks_cuda else Layer.NVML,),
    )


def _only_in_containers(surroundings: Surroundings) -> None:
    if not surroundings.container:
        raise NotApplicable("this is not a container")


def _start(surroundings: Surroundings) -> tuple[str, ...]:
    match surroundings.container:
        case "docker":
            return ("docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility IMAGE",)
        case "podman":
            return ("podman run --device nvidia.com/gpu=all IMAGE",)
        case "kubernetes":
            return ("kubectl delete pod POD   # its controller starts it anew; resources.limits needs nvidia.com/gpu",)
        case "apptainer":
            return ("apptainer exec --nv IMAGE nvidia-smi",)
        case _:
            return ()
