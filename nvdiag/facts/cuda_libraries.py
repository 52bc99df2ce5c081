"""CUDA's own libraries: what a program here would get of them and by which rule, and every other copy.

The driver's libraries (libcuda, libnvidia-ml) are in `nvdiag.facts.libraries`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from nvdiag.facts import reading
from nvdiag.facts.cuda_sonames import COMPONENTS, is_cudas, stem, wheel_folders, wheel_names
from nvdiag.facts.frameworks import Frameworks
from nvdiag.facts.libraries import LIBCUDA, release_in
from nvdiag.facts.library_copies import CudaCopy, copy_of
from nvdiag.facts.python_environments import PythonEnvironment, PythonEnvironments
from nvdiag.facts.search_path import CACHED, SearchPath, Taken
from nvdiag.facts.toolkits import Toolkits
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion, DriverRelease

ASKED = "NVDIAG_PROGRAM"
"""The variable that names the program to follow the loader for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaLibrary:
    """One library by its soname. `taken` is what the program gets, by `rule`, None where it finds nothing.

    `asked_by` is the object that needs it first, empty for one that no program here asks for; `wanted` the version
    that the program was built with, where its package pins one, or the lowest that it asks for, and `wheel` the package
    that carries it. `others` are the copies that were passed over.
    """

    soname: str
    taken: CudaCopy | None
    rule: str | None
    asked_by: str
    wheel: str | None
    wanted: CudaVersion | None
    others: tuple[CudaCopy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaLibraries:
    """CUDA's libraries as one program gets them, else as any would that has no folders of its own; by soname.

    `program` is what they were followed for, empty where there is none: the one that NVDIAG_PROGRAM names, else the
    first framework of this environment that has CUDA. `named` is whether it is the former. `beside` are the other
    frameworks with what each of them asks for. `libcuda` is the driver's library as the program gets it, of `release`
    by its file's name. `blind` says why some may have been missed.
    NotApplicable where there is no such library and nobody asks for one.
    """

    program: str
    named: bool
    libraries: Mapping[str, CudaLibrary]
    libcuda: Taken | None
    release: DriverRelease | None
    beside: Mapping[str, tuple[CudaLibrary, ...]]
    blind: Unknown | None

    @classmethod
    def collect(
        cls,
        host: Host,
        search: SearchPath,
        environments: PythonEnvironments | Unknown,
        frameworks: Frameworks | Unknown,
        toolkits: Toolkits | Unknown,
    ) -> CudaLibraries:
        environment = environments.chosen if isinstance(environments, PythonEnvironments) else None
        copies = _copies(host, search, environment, toolkits)
        named = reading.variable(host, ASKED)
        followed = _followed(host, search, named, frameworks)
        program, taken = next(iter(followed.items()), ("", {}))
        pins = _pins(host, frameworks, tuple(followed)) if isinstance(frameworks, Frameworks) else {}

        def library(one: Taken, program: str) -> CudaLibrary:
            return _library(host, one, copies.get(one.soname, ()), pins.get(program, {}))

        found = {
            soname: library(taken.get(soname) or _as_anybody_gets_it(soname, search, copies.get(soname, ())), program)
            for soname in sorted({*copies, *taken} - {LIBCUDA})
        }
        if not found and not named:
            raise NotApplicable("no CUDA library is here, and nothing asks for one")
        beside = {
            name: tuple(library(others[soname], name) for soname in sorted(others) if soname != LIBCUDA)
            for name, others in followed.items()
            if name != program
        }
        return cls(
            program=program,
            named=bool(named),
            libraries=found,
            libcuda=taken.get(LIBCUDA),
            release=_release(host, taken.get(LIBCUDA)),
            beside=beside,
            blind=search.blind,
        )


def _pins(host: Host, frameworks: Frameworks, programs: Sequence[str]) -> dict[str, Mapping[str, str]]:
    from nvdiag.facts.wheel_pins import pins_of

    return {name: pins_of(host, frameworks, name) for name in programs}


def _release(host: Host, libcuda: Taken | None) -> DriverRelease | None:
    return release_in(host.resolve(libcuda.path)) if libcuda is not None and libcuda.path is not None else None


def _followed(
    host: Host, search: SearchPath, named: str | None, frameworks: Frameworks | Unknown
) -> Mapping[str, Mapping[str, Taken]]:
    """What each program gets: the named one alone, else the frameworks that have CUDA."""
    if not named and isinstance(frameworks, Unknown):
        return {}
    from nvdiag.facts import loading

    if named:
        return {named: loading.as_a_program_gets_them(host, search, named)}
    return dict(loading.as_frameworks_get_them(host, search, frameworks)) if isinstance(frameworks, Frameworks) else {}


def _copies(
    host: Host, search: SearchPath, environment: PythonEnvironment | None, toolkits: Toolkits | Unknown
) -> dict[str, list[str]]:
    """The files that answer to a CUDA library's soname, wherever they lie, in no order that the loader has."""
    found: dict[str, list[str]] = {}

    def add(soname: str, path: str) -> None:
        if is_cudas(soname) and path not in found.setdefault(soname, []):
            found[soname].append(path)

    for folder in search.variable:
        for name in reading.names(host, folder):
            add(name, posixpath.join(folder, name))
    for soname in dict.fromkeys(name for name, _, _ in search.cache if is_cudas(name)):
        for path in search.cached(soname):
            add(soname, path)
    for folder in wheel_folders(host, environment):
        for name in reading.names(host, folder):
            add(name, f"{folder}/{name}")
    for toolkit in toolkits.found if isinstance(toolkits, Toolkits) else ():
        if toolkit.root.startswith("/usr/local/"):
            folder = host.resolve(f"{toolkit.root}/lib64")
            for name in reading.names(host, folder):
                add(name, f"{folder}/{name}")
    return found


def _as_anybody_gets_it(soname: str, search: SearchPath, paths: Sequence[str]) -> Taken:
    """What a program gets that has no folders of its own: LD_LIBRARY_PATH's copy, else the cache's."""
    for folder in search.variable:
        if (path := posixpath.join(folder, soname)) in paths:
            return Taken(soname, path, "LD_LIBRARY_PATH", "")
    cached = next(search.cached(soname), None)
    return Taken(soname, cached, CACHED if cached else None, "")


def _library(host: Host, one: Taken, paths: Sequence[str], pins: Mapping[str, str]) -> CudaLibrary:
    component = COMPONENTS[stem(one.soname)]
    wheel = next((name for name in wheel_names(component) if name in pins), None) if one.by else None
    taken = copy_of(host, one.path) if one.path else None
    files = {host.resolve(path): path for path in paths}
    files.pop(host.resolve(one.path) if one.path else "", None)
    return CudaLibrary(
        soname=one.soname,
        taken=taken,
        rule=one.rule,
        asked_by=one.by,
        wheel=wheel,
        wanted=CudaVersion.or_none(pins[wheel]) if wheel else None,
        others=tuple(copy_of(host, path) for path in files.values()),
    )
