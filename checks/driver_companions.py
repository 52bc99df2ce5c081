"""The driver's library that compiles PTX, beside libcuda: whether it is there, of libcuda's own release."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _evidence
from nvdiag.engine import check
from nvdiag.facts.driver_companions import PTX_COMPILER, PtxCompiler
from nvdiag.facts.frameworks import Frameworks
from nvdiag.facts.libraries import LibraryCopy
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.system import Distribution, Family
from nvdiag.facts.toolkits import Toolkits
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown


@check("driver-library-incomplete", area="libraries")
def libcuda_can_compile_ptx(
    compiler: PtxCompiler,
    toolkits: Toolkits | Unknown,
    frameworks: Frameworks | Unknown,
    packages: DriverPackages | Unknown,
    distribution: Distribution | Unknown,
) -> Iterator[Finding]:
    """libcuda finds the driver's PTX compiler, of its own release, where programs for CUDA are built or installed."""
    wanted = _who_wants_cuda(toolkits, frameworks)
    if wanted is None:
        raise NotApplicable("nothing that wants CUDA was seen here")
    taken = compiler.choice.taken
    if taken is not None and taken.release in (None, compiler.libcuda.release):
        return
    yield Finding(
        id="driver-library-incomplete",
        severity=Severity.ERROR if taken else Severity.WARNING,
        confidence=Confidence.LIKELY,
        title=f"{PTX_COMPILER} is of {taken.release}, and libcuda of {compiler.libcuda.release}"
        if taken
        else f"the driver's {PTX_COMPILER} is not found by the loader",
        detail="The driver cannot compile PTX then: programs without code for just this GPU fail with error 221 (JIT"
        " compiler not found), others run.",
        evidence=(
            _evidence.of_library(compiler.libcuda),
            _evidence.of_library(taken)
            if taken
            else Evidence(source="ldconfig -p and the loader's folders", excerpt=f"no {PTX_COMPILER}"),
            wanted,
        ),
        remedies=(*_from_here(compiler.choice.copies, taken), _anew(compiler, distribution, packages)),
        layers=(Layer.LIBCUDA,),
    )


def _who_wants_cuda(toolkits: Toolkits | Unknown, frameworks: Frameworks | Unknown) -> Evidence | None:
    if isinstance(toolkits, Toolkits) and (chosen := next((one for one in toolkits.found if one.chosen_by), None)):
        return Evidence(source=chosen.source, excerpt=f"{chosen.chosen_by} picks the toolkit at {chosen.root}")
    for one in frameworks.found.values() if isinstance(frameworks, Frameworks) else ():
        if one.cuda is not None:
            return Evidence(source=one.source, excerpt=f"{one.name} {one.version} for CUDA {one.cuda}")
    return None


def _anew(compiler: PtxCompiler, distribution: Distribution | Unknown, packages: DriverPackages | Unknown) -> Remedy:
    """Install the package that has it; where libcuda's own package brings it, that one again."""
    release = compiler.libcuda.release
    from nvdiag.checks import _install_remedies

    base = _install_remedies.libraries_package(distribution, packages, release, nvml=False)
    command = " ".join(base.commands)
    from nvdiag.checks import _remedies

    match _remedies.family(distribution):
        case Family.DEBIAN:
            command = "sudo apt install libnvidia-ptxjitcompiler1"
        case Family.UBUNTU:
            command = command.replace("install", "install --reinstall")
        case Family.FEDORA | Family.RHEL:
            command = command.replace("install", "reinstall")
        case Family.SUSE:
            command = command.replace("install", "install --force")
        case _:
            pass
    return Remedy(
        summary=f"install the driver's CUDA libraries whole, of release {release}",
        commands=(command,) if command else (),
        needs_root=True,
        prediction=f"it must be of libcuda's release, {release}; no reboot is needed",
    )


def _from_here(copies: tuple[LibraryCopy, ...], taken: LibraryCopy | None) -> Iterator[Remedy]:
    """Where LD_LIBRARY_PATH brings the foreign one, the way without root."""
    if taken is not None and taken.found_by == "LD_LIBRARY_PATH" and len(copies) > 1:
        yield Remedy(
            summary=f"start programs without {taken.path.rpartition('/')[0]} in LD_LIBRARY_PATH",
            commands=("env -u LD_LIBRARY_PATH PROGRAM",),
            prediction=f"the loader then takes {copies[1].path}",
        )
