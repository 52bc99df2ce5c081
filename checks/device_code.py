"""Frameworks that are installed here against the GPUs: whether they hold code that these run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.checks import _cuda_ways
from nvdiag.engine import check
from nvdiag.facts.answers import DriverCuda
from nvdiag.facts.architectures import GpuCapabilities, GpuCapability
from nvdiag.facts.device_code import DeviceCode, DeviceCodes, TritonAssembler
from nvdiag.facts.driver_limits import DriverLimits
from nvdiag.facts.frameworks import Frameworks
from nvdiag.facts.python_packages import TorchBuild
from nvdiag.knowledge.compute_capabilities import compute
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown


@check("gpu-arch-not-in-build", area="cuda")
def frameworks_have_code_for_the_gpus(
    codes: DeviceCodes,
    gpus: GpuCapabilities,
    frameworks: Frameworks,
    limits: DriverLimits | Unknown,
    torch: TorchBuild | Unknown,
) -> Iterator[Finding]:
    """The frameworks that are installed hold code for every GPU here."""
    for code in codes.held.values():
        without = [gpu for gpu in gpus.gpus if not code.runs_on(gpu.capabilities)]
        if without:
            builds = _cuda_ways.pytorch_builds(limits, torch) if code.framework.name == "torch" else ()
            remedies = (*builds,) or (_another_build(code, without[0], frameworks),)
            yield _without_code(code, without[0], remedies, every=len(without) == len(gpus.gpus))


def _without_code(code: DeviceCode, gpu: GpuCapability, remedies: tuple[Remedy, ...], *, every: bool) -> Finding:
    framework = code.framework
    main = framework.name == "torch"
    return Finding(
        id="gpu-arch-not-in-build",
        subject="" if main else framework.name,
        severity=Severity.ERROR if main and every else Severity.WARNING,
        confidence=Confidence.CERTAIN if len(gpu.capabilities) == 1 else Confidence.LIKELY,
        kind=FindingClass.APPLICATION,
        title=f"{framework.name} {framework.version} has no code for {gpu.gpu}"
        f" (compute capability {listed(gpu.capabilities)})",
        detail=f"Its device code is for {', '.join(code.architectures)}. Binary code runs on GPUs of its own major"
        " version and at least its minor one, and only PTX could be compiled for newer ones. The first kernel fails"
        ' with "no kernel image is available". The driver is not the reason.',
        evidence=(
            Evidence(source=code.source, excerpt=", ".join(code.architectures)),
            Evidence(source=gpu.source, excerpt=", ".join(gpu.capabilities)),
        ),
        remedies=remedies,
        layers=(Layer.GPU, Layer.FRAMEWORKS),
    )


def _another_build(code: DeviceCode, gpu: GpuCapability, frameworks: Frameworks) -> Remedy:
    name = code.framework.name
    row = next((row for one in gpu.capabilities if (row := compute(one)) is not None), None)
    return Remedy(
        summary=f"install a build of {name} that has this GPU's architecture"
        + (f", made with {row.made_by}" if row else ""),
        commands=(f"{shlex.quote(frameworks.environment.python)} -m pip index versions {name}",),
        prediction="its release notes name the architectures of its builds; built from its source it has those of the"
        " GPUs here",
    )


@check("ptx-newer-than-driver", area="cuda")
def the_driver_compiles_the_frameworks_ptx(
    codes: DeviceCodes, gpus: GpuCapabilities, supported: DriverCuda, limits: DriverLimits | Unknown
) -> Iterator[Finding]:
    """No framework depends, on a GPU here, on PTX of a newer CUDA version than the driver's."""
    for code in codes.held.values():
        made = code.framework.cuda
        if made is None or len(made.numbers) < 2 or made.short <= supported.version.short:
            continue
        for gpu in gpus.gpus:
            if code.runs_on(gpu.capabilities) and not code.has_binary_for(gpu.capabilities):
                yield _newer_ptx(code, gpu, supported, limits)
                break


def _newer_ptx(code: DeviceCode, gpu: GpuCapability, supported: DriverCuda, limits: DriverLimits | Unknown) -> Finding:
    framework = code.framework
    return Finding(
        id="ptx-newer-than-driver",
        subject="" if framework.name == "torch" else framework.name,
        severity=Severity.ERROR if framework.name == "torch" else Severity.WARNING,
        confidence=Confidence.LIKELY,
        kind=FindingClass.CONFIGURATION,
        title=f"{framework.name} {framework.version} has only PTX for {gpu.gpu}, made with CUDA {framework.cuda}, and"
        f" the driver compiles PTX up to CUDA {supported.version.short}",
        detail="Within one CUDA major a driver runs newer programs by their binary code; that ends where it has to"
        " compile PTX. The first kernel fails with error 222, cudaErrorUnsupportedPtxVersion.",
        evidence=(
            Evidence(source=code.source, excerpt=", ".join(code.architectures)),
            Evidence(source=framework.source, excerpt=f"{framework.name} {framework.version}, CUDA {framework.cuda}"),
            Evidence(source=gpu.source, excerpt=", ".join(gpu.capabilities)),
            Evidence(source=supported.source, excerpt=f"CUDA {supported.version}"),
        ),
        remedies=(
            _cuda_ways.other_build(limits),
            _cuda_ways.newer_driver(framework.cuda, limits),
        ),
        layers=(Layer.CUDA_DRIVER, Layer.FRAMEWORKS),
    )


@check("gpu-arch-not-in-build", area="cuda")
def tritons_assembler_knows_the_gpus(
    assembler: TritonAssembler, gpus: GpuCapabilities, frameworks: Frameworks
) -> Iterator[Finding]:
    """The ptxas that Triton brings makes code for every GPU here."""
    for gpu in gpus.gpus:
        row = compute(gpu.capabilities[0]) if len(gpu.capabilities) == 1 else None
        if row is None:
            raise NotApplicable(f"the compute capability of {gpu.gpu} is not in nvdiag's table")
        if any(row.is_made_by(cuda) for cuda in sorted(assembler.versions.values(), reverse=True)):
            continue
        newest = max(assembler.versions.values())
        variable = f"TRITON_PTXAS_{'BLACKWELL_' if len(assembler.versions) > 1 else ''}PATH"
        pip = f"{shlex.quote(frameworks.environment.python)} -m pip"
        yield Finding(
            id="gpu-arch-not-in-build",
            subject="triton",
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            kind=FindingClass.APPLICATION,
            title=f"Triton {assembler.triton.version} brings ptxas of CUDA {newest.short}, which does not make code for"
            f" {gpu.gpu} (compute capability {row.capability})",
            detail=f"{row.name} needs {row.made_by}. Triton's kernels, and with them torch.compile, fail with ptxas'"
            " words: Value 'sm_…' is not defined for option 'gpu-name'.",
            evidence=(
                *(Evidence(source=f"{path} --version", excerpt=str(cuda)) for path, cuda in assembler.versions.items()),
                Evidence(source=gpu.source, excerpt=row.capability),
                Evidence(
                    source=f"nvdiag's table of compute capabilities, {row.capability} ({row.source[0]})",
                    excerpt=row.made_by,
                ),
            ),
            remedies=(
                Remedy(
                    summary=f"let Triton use the ptxas of a toolkit of {row.made_by}, where there is one",
                    commands=(f"export {variable}=/usr/local/cuda/bin/ptxas",),
                ),
                Remedy(
                    summary="or take a PyTorch whose Triton knows the GPU",
                    commands=(f"{pip} install --upgrade torch triton",),
                ),
            ),
            layers=(Layer.GPU,),
        )
        return
