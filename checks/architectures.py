"""nvcc and the GPU architectures that builds here are to have: each toolkit makes code for some generations alone."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.architectures import GpuCapabilities, GpuCapability, WantedArchitectures
from nvdiag.facts.messages import Messages
from nvdiag.facts.toolkits import VARIABLES, Toolkit, Toolkits
from nvdiag.knowledge.compute_capabilities import ComputeRow, capability, compute
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion

_LOOK = Remedy(
    summary="see what the toolkit can make, and what the GPU is",
    commands=(
        "nvcc --version; nvcc --list-gpu-arch",
        "nvidia-smi --query-gpu=name,compute_cap --format=csv",
    ),
)


@check("nvcc-arch-unsupported", area="cuda")
def the_toolkit_makes_code_for_the_gpu(messages: Messages, toolkits: Toolkits | Unknown) -> Iterator[Finding]:
    """nvcc, NVRTC and ptxas know the architecture that they are asked for."""
    said = _said.about(messages, "nvcc-arch-unsupported")
    row = compute(_said.group(said, "arch", "cc"))
    yield _said.finding(
        said,
        "nvcc-arch-unsupported",
        detail="Each toolkit makes code for some generations of GPUs: an old one does not know a newer GPU, and a new"
        " one has dropped old GPUs.",
        kind=FindingClass.ENVIRONMENT,
        remedies=(
            _LOOK,
            Remedy(
                summary="if this GPU is of a generation that the toolkit knows, ask for that alone: the build's list of"
                " architectures holds another one (TORCH_CUDA_ARCH_LIST, CMAKE_CUDA_ARCHITECTURES, -gencode)",
            ),
            _another_toolkit(row, toolkits),
        ),
        explains=frozenset({"ptx-newer-than-driver"}),
        layers=(Layer.TOOLKITS,),
        beside=_of_table([row] if row else []),
    )


def _another_toolkit(row: ComputeRow | None, toolkits: Toolkits | Unknown) -> Remedy:
    """A toolkit that is here and makes such code, else which one to install beside the others."""
    if row is None:
        return Remedy(
            summary="build with a toolkit whose nvcc --list-gpu-arch shows the architecture",
            prediction="several toolkits live side by side; the driver must support the CUDA version of this one",
        )
    here = next((one for one in toolkits.found if _makes(one, row)), None) if isinstance(toolkits, Toolkits) else None
    if here is not None and here.root.startswith("/"):
        root = shlex.quote(here.root)
        return Remedy(
            summary=f"build with the toolkit at {here.root}, which is of CUDA {here.version} and knows {row.name}",
            commands=(f"export CUDA_HOME={root} PATH={root}/bin:$PATH",),
            prediction="begin the build in an empty folder",
        )
    which = f"CUDA {row.last} or older: newer ones have dropped {row.name}"
    if row.last is None:
        which = f"CUDA {row.first} or newer, the first that knows {row.name}"
    from nvdiag.checks import _cuda_ways

    return Remedy(
        summary=f"build with a toolkit of {which}",
        commands=_cuda_ways.conda_nvcc(row.last or row.first),
        prediction="several toolkits live side by side; the driver must support the CUDA version of this one",
    )


def _makes(toolkit: Toolkit, row: ComputeRow) -> bool:
    try:
        return toolkit.nvcc is not None and toolkit.version is not None and row.is_made_by(toolkit.version)
    except Unknown:
        return False


@check("nvcc-arch-unsupported", area="cuda")
def the_toolkit_makes_what_this_environment_asks_for(
    toolkits: Toolkits, wanted: WantedArchitectures
) -> Iterator[Finding]:
    """The toolkit that this environment picks makes code for the architectures that its variables name."""
    toolkit, version = _picked(toolkits)
    rows = [(row, name) for asked, name in wanted.capabilities.items() if (row := compute(asked)) is not None]
    missing = [row for row, _ in rows if not row.is_made_by(version)]
    if not missing:
        return
    name = next(name for row, name in rows if row is missing[0])
    which = listed([row.capability for row in missing])
    yield Finding(
        id="nvcc-arch-unsupported",
        severity=Severity.WARNING,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.ENVIRONMENT,
        title=f"{name} asks for compute capability {which}, for which CUDA {version.short} makes no code",
        detail='A build that goes by it stops with "Unsupported gpu architecture". What is built already still runs.',
        evidence=(
            Evidence(source=name, excerpt=wanted.values[name]),
            Evidence(source=toolkit.source, excerpt=version.text),
            *_of_table(missing),
        ),
        remedies=(
            Remedy(
                summary=f"take {which} out of {name} where no GPU that you build for has it",
                commands=(
                    "nvidia-smi --query-gpu=name,compute_cap --format=csv",
                    *_without(name, wanted.values[name], missing),
                ),
            ),
            _another_toolkit(missing[0], toolkits),
        ),
        layers=(Layer.TOOLKITS,),
    )


def _without(name: str, value: str, missing: Sequence[ComputeRow]) -> Iterator[str]:
    """The variable as it is without these capabilities, where it is a list of them and some are left."""
    gone = {row.capability for row in missing}
    words = re.split(r"[;,\s]+", value.strip())
    left = [word for word in words if capability(word.partition("+")[0].partition("-")[0]) not in gone]
    if not name.startswith("NVCC_") and left:
        yield f"export {name}={shlex.quote(';'.join(left))}"


@check("nvcc-arch-unsupported", area="cuda")
def the_toolkit_that_is_meant_knows_the_gpus(
    toolkits: Toolkits, gpus: GpuCapabilities, wanted: WantedArchitectures | Unknown
) -> Iterator[Finding]:
    """The toolkit that CUDA_HOME names, or that is to build for this machine's GPUs, makes code that runs on them."""
    toolkit, version = _picked(toolkits)
    native = wanted.native if isinstance(wanted, WantedArchitectures) else None
    by = native or next((way for way in toolkit.found_by if way in VARIABLES), None)
    if by is None:
        raise NotApplicable("an nvcc on PATH alone says nothing of what is built for")
    if native is None and isinstance(wanted, WantedArchitectures):
        raise NotApplicable("a variable names the architectures that builds are for")
    for gpu in gpus.gpus:
        rows = [row for one in gpu.capabilities if (row := compute(one)) is not None]
        if len(rows) < len(gpu.capabilities):
            raise Unknown(f"nvdiag's table does not have compute capability {listed(gpu.capabilities)} of {gpu.gpu}")
        if not any(row.is_made_by(version) or row.has_code_of(version.short) for row in rows):
            yield _unknown_gpu(gpu, rows[0], toolkit, version, by, toolkits)
            return


