"""What a container's image asks of the host: the CUDA version that its variables name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.checks import _cuda_ways
from nvdiag.engine import check
from nvdiag.facts.answers import DriverCuda
from nvdiag.facts.container_view import ContainerStart
from nvdiag.facts.cuda_compat import CudaCompat
from nvdiag.facts.driver_limits import DriverLimits
from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Severity
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion


@check("driver-too-old-for-cuda", area="cuda")
def the_host_supports_the_images_cuda(
    start: ContainerStart,
    supported: DriverCuda | Unknown,
    limits: DriverLimits | Unknown,
    compat: CudaCompat | Unknown,
    surroundings: Surroundings,
) -> Iterator[Finding]:
    """The host's driver supports the CUDA version that a container's image asks for."""
    wanted = lowest_cuda(start.requires.get("NVIDIA_REQUIRE_CUDA", ""))
    if wanted is None:
        raise NotApplicable("no variable of the image names a CUDA version")
    if isinstance(supported, Unknown):
        raise supported
    if isinstance(compat, CudaCompat):
        raise NotApplicable("programs get the image's own cuda-compat, which other checks judge")
    if wanted.major <= supported.version.major:
        return  # within a CUDA major, programs of a newer minor version run, too
    seen = f"NVIDIA_REQUIRE_CUDA={start.requires['NVIDIA_REQUIRE_CUDA']}"
    yield Finding(
        id="driver-too-old-for-cuda",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        kind=FindingClass.CONFIGURATION,
        title=f"the image is made for CUDA {wanted} or newer, and the host's driver supports {supported.version}",
        detail=f"Its programs of CUDA {wanted.major} fail with error 35 (driver insufficient for runtime). NVIDIA's"
        f" runtime refuses to start such a container (unsatisfied condition: cuda>={wanted}); "
        + ("here another engine started it." if start.required else "NVIDIA_DISABLE_REQUIRE switched that off."),
        evidence=(
            Evidence(source="environment", excerpt=seen[:120]),
            Evidence(source=supported.source, excerpt=supported.version.text),
            *surroundings.evidence[:1],
        ),
        remedies=(
            _cuda_ways.other_build(limits),
            *_cuda_ways.forward_compatible(wanted, limits),
            _cuda_ways.newer_driver(wanted, limits),
        ),
        layers=(Layer.CUDA_DRIVER,),
    )


def lowest_cuda(requirement: str) -> CudaVersion | None:
    """The lowest CUDA version of a requirement, in which blanks part alternatives (libnvidia-container, dsl.c).

    The alternatives that name a brand and a driver are those on which the image brings cuda-compat.
    """
    found = re.findall(r"(?:^|[\s,])cuda>=(\d{1,3}\.\d{1,2})(?=$|[\s,])", requirement)
    return min((CudaVersion.of(text) for text in found), default=None)
