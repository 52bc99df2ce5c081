"""cuDNN against the frameworks beside it: one wheel, for their CUDA major, no older than they were built with."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.cuda_libraries import CudaLibraries
from nvdiag.facts.frameworks import Frameworks
from nvdiag.facts.python_packages import PythonPackages, TorchBuild
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import Numbered

_BEHIND = 2
"""How many minor versions the cuDNN that PyTorch is compiled against may be behind the one that it is released with:
2.8.0 says at import that it was compiled against 9.8.0, and is released with 9.10.2."""


@check("cudnn-mismatch", area="libraries")
def one_cudnn_wheel_is_there(packages: PythonPackages, torch: TorchBuild | Unknown) -> Iterator[Finding]:
    """The cuDNN wheels are of one CUDA major, and of PyTorch's."""
    wheels = packages.like(r"nvidia-cudnn-cu\d\d")
    named = [f"{name} {version}" for name, versions in wheels.items() for version in versions]
    cuda = torch.cuda if isinstance(torch, TorchBuild) else None
    own = f"nvidia-cudnn-cu{cuda.major}" if cuda is not None else ""
    if not wheels or (len(wheels) == 1 and own in ("", *wheels)):
        return
    several = len(wheels) > 1
    from nvdiag.checks import _wheel_ways

    yield Finding(
        id="cudnn-mismatch",
        severity=Severity.WARNING if several else Severity.ERROR,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"cuDNN wheels of several CUDA majors are installed over each other: {listed(named)}"
        if several
        else f"PyTorch is built for CUDA {cuda}, and the cuDNN wheel is {named[0]}",
        detail="Each of them puts its files into nvidia/cudnn/lib: what was installed last is what every program gets,"
        " and it asks for the other libraries of its own CUDA major.",
        evidence=(
            *(Evidence(source=packages.source, excerpt=one) for one in named),
            *(
                (Evidence(source=torch.source, excerpt=f"torch {torch.version}, CUDA {cuda}"),)
                if isinstance(torch, TorchBuild) and cuda is not None
                else ()
            ),
        ),
        remedies=(
            Remedy(
                summary="take them out, then install the one of the framework's CUDA major anew",
                commands=(f"python3 -m pip uninstall -y {' '.join(sorted(wheels))}",),
                prediction="the framework does not import in between",
            ),
            *_wheel_ways.wheel("cudnn", "", torch, packages),
        ),
        layers=(Layer.FRAMEWORKS,),
    )


@check("cudnn-mismatch", area="libraries")
def pytorchs_cudnn_is_no_older_than_its_own(packages: PythonPackages, torch: TorchBuild) -> Iterator[Finding]:
    """The cuDNN wheel is of the major version that PyTorch is released with, and no older."""
    wheels = packages.like(rf"nvidia-cudnn-cu{torch.cuda.major}") if torch.cuda is not None else {}
    if not wheels:
        raise NotApplicable("no cuDNN wheel of PyTorch's CUDA major is there")
    from nvdiag.knowledge.pytorch_builds import parts_of

    parts = parts_of(torch.version)
    if parts is None:
        raise NotApplicable("the cuDNN that this PyTorch is made with is not known")
    made = parts.cudnn
    from nvdiag.checks import _wheel_ways

    for name, versions in wheels.items():
        for version in versions:
            there = Numbered.or_none(version)
            if there is None or (there.numbers[0] == made.numbers[0] and there.numbers[:2] >= made.numbers[:2]):
                continue
            near = there.numbers[0] == made.numbers[0] and there.numbers[1:2] >= (made.numbers[1] - _BEHIND,)
            yield Finding(
                id="cudnn-mismatch",
                severity=Severity.WARNING if near else Severity.ERROR,
                confidence=Confidence.POSSIBLE if near else Confidence.LIKELY,
                kind=FindingClass.ENVIRONMENT,
                title=f"PyTorch {torch.version} is released with cuDNN {made}, and {name} is {version}",
                detail="cuDNN must be of the major version, and at least of the minor version, that PyTorch was"
                " compiled against, else PyTorch stops at its first convolution: cuDNN version incompatibility."
                + (" That may be an older minor version than the one it is released with." if near else ""),
                evidence=(
                    Evidence(source=packages.source, excerpt=f"{name} {version}"),
                    Evidence(source=torch.source, excerpt=f"torch {torch.version}"),
                    Evidence(source=f"nvdiag's table of PyTorch's builds ({parts.source[0]})", excerpt=f"cuDNN {made}"),
                ),
                remedies=(
                    *_wheel_ways.wheel("cudnn", "", torch, packages),
                    Remedy(
                        summary="where another framework needs the other cuDNN, give it an environment of its own",
                        commands=("python3 -m venv env && env/bin/python -m pip install PACKAGE",),
                    ),
                ),
                layers=(Layer.FRAMEWORKS,),
            )
            return


