"""What CUDA and frameworks say of the driver's age and of device code that does not suit driver or GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from nvdiag.checks import _cuda_ways, _said
from nvdiag.engine import check
from nvdiag.facts.architectures import GpuCapability
from nvdiag.facts.driver_limits import DriverLimits
from nvdiag.facts.messages import Messages, Said
from nvdiag.facts.python_packages import TorchArchitectures, TorchBuild
from nvdiag.knowledge.compute_capabilities import ComputeRow, compute
from nvdiag.model.finding import Confidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion, DriverRelease

_BARE_35 = frozenset({"cuda-35-insufficient", "cuda-35-number", "ollama-driver-too-old"})
"""Messages that are said as well where no driver is reached at all: its version then counts as 0."""

_NO_DRIVER_REACHED = (
    "libcuda-missing", "libcuda-stub-loaded", "driver-library-mismatch", "driver-not-loaded", "driver-not-installed",
    "driver-not-built", "secure-boot-rejected", "container-driver-libraries-missing", "no-nvidia-gpu",
)  # fmt: skip


@check("driver-too-old-for-cuda", area="cuda")
def no_program_asks_for_a_newer_driver(
    messages: Messages, limits: DriverLimits | Unknown, torch: TorchBuild | Unknown
) -> Iterator[Finding]:
    """No program says that the driver is too old for its CUDA."""
    said = _said.about(messages, "driver-too-old-for-cuda")
    images = messages.named("banner-driver-too-old")  # NVIDIA's images try cuda-compat first, and print why it failed
    limits = _limits(said, limits)
    needed = _needed(said, limits, torch)
    new_enough = _bare(said) and _serves(limits, torch)
    yield _said.finding(
        said,
        "driver-too-old-for-cuda",
        title=_too_old_title(said),
        detail="The program brings a CUDA runtime that needs a newer driver than the one that answers it."
        + (_NEW_ENOUGH if new_enough else _ALSO_WITHOUT_LIBCUDA if _bare(said) else ""),
        confidence=Confidence.POSSIBLE if new_enough or (_bare(said) and _other_reason(messages)) else None,
        remedies=(
            *((_SEE_LIBCUDA,) if new_enough else ()),
            *_for_an_old_driver(said, limits, needed, torch),
        ),
        explains=frozenset({"no-cuda-device", "gpu-init-failed", "ptx-newer-than-driver"})
        | (frozenset({"cuda-compat-unsupported", "libcuda-mismatch"}) if images else frozenset()),
        layers=(Layer.CUDA_DRIVER,),
        beside=_cuda_ways.of_tables(needed, limits),
    )


_ALSO_WITHOUT_LIBCUDA = " Error 35 also comes where no libcuda is found; nvidia-smi tells the two apart."
_NEW_ENOUGH = (
    " The driver that nvidia-smi shows is new enough for the PyTorch that is listed. Error 35 then mostly means that"
    " the program finds no libcuda, or one of an older driver: nvidia-smi does not need it."
)
_SEE_LIBCUDA = Remedy(
    summary="see which libcuda the program finds, where it runs (in the container, in the job)",
    commands=("ldconfig -p | grep libcuda.so.1", "env | grep LD_LIBRARY_PATH"),
    prediction="there must be one, of the driver's own release",
)


def _serves(limits: DriverLimits | Unknown, torch: TorchBuild | Unknown) -> bool:
    """Whether the driver supports the CUDA of the PyTorch that is there."""
    built = torch.cuda if isinstance(torch, TorchBuild) else None
    return built is not None and isinstance(limits, DriverLimits) and built.short <= limits.cuda


def _limits(said: Sequence[Said], limits: DriverLimits | Unknown) -> DriverLimits | Unknown:
    """What the driver can run; PyTorch's own word on its CUDA version comes first."""
    supported = _supported(said)
    if supported is None or (isinstance(limits, DriverLimits) and limits.cuda == supported):
        return limits
    if isinstance(limits, Unknown):
        return DriverLimits(cuda=supported, release=None, gpus=(), names=())
    return replace(limits, cuda=supported, release=None)


