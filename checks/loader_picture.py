"""What the loader takes of CUDA's libraries for a framework or a named program: whether all are found and fit."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from nvdiag.checks.cuda_libraries import find_or_install
from nvdiag.engine import check
from nvdiag.facts.cuda_libraries import CudaLibraries, CudaLibrary
from nvdiag.facts.cuda_sonames import stem
from nvdiag.facts.frameworks import Frameworks
from nvdiag.facts.loaded_libraries import LoadedLibraries
from nvdiag.facts.python_environments import PythonEnvironment
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown

_IDS = {"cudnn": "cudnn-mismatch", "nccl": "nccl-mismatch"}
_MOST_NAMED = 5


def _asked(libraries: CudaLibraries) -> list[CudaLibrary]:
    """What the program asks for, itself or through another library. NotApplicable where there is none."""
    if not libraries.program:
        raise NotApplicable("no program is known here that asks for CUDA's libraries")
    return [one for one in libraries.libraries.values() if one.asked_by]


@check("cuda-library-missing", "cudnn-mismatch", "nccl-mismatch", area="libraries")
def the_program_finds_cudas_libraries(libraries: CudaLibraries, frameworks: Frameworks | Unknown) -> Iterator[Finding]:
    """The loader finds every CUDA library that the framework installed here, or the named program, needs."""
    missing = [one for one in _asked(libraries) if one.taken is None]
    if missing and libraries.blind is not None:
        raise Unknown(f"whether {missing[0].soname} is found: {libraries.blind}")
    for identifier in ("cuda-library-missing", "cudnn-mismatch", "nccl-mismatch"):
        some = [one for one in missing if _IDS.get(stem(one.soname), "cuda-library-missing") == identifier]
        if some:
            environment = frameworks.environment if isinstance(frameworks, Frameworks) else None
            yield _missing(identifier, some, libraries, environment)


def _missing(
    identifier: str, some: Sequence[CudaLibrary], libraries: CudaLibraries, environment: PythonEnvironment | None
) -> Finding:
    names = [one.soname for one in some]
    more = [f"{len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return Finding(
        id=identifier,
        severity=Severity.WARNING if libraries.program.startswith("onnxruntime ") else Severity.ERROR,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.ENVIRONMENT,
        title=f"{libraries.program} needs {listed([*names[:_MOST_NAMED], *more])},"
        f" which the loader does not find for it",
        detail="It does not start, or what needs the library fails or falls back to the CPU. The driver is not the"
        " reason.",
        evidence=tuple(
            Evidence(
                source=by,
                excerpt=f"needs {listed([one.soname for one in some if one.asked_by == by])}, found neither in its own"
                " folders nor elsewhere",
            )
            for by in dict.fromkeys(one.asked_by for one in some)
        ),
        remedies=(_anew(some, environment),)
        if environment is not None and not libraries.named and libraries.program.startswith("torch ")
        else find_or_install(names),
        explains=frozenset({"no-cuda-device"}),
        layers=(Layer.FRAMEWORKS,),
    )


def _anew(some: Sequence[CudaLibrary], environment: PythonEnvironment) -> Remedy:
    """Bring the versions that PyTorch was built with into its environment."""
    pinned = sorted({f"{one.wheel}=={one.wanted}" for one in some if one.wheel and one.wanted})
    pip = f"{shlex.quote(environment.python)} -m pip"
    command = f"{pip} install --force-reinstall --no-deps {' '.join(pinned)}" if pinned else f"{pip} check"
    return Remedy(
        summary="install the versions that this PyTorch was built with"
        if pinned
        else "install PyTorch again with all that it needs",
        commands=(command,),
        prediction="its own metadata pins them" if pinned else "",
    )


@check("cuda-library-missing", "cuda-library-shadowed", "cudnn-mismatch", "nccl-mismatch", area="libraries")
def cudas_libraries_load(
    libraries: CudaLibraries, loaded: LoadedLibraries, frameworks: Frameworks | Unknown
) -> Iterator[Finding]:
    """Each CUDA library that the program gets can be loaded."""
    errors = {soname: one.error for soname, one in loaded.loaded.items() if one.error is not None}
    causes: dict[str, list[str]] = {}
    for soname, error in errors.items():
        causes.setdefault(_lacking(error, libraries) or soname, []).append(soname)
    environment = frameworks.environment if isinstance(frameworks, Frameworks) else None
    for cause, names in causes.items():
        yield _not_loaded(cause, {name: errors[name] for name in names}, libraries, environment)


def _lacking(error: str, libraries: CudaLibraries) -> str | None:
    """The CUDA library that lacks what another one asks of it: a symbol's version is named like the library.

    glibc's words are `undefined symbol: __nvJitLinkCreate_12_8, version libnvJitLink.so.12`.
    """
    found = re.search(r"undefined symbol: [^\s,]{1,200}, version (\S{1,100})", error)
    return found[1] if found and found[1] in libraries.libraries else None


def _not_loaded(
    cause: str, errors: Mapping[str, str], libraries: CudaLibraries, environment: PythonEnvironment | None
) -> Finding:
    apart = any("undefined symbol" in error or "version `" in error for error in errors.values())
    kind = stem(cause)
    one = libraries.libraries[cause]
    verb = "does" if len(errors) == 1 else "do"
    version = f" {one.taken.version}" if one.taken and one.taken.version else ""
    title = f"{listed(list(errors))}, which {libraries.program} gets, {verb} not load"
    remedies = find_or_install([cause])
    if apart:
        known = one.taken is not None and one.wanted is not None
        remedies = (_right_one(one, environment),) if environment is not None and known else remedies[:1]
    return Finding(
        id=_IDS.get(kind, "cuda-library-shadowed" if apart else "cuda-library-missing"),
        subject="" if kind in _IDS else cause,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.ENVIRONMENT,
        title=title if cause in errors else f"{title} with the {cause}{version} that is taken",
        detail=f"Two copies that do not belong together meet. {_WHAT_FOLLOWS.get(kind, '')}".strip()
        if apart
        else "It needs what the loader cannot give.",
        evidence=tuple(Evidence(source=f"dlopen {soname}", excerpt=error[:300]) for soname, error in errors.items()),
        remedies=remedies,
        explains=frozenset({"no-cuda-device"}),
        layers=(Layer.FRAMEWORKS,),
    )


@check("cuda-library-shadowed", "cudnn-mismatch", "nccl-mismatch", area="libraries")
def pytorch_gets_the_libraries_that_it_was_built_with(
    libraries: CudaLibraries, frameworks: Frameworks
) -> Iterator[Finding]:
    """No CUDA library that the loader takes for PyTorch here is older than the one that it was built with."""
    if libraries.named:
        raise NotApplicable("a named program is looked at, and it does not tell what it was built with")
    for one in _asked(libraries):
        if one.taken is None or one.taken.version is None or one.wanted is None or one.soname in _parts(libraries):
            continue
        if one.taken.version.numbers[:2] < one.wanted.numbers[:2]:
            yield _older(one, libraries, frameworks.environment)


def _parts(libraries: CudaLibraries) -> list[str]:
    """cuDNN's parts, which are held against cuDNN itself."""
    return [name for name in libraries.libraries if name.startswith("libcudnn_")]


