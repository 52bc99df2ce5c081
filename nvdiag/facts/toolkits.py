"""CUDA toolkits on this machine: where they are, which one this environment picks, and their versions from files."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import field

from nvdiag.facts import reading
from nvdiag.facts.python_environments import PythonEnvironments
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import ParseError, Unknown
from nvdiag.model.versions import CudaVersion

VARIABLES = ("CUDA_HOME", "CUDA_PATH")
_FIXED_FOLDERS = ("/usr/local/cuda", "/opt/cuda", "/usr/lib/nvidia-cuda-toolkit")
_WHEEL_FOLDERS = ("nvidia/cu13", "nvidia/cuda_nvcc")
_WRAPPED = regex(r"(/[^\s\"'$`;|&()<>]{1,400}/bin/nvcc)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolkit:
    """One toolkit. `found_by` are the ways that lead to it (PATH, CUDA_HOME, a folder's name).

    `version` is what its files or its nvcc say, None with the reason in `source` where neither does. `nvcc` is the
    compiler's path, None for a toolkit without one (a runtime installation).
    """

    root: str
    found_by: tuple[str, ...]
    version: CudaVersion | None
    source: str
    nvcc: str | None

    @property
    def chosen_by(self) -> str | None:
        """The variable or PATH by which this environment picks this toolkit, None where nothing does."""
        return next((way for way in self.found_by if way in (*VARIABLES, "PATH")), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenToolkitPath:
    """Something that names a toolkit where there is none: `way` is a variable, PATH or a link's own path."""

    way: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ToolkitSearch:
    """Where toolkits may be, by the ways that lead there, with their compilers under way to tell their versions.

    A compiler is asked in its child while other files are read, and only where no file of its toolkit tells.
    """

    ways: Mapping[str, tuple[str, ...]]
    broken: tuple[BrokenToolkitPath, ...]

    @classmethod
    def collect(cls, host: Host, environments: PythonEnvironments | Unknown) -> ToolkitSearch:
        packages = environments.chosen.folders if isinstance(environments, PythonEnvironments) else ()
        ways, broken = _ways(host, packages)
        for root in ways:
            nvcc = _nvcc(host, root)
            if nvcc and not any(reading.text(host, f"{root}/{name}") for name, _ in _VERSION_FILES):
                host.start_command(nvcc, "--version")
        return cls({root: tuple(dict.fromkeys(found_by)) for root, found_by in ways.items()}, tuple(broken))


@dataclass(frozen=True, slots=True)
class Toolkits:
    """All toolkits found, the one that this environment picks first, and what points to none."""

    found: tuple[Toolkit, ...]
    broken: tuple[BrokenToolkitPath, ...]
    named: Mapping[str, CudaVersion] = field(default_factory=dict)
    """The versions in the folders' names that variables hold, whether or not the folder can be looked at."""

    @classmethod
    def collect(cls, host: Host, search: ToolkitSearch) -> Toolkits:
        named = _by_name(host)
        if not named:
            _looked_somewhere(host)
        toolkits = [_toolkit(host, root, found_by) for root, found_by in search.ways.items()]
        known = [*named, *(one for one in toolkits if one is not None)]
        return cls(tuple(sorted(known, key=lambda one: one.chosen_by is None)), search.broken, _named(host))


def _by_name(host: Host) -> list[Toolkit]:
    """The toolkits of recorded `nvcc --version`: without a folder, no more is known than that PATH led to it."""
    found = []
    for command in host.recorded("commands"):
        called = re.fullmatch(r"(?:(/[^\s']{1,200})/bin/)?nvcc --version", command)
        if not called:
            continue
        nvcc, root = command.split()[0], called[1] or "nvcc"
        try:
            version = parse_nvcc(host.run(nvcc, "--version").stdout)
        except (Unknown, ParseError):
            continue
        ways = (root,) if called[1] else ("PATH",)
        found.append(Toolkit(root=root, found_by=ways, version=version, source=command, nvcc=nvcc))
    return found


def _named(host: Host) -> dict[str, CudaVersion]:
    """The versions in the names of the folders that variables hold: /usr/local/cuda-12.1."""
    values = {name: reading.variable(host, name) or "" for name in VARIABLES}
    found = {name: re.search(r"cuda-(\d{1,2}\.\d)(?:/|$)", value) for name, value in values.items()}
    return {name: CudaVersion.of(match[1]) for name, match in found.items() if match}


def _looked_somewhere(host: Host) -> None:
    """Unknown where neither PATH nor the usual folder can be looked at: then no toolkit found means nothing."""
    try:
        host.env("PATH")
    except Unknown as why:
        seen = any(reading.names(host, folder) for folder in ("/usr/local", *_FIXED_FOLDERS))
        if not seen and not any(reading.link(host, folder) for folder in _FIXED_FOLDERS) and not _named(host):
            raise Unknown(f"which toolkits are here: {why}") from why


def _ways(host: Host, packages: tuple[str, ...]) -> tuple[dict[str, list[str]], list[BrokenToolkitPath]]:
    """Roots of toolkits by resolved path with the ways that lead there, and ways that lead nowhere."""
    ways: dict[str, list[str]] = {}
    broken: list[BrokenToolkitPath] = []
    for folder, way in _on_path(host):
        ways.setdefault(folder, []).append(way)
    for name in VARIABLES:
        home = reading.variable(host, name)
        if not home:
            continue
        if reading.is_there(host, home):
            ways.setdefault(host.resolve(home), []).append(name)
            if not _nvcc(host, home):
                broken.append(BrokenToolkitPath(way=name, path=home, reason=f"{home}/bin/nvcc is not there"))
        elif reading.certainly_absent(host, home):
            broken.append(BrokenToolkitPath(way=name, path=home, reason=f"{home} is not there"))
    for folder in _usual_folders(host, packages):
        if reading.is_there(host, folder):
            ways.setdefault(host.resolve(folder), []).append(folder)
        elif target := reading.link(host, folder):
            end = host.resolve(folder)
            if reading.certainly_absent(host, folder) or reading.certainly_absent(host, end):
                reason = f"it is a link to {target}, which is not there"
            elif end.startswith(("/tmp/", "/var/tmp/")):
                reason = f"it is a link to {target}, a folder that lasted as long as a build"
            else:
                continue
            broken.append(BrokenToolkitPath(way=folder, path=folder, reason=reason))
    return ways, broken


def _on_path(host: Host) -> list[tuple[str, str]]:
    """The toolkit of the first nvcc on PATH, its wrapper resolved; other entries of PATH are never reached."""
    for folder in (reading.variable(host, "PATH") or "").split(":"):
        if folder and reading.is_there(host, f"{folder}/nvcc"):
            real = unwrapped(host, f"{folder}/nvcc")
            return [(host.resolve(posixpath.dirname(posixpath.dirname(real))), "PATH")]
    return []


def unwrapped(host: Host, nvcc: str) -> str:
    """The compiler behind a link or a small shell script such as `exec /usr/local/cuda-13.0/bin/nvcc "$@"`."""
    for _ in range(4):
        nvcc = host.resolve(nvcc)
        stat = reading.stat(host, nvcc)
        if stat is None or (stat.size or 0) > 16384:
            return nvcc
        script = (reading.text(host, nvcc) or "")[:16384]
        inner = _WRAPPED.search(script) if script.startswith("#!") else None
        if inner is None or inner[1] == nvcc or not reading.is_there(host, inner[1]):
            return nvcc
        nvcc = inner[1]
    return nvcc


def _usual_folders(host: Host, packages: tuple[str, ...]) -> list[str]:
    """Where toolkits lie: the distributions' folders, conda's, and NVIDIA's wheels in a Python environment."""
    folders = list(_FIXED_FOLDERS)
    folders += [
        f"/usr/local/{name}" for name in reading.names(host, "/usr/local") if re.fullmatch(r"cuda-\d+(\.\d+)?", name)
    ]
    if conda := reading.variable(host, "CONDA_PREFIX"):
        folders += [conda] if reading.is_there(host, f"{conda}/bin/nvcc") else []
    for folder in packages:
        if "nvidia" in reading.names(host, folder):
            folders += [f"{folder}/{wheel}" for wheel in _WHEEL_FOLDERS if _nvcc(host, f"{folder}/{wheel}")]
    return folders


def _toolkit(host: Host, root: str, found_by: tuple[str, ...]) -> Toolkit | None:
    nvcc = _nvcc(host, root)
    version, source = _version(host, root, nvcc)
    if nvcc is None and version is None:
        return None
    return Toolkit(root=root, found_by=found_by, version=version, source=source, nvcc=nvcc)


def _nvcc(host: Host, root: str) -> str | None:
    return f"{root}/bin/nvcc" if reading.is_there(host, f"{root}/bin/nvcc") else None


def _version(host: Host, root: str, nvcc: str | None) -> tuple[CudaVersion | None, str]:
    """From version.json, version.txt, `nvcc --version`, cuda.h, in this order: the most exact that costs least."""
    for name, parse in _VERSION_FILES:
        text = reading.text(host, f"{root}/{name}")
        if text is not None:
            try:
                return parse(text), f"{root}/{name}"
            except ParseError:
                continue
    if nvcc is not None:
        try:
            return parse_nvcc(host.run(nvcc, "--version").stdout), f"{nvcc} --version"
        except (Unknown, ParseError):
            pass
    header = f"{root}/include/cuda.h"
    try:
        return parse_cuda_header("\n".join(host.lines_with("#define CUDA_VERSION", header))), header
    except (Unknown, ParseError):
        return None, "no file of it tells its version"


def parse_version_json(text: str) -> CudaVersion:
    """version.json of CUDA 11.1 and later: nvcc's version where it is listed, else the toolkit's. ParseError."""
    try:
        document = json.loads(text)
        entry = document.get("cuda_nvcc") or document["cuda"]
        return CudaVersion.of(str(entry["version"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ParseError("not a toolkit's version.json") from error


def parse_version_txt(text: str) -> CudaVersion:
    """version.txt of CUDA 11.0 and earlier: `CUDA Version 10.2.89`. ParseError."""
    match = re.search(r"CUDA Version (\d{1,3}\.\d{1,3}(?:\.\d{1,4})?)", text)
    if not match:
        raise ParseError("not a toolkit's version.txt")
    return CudaVersion.of(match[1])


_VERSION_FILES = (("version.json", parse_version_json), ("version.txt", parse_version_txt))


def parse_nvcc(text: str) -> CudaVersion:
    """`nvcc --version`: `Cuda compilation tools, release 12.8, V12.8.93`; the release alone where V… is garbled."""
    match = re.search(r"release (\d{1,3}\.\d{1,3})(?:, V(\d{1,3}(?:\.\d{1,5}){1,2}))?", text)
    if not match:
        raise ParseError("not the output of nvcc --version")
    short = CudaVersion.of(match[1])
    full = CudaVersion.of(match[2]) if match[2] else short
    return full if full.numbers[:2] == short.numbers else short


def parse_cuda_header(text: str) -> CudaVersion:
    """`#define CUDA_VERSION 13000` of cuda.h: 1000 * major + 10 * minor. ParseError."""
    match = re.search(r"#define\s{1,20}CUDA_VERSION\s{1,20}(\d{4,6})\b", text)
    if not match:
        raise ParseError("no CUDA_VERSION in cuda.h")
    return CudaVersion.from_number(int(match[1]))
