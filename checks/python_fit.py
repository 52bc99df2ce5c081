"""Python packages that cannot work with each other or with this GPU, by their versions alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nvdiag.checks import _cuda_ways
from nvdiag.engine import check
from nvdiag.facts.driver_limits import DriverLimits
from nvdiag.facts.messages import Messages
from nvdiag.facts.python_packages import GpuNames, PythonPackages, TorchArchitectures, TorchBuild
from nvdiag.knowledge.compute_capabilities import ComputeRow, compute, compute_of_gpu
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion


@check("gpu-arch-not-in-build", area="cuda")
def pytorchs_cuda_knows_the_gpu(
    torch: TorchBuild, gpus: GpuNames, messages: Messages | Unknown, limits: DriverLimits | Unknown
) -> Iterator[Finding]:
    """PyTorch's build has code for the GPU, or the CUDA version that it was built with makes such code."""
    if torch.cuda is None:
        raise NotApplicable("the CUDA version of PyTorch's build is not told")
    if isinstance(messages, Messages) and messages.proving("gpu-arch-not-in-build"):
        raise NotApplicable("a message tells of it")
    for name, source in gpus.names.items():
        row = compute_of_gpu(name)
        if row is not None and not _has_code(torch.version, torch.cuda, row):
            yield _without_code(torch, torch.cuda, name, source, row, limits)
            return


def _has_code(version: str, cuda: CudaVersion, row: ComputeRow) -> bool:
    """By the table of PyTorch's own builds where the version names one of them, else by what the toolkit makes."""
    from nvdiag.knowledge.pytorch_builds import build_of

    try:
        build = build_of(version)
    except Unknown:  # newer than the table: what the toolkit cannot make is not in it either
        build = None
    return row.has_code_of(cuda) if build is None else build.runs_on(row.numbers, cuda)


def _made_with(row: ComputeRow) -> list[str]:
    """The CUDA versions of PyTorch's builds that have code for a GPU, the newest four."""
    from nvdiag.knowledge.pytorch_builds import builds

    return [*dict.fromkeys(one.cuda.text for one in builds() if one.runs_on(row.numbers, one.cuda))][-4:]


def _of_build(version: str) -> Iterator[Evidence]:
    from nvdiag.knowledge.pytorch_builds import build_of

    try:
        build = build_of(version)
    except Unknown:
        return
    if build is not None:
        held = ", ".join(f"{major}.{minor}" for major, minor in build.capabilities)
        yield Evidence(source=f"nvdiag's table of PyTorch's builds ({build.source[0]})", excerpt=f"code for {held}")


def _without_code(
    torch: TorchBuild, cuda: CudaVersion, name: str, source: str, row: ComputeRow, limits: DriverLimits | Unknown
) -> Finding:
    left_out = row.has_code_of(cuda)  # the toolkit knows the GPU, and PyTorch's build leaves it out
    which = f"CUDA {row.first} or newer" if row.first > cuda else f"CUDA {row.last} or older"
    which = f"CUDA {listed(_made_with(row))}" if left_out else which
    return Finding(
        id="gpu-arch-not-in-build",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"PyTorch {torch.version} "
        + ("has no code" if left_out else f"is built for CUDA {cuda}, which has no code")
        + f" for the {name} (compute capability {row.capability})",
        detail=f"{row.name} needs a build made with {which}. CUDA is then said to be available, and the first"
        ' kernel fails with "no kernel image is available". The driver is not the reason.',
        evidence=(
            Evidence(source=torch.source, excerpt=f"torch {torch.version}, CUDA {cuda}"),
            Evidence(source=source, excerpt=name),
            *_of_build(torch.version),
        ),
        remedies=(
            Remedy(
                summary="see what the build holds, and what the GPU is",
                commands=(
                    "python3 -c 'import torch; print(torch.version.cuda, torch.cuda.get_arch_list())'",
                    "nvidia-smi --query-gpu=name,compute_cap --format=csv",
                ),
            ),
            *(
                tuple(_cuda_ways.pytorch_builds(limits, torch))
                or (
                    Remedy(
                        summary=f"install a build of PyTorch made with {which}",
                        prediction="PyTorch's installation page names the index of each build (cu128 is CUDA 12.8);"
                        " uninstall torch first, else pip keeps it",
                    ),
                )
            ),
        ),
        kind=FindingClass.APPLICATION,
        layers=(Layer.GPU,),
    )


