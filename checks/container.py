"""Inside a container: the driver's libraries are there, where anything in it wants a GPU."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.checks import _container_ways
from nvdiag.engine import check
from nvdiag.facts.answers import CudaAnswer, NvmlAnswer
from nvdiag.facts.container_view import ContainerStart, GivenGpus
from nvdiag.facts.libraries import DriverLibraries, Kind, LibraryChoice, LibraryCopy
from nvdiag.facts.modules import DriverHere
from nvdiag.facts.nodes import DeviceNodes
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.toolkits import Toolkits
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown

MISSING = "container-driver-libraries-missing"
_SEARCHED = "ldconfig -p and the loader's folders"


@check(MISSING)
def libraries_are_injected(
    driver: DriverHere,
    libraries: DriverLibraries,
    surroundings: Surroundings,
    start: ContainerStart,
    given: GivenGpus,
    nodes: DeviceNodes | Unknown,
    nvml: NvmlAnswer | Unknown,
    cuda: CudaAnswer | Unknown,
    toolkits: Toolkits | Unknown,
) -> Iterator[Finding]:
    """A container on a host with a loaded driver has the driver's libraries, where something in it wants a GPU."""
    here = list(nodes.nodes) if isinstance(nodes, DeviceNodes) else []
    if surroundings.sandbox and not here:
        raise NotApplicable("a sandbox does not show whether its host has a driver")
    has_nvml = _usable(libraries.nvml) or (isinstance(nvml, NvmlAnswer) and nvml.library is not None)
    has_cuda = _usable(libraries.libcuda) or (isinstance(cuda, CudaAnswer) and cuda.library is not None)
    if has_cuda and (has_nvml or surroundings.tegra):  # on Tegra, releases before 36 have no NVML
        return
    if has_nvml or has_cuda:
        yield _half(driver, surroundings, start, toolkits, lacks_cuda=has_nvml)
        return
    if given.nothing and not (surroundings.wsl or surroundings.tegra):
        raise NotApplicable("this container was given no GPU, and nothing in it asks for one")  # no-nvidia-gpu speaks
    empty = [
        copy for choice in (libraries.nvml, libraries.libcuda) for copy in choice.copies if copy.kind is Kind.EMPTY
    ]
    yield Finding(
        id=MISSING,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title="the driver's libraries in this container are empty files"
        if empty
        else "the host has a driver, and this container has none of its libraries",
        detail="They were mount points for the host's files, and the image was saved with them (docker commit)."
        if empty
        else _why_none(start, here),
        evidence=(
            driver.evidence,
            *(
                [Evidence(source=copy.path, excerpt=f"{copy.file}: 0 bytes") for copy in empty]
                or [Evidence(source=_SEARCHED, excerpt="no libnvidia-ml.so.1 and no libcuda.so.1")]
            ),
            Evidence(source="/dev", excerpt=f"has {listed(sorted(here)) or 'no nvidia node'}"),
            *((given.wanted,) if given.wanted else ()),
            *surroundings.evidence[:1],
        ),
        remedies=(*_container_ways.start(surroundings), *((_without_empty(empty),) if empty else ())),
        explains=frozenset({"gpu-init-failed", "no-cuda-device"}) | ({"device-nodes-missing"} if not here else set()),
        layers=(Layer.NVML, Layer.LIBCUDA),
    )


def _usable(choice: LibraryChoice) -> bool:
    return choice.taken is not None and choice.taken.kind not in (Kind.EMPTY, Kind.DAMAGED)


def _without_empty(empty: list[LibraryCopy]) -> Remedy:
    files = " ".join(shlex.quote(copy.file) for copy in empty)
    return Remedy(
        summary="build the image anew from its Dockerfile, or remove the empty files from it",
        commands=(f"rm {files}", "ldconfig"),
        needs_root=True,
        prediction="the host's files of the same name are mounted over them, those of another release are not",
    )


def _why_none(start: ContainerStart, nodes: list[str]) -> str:
    """Which part of the start is missing, as the variables and the nodes tell."""
    if start.visible == "void" and not nodes:
        return "NVIDIA_VISIBLE_DEVICES is void, which asks NVIDIA's runtime to leave this container alone."
    if start.lacks("compute") and start.lacks("utility"):
        capabilities = ",".join(start.capabilities or ())
        return f"NVIDIA_DRIVER_CAPABILITIES={capabilities} names neither compute (libcuda) nor utility (libnvidia-ml)."
    if nodes:
        return "The nodes were given to it and the libraries were not: a plain --device or a mount of /dev does that."
    if start.visible:
        return (
            f"NVIDIA_VISIBLE_DEVICES={start.visible} asks for GPUs, and only NVIDIA's runtime hears it: the container"
            " was started without that runtime, or without its GPUs."
        )
    return "It was started without its GPUs, or without the capability that brings the libraries."


def _half(
    driver: DriverHere, around: Surroundings, start: ContainerStart, toolkits: Toolkits | Unknown, *, lacks_cuda: bool
) -> Finding:
    """One of the two libraries alone: as intended for monitoring or pure computing, unless somebody wants the other."""
    soname, capability = ("libcuda.so.1", "compute") if lacks_cuda else ("libnvidia-ml.so.1", "utility")
    effect = "no CUDA program runs" if lacks_cuda else "nvidia-smi and monitoring fail"
    wanted = [one.root for one in toolkits.found] if lacks_cuda and isinstance(toolkits, Toolkits) else []
    named = f"NVIDIA_DRIVER_CAPABILITIES={','.join(start.capabilities or ())}"
    return Finding(
        id=MISSING,
        subject=soname,
        severity=Severity.ERROR if wanted else Severity.INFO,
        confidence=Confidence.LIKELY,
        title=f"this container has no {soname}, so {effect} in it",
        detail=(
            f"{named} leaves out {capability}, which brings it."
            if start.lacks(capability)
            else f"The engine injects it for the capability {capability}."
        )
        + ("" if wanted else " Nothing that wants it was seen, so this may be as intended."),
        evidence=(
            driver.evidence,
            Evidence(source=_SEARCHED, excerpt=f"no {soname}"),
            *((Evidence(source="environment", excerpt=named[:120]),) if start.lacks(capability) else ()),
            *(Evidence(source="toolkits", excerpt=f"{root} is installed") for root in wanted[:1]),
            *around.evidence[:1],
        ),
        remedies=_container_ways.start(around),
        layers=(Layer.LIBCUDA if lacks_cuda else Layer.NVML,),
    )