def _needed(said: Sequence[Said], limits: DriverLimits | Unknown, torch: TorchBuild | Unknown) -> CudaVersion | None:
    """The CUDA version that the program brings: by the message, else PyTorch's where the driver does not support it."""
    for one in said:
        if one.message.name in ("cli-requirement-cuda", "julia-driver-too-old"):
            return CudaVersion.or_none(one.groups.get("wanted") or one.groups.get("needed"))
        if one.message.name == "banner-driver-too-old":
            return _cuda_of(DriverRelease.or_none(one.groups.get("wanted")))
    built = torch.cuda if isinstance(torch, TorchBuild) else None
    runs = built is not None and isinstance(limits, DriverLimits) and built.major <= limits.cuda.major
    return None if runs else built


def _cuda_of(release: DriverRelease | None) -> CudaVersion | None:
    from nvdiag.knowledge.cuda import cuda_of_branch

    try:
        return cuda_of_branch(release.branch) if release else None
    except Unknown:
        return None


def _bare(said: Sequence[Said]) -> bool:
    return all(one.message.name in _BARE_35 for one in said)


def _other_reason(messages: Messages) -> bool:
    """Whether the text says that the driver is not reached, so that error 35 is no word on its age."""
    silent = any("nvidia-smi" in one.message.by.lower() for one in messages.suggesting("driver-not-loaded"))
    return silent or any(messages.proving(identifier) for identifier in _NO_DRIVER_REACHED)


def _supported(said: Sequence[Said]) -> CudaVersion | None:
    """The CUDA version that the driver supports, by PyTorch's word."""
    for one in said:
        if one.message.name == "torch-driver-too-old":
            return CudaVersion.from_number(int(one.groups["found"]))
    return None


def _too_old_title(said: Sequence[Said]) -> str:
    supported = _supported(said)
    return f"PyTorch needs a newer driver: this one supports CUDA {supported} and no newer" if supported else ""


def _for_an_old_driver(
    said: Sequence[Said], limits: DriverLimits | Unknown, needed: CudaVersion | None, torch: TorchBuild | Unknown
) -> tuple[Remedy, ...]:
    of_pytorch = isinstance(torch, TorchBuild) or any(one.message.by == "PyTorch" for one in said)
    return (
        Remedy(
            summary="compare what the driver supports with what the program brings",
            commands=("nvidia-smi | grep 'CUDA Version'", "python3 -c 'import torch; print(torch.version.cuda)'"),
        ),
        *(_cuda_ways.pytorch_builds(limits, torch) if of_pytorch else ()),
        _cuda_ways.other_build(limits),
        *_cuda_ways.forward_compatible(needed, limits),
        _cuda_ways.newer_driver(needed, limits),
    )


_WORKS_ANYWAY = frozenset({"torch-capability-list", "tf-kernels-not-built"})
"""Warnings after which the framework often works all the same, by code for a relative or by compiling PTX."""


@check("gpu-arch-not-in-build", area="cuda")
def builds_hold_code_for_this_gpu(
    messages: Messages,
    limits: DriverLimits | Unknown,
    torch: TorchBuild | Unknown,
    holds: TorchArchitectures | Unknown,
) -> Iterator[Finding]:
    """No program lacks device code for this GPU."""
    said = tuple(one for one in _said.about(messages, "gpu-arch-not-in-build") if not _runs_its_majors_code(one))
    if not said:
        raise NotApplicable("the warning is of a GPU that runs the code of its major version")
    mild = all(one.message.name in _WORKS_ANYWAY for one in said)
    own = _pytorchs_own(holds)
    yield _said.finding(
        said,
        "gpu-arch-not-in-build",
        detail="The build was made for other GPUs: an older build does not know a newer GPU, and newer builds leave"
        " old GPUs out. The driver is not the reason."
        + (f" PyTorch itself has code for {own}: the kernel is of an extension or of another package." if own else ""),
        severity=Severity.WARNING if mild else Severity.ERROR,
        kind=FindingClass.APPLICATION,
        remedies=(_build_again(own),) if own else _for_another_build(said, limits, torch),
        explains=_consequences(messages, said),
        layers=(Layer.GPU,),
    )


