"""Python environments on this machine: where they are, and what is installed in them, by the names of folders alone.

No interpreter is started and nothing is imported. A distribution's name and version stand in the name of its
`.dist-info` or `.egg-info` (PyPA's specification "Recording installed projects"); where an environment's packages lie
follows from its layout, as Python's `site` and `venv` document it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

from nvdiag.facts import reading
from nvdiag.facts.python_shims import interpreter, is_shim
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable

ASKED = "NVDIAG_PYTHON"
"""The variable that names the interpreter to look at."""

_INTERPRETERS = ("python3", "python")


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonEnvironment:
    """One environment. `found_by` are the ways that lead to it: a variable's name, or PATH.

    `folders` are those with packages, in the order of sys.path. `versions` has what is installed by normal name (small
    letters and dashes), `infos` the folder or file that says so; `modules` are the names that can be imported, each
    with its path. The first folder that has a name wins, as it does for Python.
    """

    prefix: str
    python: str
    found_by: tuple[str, ...]
    folders: tuple[str, ...]
    versions: Mapping[str, str]
    infos: Mapping[str, str]
    modules: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PythonEnvironments:
    """The environments that were found; the first is the one that this run is about.

    That is the one of NVDIAG_PYTHON, else the active virtual environment, else the active one of conda, else that of
    the first interpreter on PATH. NotApplicable where there is none.
    """

    found: tuple[PythonEnvironment, ...]

    @classmethod
    def collect(cls, host: Host) -> PythonEnvironments:
        ways: dict[str, list[str]] = {}
        pythons: dict[str, str] = {}
        for way, python in _interpreters(host):
            prefix = _prefix(host, python)
            ways.setdefault(prefix, []).append(way)
            pythons.setdefault(prefix, python)
        found = (_environment(host, prefix, pythons[prefix], tuple(found_by)) for prefix, found_by in ways.items())
        environments = tuple(one for one in found if one.folders or reading.is_there(host, f"{one.prefix}/pyvenv.cfg"))
        if not environments and pythons:
            python = next(iter(pythons.values()))
            raise NotApplicable(f"where {python} has its packages is not known; --python names an interpreter")
        if not environments:
            raise NotApplicable("no Python environment is known")
        return cls(environments)

    @property
    def chosen(self) -> PythonEnvironment:
        return self.found[0]


def _interpreters(host: Host) -> Iterator[tuple[str, str]]:
    """The ways to an interpreter, the most explicit first, each with a path that is there."""
    if (asked := reading.variable(host, ASKED)) and reading.is_there(host, asked):
        yield ASKED, (interpreter(host, asked) if is_shim(host, asked) else None) or asked
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        prefix = (reading.variable(host, name) or "").rstrip("/")
        if prefix and reading.is_there(host, f"{prefix}/bin/python"):
            yield name, f"{prefix}/bin/python"
    if (path := _on_path(host)) is not None:
        yield "PATH", path


def _on_path(host: Host) -> str | None:
    """The first interpreter on PATH; in the place of a shim the one that it stands for, if that is not the next one."""
    shim = None
    for folder in (reading.variable(host, "PATH") or "").split(":"):
        names = (f"{folder}/{name}" for name in _INTERPRETERS if folder.startswith("/"))
        path = next((path for path in names if reading.is_there(host, path)), None)
        if path is None:
            continue
        if not is_shim(host, path):
            return posixpath.normpath(path)
        shim = shim or path
        if (meant := interpreter(host, path)) is not None:
            return meant
    return shim


def _prefix(host: Host, python: str) -> str:
    """An environment's root: beside pyvenv.cfg where the interpreter's own path has one, else behind its links."""
    here = posixpath.dirname(posixpath.dirname(posixpath.normpath(python)))
    if reading.is_there(host, f"{here}/pyvenv.cfg"):
        return here
    return posixpath.dirname(posixpath.dirname(host.resolve(python)))


def _environment(host: Host, prefix: str, python: str, found_by: tuple[str, ...]) -> PythonEnvironment:
    settings = parse_pyvenv(reading.text(host, f"{prefix}/pyvenv.cfg") or "")
    minor = _minor(host, prefix, python, settings)
    candidates = [*_from_variable(host), *(_user_folders(host, minor) if _reads_user_folder(settings) else ())]
    candidates += _site_folders(prefix, minor)
    if settings.get("include-system-site-packages") == "true" and "home" in settings:
        candidates += _site_folders(posixpath.dirname(settings["home"]), minor)
    folders: list[str] = []
    versions: dict[str, str] = {}
    infos: dict[str, str] = {}
    modules: dict[str, str] = {}
    for folder in dict.fromkeys(candidates):
        names = reading.names(host, folder)
        if names:
            folders.append(folder)
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                if (told := parse_info(name)) is not None and told[0] not in versions:
                    versions[told[0]], infos[told[0]] = told[1], f"{folder}/{name}"
            elif not name.startswith("_"):
                modules.setdefault(name, f"{folder}/{name}")
    return PythonEnvironment(
        prefix=prefix,
        python=python,
        found_by=found_by,
        folders=tuple(folders),
        versions=versions,
        infos=infos,
        modules=modules,
    )


def _minor(host: Host, prefix: str, python: str, settings: Mapping[str, str]) -> str:
    """`3.12`: from pyvenv.cfg, from the name that the interpreter's links lead to, else from the library's folder."""
    told = settings.get("version") or settings.get("version_info") or posixpath.basename(host.resolve(python))
    if found := re.search(r"3\.\d{1,2}", told):
        return found[0]
    folders = [name for name in reading.names(host, f"{prefix}/lib") if re.fullmatch(r"python3\.\d{1,2}", name)]
    return folders[-1].removeprefix("python") if folders else "3"


def _site_folders(prefix: str, minor: str) -> Iterator[str]:
    """Where an installation has its packages; Debian's and Fedora's own Pythons have more than one place."""
    if prefix == "/usr":
        yield f"/usr/local/lib/python{minor}/dist-packages"
        yield f"/usr/local/lib64/python{minor}/site-packages"
        yield f"/usr/local/lib/python{minor}/site-packages"
        yield "/usr/lib/python3/dist-packages"
        yield f"/usr/lib64/python{minor}/site-packages"
    yield f"{prefix}/lib/python{minor}/site-packages"


def _from_variable(host: Host) -> list[str]:
    """PYTHONPATH's folders, as far as they are packages' folders."""
    value = reading.variable(host, "PYTHONPATH") or ""
    return [folder.rstrip("/") for folder in value.split(":") if folder.rstrip("/").endswith("-packages")]


def _reads_user_folder(settings: Mapping[str, str]) -> bool:
    return not settings or settings.get("include-system-site-packages") == "true"


def _user_folders(host: Host, minor: str) -> Iterator[str]:
    """The person's own packages. HOME is not read; a shell that has ~/.local/bin on PATH tells of the folder, too."""
    path = (reading.variable(host, "PATH") or "").split(":")
    on_path = (folder.removesuffix("/bin") for folder in path if folder.endswith("/.local/bin"))
    base = reading.variable(host, "PYTHONUSERBASE") or next(on_path, None)
    if base and not reading.variable(host, "PYTHONNOUSERSITE"):
        yield f"{base}/lib/python{minor}/site-packages"


def parse_pyvenv(text: str) -> dict[str, str]:
    """The settings of a pyvenv.cfg, `key = value` a line; keys in small letters."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def parse_info(name: str) -> tuple[str, str] | None:
    """Normal name and version of `torch-2.9.1+cu128.dist-info` or `PyYAML-6.0.1-py3.12.egg-info`."""
    found = re.match(r"([A-Za-z0-9][\w.]{0,100})-(\d[\w.+!]{0,80})(?:-py3\.\d{1,2})?\.(?:dist|egg)-info$", name)
    return (normal_name(found[1]), found[2]) if found else None


def normal_name(name: str) -> str:
    """A distribution's name as it is compared: small letters, dashes."""
    return name.lower().replace("_", "-").replace(".", "-")
