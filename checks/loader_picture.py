"""What the loader takes of CUDA's libraries for a framework or a named program: whether all are found and fit."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from nvdiag.engine import check
from nvdiag.facts.cuda_libraries import CudaLibraries, CudaLibrary
from nvdiag.facts.cuda_sonames import stem
from nvdiag.facts.frameworks import Frameworks
from nvdiag.facts.python_environments import PythonEnvironment
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown

IDS = {"cudnn": "cudnn-mismatch", "nccl": "nccl-mismatch"}
_MOST_NAMED = 5
LAYERS = (Layer.CUDA_LIBRARIES, Layer.FRAMEWORKS)


def _asked(libraries: CudaLibraries) -> list[CudaLibrary]:
    """What the program asks for, itself or through another library. NotApplicable where there is none."""
    if not libraries.program:
        raise NotApplicable("no program is known here that asks for CUDA's libraries")
    return [one for one in libraries.libraries.values() if one.asked_by]


@check("cuda-library-missing", "cudnn-mismatch", "nccl-mismatch", area="libraries")
def the_program_finds_cudas_libraries(libraries: CudaLibraries, frameworks: Frameworks | Unknown) -> Iterator[Finding]:
    """The loader finds every CUDA library that each framework installed here, or the named program, needs."""
    programs = {libraries.program: _asked(libraries), **libraries.beside}
    for program, asked in programs.items():
        missing = [one for one in asked if one.taken is None]
        if missing and libraries.blind is not None:
            raise Unknown(f"whether {missing[0].soname} is found: {libraries.blind}")
        if len(missing) == len(asked) and program.startswith(_ALSO_FOR_THE_CPU):
            continue
        for identifier in ("cuda-library-missing", "cudnn-mismatch", "nccl-mismatch"):
            some = [one for one in missing if IDS.get(stem(one.soname), "cuda-library-missing") == identifier]
            if some:
                yield _missing(identifier, some, program, libraries, frameworks)


@check("libcuda-stub-loaded", area="libraries")
def the_program_gets_no_stub_of_libcuda(libraries: CudaLibraries) -> Iterator[Finding]:
    """The libcuda that the framework installed here, or the named program, gets is not the toolkit's stub."""
    libcuda = libraries.libcuda
    if libcuda is None or libcuda.path is None or libcuda.rule is None:
        raise NotApplicable("no program here gets a libcuda")
    if "/stubs/" not in libcuda.path:
        return
    own = libcuda.rule.startswith(("DT_RPATH", "DT_RUNPATH"))
    file = libcuda.rule.partition(" of ")[2] if own else ""
    yield Finding(
        id="libcuda-stub-loaded",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.ENVIRONMENT,
        title=f"{libraries.program} gets the toolkit's stub of libcuda",
        detail="It is there to link against, and every call of it fails with error 34, CUDA_ERROR_STUB_LIBRARY."
        + (" Its folder was written into a file by -rpath when that was linked; -L is enough." if own else ""),
        evidence=(Evidence(source=f"{libcuda.soname} through {libcuda.rule}", excerpt=libcuda.path),),
        remedies=(
            Remedy(
                summary="see which folders the file names, and link it anew without that of the stubs",
                commands=(f"readelf -d {shlex.quote(file)} | grep -E 'RPATH|RUNPATH'",),
            ),
        )
        if own
        else (Remedy(summary=f"take {libcuda.path.rpartition('/')[0]} out of what {libcuda.rule} goes by"),),
        explains=frozenset({"no-cuda-device"}),
        layers=(Layer.LIBCUDA,),
    )


_ALSO_FOR_THE_CPU = ("tensorflow ", "ctranslate2 ")
"""One build serves those who use a GPU and those who do not: that all of it is missing is as it should be."""


