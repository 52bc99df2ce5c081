"""Frameworks that are installed in the Python environment here: against the driver, and against each other."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from nvdiag.checks import _cuda_ways
from nvdiag.checks.python_environment import runs
from nvdiag.engine import check
from nvdiag.facts.answers import CudaAnswer, DriverCuda, NvmlAnswer
from nvdiag.facts.driver_limits import DriverLimits
from nvdiag.facts.frameworks import Framework, Frameworks
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.python_environments import PythonEnvironment
from nvdiag.facts.python_packages import TorchBuild
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion

_OF_TORCH = ("flash-attn", "torchaudio", "torchvision", "vllm", "xformers")
"""Extensions whose compiled modules are loaded into PyTorch's process and use its CUDA runtime."""

_NEEDS_CUDA = ("flash-attn", "vllm")
"""Those whose builds for CUDA do nothing without a PyTorch with CUDA."""


@check("driver-too-old-for-cuda", area="cuda")
def the_driver_supports_the_frameworks_cuda(
    frameworks: Frameworks,
    supported: DriverCuda | Unknown,
    loaded: LoadedDriver | Unknown,
    cuda: CudaAnswer | Unknown,
    limits: DriverLimits | Unknown,
    torch: TorchBuild | Unknown,
) -> Iterator[Finding]:
    """The driver runs the CUDA versions that the installed frameworks were built with."""
    if isinstance(supported, Unknown):
        raise loaded if isinstance(loaded, NotApplicable) else supported
    there = supported.version.short
    if isinstance(cuda, CudaAnswer) and cuda.init == 0 and cuda.version is not None:
        there = max(there, cuda.version.short)
    built = {one.name: one.cuda for one in frameworks.found.values() if one.cuda is not None}
    if not built:
        raise NotApplicable("no framework here tells which CUDA it was built for")
    newer = {name: needed for name, needed in built.items() if not runs(needed, there)}
    if not newer:
        return
    named = [f"{name} {frameworks.found[name].version} for CUDA {needed}" for name, needed in newer.items()]
    yield Finding(
        id="driver-too-old-for-cuda",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.CONFIGURATION,
        title=f"the driver supports CUDA {there}, and {frameworks.environment.prefix} has {listed(named)}",
        detail="Within one CUDA major (from 11 on) an older driver runs newer builds; across majors it does not.",
        evidence=(
            *(_of(frameworks.found[name]) for name in newer),
            Evidence(source=supported.source, excerpt=f"CUDA {supported.version}"),
            *(
                (Evidence(source=loaded.source, excerpt=loaded.release.text),)
                if isinstance(loaded, LoadedDriver)
                else ()
            ),
            *_cuda_ways.of_tables(max(newer.values()), limits),
        ),
        remedies=(
            *(_cuda_ways.pytorch_builds(limits, torch) if "torch" in newer else ()),
            _older_builds(frameworks.environment, list(newer), there),
            _cuda_ways.newer_driver(max(newer.values()), limits),
        ),
        explains=frozenset({"no-cuda-device"}),
        layers=(Layer.CUDA_DRIVER, Layer.FRAMEWORKS),
    )


def _of(framework: Framework) -> Evidence:
    cuda = f", CUDA {framework.cuda}" if framework.cuda else ", no CUDA" if framework.cpu_only else ""
    return Evidence(source=framework.source, excerpt=f"{framework.name} {framework.version}{cuda}")


def _older_builds(environment: PythonEnvironment, names: Sequence[str], there: CudaVersion) -> Remedy:
    pip = f"{shlex.quote(environment.python)} -m pip"
    return Remedy(
        summary=f"install builds for CUDA {there.major} in this environment: no root and no reboot",
        commands=(f"{pip} list", f"{pip} uninstall {' '.join(names)}"),
        prediction=f"any build for CUDA {there.major} runs on this driver; PyTorch's installation page names the index"
        f" of each build, JAX's extra is jax[cuda{there.major}], CuPy's package cupy-cuda{there.major}x; without the"
        " uninstall pip keeps what is there",
    )


@check("framework-cpu-only", area="frameworks")
def frameworks_have_the_cuda_that_is_wanted(frameworks: Frameworks, nvml: NvmlAnswer | Unknown) -> Iterator[Finding]:
    """No installed package wants CUDA of a framework that is built without it."""
    found, environment = frameworks.found, frameworks.environment
    torch, onnx = found.get("torch"), found.get("onnxruntime")
    wanting = [found[name] for name in _NEEDS_CUDA if name in found and found[name].cuda is not None]
    if torch is not None and torch.cpu_only and wanting:
        named = listed([f"{one.name} {one.version}" for one in wanting])
        yield _without_cuda(
            torch,
            environment,
            title=f"{named} need{'s' if len(wanting) == 1 else ''} CUDA, and PyTorch {torch.version} here has none",
            beside=[_of(one) for one in wanting],
            install=_TORCH,
        )
    elif torch is not None and torch.cpu_only and _gpu_works(nvml) and _was_chosen(environment):
        yield _without_cuda(
            torch,
            environment,
            title=f"PyTorch {torch.version} in {environment.prefix} is built without CUDA",
            beside=[Evidence(source="nvmlInit", excerpt="0: the driver works")],
            install=_TORCH,
            severity=Severity.INFO,
        )
    if onnx is not None and onnx.cpu_only and "onnxruntime-gpu" in environment.versions:
        yield _without_cuda(
            onnx,
            environment,
            title=f"the files of onnxruntime-gpu are overwritten by those of onnxruntime {onnx.version}, without CUDA",
            beside=[Evidence(source=environment.infos["onnxruntime-gpu"], excerpt="onnxruntime-gpu is installed")],
            install=("onnxruntime onnxruntime-gpu", "onnxruntime-gpu"),
        )


