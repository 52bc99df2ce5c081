"""What a text shows of libraries beside the loader's own search: what programs opened, what engines mounted."""

from __future__ import annotations

import re

from nvdiag.facts.libraries import release_in
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

_OPENED = regex(
    r"(?:opened dynamic library |\bdynamic library ['\"]|\S{4,60} => /\S{0,300}/)"
    r"(lib(?:cudart|cublas(?:Lt)?|nvrtc|cusparse|nvJitLink)\.so\.[\d.]{1,8})"
)
_MOUNTED = regex(r"(?: on |^|\s|mounting )(/\S{0,300}/libcuda\.so\.\d{3}\.[\d.]{2,10}\d)\s", re.M)
_MOST = 200_000


def cuda_major(library: str) -> int | None:
    """The CUDA major that a library's soname has as its number; None for one that counts otherwise."""
    found = re.search(r"lib(?:cudart|cublas(?:Lt)?|nvrtc|cusparse|nvJitLink)\.so\.(\d{1,2})(?!\d)", library)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class OpenedLibraries:
    """CUDA libraries that a program opened or asked for, by TensorFlow's log and ldd. NotApplicable without any."""

    names: tuple[str, ...]

    @classmethod
    def collect(cls, host: Host) -> OpenedLibraries:
        lines = (line for _, text in host.texts() if ".so." in text for line in text[:_MOST].split("\n"))
        found = dict.fromkeys(name for line in lines if ".so." in line for name in _OPENED.findall(line))
        if not found:
            raise NotApplicable("no text tells of CUDA libraries that were opened")
        return cls(tuple(found))


@dataclass(frozen=True, slots=True)
class EngineMount:
    """The libcuda that a container engine mounted from its host, by `mount`: its path and release.

    NotApplicable where no text shows one, or several releases.
    """

    path: str
    release: DriverRelease

    @classmethod
    def collect(cls, host: Host) -> EngineMount:
        if "mount" not in host.recorded("commands"):
            raise NotApplicable("no output of mount was recorded")
        paths = dict.fromkeys(_MOUNTED.findall(host.run("mount").stdout))
        releases = {release: path for path in paths if (release := release_in(path)) is not None}
        if len(releases) != 1:
            raise NotApplicable("no container engine's libcuda is among the mounts")
        return next(cls(path, release) for release, path in releases.items())


@dataclass(frozen=True, slots=True)
class SoughtLibcuda:
    """Commands that looked for libcuda and printed nothing of it. NotApplicable where none did."""

    commands: tuple[str, ...]

    @classmethod
    def collect(cls, host: Host) -> SoughtLibcuda:
        silent = []
        for command in ("whereis libcuda.so", "ldconfig -p '|' grep libcuda"):
            try:
                if command in host.recorded("commands") and not host.run(*command.replace("'", "").split()).stdout:
                    silent.append(command.replace("'", ""))
            except Unknown:
                continue
        if not silent:
            raise NotApplicable("no text shows that libcuda was looked for in vain")
        return cls(tuple(silent))
