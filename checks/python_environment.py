"""Python packages against each other and against the driver, by lists that pip, conda and torch print."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.answers import DriverCuda
from nvdiag.facts.driver_limits import DriverLimits
from nvdiag.facts.messages import Messages
from nvdiag.facts.python_packages import PythonPackages, TorchBuild, TorchEnvironment, TorchNccl, TorchSees
from nvdiag.facts.smi_report import SmiReport
from nvdiag.facts.toolkits import Toolkits
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion

_PICK_A_BUILD = Remedy(
    summary="install a build for the CUDA version that the driver supports, from the index of that build",
    commands=("nvidia-smi | grep 'CUDA Version'", "python3 -c 'import torch; print(torch.__version__)'"),
    prediction="PyTorch's installation page names the index of each build; uninstall torch first, else pip keeps it",
)


@check("framework-cpu-only", area="frameworks")
def pytorch_is_built_with_cuda(
    torch: TorchBuild,
    smi: SmiReport | Unknown,
    toolkits: Toolkits | Unknown,
    environment: TorchEnvironment | Unknown,
    messages: Messages | Unknown,
) -> Iterator[Finding]:
    """PyTorch is built with CUDA where somebody wants it."""
    if torch.python is not None:
        raise NotApplicable("what is installed here is judged by what wants CUDA of it")
    if not torch.cpu_only:
        return
    wanted = [
        *(["nvidia-smi was asked"] if isinstance(smi, SmiReport) else []),
        *(["a toolkit is installed"] if isinstance(toolkits, Toolkits) and toolkits.found else []),
        *(["torch's collect_env was run"] if isinstance(environment, TorchEnvironment) else []),
        *(["a message tells of CUDA"] if isinstance(messages, Messages) and messages.said else []),
        *(["its CUDA version was asked for"] if torch.listed else []),
    ]
    yield Finding(
        id="framework-cpu-only",
        severity=Severity.ERROR if wanted else Severity.INFO,
        confidence=Confidence.CERTAIN if wanted else Confidence.LIKELY,
        kind=FindingClass.APPLICATION,
        title=f"the installed PyTorch, {torch.version}, is a build without CUDA",
        detail="torch.cuda.is_available() is False with it on every machine, whatever driver and toolkit are there.",
        evidence=(
            Evidence(source=torch.source, excerpt=f"torch {torch.version}"),
            *(Evidence(source="wanted", excerpt=word) for word in wanted[:1]),
        ),
        remedies=(_PICK_A_BUILD,),
        explains=frozenset({"no-cuda-device", "toolkit-framework-mismatch"}),
    )


@check("driver-too-old-for-cuda", area="cuda")
def the_driver_supports_pytorchs_cuda(
    torch: TorchBuild,
    supported: DriverCuda | Unknown,
    sees: TorchSees | Unknown,
    limits: DriverLimits | Unknown,
) -> Iterator[Finding]:
    """The driver runs the CUDA version that PyTorch was built with."""
    if torch.python is not None:
        raise NotApplicable("what is installed here is judged with the other frameworks")
    if torch.cuda is None:
        raise NotApplicable("the CUDA version of PyTorch's build is not told")
    if isinstance(sees, TorchSees) and sees.available:
        raise NotApplicable("PyTorch itself says that CUDA is available")
    if isinstance(supported, Unknown):
        raise supported
    needed, there = torch.cuda, supported.version.short
    if runs(needed, there):
        return
    from nvdiag.checks import _cuda_ways

    yield Finding(
        id="driver-too-old-for-cuda",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if supported.source in _ASKED else Confidence.LIKELY,
        title=f"PyTorch is built for CUDA {needed}, the driver supports CUDA {there}",
        detail="Within one CUDA major (from 11 on) an older driver runs newer builds; across majors it does not.",
        evidence=(
            Evidence(source=torch.source, excerpt=f"torch {torch.version}, CUDA {needed}"),
            Evidence(source=supported.source, excerpt=f"CUDA {supported.version}"),
            *_cuda_ways.of_tables(needed, limits),
        ),
        remedies=(
            *(tuple(_cuda_ways.pytorch_builds(limits, torch)) or (_PICK_A_BUILD,)),
            *_cuda_ways.forward_compatible(needed, limits),
            _cuda_ways.newer_driver(needed, limits),
        ),
        explains=frozenset({"no-cuda-device"}),
        layers=(Layer.CUDA_DRIVER,),
    )


_ASKED = ("nvmlSystemGetCudaDriverVersion", "cuDriverGetVersion")
"""Answers of the driver itself; nvidia-smi prints the version of a libcuda that may be another one."""

_FIRST_MINOR_COMPATIBLE = 11
"""The first CUDA major with minor-version compatibility (NVIDIA's CUDA compatibility guide)."""


def runs(needed: CudaVersion, there: CudaVersion) -> bool:
    """Whether a driver that supports CUDA `there` runs a build for CUDA `needed`, which may be a bare major."""
    return needed.major <= there.major if there.major >= _FIRST_MINOR_COMPATIBLE else needed <= there


@check("cudnn-mismatch", area="libraries")
def jaxlib_meets_its_cudnn(packages: PythonPackages) -> Iterator[Finding]:
    """The cuDNN wheel is of the version that jaxlib was built for."""
    for version in packages.of("jaxlib"):
        built = re.search(r"cudnn(\d)(\d)", version)
        for name, found in packages.like(r"nvidia-cudnn(-cu\d+)?").items():
            wrong = [one for one in found if built and not _serves(one, int(built[1]), int(built[2]))]
            if built and wrong:
                yield Finding(
                    id="cudnn-mismatch",
                    severity=Severity.ERROR,
                    confidence=Confidence.CERTAIN,
                    title=f"jaxlib {version} is built for cuDNN {built[1]}.{built[2]}, and {name} is {wrong[0]}",
                    detail="cuDNN must be of the same major version and at least the minor version of the build.",
                    evidence=(
                        Evidence(source=packages.source, excerpt=f"jaxlib {version}"),
                        Evidence(source=packages.source, excerpt=f"{name} {wrong[0]}"),
                    ),
                    remedies=(
                        Remedy(
                            summary="install the cuDNN of jaxlib's build, or jax with its own CUDA wheels anew",
                            commands=(f"pip install '{name}=={built[1]}.{built[2]}.*'", "pip install -U 'jax[cuda12]'"),
                        ),
                    ),
                    kind=FindingClass.ENVIRONMENT,
                    explains=frozenset({"framework-cuda-mismatch"}),
                )


def _serves(wheel: str, major: int, minor: int) -> bool:
    """Whether a cuDNN of this version is one that a build for major.minor runs with."""
    there = CudaVersion.or_none(wheel)
    return there is None or (there.numbers[0] == major and there.short.numbers[1] >= minor)


@check("nccl-mismatch", area="libraries")
def one_nccl_is_there(packages: PythonPackages, told: TorchNccl | Unknown) -> Iterator[Finding]:
    """One NCCL wheel is installed, and it is the one that torch loads."""
    wheels = packages.like(r"nvidia-nccl-cu\d+")
    named = [f"{name} {version}" for name, versions in wheels.items() for version in versions]
    evidence = tuple(Evidence(source=packages.source, excerpt=one) for one in named)
    reinstall = Remedy(
        summary="leave one NCCL wheel, that of torch's CUDA major, and install it anew, since both write one folder",
        commands=("pip list | grep nccl", "pip uninstall -y " + " ".join(sorted(wheels))),
        prediction="installing torch again brings the wheel that it needs",
    )
    if len(wheels) > 1:
        yield Finding(
            id="nccl-mismatch",
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            title=f"NCCL wheels of several CUDA majors are installed over each other: {listed(named)}",
            detail="They put the same file, nvidia/nccl/lib/libnccl.so.2, into site-packages: the last one installed"
            " is what every program gets.",
            evidence=evidence,
            remedies=(reinstall,),
            kind=FindingClass.ENVIRONMENT,
        )
        return
    said = told.version if isinstance(told, TorchNccl) else None
    other = [one for versions in wheels.values() for one in versions if said and not _same(one, said)]
    if said and other:
        yield Finding(
            id="nccl-mismatch",
            severity=Severity.ERROR,
            confidence=Confidence.LIKELY,
            title=f"torch reports NCCL {said}, and the installed wheel is {other[0]}: another copy is in play",
            detail="torch reports the NCCL that it was built with; where a program loads libnccl.so.2 by its bare name,"
            " the loader may take a system copy of yet another version.",
            evidence=(*evidence, Evidence(source="torch.cuda.nccl.version()", excerpt=said)),
            remedies=(
                Remedy(summary="see which copies there are", commands=("find / -name 'libnccl.so.*' 2>/dev/null",)),
                reinstall,
            ),
            kind=FindingClass.ENVIRONMENT,
        )


def _same(one: str, other: str) -> bool:
    short, long = CudaVersion.or_none(one), CudaVersion.or_none(other)
    return short is None or long is None or short.numbers[:3] == long.numbers[:3]