_TORCH = ("torch torchvision torchaudio", "torch torchvision torchaudio")


def _gpu_works(nvml: NvmlAnswer | Unknown) -> bool:
    return isinstance(nvml, NvmlAnswer) and nvml.init == 0 and bool(nvml.devices)


def _was_chosen(environment: PythonEnvironment) -> bool:
    """Whether somebody made this environment the active one, which an interpreter on PATH alone does not show."""
    return any(way != "PATH" for way in environment.found_by)


def _without_cuda(
    framework: Framework,
    environment: PythonEnvironment,
    *,
    title: str,
    beside: Sequence[Evidence],
    install: tuple[str, str],
    severity: Severity = Severity.ERROR,
) -> Finding:
    pip = f"{shlex.quote(environment.python)} -m pip"
    return Finding(
        id="framework-cpu-only",
        subject="" if framework.name == "torch" else framework.name,
        severity=severity,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.APPLICATION,
        title=title,
        detail="Such a build never asks the driver; whatever state that is in changes nothing."
        + (" That is well where nothing here is meant to use the GPU." if severity is Severity.INFO else ""),
        evidence=(_of(framework), *beside),
        remedies=(
            Remedy(
                summary="put the build with CUDA in its place",
                commands=(f"{pip} uninstall {install[0]}", f"{pip} install {install[1]}"),
                prediction="on Linux the package index's own builds of these have CUDA; where an index for the CPU is"
                " configured, pip config list shows it",
            ),
        ),
        explains=frozenset({"no-cuda-device", "toolkit-framework-mismatch"})
        if severity is Severity.ERROR
        else frozenset(),
        layers=(Layer.FRAMEWORKS,),
    )


@check("framework-cuda-mismatch", area="frameworks")
def extensions_are_for_pytorchs_cuda(frameworks: Frameworks) -> Iterator[Finding]:
    """PyTorch's extensions here are compiled for the CUDA major of the PyTorch beside them."""
    torch = frameworks.found.get("torch")
    if torch is None or torch.cuda is None:
        raise NotApplicable("no PyTorch with CUDA is installed here")
    for name in _OF_TORCH:
        other = frameworks.found.get(name)
        if other is None:
            continue
        if other.cuda is not None and other.cuda.major != torch.cuda.major:
            yield _mismatch(
                frameworks,
                other,
                f"{name} {other.version} is compiled for CUDA {other.cuda.major}, and PyTorch {torch.version} beside it"
                f" is for CUDA {torch.cuda}",
                "Its compiled module asks for the CUDA runtime of its own major, which this PyTorch does not bring.",
            )
        elif other.torch is not None and not f"{torch.version}.".startswith(f"{other.torch}."):
            yield _mismatch(
                frameworks,
                other,
                f"{name} {other.version} is compiled for PyTorch {other.torch}, and PyTorch here is {torch.version}",
                "PyTorch's C++ interface changes with its releases: import fails with an undefined symbol.",
            )
    bnb = frameworks.found.get("bitsandbytes")
    if bnb is not None and bnb.builds and all(one.major != torch.cuda.major for one in bnb.builds):
        yield _mismatch(
            frameworks,
            bnb,
            f"bitsandbytes {bnb.version} has no library for CUDA {torch.cuda.major}, and PyTorch {torch.version} is"
            f" for CUDA {torch.cuda}",
            f"It brings libraries for CUDA {listed([one.text for one in bnb.builds])}, and takes the one of PyTorch's"
            " CUDA version.",
        )


def _mismatch(frameworks: Frameworks, other: Framework, title: str, detail: str) -> Finding:
    pip = f"{shlex.quote(frameworks.environment.python)} -m pip"
    return Finding(
        id="framework-cuda-mismatch",
        subject=other.name,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        kind=FindingClass.APPLICATION,
        title=title,
        detail=detail,
        evidence=(_of(frameworks.found["torch"]), _of(other)),
        remedies=(
            Remedy(
                summary=f"install the release of {other.name} that is built for this PyTorch",
                commands=(f"{pip} install --upgrade --force-reinstall --no-deps {other.name}",),
                prediction="its release notes name the PyTorch and the CUDA that its wheels are for; from the index"
                " that PyTorch itself came from, where it has the package",
            ),
        ),
        layers=(Layer.FRAMEWORKS,),
    )


@check("framework-cuda-mismatch", area="frameworks")
def one_cupy_is_installed(frameworks: Frameworks) -> Iterator[Finding]:
    """One CuPy is installed, not several for different CUDA majors over each other."""
    several = [one for name, one in frameworks.found.items() if name.partition("-")[0] == "cupy"]
    if len(several) < 2:
        return
    names = [one.name for one in several]
    pip = f"{shlex.quote(frameworks.environment.python)} -m pip"
    yield Finding(
        id="framework-cuda-mismatch",
        subject="cupy",
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        kind=FindingClass.APPLICATION,
        title=f"several packages of CuPy are installed over each other: {listed(names)}",
        detail="All of them write the same folder, so what is imported is a mixture"
        + (
            f"; the files written last are those for CUDA {several[0].cuda}"
            if several[0].source.endswith(".json")
            else ""
        )
        + ".",
        evidence=tuple(_of(one) for one in several),
        remedies=(
            Remedy(
                summary="leave the one for the CUDA that is used here",
                commands=(f"{pip} uninstall {' '.join(names)}", f"{pip} install {names[-1]}"),
                prediction="cupy-cuda12x suits every driver from 525 on, cupy-cuda13x those from 580 on",
            ),
        ),
        layers=(Layer.FRAMEWORKS,),
    )