@check("gpu-arch-not-in-build", area="cuda")
def pytorchs_code_runs_on_the_gpu(
    holds: TorchArchitectures, gpus: GpuNames | Unknown, messages: Messages | Unknown
) -> Iterator[Finding]:
    """PyTorch's list of architectures has one that the GPU runs."""
    if isinstance(messages, Messages) and messages.proving("gpu-arch-not-in-build"):
        raise NotApplicable("a message tells of it")
    own, seen = holds.capability, Evidence(source="torch.cuda.get_device_capability()", excerpt=str(holds.capability))
    if own is None:
        named = gpus.names if isinstance(gpus, GpuNames) else {}
        known = [
            (row, Evidence(source=source, excerpt=name))
            for name, source in named.items()
            if (row := compute_of_gpu(name)) is not None
        ]
        if not known:
            raise NotApplicable("the GPU's compute capability is not told")
        own, seen = known[0][0].numbers, known[0][1]
    if not holds.names or holds.run_on(own):
        return
    capability = f"{own[0]}.{own[1]}"
    row = compute(capability)
    yield Finding(
        id="gpu-arch-not-in-build",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if holds.capability else Confidence.LIKELY,
        title=f"this PyTorch has no code for compute capability {capability}: it holds {', '.join(holds.names)}",
        detail="Binary code runs on GPUs of its own major version and at least its minor one; there is no PTX in it"
        " from which the driver could make more. The driver is not the reason.",
        evidence=(Evidence(source="torch.cuda.get_arch_list()", excerpt=", ".join(holds.names)), seen),
        remedies=(
            Remedy(
                summary="install a build of PyTorch whose list has the GPU's architecture"
                + (f", made with CUDA {row.first} or newer" if row and row.last is None else ""),
                commands=("python3 -c 'import torch; print(torch.__version__, torch.cuda.get_arch_list())'",),
                prediction="PyTorch's installation page names the index of each build; uninstall torch first",
            ),
        ),
        kind=FindingClass.APPLICATION,
        layers=(Layer.GPU,),
    )


@check("framework-cuda-mismatch", area="frameworks")
def jaxs_parts_are_of_one_release(packages: PythonPackages) -> Iterator[Finding]:
    """jax, jaxlib and JAX's CUDA plug-in are of releases that go together."""
    for lib in packages.of("jaxlib"):
        apart = [
            (name, version)
            for name, found in packages.like(r"jax-cuda\d\d-plugin").items()
            for version in found
            if _numbers(version) != _numbers(lib)
        ]
        apart += [("jax", version) for version in packages.of("jax") if _numbers(version) < _numbers(lib)]
        if apart and len(packages.of("jaxlib")) == 1:
            yield Finding(
                id="framework-cuda-mismatch",
                severity=Severity.ERROR,
                confidence=Confidence.LIKELY,
                title=f"jaxlib is {lib}, and {apart[0][0]} is {apart[0][1]}: JAX does not use a plug-in of another"
                " release"
                if apart[0][0] != "jax"
                else f"jaxlib {lib} is newer than jax {apart[0][1]}, which JAX refuses",
                detail="JAX then runs on the CPU, or stops at its import.",
                evidence=(
                    Evidence(source=packages.source, excerpt=f"jaxlib {lib}"),
                    *(Evidence(source=packages.source, excerpt=f"{name} {version}") for name, version in apart),
                ),
                remedies=(
                    Remedy(
                        summary="install JAX and its CUDA plug-in in one command, so that they are of one release",
                        commands=(
                            'python -m pip install -U "jax[cuda12]"',
                            'python -c "import jax; print(jax.devices())"',
                        ),
                    ),
                ),
                kind=FindingClass.APPLICATION,
            )


