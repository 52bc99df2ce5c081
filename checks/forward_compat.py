"""cuda-compat: a libcuda of a newer branch, which data-centre GPUs and a few others may use on an older module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nvdiag.checks import _evidence, _library_ways
from nvdiag.engine import check
from nvdiag.facts.answers import CudaAnswer, NvmlAnswer
from nvdiag.facts.cuda_compat import DRIVER_MISMATCH, FORWARD_COMPATIBILITY_REFUSED, CudaCompat
from nvdiag.facts.libraries import DriverLibraries
from nvdiag.facts.python_packages import GpuNames, LibraryPath
from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.unknown import Unknown


@check("cuda-compat-unsupported", area="libraries")
def cuda_compat_is_on_gpus_that_it_is_made_for(
    compat: CudaCompat,
    cuda: CudaAnswer | Unknown,
    nvml: NvmlAnswer | Unknown,
    named: GpuNames | Unknown,
    libraries: DriverLibraries,
    path: LibraryPath,
    surroundings: Surroundings | Unknown,
) -> Iterator[Finding]:
    """The cuda-compat library that programs get serves the GPUs here."""
    from nvdiag.knowledge.forward_compat import never_on

    answer = compat.init(cuda)
    refused = answer == FORWARD_COMPATIBILITY_REFUSED
    names = _names(nvml, named)
    barred = [name for name in names if never_on(name)]
    if not refused and (answer in (0, DRIVER_MISMATCH) or compat.covers is False):
        return
    if not refused and not barred:
        _all_may(names)
        return
    sure = Confidence.CERTAIN if refused else Confidence.LIKELY if len(barred) == len(names) else Confidence.POSSIBLE
    own = _own_cuda(compat.base.branch)
    real = next((one for one in libraries.libcuda.copies if one.release == compat.base), None)
    image = isinstance(surroundings, Surroundings) and bool(surroundings.container)
    yield Finding(
        id="cuda-compat-unsupported",
        severity=Severity.ERROR,
        confidence=sure,
        kind=FindingClass.ENVIRONMENT,
        title=f"programs get cuda-compat's libcuda {compat.release} on driver {compat.base}"
        + f", which {f'the {barred[0]}' if barred else 'this GPU'} cannot use",
        detail="Forward compatibility is for data-centre GPUs, some RTX boards in servers and Jetson. On others CUDA"
        " fails with error 804, and nvidia-smi works.",
        evidence=(
            _evidence.of_library(compat.copy),
            *((Evidence(source="cuInit of that library", excerpt=str(answer)),) if answer is not None else ()),
            *(Evidence(source="NVML" if isinstance(nvml, NvmlAnswer) else "the text", excerpt=one) for one in barred),
            *(_of_board(one) for one in barred[:1]),
            *((Evidence(source=compat.source, excerpt=compat.told),) if compat.source else ()),
            *compat.chosen_by,
        ),
        remedies=(
            *_library_ways.without(compat.copy, path, real, "this GPU works with the driver's own libcuda alone"),
            Remedy(
                summary=f"then use {'an image and ' if image else ''}builds for CUDA {own} or older, which the driver's"
                " own libcuda supports; within one CUDA major a newer minor version mostly runs too",
            ),
            Remedy(
                summary=f"or update the driver{' on the host' if image else ''} to branch {compat.release.branch} or"
                " newer: cuda-compat is then not needed",
                needs_root=True,
                reboots=True,
            ),
        ),
        explains=frozenset({"no-cuda-device", "gpu-init-failed", "libcuda-mismatch"}),
        layers=(Layer.LIBCUDA,),
    )


def _all_may(names: Iterable[str]) -> None:
    """Unknown where the table does not say of each GPU that it may use cuda-compat."""
    from nvdiag.knowledge.forward_compat import board

    for name in names:
        row = board(name)
        if row is None:
            raise Unknown(f"whether the {name} may use cuda-compat: nvdiag's table has no such GPU; cuInit tells it")
        if row.may != "all":
            raise Unknown(
                f"whether the {name} may use cuda-compat: of {row.kind} NVIDIA allows selected ones, and names none"
                f" ({row.source[0]}); cuInit tells it"
            )


def _of_board(name: str) -> Evidence:
    from nvdiag.knowledge.forward_compat import board

    row = board(name)
    assert row is not None
    return Evidence(
        source=f"nvdiag's table of forward compatibility ({row.source[0]})", excerpt=f"{row.kind}: {row.may} of them"
    )


def _names(nvml: NvmlAnswer | Unknown, named: GpuNames | Unknown) -> list[str]:
    own = [one.name for one in nvml.devices if one.name] if isinstance(nvml, NvmlAnswer) else []
    return own or (list(named.names) if isinstance(named, GpuNames) else [])


def _own_cuda(branch: int) -> str:
    from nvdiag.knowledge.cuda import cuda_of_branch

    try:
        version = cuda_of_branch(branch)
    except Unknown:
        version = None
    return version.text if version else "of the driver's own branch"
