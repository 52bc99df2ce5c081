"""One container engine by its settings files: which of its runtimes are NVIDIA's, and whether CDI is on."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from fnmatch import fnmatchcase
from typing import Any

from nvdiag.facts import reading
from nvdiag.host import Absent, Host, NotRecorded
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown

HOOK_FOLDERS = ("/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d")
"""Where Podman and CRI-O look for OCI hooks unless they are told another place (oci-hooks(5))."""

_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where a service of systemd looks for a program that is named without its folder (systemd.exec(5))."""

_MOST_FILES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine: docker, docker (snap), docker (rootless), containerd, k3s, rke2, cri-o or podman.

    `config` is the settings file that speaks of GPUs, else the first. `runtimes` are programs by the runtimes' names,
    `gone` the names of those whose program is not there. `cdi` and `cgroup` are None and "" where no file says.
    `hooks` are files that have the toolkit called for every container. `malformed` is why the engine does not take its
    settings, and `names_nvidia` whether they are about GPUs then; `unread` is why nvdiag may not look at them.
    `misplaced` is a file with a runtime of NVIDIA's that the engine does not read. `off`: it is not what starts pods.
    """

    name: str
    config: str
    runtimes: Mapping[str, str] = field(default_factory=dict)
    default: str = ""
    cdi: bool | None = None
    cgroup: str = ""
    spec_dirs: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    malformed: str = ""
    names_nvidia: bool = False
    unread: str = ""
    misplaced: str = ""
    off: bool = False

    @property
    def nvidia(self) -> tuple[str, ...]:
        """The names of the runtimes that are NVIDIA's and whose program is not missing."""
        return tuple(
            name for name, program in self.runtimes.items() if is_nvidia(name, program) and name not in self.gone
        )


def is_nvidia(name: str, program: str) -> bool:
    """Whether a runtime is NVIDIA's, by its name or its program's."""
    return "nvidia" in name or "nvidia" in posixpath.basename(program)


def engine(
    host: Host,
    name: str,
    form: str,
    files: Sequence[str],
    *,
    hook_folders: Sequence[str] = (),
    more_runtimes: Mapping[str, str] | None = None,
) -> Engine:
    """An engine by its files, of which a later one wins over an earlier one, in one of the host's forms."""
    told: dict[str, Any] = {}
    runtimes = dict(more_runtimes or {})
    config, unread = files[0], ""
    for path in files:
        try:
            found = host.contents(f"settings:{form}", path)
        except (Absent, NotRecorded):
            continue
        except Unknown as why:
            unread = unread or str(why)
            continue
        if "malformed" in found:
            about = found.get("names_nvidia") is True
            return Engine(name=name, config=path, malformed=str(found["malformed"]), names_nvidia=about)
        here = runtimes_in(found)
        config = path if any(is_nvidia(one, program) for one, program in here.items()) else config
        runtimes |= here
        told |= found
    return Engine(
        name=name,
        config=config,
        runtimes=runtimes,
        default=_text(told, "default"),
        cdi=told["cdi"] if isinstance(told.get("cdi"), bool) else None,
        cgroup=_text(told, "cgroup"),
        spec_dirs=_texts(told, "spec_dirs"),
        hooks=tuple(_hooks(host, (*hook_folders, *_texts(told, "hook_dirs")))),
        gone=tuple(one for one, program in runtimes.items() if is_nvidia(one, program) and _is_gone(host, program)),
        unread=unread,
        off=told.get("off") is True,
    )


def imported(host: Host, path: str) -> tuple[str, ...]:
    """A containerd's settings file with those that it names under `imports`, patterns among them."""
    files, ahead = [path], [path]
    while ahead and len(files) < _MOST_FILES:
        beside = ahead.pop()
        try:
            patterns = _texts(host.contents("settings:containerd", beside), "imports")
        except Unknown:
            continue
        for pattern in patterns:
            more = _matching(host, posixpath.join(posixpath.dirname(beside), pattern))
            new = [one for one in more if one not in files]
            files += new
            ahead += new
    return tuple(files[:_MOST_FILES])


def runtimes_in(found: Mapping[str, Any]) -> dict[str, str]:
    """The runtimes of one file's settings."""
    table = found.get("runtimes")
    return {str(name): str(program) for name, program in table.items()} if isinstance(table, dict) else {}


def _matching(host: Host, pattern: str) -> list[str]:
    folder, name = posixpath.split(pattern)
    if not any(sign in name for sign in "*?["):
        return [pattern]
    return [f"{folder}/{one}" for one in reading.names(host, folder) if fnmatchcase(one, name)]


def _is_gone(host: Host, program: str) -> bool:
    """Whether a runtime's program is certainly not there; containerd's names of shims are no programs."""
    if program.startswith("/"):
        return reading.certainly_absent(host, program)
    if not program or "/" in program or program.startswith("io."):
        return False
    return all(reading.certainly_absent(host, f"{folder}/{program}") for folder in _PATH)


def _hooks(host: Host, folders: Sequence[str]) -> Iterator[str]:
    """Hook files that call the toolkit's hook."""
    for folder in dict.fromkeys(folders):
        for name in reading.names(host, folder)[:_MOST_FILES]:
            if name.endswith(".json") and "nvidia-container" in (reading.text(host, f"{folder}/{name}") or ""):
                yield f"{folder}/{name}"


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) else ""


def _texts(found: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = found.get(key)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