_WHAT_FOLLOWS = {
    "nvJitLink": "cusparse and cusolver of the newer release look for symbols that carry its number"
    " (__nvJitLinkComplete_12_4), and import torch fails with an undefined symbol.",
    "cudnn": "PyTorch refuses a cuDNN of an older minor version than it was compiled with, which may be somewhat older"
    " than the one that its package asks for.",
    "nccl": "A function that the older release lacks is an undefined symbol when torch is imported.",
}


def _older(one: CudaLibrary, libraries: CudaLibraries, environment: PythonEnvironment) -> Finding:
    assert one.taken is not None
    kind = stem(one.soname)
    return Finding(
        id=_IDS.get(kind, "cuda-library-shadowed"),
        subject="" if kind in _IDS else one.soname,
        severity=Severity.ERROR if kind == "nvJitLink" else Severity.WARNING,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"{libraries.program} was built with {one.wheel} {one.wanted}, and gets {one.soname} of"
        f" {one.taken.version} from {one.taken.path.rpartition('/')[0]}",
        detail=_WHAT_FOLLOWS.get(
            kind, "An older library of the same number may lack functions that the newer one has."
        ),
        evidence=(
            Evidence(source=f"{one.soname} through {one.rule}", excerpt=one.taken.path),
            Evidence(source=one.taken.source, excerpt=f"{one.soname} {one.taken.version}"),
            Evidence(source=f"{environment.infos['torch']}/METADATA", excerpt=f"{one.wheel}=={one.wanted}"),
            *(Evidence(source="passed over", excerpt=f"{other.path}: {other.version}") for other in one.others[:3]),
        ),
        remedies=(_right_one(one, environment),),
        explains=frozenset({"no-cuda-device"}),
        layers=(Layer.FRAMEWORKS,),
    )