def _numbers(version: str) -> tuple[int, ...]:
    found = CudaVersion.or_none(version.partition("+")[0].partition(".dev")[0])
    return found.numbers if found else ()


_CUDNN_OF: Mapping[str, tuple[tuple[tuple[int, int], tuple[int, int]], ...]] = {
    "onnxruntime-gpu": (((1, 19), (9, 0)),),
    "tensorflow": (((2, 18), (9, 3)), ((2, 15), (8, 9)), ((2, 14), (8, 7)), ((2, 12), (8, 6))),
}
"""From which release on a package's build on PyPI wants which cuDNN, the newest first (their installation pages)."""

_FAILED = (
    "ort-provider-not-created", "gpu-not-seen", "tf-some-libraries", "torch-cuda-unavailable", "cudnn-not-initialized",
)  # fmt: skip
"""Messages of a framework that found its GPU libraries wanting, and does not say which."""


@check("cudnn-mismatch", area="libraries")
def the_cudnn_wheel_serves_who_failed(packages: PythonPackages, messages: Messages) -> Iterator[Finding]:
    """The cuDNN wheel is one that onnxruntime and TensorFlow of these releases run with, where they see no GPU."""
    failed = messages.named(*_FAILED)
    if not failed:
        raise NotApplicable("no framework says that it sees no GPU")
    if any(messages.proving(one) for one in ("cudnn-mismatch", "cuda-library-missing", "framework-cpu-only")):
        raise NotApplicable("a message tells more")
    for package in _CUDNN_OF:
        wanted = next((cudnn for version in packages.of(package) if (cudnn := cudnn_of(package, version))), None)
        for wheel, found in packages.like(r"nvidia-cudnn-cu\d+").items():
            wrong = [one for one in found if wanted and not new_enough(one, wanted)]
            if wanted and wrong:
                named = f"{package} {packages.of(package)[0]}"
                yield _other_cudnn(packages.source, named, f"{wheel} {wrong[0]}", wanted, failed[0].evidence)
                return


def cudnn_of(package: str, version: str) -> tuple[int, int] | None:
    """The cuDNN that a release of a package wants, None where the table does not have it."""
    return next((cudnn for first, cudnn in _CUDNN_OF[package] if _numbers(version)[:2] >= first), None)


def new_enough(wheel: str, wanted: tuple[int, int]) -> bool:
    """Whether a cuDNN is of that major version, and at least of the minor one."""
    numbers = _numbers(wheel)
    return not numbers or (numbers[0] == wanted[0] and numbers[:2] >= wanted)


def _other_cudnn(source: str, package: str, wheel: str, wanted: tuple[int, int], said: Evidence) -> Finding:
    version = f"{wanted[0]}.{wanted[1]}" if wanted[1] else f"{wanted[0]}"
    return Finding(
        id="cudnn-mismatch",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"{package} wants cuDNN {version}, and {wheel} is installed",
        detail="cuDNN must be of the same major version and at least the minor version of the build. PyTorch pins the"
        " cuDNN wheel of its own build, so the two may not go together in one environment.",
        evidence=(
            Evidence(source=source, excerpt=package),
            Evidence(source=source, excerpt=wheel),
            said,
        ),
        remedies=(
            Remedy(
                summary="see whether another cuDNN is found",
                commands=(
                    "ldconfig -p | grep libcudnn",
                    "python3 -m pip list | grep -i -E 'cudnn|torch|tensorflow|onnx'",
                ),
            ),
            Remedy(
                summary="give it an environment of its own, or take a release for the cuDNN that is here",
                commands=("python3 -m venv env && env/bin/python -m pip install PACKAGE",),
            ),
        ),
        kind=FindingClass.ENVIRONMENT,
        layers=(Layer.TOOLKITS,),
    )
