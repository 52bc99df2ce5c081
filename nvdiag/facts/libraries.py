"""The driver's user-space libraries: every copy that the loader could find, and the one that it takes.

The order is glibc's (ld.so(8)): LD_LIBRARY_PATH, then the cache that ldconfig made, then the default folders. A file
of another machine or ELF class is passed over, as the loader does.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from enum import Enum

from nvdiag.facts import reading
from nvdiag.facts.search_path import CACHED, SearchPath
from nvdiag.host import Absent, Host, Refused
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease

NVML = "libnvidia-ml.so.1"
LIBCUDA = "libcuda.so.1"

OTHER_FOLDERS = (
    "/usr/lib/wsl/lib", "/run/opengl-driver/lib",
    "/run/nvidia/driver/usr/lib/{triplet}", "/run/nvidia/driver/usr/lib64",
    "/home/kubernetes/bin/nvidia/lib64", "/usr/local/nvidia/lib64", "/usr/local/nvidia/lib",
)  # fmt: skip
"""Where a driver's libraries lie that this system's loader may not know of: WSL, NixOS, driver containers, GKE."""

_ELF_MACHINES = {"x86-64": "x86_64", "aarch64": "aarch64", "ppc64": "ppc64le", "i386": "i686"}
_STUB_LIMIT = 256 * 1024
"""Bytes. The toolkit's link-time stubs have under 0.2 MB, a driver's libnvidia-ml above 0.7, its libcuda above 8."""

_RECORDED = "recorded"
OTHER_ROOTS = ("/ostree/", "/proc/")
"""What a recording has below these is of another system than the one that runs: of the next boot, of a container."""
NOT_ON_PATH = "not on the loader's path"


class Kind(Enum):
    """What a copy of a driver library is."""

    DRIVER = "driver"
    STUB = "stub"
    COMPAT = "cuda-compat"
    EMPTY = "empty placeholder"
    DAMAGED = "damaged"
    UNVERSIONED = "without a release in its name"


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryCopy:
    """One file that answers to a driver library's soname.

    `path` is how the loader finds it, `file` what its links lead to; the release is the one in `file`'s name.
    `found_by` is the loader's rule ("LD_LIBRARY_PATH", "ldconfig's cache", "default folder"), NOT_ON_PATH, or
    "recorded" where a snapshot has the library and does not tell the rule. `elf_class` is 32 or 64, `machine` as
    `uname -m` has it; both are None where the file's head could not be read.
    """

    soname: str
    path: str
    file: str
    found_by: str
    kind: Kind
    release: DriverRelease | None = None
    elf_class: int | None = None
    machine: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryChoice:
    """All copies of one library in the loader's order; `taken` is the one that a program gets, None for none.

    `why_unknown` is set where nothing was found and not all was looked at: then None is no absence.
    """

    soname: str
    copies: tuple[LibraryCopy, ...]
    taken: LibraryCopy | None
    why_unknown: Unknown | None = None


@dataclass(frozen=True, slots=True)
class DriverLibraries:
    """libnvidia-ml and libcuda. Unknown where neither the loader's cache nor its folders can be looked at."""

    nvml: LibraryChoice
    libcuda: LibraryChoice

    @classmethod
    def collect(cls, host: Host, path: SearchPath) -> DriverLibraries:
        search = LibrarySearch(host, path)
        nvml, libcuda = search.choose(NVML), search.choose(LIBCUDA)
        if nvml.why_unknown and libcuda.why_unknown:
            raise Unknown(f"which driver libraries the loader finds: {nvml.why_unknown}")
        return cls(nvml, libcuda)

    @property
    def taken(self) -> tuple[LibraryCopy, ...]:
        return tuple(choice.taken for choice in (self.nvml, self.libcuda) if choice.taken is not None)


@dataclass(frozen=True, slots=True)
class LibrarySearch:
    """The search for a library of the driver's by what the loader goes by on this machine."""

    host: Host
    path: SearchPath

    def choose(self, soname: str) -> LibraryChoice:
        copies: list[LibraryCopy] = []
        for path, found_by in self._places(soname):
            copy = self._copy(soname, path, found_by)
            if copy is not None and all(copy.file != other.file for other in copies):
                copies.append(copy)
        on_path = (copy for copy in copies if copy.found_by != NOT_ON_PATH)
        taken = next((copy for copy in on_path if self._fits(copy)), None)
        blind = self.path.blind if not copies and not self._saw_folders() else None
        return LibraryChoice(soname=soname, copies=tuple(copies), taken=taken, why_unknown=blind)

    def _places(self, soname: str) -> Iterator[tuple[str, str]]:
        for folder in self.path.variable:
            yield posixpath.join(folder, soname), "LD_LIBRARY_PATH"
        for path in self.path.cached(soname):
            yield path, CACHED
        for folder in self.path.folders():
            yield f"{folder}/{soname}", "default folder"
        for folder in self.path.folders(OTHER_FOLDERS):
            yield f"{folder}/{soname}", NOT_ON_PATH
        links = [path for path in self.host.recorded("links") if reading.link(self.host, path) is not None]
        for path in (*links, *self.host.recorded("elf")):
            if path.rpartition("/")[2] == soname and not path.startswith(OTHER_ROOTS):
                yield path, _RECORDED

    def _saw_folders(self) -> bool:
        for folder in self.path.folders():
            try:
                self.host.stat(f"{folder}/{NVML}")
            except Absent:
                return True
            except Unknown:
                continue
            return True
        return False

    def _copy(self, soname: str, path: str, found_by: str) -> LibraryCopy | None:
        listed = found_by in (CACHED, _RECORDED)
        if not listed and not reading.is_there(self.host, path) and reading.link(self.host, path) is None:
            return None
        file = self.host.resolve(path)
        elf_class = machine = size = None
        damaged: Kind | None = None
        try:
            head = self.host.elf(file)
            elf_class, size = _number(head.get("class")), _number(head.get("size"))
            machine = head["machine"] if isinstance(head.get("machine"), str) else None
        except Absent:
            if found_by != _RECORDED:
                return None
        except Refused as refused:
            damaged = {"empty": Kind.EMPTY, "not-elf": Kind.DAMAGED}.get(refused.error)
        except Unknown:
            pass
        release = release_in(file)
        return LibraryCopy(
            soname=soname,
            path=path,
            file=file,
            found_by=found_by,
            kind=damaged or _kind(file, release, size),
            release=release,
            elf_class=elf_class,
            machine=_ELF_MACHINES.get(machine, machine) if machine else None,
        )

    def _fits(self, copy: LibraryCopy) -> bool:
        return copy.machine in (None, self.path.machine)


def release_in(file: str) -> DriverRelease | None:
    """The driver release in a library's file name, libcuda.so.570.172.08; None for libcuda.so.1 and libcuda.so.1.1."""
    match = re.search(r"\.so\.(\d{3,4}(?:\.\d{1,4}){1,2})$", file)
    return DriverRelease.or_none(match[1]) if match else None


def _kind(file: str, release: DriverRelease | None, size: int | None) -> Kind:
    if "/stubs/" in file:
        return Kind.STUB
    if "/compat/" in file or "/compat_" in file or "/cuda-compat/" in file:
        return Kind.COMPAT
    if release is not None:
        return Kind.DRIVER
    if size is not None and size < _STUB_LIMIT and "/wsl/" not in file and "tegra" not in file:
        return Kind.STUB
    return Kind.UNVERSIONED


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
