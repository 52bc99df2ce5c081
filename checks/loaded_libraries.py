"""CUDA's libraries loaded and asked, with --deep: whether each loads, and is what its files say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from nvdiag.checks.cuda_libraries import find_or_install
from nvdiag.checks.loader_picture import IDS, LAYERS, WHAT_FOLLOWS, right_one
from nvdiag.engine import check
from nvdiag.facts.cuda_libraries import CudaLibraries
from nvdiag.facts.cuda_sonames import stem
from nvdiag.facts.frameworks import Frameworks
from nvdiag.facts.loaded_libraries import LoadedLibraries
from nvdiag.facts.python_environments import PythonEnvironment
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import Unknown


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
        remedies = (right_one(one, environment),) if environment is not None and known else remedies[:1]
    return Finding(
        id=IDS.get(kind, "cuda-library-shadowed" if apart else "cuda-library-missing"),
        subject="" if kind in IDS else cause,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.ENVIRONMENT,
        title=title if cause in errors else f"{title} with the {cause}{version} that is taken",
        detail=f"Two copies that do not belong together meet. {WHAT_FOLLOWS.get(kind, '')}".strip()
        if apart
        else "It needs what the loader cannot give.",
        evidence=tuple(Evidence(source=f"dlopen {soname}", excerpt=error[:300]) for soname, error in errors.items()),
        remedies=remedies,
        explains=frozenset({"no-cuda-device"}),
        layers=LAYERS,
    )


@check("cuda-library-shadowed", "cudnn-mismatch", "nccl-mismatch", area="libraries")
def cudas_libraries_are_what_their_files_say(libraries: CudaLibraries, loaded: LoadedLibraries) -> Iterator[Finding]:
    """Each CUDA library that was loaded is of the version that its files and its package tell."""
    for soname, one in loaded.loaded.items():
        taken = libraries.libraries[soname].taken
        if one.version is None or taken is None or taken.version is None:
            continue
        shared = min(len(one.version.numbers), len(taken.version.numbers))
        if one.version.numbers[:shared] != taken.version.numbers[:shared]:
            yield Finding(
                id=IDS.get(stem(soname), "cuda-library-shadowed"),
                subject="" if stem(soname) in IDS else soname,
                severity=Severity.WARNING,
                confidence=Confidence.CERTAIN,
                kind=FindingClass.ENVIRONMENT,
                title=f"{soname} says of itself that it is {one.version}, and its files tell {taken.version}",
                detail="Another package, or somebody by hand, put another file in its place.",
                evidence=(
                    Evidence(source=f"{taken.path}, loaded and asked", excerpt=one.version.text),
                    Evidence(source=taken.source, excerpt=taken.version.text),
                ),
                remedies=find_or_install([soname])[:1],
                layers=LAYERS,
            )
