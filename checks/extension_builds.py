"""A build of PyTorch extensions that this environment is set up for: whether its nvcc is of PyTorch's CUDA major."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _cuda_ways
from nvdiag.engine import check
from nvdiag.facts.architectures import WantedArchitectures
from nvdiag.facts.driver_limits import DriverLimits
from nvdiag.facts.frameworks import Framework, Frameworks
from nvdiag.facts.python_packages import TorchBuild
from nvdiag.facts.toolkits import Toolkit, Toolkits
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion

_VARIABLE = "TORCH_CUDA_ARCH_LIST"


@check("toolkit-framework-mismatch", area="cuda")
def extensions_are_built_with_pytorchs_cuda(
    wanted: WantedArchitectures,
    toolkits: Toolkits,
    frameworks: Frameworks,
    limits: DriverLimits | Unknown,
    build: TorchBuild | Unknown,
) -> Iterator[Finding]:
    """Where builds of PyTorch extensions are set up, the nvcc that they take is of PyTorch's CUDA major version."""
    if _VARIABLE not in wanted.values:
        raise NotApplicable(f"{_VARIABLE} is not set, so nothing here asks for a build of PyTorch extensions")
    torch = frameworks.found.get("torch")
    if torch is None or torch.cuda is None:
        raise NotApplicable("no PyTorch with CUDA is installed here")
    chosen = next((one for one in toolkits.found if one.chosen_by and one.nvcc), None)
    if chosen is None:
        raise NotApplicable("neither PATH nor CUDA_HOME picks a toolkit")
    if chosen.version is None:
        raise Unknown(f"the version of the toolkit at {chosen.root}: {chosen.source}")
    if chosen.version.major != torch.cuda.major:
        others = (
            way
            for way in _cuda_ways.pytorch_builds(limits, build)
            if f"built for CUDA {chosen.version.major}." in way.summary
        )
        yield _apart(
            chosen,
            torch,
            asked=Evidence(source=_VARIABLE, excerpt=wanted.values[_VARIABLE]),
            remedies=(_right_toolkit(torch.cuda, toolkits), *others),
        )


def _apart(chosen: Toolkit, torch: Framework, *, asked: Evidence, remedies: tuple[Remedy, ...]) -> Finding:
    version = chosen.version.text if chosen.version else ""
    return Finding(
        id="toolkit-framework-mismatch",
        severity=Severity.WARNING,
        confidence=Confidence.CERTAIN,
        title=f"nvcc is of CUDA {version}, and PyTorch {torch.version} was built with CUDA {torch.cuda}",
        detail="PyTorch refuses to build an extension with an nvcc of another CUDA major version than its own. What is"
        " built already, and PyTorch itself, need no nvcc; a finished wheel of the extension needs none either.",
        evidence=(
            Evidence(source=chosen.source, excerpt=version),
            Evidence(source=torch.source, excerpt=f"torch {torch.version}, CUDA {torch.cuda}"),
            asked,
        ),
        remedies=remedies,
        layers=(Layer.TOOLKITS,),
    )


def _right_toolkit(cuda: CudaVersion, toolkits: Toolkits) -> Remedy:
    """A toolkit of that major that is here, else how to have one without root."""
    same = _cuda_ways.toolkits_of(cuda.major, toolkits)
    if same:
        best = max(same, key=lambda one: (one.version is not None and one.version.short == cuda.short, one.root))
        return _cuda_ways.build_with(best, "begin the build in an empty folder")
    return Remedy(
        summary=f"take an nvcc of CUDA {cuda.short} beside the one that is here, without root",
        commands=_cuda_ways.conda_nvcc(cuda),
        prediction="several toolkits live side by side; let CUDA_HOME name that one",
    )