def _missing(
    identifier: str,
    some: Sequence[CudaLibrary],
    program: str,
    libraries: CudaLibraries,
    frameworks: Frameworks | Unknown,
) -> Finding:
    names = [one.soname for one in some]
    more = [f"{len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    environment = frameworks.environment if isinstance(frameworks, Frameworks) and not libraries.named else None
    falls_back = program.startswith((*_ALSO_FOR_THE_CPU, "onnxruntime "))
    from nvdiag.checks.cuda_libraries import find_or_install

    return Finding(
        id=identifier,
        subject="" if program == libraries.program else program.partition(" ")[0],
        severity=Severity.WARNING if falls_back else Severity.ERROR,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.ENVIRONMENT,
        title=f"{program} needs {listed([*names[:_MOST_NAMED], *more])}, which the loader does not find for it",
        detail="It does not start, or what needs the library fails or falls back to the CPU. The driver is not the"
        f" reason.{_other_major(names, libraries)}",
        evidence=tuple(
            Evidence(
                source=by,
                excerpt=f"needs {listed([one.soname for one in some if one.asked_by == by])}, found neither in its own"
                " folders nor elsewhere",
            )
            for by in dict.fromkeys(one.asked_by for one in some)
        ),
        remedies=tuple(_of_the_framework(some, program, environment)) or find_or_install(names),
        explains=frozenset({"no-cuda-device"}) if program == libraries.program else frozenset(),
        layers=LAYERS,
    )


def _other_major(missing: Sequence[str], libraries: CudaLibraries) -> str:
    """That the same libraries are here for another CUDA major, in words; empty where they are not."""
    there = {name.partition(".so.")[0]: name for name in libraries.libraries if name not in missing}
    others = [there[stem] for name in missing if (stem := name.partition(".so.")[0]) in there]
    named = listed(others[:_MOST_NAMED])
    return f" Of another CUDA major {named} {'is' if len(others) == 1 else 'are'} here." if others else ""


def _of_the_framework(
    some: Sequence[CudaLibrary], program: str, environment: PythonEnvironment | None
) -> Iterator[Remedy]:
    """How a framework's own package brings the libraries; nothing where it does not."""
    if environment is None:
        return
    name, _, version = program.partition(" ")
    if name == "torch":
        yield _anew(some, environment)
        return
    plugins = sorted(one for one in environment.versions if one.startswith("jax-cuda") and one.endswith("-plugin"))
    extra = {
        "jaxlib": f"jax[{plugins[0].split('-')[1]}]=={version}" if plugins else "",
        "tensorflow": f"tensorflow[and-cuda]=={version}",
    }.get(name, "")
    if extra:
        yield Remedy(
            summary="install the CUDA libraries that it is released with, as wheels beside it",
            commands=(f"{shlex.quote(environment.python)} -m pip install {shlex.quote(extra)}",),
            prediction="neither root nor another driver is needed for that",
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


@check("cuda-library-shadowed", "cudnn-mismatch", "nccl-mismatch", area="libraries")
def pytorch_gets_the_libraries_that_it_was_built_with(
    libraries: CudaLibraries, frameworks: Frameworks
) -> Iterator[Finding]:
    """No CUDA library that the loader takes for PyTorch here is older than the one that it was built with."""
    if libraries.named or not libraries.program.startswith("torch "):
        raise NotApplicable(
            "no PyTorch with CUDA is looked at, and other programs do not tell what they were built with"
        )
    for one in _asked(libraries):
        if one.taken is None or one.taken.version is None or one.wanted is None or one.soname in _parts(libraries):
            continue
        if one.taken.version.numbers[:2] < one.wanted.numbers[:2]:
            yield _older(one, libraries, frameworks.environment)


def _parts(libraries: CudaLibraries) -> list[str]:
    """cuDNN's parts, which are held against cuDNN itself."""
    return [name for name in libraries.libraries if name.startswith("libcudnn_")]


WHAT_FOLLOWS = {
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
        id=IDS.get(kind, "cuda-library-shadowed"),
        subject="" if kind in IDS else one.soname,
        severity=Severity.ERROR if kind == "nvJitLink" else Severity.WARNING,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"{libraries.program} was built with {one.wheel} {one.wanted}, and gets {one.soname} of"
        f" {one.taken.version} from {one.taken.path.rpartition('/')[0]}",
        detail=WHAT_FOLLOWS.get(kind, "An older library of the same number may lack functions that the newer one has."),
        evidence=(
            Evidence(source=f"{one.soname} through {one.rule}", excerpt=one.taken.path),
            Evidence(source=one.taken.source, excerpt=f"{one.soname} {one.taken.version}"),
            Evidence(source=f"{environment.infos['torch']}/METADATA", excerpt=f"{one.wheel}=={one.wanted}"),
            *(Evidence(source="passed over", excerpt=f"{other.path}: {other.version}") for other in one.others[:3]),
        ),
        remedies=(right_one(one, environment),),
        explains=frozenset({"no-cuda-device"}),
        layers=LAYERS,
    )


def right_one(one: CudaLibrary, environment: PythonEnvironment) -> Remedy:
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
        layers=LAYERS,
    )
