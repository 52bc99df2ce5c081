"""CUDA's own libraries: what a program here would get of them and by which rule, and every other copy.

The driver's libraries (libcuda, libnvidia-ml) are in `nvdiag.facts.libraries`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from nvdiag.facts import reading
from nvdiag.facts.cuda_sonames import COMPONENTS, is_cudas, numbered_wheels, stem, wheel_folders, wheel_names
from nvdiag.facts.frameworks import Frameworks, kernel_libraries
from nvdiag.facts.python_environments import PythonEnvironment, PythonEnvironments, parse_info
from nvdiag.facts.search_path import CACHED, SearchPath, Taken
from nvdiag.facts.toolkits import Toolkits
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion

ASKED = "NVDIAG_PROGRAM"
"""The variable that names the program to follow the loader for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaCopy:
    """One file of a CUDA library; `version` as its name, its wheel or its header tells it, None where none does."""

    path: str
    version: CudaVersion | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaLibrary:
    """One library by its soname. `taken` is what the program gets, by `rule`, None where it finds nothing.

    `asked_by` is the object that needs it first, empty for one that no program here asks for; `wanted` the version
    that the program was built with, where its package pins one, and `wheel` the package that carries it. `others` are
    the copies that were passed over.
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
    PyTorch, ONNX Runtime or llama-cpp-python of this environment. `named` is whether it is the former. `blind` says why
    some may have been missed.
    NotApplicable where there is no such library and nobody asks for one.
    """

    program: str
    named: bool
    libraries: Mapping[str, CudaLibrary]
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
        pins: dict[str, str] = {}
        if named:
            from nvdiag.facts import loading

            program, taken = named, loading.as_a_program_gets_them(host, search, named)
        elif isinstance(frameworks, Frameworks):
            program, taken = _of_a_framework(host, search, frameworks)
            info = frameworks.environment.infos.get("torch")
            if info is not None and program.startswith("torch "):
                pins = parse_pins(reading.text(host, f"{info}/METADATA") or "")
        else:
            program, taken = "", {}
        found = {}
        for soname in sorted({*copies, *taken}):
            one = taken.get(soname) or _as_anybody_gets_it(soname, search, copies.get(soname, ()))
            found[soname] = _library(host, one, copies.get(soname, ()), pins)
        if not found:
            raise NotApplicable("no CUDA library is here, and nothing asks for one")
        return cls(program=program, named=bool(named), libraries=found, blind=search.blind)


def _of_a_framework(host: Host, search: SearchPath, frameworks: Frameworks) -> tuple[str, dict[str, Taken]]:
    """The first of them that has CUDA, with what it gets."""
    from nvdiag.facts import loading

    for name in ("torch", "onnxruntime", "llama-cpp-python"):
        one = frameworks.found.get(name)
        if one is None or one.cuda is None:
            continue
        if name == "torch":
            return f"torch {one.version}", loading.as_torch_gets_them(host, search, frameworks.environment)
        for path in kernel_libraries(host, frameworks, one):
            taken = loading.as_a_module_gets_them(host, search, frameworks.environment, path)
            return f"{name} {one.version}", taken
    return "", {}


def parse_pins(metadata: str) -> dict[str, str]:
    """NVIDIA's wheels that a package's METADATA pins, by their names: `Requires-Dist: nvidia-cudnn-cu12==9.10.2.21`."""
    return dict(re.findall(r"^Requires-Dist: (nvidia-[\w-]{1,60}) ?\(?==([\d.]{1,30})", metadata, re.M))


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
        for name in reading.names(host, f"{toolkit.root}/lib64") if toolkit.root.startswith("/usr/local/") else ():
            add(name, f"{toolkit.root}/lib64/{name}")
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
    taken = _copy(host, one.path) if one.path else None
    files = {host.resolve(path): path for path in paths}
    files.pop(host.resolve(one.path) if one.path else "", None)
    return CudaLibrary(
        soname=one.soname,
        taken=taken,
        rule=one.rule,
        asked_by=one.by,
        wheel=wheel,
        wanted=CudaVersion.or_none(pins[wheel]) if wheel else None,
        others=tuple(_copy(host, path) for path in files.values()),
    )


def _copy(host: Host, path: str) -> CudaCopy:
    """A file with its version: in the name that its links lead to, else its wheel's, else in the header beside it."""
    file = host.resolve(path)
    if found := re.search(r"\.so\.(\d{1,2}(?:\.\d{1,4}){2,4})$", file):
        return CudaCopy(path=path, version=CudaVersion.of(found[1]), source=file)
    wheels = _wheels_of(host, path)
    if len(wheels) == 1:
        return CudaCopy(path=path, version=CudaVersion.or_none(wheels[0][1]), source=wheels[0][0])
    header = f"{posixpath.dirname(posixpath.dirname(path))}/include/{_HEADERS.get(stem(posixpath.basename(path)), '')}"
    version = _in_header(host, header) if not header.endswith("/") else None
    return CudaCopy(path=path, version=version, source=header if version else file)


_HEADERS = {"cudnn": "cudnn_version.h", "nccl": "nccl.h"}


def _in_header(host: Host, header: str) -> CudaVersion | None:
    """`#define CUDNN_MAJOR 9`, `_MINOR`, `_PATCHLEVEL` of cudnn_version.h; NCCL_MAJOR, _MINOR, _PATCH of nccl.h."""
    try:
        text = "\n".join((*host.lines_with("#define CUDNN_", header), *host.lines_with("#define NCCL_", header)))
    except Unknown:
        return None
    numbers = dict(re.findall(r"#define \w{4,5}_(MAJOR|MINOR|PATCH)(?:LEVEL)? (\d{1,4})\b", text))
    return CudaVersion.or_none(".".join(numbers.get(name, "") for name in ("MAJOR", "MINOR", "PATCH")))


def _wheels_of(host: Host, path: str) -> list[tuple[str, str]]:
    """The wheels that write the folder of this file, each with its .dist-info and version.

    They are several where wheels for two CUDA majors overwrite each other: then neither tells what is there.
    """
    place = re.match(r"(.{1,4000})/nvidia/(\w{1,40})/lib/", path)
    if place is None:
        return []
    names = numbered_wheels(place[2].replace("_", "-"))
    if re.fullmatch(r"cu\d\d", place[2]):
        names = [f"nvidia-{COMPONENTS.get(stem(posixpath.basename(path)), '')}"]
    infos = ((name, parse_info(name)) for name in reading.names(host, place[1]) if name.startswith("nvidia_"))
    return [(f"{place[1]}/{name}", told[1]) for name, told in infos if told is not None and told[0] in names]