@check("cudnn-mismatch", area="libraries")
def tensorflows_cudnn_is_no_older_than_its_own(packages: PythonPackages, frameworks: Frameworks) -> Iterator[Finding]:
    """The cuDNN wheel beside a TensorFlow with CUDA is of the major version that it was built with, and no older."""
    flow = frameworks.found.get("tensorflow")
    if flow is None or flow.cuda is None:
        raise NotApplicable("no TensorFlow with CUDA is installed here")
    name = f"nvidia-cudnn-cu{flow.cuda.major}"
    from nvdiag.checks.python_fit import cudnn_of

    wanted, there = cudnn_of("tensorflow", flow.version), packages.of(name)
    if wanted is None or not there:
        raise NotApplicable("no cuDNN wheel of TensorFlow's CUDA major is there, or which one it wants is not known")
    from nvdiag.checks.python_fit import new_enough

    if new_enough(there[0], wanted):
        return
    version = f"{wanted[0]}.{wanted[1]}"
    pinned = shlex.quote(f"{name}>={version},<{wanted[0] + 1}")
    yield Finding(
        id="cudnn-mismatch",
        subject="tensorflow",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"TensorFlow {flow.version} is built with cuDNN {version}, and {name} is {there[0]}",
        detail="cuDNN must be of the same major version and at least of the minor version that TensorFlow was compiled"
        " with, else its first convolution fails: no DNN in stream executor, or CUDNN_STATUS_NOT_INITIALIZED.",
        evidence=(
            Evidence(source=flow.source, excerpt=f"tensorflow {flow.version}, CUDA {flow.cuda}"),
            Evidence(source=packages.source, excerpt=f"{name} {there[0]}"),
        ),
        remedies=(
            Remedy(
                summary="install the cuDNN that it is built with",
                commands=(f"{shlex.quote(frameworks.environment.python)} -m pip install --upgrade {pinned}",),
                prediction="neither root nor another TensorFlow is needed"
                + (
                    "; PyTorch beside it pins a cuDNN of its own: give each an environment where that is another one"
                    if "torch" in frameworks.found
                    else ""
                ),
            ),
        ),
        layers=(Layer.FRAMEWORKS,),
    )


@check("cudnn-mismatch", area="libraries")
def frameworks_get_a_cudnn_that_is_new_enough(libraries: CudaLibraries, frameworks: Frameworks) -> Iterator[Finding]:
    """JAX and TensorFlow get a cuDNN that is no older than the one that they ask for."""
    programs = {libraries.program: tuple(libraries.libraries.values()), **libraries.beside}
    for program, asked in programs.items():
        name, _, version = program.partition(" ")
        one = next((one for one in asked if one.soname.startswith("libcudnn.so.") and one.wanted), None)
        if name == "torch" or one is None or one.taken is None or one.taken.version is None or one.wanted is None:
            continue
        if one.taken.version.numbers[:2] < one.wanted.numbers[:2]:
            pip = f"{shlex.quote(frameworks.environment.python)} -m pip"
            yield Finding(
                id="cudnn-mismatch",
                subject=name,
                severity=Severity.ERROR,
                confidence=Confidence.LIKELY,
                kind=FindingClass.ENVIRONMENT,
                title=f"{program} asks for cuDNN {one.wanted} or newer, and gets {one.taken.version}",
                detail="It was built with that one and refuses an older minor version when it first uses cuDNN: DNN"
                " library initialization failed. Another framework here may have asked for the older one.",
                evidence=(
                    Evidence(source=f"{one.soname} through {one.rule}", excerpt=one.taken.path),
                    Evidence(source=one.taken.source, excerpt=f"{one.soname} {one.taken.version}"),
                    Evidence(source=f"the metadata of {name} {version}", excerpt=f"{one.wheel}>={one.wanted}"),
                ),
                remedies=(
                    Remedy(
                        summary="install a newer cuDNN, where no other framework here pins the older one",
                        commands=(f"{pip} install {shlex.quote(f'{one.wheel}>={one.wanted}')}", f"{pip} check"),
                        prediction="pip check names the framework that pins the older one",
                    ),
                    Remedy(
                        summary="else give it an environment of its own",
                        commands=("python3 -m venv env && env/bin/python -m pip install PACKAGE",),
                    ),
                ),
                layers=(Layer.CUDA_LIBRARIES, Layer.FRAMEWORKS),
            )