def _unknown_gpu(
    gpu: GpuCapability, row: ComputeRow, toolkit: Toolkit, version: CudaVersion, by: str, toolkits: Toolkits
) -> Finding:
    older = row.first > version.short
    return Finding(
        id="nvcc-arch-unsupported",
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"{by} picks a toolkit of CUDA {version.short}, which makes no code for {gpu.gpu}"
        f" (compute capability {row.capability}, {row.name})",
        detail='A build for this GPU stops with "Unsupported gpu architecture".'
        + (
            " PTX of an older architecture would run, compiled by the driver at each first start."
            if older
            else " The GPU runs what older toolkits built."
        ),
        evidence=(
            Evidence(source=toolkit.source, excerpt=version.text),
            Evidence(source=gpu.source, excerpt=f"{gpu.gpu}: {' or '.join(gpu.capabilities)}"),
            *_of_table([row]),
        ),
        remedies=(_another_toolkit(row, toolkits), _LOOK),
        layers=(Layer.TOOLKITS,),
    )


def _of_table(rows: Sequence[ComputeRow]) -> Iterator[Evidence]:
    for row in rows[:2]:
        yield Evidence(
            source=f"nvdiag's table of compute capabilities, {row.capability} ({row.source[0]})", excerpt=row.made_by
        )


def _picked(toolkits: Toolkits) -> tuple[Toolkit, CudaVersion]:
    """The toolkit that this environment picks, and its version."""
    toolkit = next((one for one in toolkits.found if one.chosen_by), None)
    if toolkit is None:
        raise NotApplicable("neither PATH nor CUDA_HOME picks a toolkit")
    if toolkit.version is None:
        raise Unknown(f"the version of the toolkit at {toolkit.root}: {toolkit.source}")
    return toolkit, toolkit.version
