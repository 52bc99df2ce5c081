"""What a program gets of CUDA's libraries: as data, as a row of the stack, and in full where somebody asked by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nvdiag.facts.cuda_compat import CudaCompat
from nvdiag.facts.cuda_libraries import CudaLibraries, CudaLibrary
from nvdiag.facts.cuda_sonames import stem
from nvdiag.facts.library_copies import CudaCopy
from nvdiag.facts.loaded_libraries import LoadedLibraries, LoadedLibrary
from nvdiag.facts.python_environments import ASKED, PythonEnvironments
from nvdiag.model.dataclass import dataclass
from nvdiag.model.diagnosis import Diagnosis
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion
from nvdiag.report.shown import fact

Json = Any


def data(libraries: CudaLibraries | Unknown, loaded: LoadedLibraries | Unknown) -> Json:
    """`facts.cuda_libraries` of the JSON report."""
    if isinstance(libraries, Unknown):
        return _why(libraries)
    asked = loaded.loaded if isinstance(loaded, LoadedLibraries) else {}
    libcuda = libraries.libcuda
    return {
        "program": libraries.program or None,
        "libraries": {soname: _library(one, asked.get(soname)) for soname, one in libraries.libraries.items()},
        "libcuda": {
            "path": libcuda.path,
            "release": libraries.release.text if libraries.release else None,
            "rule": libcuda.rule,
            "asked_by": libcuda.by,
        }
        if libcuda
        else None,
        "beside": {
            program: {one.soname: _library(one, None) for one in others} for program, others in libraries.beside.items()
        },
    }


def _why(unknown: Unknown) -> dict[str, Json]:
    return {"not_applicable" if isinstance(unknown, NotApplicable) else "unknown": str(unknown)}


def compat(found: CudaCompat | Unknown) -> Json:
    """`facts.cuda_compat` of the JSON report."""
    if isinstance(found, Unknown):
        return _why(found)
    return {
        "path": found.copy.path,
        "release": found.release.text,
        "module": found.base.text,
        "made_for_module": found.covers,
        "told": found.told,
        "source": found.source or None,
        "chosen_by": [{"source": one.source, "excerpt": one.excerpt} for one in found.chosen_by],
    }


def _library(one: CudaLibrary, loaded: LoadedLibrary | None) -> dict[str, Json]:
    return {
        "taken": _copy(one.taken) if one.taken else None,
        "rule": one.rule,
        "asked_by": one.asked_by or None,
        "wanted": one.wanted.text if one.wanted else None,
        "others": [_copy(other) for other in one.others],
        "loaded": {"version": loaded.version.text if loaded.version else None, "error": loaded.error}
        if loaded
        else None,
    }


def _copy(copy: CudaCopy) -> dict[str, Json]:
    return {"path": copy.path, "version": copy.version.text if copy.version else None, "source": copy.source}


_IN_SHORT = {"cudart": "cudart", "cublas": "cuBLAS", "cudnn": "cuDNN", "nccl": "NCCL", "nvrtc": "NVRTC"}


def in_short(libraries: CudaLibraries) -> Iterator[tuple[str, str]]:
    """For each program the versions that it gets, and the folder that the first of them lies in."""
    programs: dict[str, Iterable[CudaLibrary]] = {libraries.program: libraries.libraries.values(), **libraries.beside}
    for program, others in programs.items():
        asked = [one for one in others if one.asked_by and not one.soname.startswith("libcudnn_")]
        short = {stem(one.soname): _version(one) for one in asked}
        words = [f"{name} {short[kind]}" for kind, name in _IN_SHORT.items() if kind in short]
        folder = next((one.taken.path.rpartition("/")[0] for one in asked if one.taken), "")
        if program and words:
            yield f"{program}: {', '.join(words)}", folder


def _version(one: CudaLibrary) -> str:
    if one.taken is None:
        return "missing"
    return one.taken.version.text if one.taken.version else "of unknown version"


@dataclass(frozen=True, slots=True)
class Line:
    """One library: its version, what says so, and below it the paths that belong to it."""

    soname: str
    version: str
    rule: str
    below: tuple[str, ...]


def in_full(diagnosis: Diagnosis) -> Mapping[str, tuple[Line, ...]]:
    """By program, every library that it asks for; empty where nobody asked for a program or an environment by name."""
    libraries, loaded = fact(diagnosis.facts, CudaLibraries), fact(diagnosis.facts, LoadedLibraries)
    environments = fact(diagnosis.facts, PythonEnvironments)
    by_name = isinstance(environments, PythonEnvironments) and ASKED in environments.chosen.found_by
    deep = isinstance(loaded, LoadedLibraries)
    if isinstance(libraries, Unknown) or not libraries.program or not (libraries.named or by_name or deep):
        return {}
    asked = loaded.loaded if isinstance(loaded, LoadedLibraries) else {}
    first = [_line(one, asked.get(one.soname)) for one in _told_apart(libraries) if one.asked_by]
    if (libcuda := libraries.libcuda) is not None:
        version = libraries.release.text if libraries.release else ""
        below = (libcuda.path,) if libcuda.path else ()
        first.insert(0, Line(libcuda.soname, version, _short(libcuda.rule or "not found"), below))
    beside = {program: tuple(_line(one, None) for one in others) for program, others in libraries.beside.items()}
    return {libraries.program: tuple(first), **beside}


def _told_apart(libraries: CudaLibraries) -> Iterator[CudaLibrary]:
    """All libraries but those parts of cuDNN that are as cuDNN itself: of its folder and of its version."""
    whole = next((_place(one) for name, one in libraries.libraries.items() if name.startswith("libcudnn.so.")), None)
    for name, one in libraries.libraries.items():
        if not name.startswith("libcudnn_") or _place(one) != whole:
            yield one


def _place(one: CudaLibrary) -> tuple[str, CudaVersion | None]:
    return (one.taken.path.rpartition("/")[0], one.taken.version) if one.taken else ("", None)


def _line(one: CudaLibrary, loaded: LoadedLibrary | None) -> Line:
    below = [one.taken.path] if one.taken else [f"needed by {one.asked_by}"]
    if loaded is not None and loaded.error is not None:
        below.append(f"does not load: {loaded.error[:200]}")
    elif loaded is not None and loaded.version is not None:
        below.append(f"loaded, it says {loaded.version}")
    below += [f"passed over: {other.path}{f' ({other.version})' if other.version else ''}" for other in one.others]
    return Line(one.soname, _version(one), _short(one.rule or ""), tuple(below))


def _short(rule: str) -> str:
    """A rule with the name of the file in the place of its path: the report as data has that whole."""
    how, of, path = rule.partition(" of /")
    return f"{how} of {path.rpartition('/')[2]}" if of else rule
