"""The toolkit against the driver: what nvcc builds must run on the driver that is here."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.checks import _cuda_ways
from nvdiag.engine import check
from nvdiag.facts.answers import DriverCuda
from nvdiag.facts.driver_limits import DriverLimits
from nvdiag.facts.messages import Messages
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.python_packages import LibraryPath
from nvdiag.facts.toolkits import VARIABLES, Toolkit, Toolkits
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion


@check("driver-too-old-for-cuda")
def the_driver_supports_the_toolkits_cuda(
    loaded: LoadedDriver, toolkits: Toolkits, supported: DriverCuda, limits: DriverLimits | Unknown
) -> Iterator[Finding]:
    """The driver runs what the toolkit that this environment picks will build."""
    chosen = next((toolkit for toolkit in toolkits.found if toolkit.chosen_by), None)
    if chosen is None:
        raise NotApplicable("neither PATH nor CUDA_HOME picks a toolkit")
    if chosen.version is None:
        raise Unknown(f"the version of the toolkit at {chosen.root}: {chosen.source}")
    if chosen.version.major > supported.version.major:
        yield _too_old(loaded, chosen, chosen.version, supported, limits, toolkits)


def _too_old(
    loaded: LoadedDriver,
    toolkit: Toolkit,
    version: CudaVersion,
    supported: DriverCuda,
    limits: DriverLimits | Unknown,
    toolkits: Toolkits,
) -> Finding:
    insisted = toolkit.chosen_by in VARIABLES
    return Finding(
        id="driver-too-old-for-cuda",
        severity=Severity.ERROR if insisted else Severity.WARNING,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.CONFIGURATION,
        title=f"the driver supports CUDA {supported.version}, {toolkit.chosen_by} picks a toolkit of {version.short}",
        detail=(
            f"Programs that this nvcc builds fail here with error 35 (driver insufficient for runtime)."
            f" Programs built with CUDA {supported.version.major} are not affected."
        ),
        evidence=(
            Evidence(source=supported.source, excerpt=supported.version.text),
            Evidence(source=toolkit.source, excerpt=version.text),
            Evidence(source=loaded.source, excerpt=loaded.release.text),
            *_cuda_ways.of_tables(version, limits),
        ),
        remedies=(
            older_toolkit(toolkits, supported.version),
            *_cuda_ways.forward_compatible(version, limits),
            _cuda_ways.newer_driver(version, limits),
        ),
        layers=(Layer.CUDA_DRIVER, Layer.TOOLKITS),
    )


def older_toolkit(toolkits: Toolkits, supported: CudaVersion) -> Remedy:
    """The newest toolkit here whose programs the driver runs, else where to look for one."""
    fitting = _cuda_ways.toolkits_of(supported.major, toolkits)
    if fitting:
        best = max(fitting, key=lambda one: (one.version is not None and one.version.short <= supported, one.root))
        return _cuda_ways.build_with(best, "neither root nor a new driver; begin the build in an empty folder")
    return Remedy(
        summary=f"build with a toolkit of CUDA {supported.major}, at best {supported} or older",
        commands=("ls -d /usr/local/cuda-*", *_cuda_ways.conda_nvcc(supported)),
        prediction="no driver change and no root are needed; several toolkits live side by side",
    )


@check("toolkit-shadowed")
def one_toolkit_is_meant(toolkits: Toolkits, messages: Messages | Unknown) -> Iterator[Finding]:
    """PATH and CUDA_HOME lead to toolkits of one version, and no other nvcc was asked than the one on PATH."""
    first = next((one for one in toolkits.found if "PATH" in one.found_by and one.version is not None), None)
    if first is None or first.version is None:
        raise NotApplicable("no nvcc on PATH tells its version")
    if isinstance(messages, Messages) and messages.proving("toolkit-shadowed"):
        raise NotApplicable("a message tells of it")
    meant = {name: version for name, version in _meant(toolkits).items() if version.short != first.version.short}
    asked = [
        one
        for one in toolkits.found
        if one.version is not None and one.version.short != first.version.short and one.source.startswith("/")
    ]
    if not meant and not (asked and asked[0].source.endswith("nvcc --version") and first.source == "nvcc --version"):
        return
    name, version = next(iter(meant.items())) if meant else (asked[0].root, asked[0].version)
    folder = f"${name}" if meant else shlex.quote(name)
    yield Finding(
        id="toolkit-shadowed",
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"the nvcc on PATH is of CUDA {first.version.short}, and {name} "
        + (f"names CUDA {version}" if meant else f"has CUDA {version.short if version else ''}"),
        detail="A build takes its compiler by PATH and its headers and libraries by CUDA_HOME, or the other way round:"
        " it then mixes two toolkits.",
        evidence=(
            Evidence(source=first.source, excerpt=first.version.text),
            Evidence(source=name if meant else asked[0].source, excerpt=version.text if version else ""),
        ),
        remedies=(
            Remedy(
                summary="see which nvcc comes first, and put the folder of the toolkit that is meant in front",
                commands=("type -a nvcc", f"export PATH={folder}/bin:$PATH", "nvcc --version"),
                prediction="a distribution's nvidia-cuda-toolkit is /usr/bin/nvcc; PATH must have another folder before"
                " /usr/bin",
            ),
        ),
        layers=(Layer.TOOLKITS,),
    )


def _meant(toolkits: Toolkits) -> dict[str, CudaVersion]:
    """The versions of the toolkits that variables name, by their files, else by their folders' names."""
    read = {
        way: one.version
        for one in toolkits.found
        for way in one.found_by
        if way in VARIABLES and one.version is not None
    }
    return {**toolkits.named, **read}