def _pytorchs_own(holds: TorchArchitectures | Unknown) -> str:
    """The GPU's compute capability, where torch named it and holds code for it; else empty."""
    if isinstance(holds, Unknown) or holds.capability is None or not holds.run_on(holds.capability):
        return ""
    return ".".join(map(str, holds.capability))


def _build_again(capability: str) -> Remedy:
    return Remedy(
        summary="find the package whose kernel it is by the last lines of the traceback; build it anew for this GPU, or"
        " take its newer release",
        commands=(
            f"TORCH_CUDA_ARCH_LIST={capability} python3 -m pip install --force-reinstall --no-deps"
            " --no-build-isolation --no-binary PACKAGE PACKAGE",
        ),
        prediction="PyTorch can stay as it is; the build wants an nvcc of PyTorch's CUDA version",
    )


def _runs_its_majors_code(one: Said) -> bool:
    """PyTorch warns of 12.1 where it was built for 12.0, which such a GPU runs."""
    if one.message.name != "torch-capability-range":
        return False
    own, low, high = (tuple(map(int, one.groups[name].split("."))) for name in ("cc", "low", "high"))
    return low <= own and own[0] == high[0]


def _consequences(messages: Messages, said: Sequence[Said]) -> frozenset[str]:
    """PTX that the driver could not compile, and a bundled ptxas that does not know the GPU, follow from it."""
    ptx = messages.proving("ptx-newer-than-driver")
    unknown = messages.proving("nvcc-arch-unsupported")
    follow = set()
    if all(one.message.confidence is Confidence.LIKELY for one in ptx):
        follow.add("ptx-newer-than-driver")
    if any(one.message.by == "PyTorch" for one in said) and all(one.message.by == "nvcc or ptxas" for one in unknown):
        follow.add("nvcc-arch-unsupported")
    return frozenset(follow)


def _for_another_build(
    said: Sequence[Said], limits: DriverLimits | Unknown, torch: TorchBuild | Unknown
) -> tuple[Remedy, ...]:
    named = next((one.groups[name] for one in said for name in ("arch", "cc") if one.groups.get(name)), "")
    row = compute(named)
    if row is None:
        which = "a build whose list of architectures has this GPU's"
    elif row.last is not None:
        which = f"a build made with CUDA {row.last} or older, which still knows {row.name}"
    else:
        which = f"a build made with CUDA {row.first} or newer, the first that knows {row.name}"
    return (
        Remedy(
            summary="see the GPU's compute capability, and what the build holds",
            commands=(
                "nvidia-smi --query-gpu=name,compute_cap --format=csv",
                "python3 -c 'import torch; print(torch.version.cuda, torch.cuda.get_arch_list())'",
            ),
        ),
        *(_pytorch_for(row, limits, torch) if any(one.message.by == "PyTorch" for one in said) else ()),
        Remedy(summary=f"install {which}", prediction="no driver change is needed if the driver supports that CUDA"),
        Remedy(
            summary="or build it here for this GPU: TORCH_CUDA_ARCH_LIST for PyTorch's extensions,"
            " CMAKE_CUDA_ARCHITECTURES for CMake (llama.cpp and others)",
            commands=("cmake -B build -DCMAKE_CUDA_ARCHITECTURES=native",),
        ),
    )


def _pytorch_for(
    row: ComputeRow | None, limits: DriverLimits | Unknown, torch: TorchBuild | Unknown
) -> Iterator[Remedy]:
    """PyTorch's builds for this driver with code for the GPU that the message names, or for those here."""
    if isinstance(limits, DriverLimits) and row is not None:
        named = GpuCapability(gpu="the GPU", capabilities=(row.capability,), source="the message")
        limits = replace(limits, gpus=(named,))
    return _cuda_ways.pytorch_builds(limits, torch) if row is not None else iter(())
