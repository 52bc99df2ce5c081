"""CUDA's libraries loaded and asked, in a child, where somebody wants to know for certain."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from nvdiag.facts import reading
from nvdiag.facts.cuda_libraries import CudaLibraries
from nvdiag.facts.cuda_sonames import stem
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion

ASKED = "NVDIAG_DEEP"
"""The variable that asks for it."""

_FIRST = ("cudart", "nvJitLink", "cublasLt", "cublas", "nvrtc", "cusparse")
"""What others need comes before them, as it does where a program loads them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedLibrary:
    """What a library said of itself; `error` has the loader's words where it could not be loaded."""

    version: CudaVersion | None
    error: str | None


@dataclass(frozen=True, slots=True)
class LoadedLibraries:
    """By soname, those that the program asks for and that are found. NotApplicable where nobody wants it.

    Unknown where loading one took the child away: the reason names it.
    """

    loaded: Mapping[str, LoadedLibrary]

    waits_for_child = True

    @classmethod
    def collect(cls, host: Host, libraries: CudaLibraries) -> LoadedLibraries:
        if not reading.variable(host, ASKED):
            raise NotApplicable("CUDA's libraries are loaded and asked only with --deep")
        found = [one for one in libraries.libraries.values() if one.asked_by and one.taken]
        order = sorted(found, key=lambda one: _FIRST.index(stem(one.soname)) if stem(one.soname) in _FIRST else 9)
        paths = {one.taken.path: one.soname for one in order if one.taken}
        if not paths:
            raise NotApplicable("no program here asks for a CUDA library that is found")
        document = host.probe(shlex.join(["libraries", *paths]))
        if isinstance(document.get("error"), str):
            raise Unknown(f"loading CUDA's libraries {document['error']} at {document.get('stage', 'its start')}")
        told = document.get("loaded")
        answers = told if isinstance(told, dict) else {}
        return cls({soname: _answer(answers.get(path)) for path, soname in paths.items()})


def _answer(told: object) -> LoadedLibrary:
    fields = told if isinstance(told, dict) else {}
    version, error = fields.get("version"), fields.get("error")
    return LoadedLibrary(
        version=CudaVersion.or_none(version) if isinstance(version, str) else None,
        error=error if isinstance(error, str) else None,
    )