@check("toolkit-shadowed")
def the_loader_takes_the_compilers_own_toolkit(toolkits: Toolkits, path: LibraryPath) -> Iterator[Finding]:
    """LD_LIBRARY_PATH puts no older toolkit's libraries before those of the nvcc that this environment picks."""
    chosen = next((one for one in toolkits.found if one.chosen_by and one.nvcc), None)
    if chosen is None or chosen.version is None:
        raise NotApplicable("no nvcc that this environment picks tells its version")
    of_folders = ((folder, _owner(folder, toolkits)) for folder in path.folders)
    folder, taken = next(((folder, one) for folder, one in of_folders if one is not None), ("", None))
    if taken is None:
        raise NotApplicable("LD_LIBRARY_PATH has no toolkit's folder")
    if taken.version is None or taken.version.short >= chosen.version.short:
        return
    own = next((one for one in path.folders if _owner(one, toolkits) is chosen), f"{chosen.root}/lib64")
    yield Finding(
        id="toolkit-shadowed",
        subject="LD_LIBRARY_PATH",
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"{chosen.chosen_by} picks nvcc {chosen.version}, and LD_LIBRARY_PATH has the libraries of CUDA"
        f" {taken.version} first",
        detail="What is built with the newer toolkit then runs with older libraries: a function that they lack is an"
        " undefined symbol"
        + ("." if taken.version.major == chosen.version.major else ", and those of the newer major are not found."),
        evidence=(
            Evidence(source=chosen.source, excerpt=chosen.version.text),
            Evidence(source="LD_LIBRARY_PATH", excerpt=folder),
            Evidence(source=taken.source, excerpt=taken.version.text),
        ),
        remedies=(
            Remedy(
                summary="put the libraries of the toolkit that builds in front",
                commands=(f"export LD_LIBRARY_PATH={shlex.quote(own)}:$LD_LIBRARY_PATH",),
                prediction="neither root nor a new build; frameworks' wheels need neither folder",
            ),
        ),
        layers=(Layer.TOOLKITS,),
    )


def _owner(folder: str, toolkits: Toolkits) -> Toolkit | None:
    """The toolkit whose libraries a folder has, by its root or by a link that leads there."""
    for one in toolkits.found:
        roots = (one.root, *(way for way in one.found_by if way.startswith("/")))
        if any(folder.startswith((f"{root}/lib64", f"{root}/targets/", f"{root}/lib/")) for root in roots):
            return None if "/stubs" in folder else one
    return None


@check("nvcc-not-found")
def what_names_a_toolkit_leads_to_one(toolkits: Toolkits) -> Iterator[Finding]:
    """CUDA_HOME, CUDA_PATH and the cuda link lead to a toolkit with nvcc, where they are set."""
    for broken in toolkits.broken:
        others = [toolkit for toolkit in toolkits.found if toolkit.nvcc]
        yield Finding(
            id="nvcc-not-found",
            subject=broken.way,
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY if "as long as a build" in broken.reason else Confidence.CERTAIN,
            kind=FindingClass.ENVIRONMENT,
            title=f"{broken.way} leads to no toolkit with nvcc: {broken.reason}",
            detail="Builds that go by it fail; programs that only run CUDA do not need it.",
            evidence=(Evidence(source=broken.way, excerpt=broken.path),),
            remedies=(_point_to(broken.way, others),),
            layers=(Layer.TOOLKITS,),
        )


def _point_to(way: str, others: list[Toolkit]) -> Remedy:
    if others and way in VARIABLES:
        return Remedy(
            summary=f"let {way} name the toolkit that is here",
            commands=(f"export {way}={shlex.quote(others[0].root)}",),
            prediction=f"{others[0].root} has nvcc {others[0].version or 'of unknown version'}",
        )
    if way in VARIABLES:
        return Remedy(summary=f"unset {way}, or install the toolkit that it names", commands=(f"unset {way}",))
    return Remedy(
        summary=f"remove the link {way} or point it to an installed toolkit", commands=("ls -d /usr/local/cuda-*",)
    )
