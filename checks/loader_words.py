"""libcuda as texts show it beside the loader: looked for in vain, or another one than a container engine mounted."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _evidence
from nvdiag.engine import check
from nvdiag.facts.libraries import DriverLibraries, Kind
from nvdiag.facts.loader_words import EngineMount, SoughtLibcuda
from nvdiag.facts.modules import KernelModules
from nvdiag.facts.smi_report import SmiReport
from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown


@check("libcuda-missing", area="libraries")
def libcuda_is_not_looked_for_in_vain(
    sought: SoughtLibcuda,
    surroundings: Surroundings,
    libraries: DriverLibraries | Unknown,
    modules: KernelModules | Unknown,
    smi: SmiReport | Unknown,
) -> Iterator[Finding]:
    """`ldconfig -p` and `whereis` find a libcuda where somebody looks for it."""
    if surroundings.container:
        raise NotApplicable("in a container the libraries come from outside: container-driver-libraries-missing looks")
    if isinstance(libraries, DriverLibraries) and libraries.libcuda.taken is not None:
        raise NotApplicable("a libcuda is shown all the same")
    if (isinstance(smi, SmiReport) and not smi.works) or (isinstance(modules, KernelModules) and not modules.nvidia):
        raise NotApplicable("the driver itself does not answer, of which a missing libcuda is a part")
    answers = isinstance(smi, SmiReport)
    if len(sought.commands) < 2 and not (answers and sought.commands[0].startswith("ldconfig")):
        raise NotApplicable("one look alone is no proof: it may have been for the wrong place")
    yield Finding(
        id="libcuda-missing",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title="no libcuda is known to the loader"
        + (", though nvidia-smi answers" if answers else ": whereis and ldconfig find none"),
        detail="CUDA programs need libcuda.so.1, which belongs to the driver, not to the toolkit. It is not installed,"
        " or lies where the loader does not look.",
        evidence=tuple(Evidence(source=command, excerpt="nothing") for command in sought.commands),
        remedies=(
            Remedy(
                summary="see whether it lies elsewhere",
                commands=("find / -xdev -name 'libcuda.so*' -not -path '*/stubs/*' 2>/dev/null", "sudo ldconfig"),
                prediction="where it is found, its folder belongs into a file in /etc/ld.so.conf.d, then sudo ldconfig",
            ),
            Remedy(
                summary="otherwise install the driver's compute libraries, of the driver's own release",
                commands=("dpkg -l 'libnvidia-compute-*' libcuda1 || rpm -qa 'nvidia-driver-cuda-libs' '*compute*'",),
                prediction="nvidia-smi's head then prints a CUDA version",
            ),
        ),
        explains=frozenset({"no-cuda-device", "driver-too-old-for-cuda"}),
        layers=(Layer.LIBCUDA,),
    )


@check("libcuda-mismatch", area="libraries")
def the_mounted_libcuda_is_taken(libraries: DriverLibraries, mounted: EngineMount) -> Iterator[Finding]:
    """The libcuda that programs get is the one that the container engine mounted."""
    copy = libraries.libcuda.taken
    if copy is None or copy.release is None or copy.kind is Kind.COMPAT:
        raise NotApplicable("the loader takes no libcuda of the image that names its release")
    if copy.release == mounted.release:
        return
    yield Finding(
        id="libcuda-mismatch",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"programs get libcuda {copy.release} of the image, and the host's, {mounted.release}, is mounted beside",
        detail="The engine mounts the host's driver libraries under their full names, and ldconfig makes the links. A"
        " libcuda that the image brings itself, of a higher release, gets the link libcuda.so.1; CUDA then fails,"
        " mostly with error 803.",
        evidence=(_evidence.of_library(copy), Evidence(source="mount", excerpt=mounted.path)),
        remedies=(
            Remedy(
                summary="see whether it works with the mounted one",
                commands=("ldconfig -p | grep libcuda.so.1", f"LD_PRELOAD={mounted.path} PROGRAM"),
            ),
            Remedy(
                summary="build the image without driver packages: no libnvidia-compute, no cuda-drivers, no .run in it",
                commands=("dpkg -l | grep -E 'libnvidia-compute|cuda-drivers|nvidia-driver'",),
                prediction="files that a running container with GPUs left in the image by docker commit do the same",
            ),
        ),
        explains=frozenset({"no-cuda-device", "gpu-init-failed", "container-library-mismatch"}),
        layers=(Layer.LIBCUDA,),
    )