def _right_one(one: CudaLibrary, environment: PythonEnvironment) -> Remedy:
    """The version that PyTorch was built with: put back where it is the environment's own, else no longer hidden."""
    assert one.taken is not None
    at_home = any(one.taken.path.startswith(f"{folder}/") for folder in environment.folders)
    return _anew([one], environment) if at_home else _without_variable(one, environment)


def _without_variable(one: CudaLibrary, environment: PythonEnvironment) -> Remedy:
    assert one.taken is not None
    folder = one.taken.path.rpartition("/")[0]
    python = shlex.quote(environment.python)
    if one.rule not in ("LD_LIBRARY_PATH", "LD_PRELOAD"):
        return _anew([one], environment)
    return Remedy(
        summary=f"start it without {folder if one.rule == 'LD_LIBRARY_PATH' else one.taken.path} in {one.rule}",
        commands=(f"env -u {one.rule} {python} -c 'import torch; print(torch.version.cuda)'",),
        prediction="PyTorch's wheels find their own libraries without the variable; take it out of where it is set"
        " (~/.bashrc, a module, the image) once that works",
    )


@check("cudnn-mismatch", area="libraries")
def cudnns_parts_are_of_one_folder(libraries: CudaLibraries, frameworks: Frameworks) -> Iterator[Finding]:
    """The parts that cuDNN opens by their names come from cuDNN's own release."""
    if libraries.named:
        raise NotApplicable("a named program is looked at")
    _asked(libraries)
    whole = next((one for name, one in libraries.libraries.items() if name.startswith("libcudnn.so.")), None)
    if whole is None or whole.taken is None or whole.taken.version is None:
        raise NotApplicable("PyTorch here gets no cuDNN whose version is told")
    parts = [
        (one.taken.version.numbers[:3], name, one, one.taken)
        for name in _parts(libraries)
        if (one := libraries.libraries[name]).asked_by and one.taken is not None and one.taken.version is not None
    ]
    if not parts:
        return
    oldest, _, first, taken = min(parts)
    if oldest >= whole.taken.version.numbers[:3] and len({numbers for numbers, *_ in parts}) == 1:
        return
    yield Finding(
        id="cudnn-mismatch",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"cuDNN {whole.taken.version} is loaded, and opens {first.soname} of {taken.version} from"
        f" {taken.path.rpartition('/')[0]}",
        detail="libcudnn.so finds its parts by their names, for which LD_LIBRARY_PATH comes before its own folder."
        " An older part makes PyTorch see an older cuDNN than it was compiled with; parts of several versions fail with"
        " CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH.",
        evidence=(
            Evidence(source=f"{whole.soname} through {whole.rule}", excerpt=whole.taken.path),
            Evidence(source=f"{first.soname} through {first.rule}", excerpt=taken.path),
        ),
        remedies=(_without_variable(first, frameworks.environment),),
        layers=(Layer.FRAMEWORKS,),
    )
