"""PTX, which a driver compiles when a program starts: it reads that of its own CUDA version and of older ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nvdiag.checks import _cuda_ways, _said
from nvdiag.engine import check
from nvdiag.facts.driver_limits import DriverLimits
from nvdiag.facts.messages import Messages
from nvdiag.facts.python_packages import TorchBuild
from nvdiag.facts.toolkits import Toolkits
from nvdiag.model.finding import Evidence, Finding, Layer, Remedy
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion

if TYPE_CHECKING:
    from nvdiag.knowledge.ptx_versions import PtxRow


@check("ptx-newer-than-driver", area="cuda")
def no_ptx_is_newer_than_its_compiler(
    messages: Messages, limits: DriverLimits | Unknown, torch: TorchBuild | Unknown, toolkits: Toolkits | Unknown
) -> Iterator[Finding]:
    """No program's PTX is refused as newer than the driver's (or ptxas') compiler."""
    said = _said.about(messages, "ptx-newer-than-driver")
    made, known = (_of_ptx(_said.group(said, name)) for name in ("ptx", "known"))
    needed = made.cuda if made else _maker(limits, torch, toolkits)
    limit = f"CUDA {limits.cuda}" if isinstance(limits, DriverLimits) else "the driver's CUDA version"
    yield _said.finding(
        said,
        "ptx-newer-than-driver",
        title=f"the PTX is of CUDA {made.cuda}, and what compiles it here is of CUDA {known.cuda}"
        if made and known
        else "",
        detail="Device code in the form of PTX is compiled by the driver when the program starts. A driver reads PTX of"
        " its own CUDA version and older, also where it runs newer programs of the same CUDA major.",
        remedies=(
            Remedy(
                summary="compare the driver's CUDA version with the toolkit that made the PTX",
                commands=("nvidia-smi | grep 'CUDA Version'", "nvcc --version"),
            ),
            *(_full_builds(limits, torch) if isinstance(torch, TorchBuild) else ()),
            Remedy(
                summary=f"use a toolkit or a build of at most {limit}, or build binary code for the GPU"
                f" ({_gencode(limits)}), which the driver need not compile",
                prediction="neither needs root nor a new driver",
            ),
            Remedy(
                summary="update the driver to the branch of the toolkit's CUDA version"
                + (f": {_driver_of(needed)}" if needed else ""),
                needs_root=True,
                reboots=True,
            ),
        ),
        layers=(Layer.CUDA_DRIVER, Layer.TOOLKITS),
        beside=(*_ptx_rows(made, known), *_cuda_ways.of_tables(None, limits)),
    )


def _of_ptx(version: str) -> PtxRow | None:
    from nvdiag.knowledge.ptx_versions import cuda_of_ptx

    try:
        return cuda_of_ptx(version)
    except Unknown:
        return None


def _ptx_rows(*rows: PtxRow | None) -> Iterator[Evidence]:
    for row in rows:
        if row is not None:
            version = ".".join(map(str, row.version))
            yield Evidence(
                source=f"nvdiag's table of PTX versions, {version} ({row.source[0]})", excerpt=f"CUDA {row.cuda}"
            )


def _maker(
    limits: DriverLimits | Unknown, torch: TorchBuild | Unknown, toolkits: Toolkits | Unknown
) -> CudaVersion | None:
    """The CUDA version that made the PTX, as far as can be told: PyTorch's or nvcc's, if newer than the driver's."""
    made = torch.cuda if isinstance(torch, TorchBuild) else None
    if isinstance(toolkits, Toolkits):
        made = made or next((one.version for one in toolkits.found if one.chosen_by and one.version), None)
    newer = made is not None and (isinstance(limits, Unknown) or made.short > limits.cuda)
    return made.short if made is not None and newer else None


def _full_builds(limits: DriverLimits | Unknown, torch: TorchBuild | Unknown) -> Iterator[Remedy]:
    """Of PyTorch's builds those whose PTX the driver reads: of its own CUDA version or older."""
    return (one for one in _cuda_ways.pytorch_builds(limits, torch) if "in full" in one.summary)


def _gencode(limits: DriverLimits | Unknown) -> str:
    """nvcc's option for binary code of the first GPU, where its capability is known."""
    known = limits.gpus[0].capabilities if isinstance(limits, DriverLimits) and limits.gpus else ()
    number = known[0].replace(".", "") if len(known) == 1 else "XY"
    listed = f"; TORCH_CUDA_ARCH_LIST={known[0]} without +PTX" if number != "XY" else ""
    return f"-gencode arch=compute_{number},code=sm_{number}{listed}"


def _driver_of(cuda: CudaVersion) -> str:
    from nvdiag.knowledge.cuda import toolkit

    try:
        row = toolkit(cuda)
    except Unknown as why:
        return str(why)
    if row is None:
        return f"that of CUDA {cuda}"
    return f"{row.driver or f'branch {row.branch}'} or newer for CUDA {cuda} ({row.source[0]})"
