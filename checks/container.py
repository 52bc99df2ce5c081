"""Inside a container: the module is the host's, the libraries are injected, copied or forgotten."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _evidence
from nvdiag.checks.driver import user_space_release
from nvdiag.engine import check
from nvdiag.facts.libraries import DriverLibraries
from nvdiag.facts.modules import LoadedDriver, VersionFile
from nvdiag.facts.probing import NvmlAnswer
from nvdiag.facts.system import Surroundings
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
    loaded: LoadedDriver, libraries: DriverLibraries, surroundings: Surroundings, nvml: NvmlAnswer | Unknown
) -> Iterator[Finding]:
    """A container on a host with a loaded driver has the driver's libraries."""
    _only_in_containers(surroundings)
    if libraries.nvml.taken is not None or libraries.libcuda.taken is not None:
        return
    yield Finding(
        id="container-driver-libraries-missing",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title="the host has a driver, and this container has none of its libraries",
        detail="It was started without its GPUs, or without the capability that brings the libraries.",
        evidence=(
            Evidence(source=loaded.source, excerpt=f"{loaded.release} (the host's)"),
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
