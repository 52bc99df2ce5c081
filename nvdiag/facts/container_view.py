"""A container from inside: where each of the driver's libraries comes from, and what the container was started with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum

from nvdiag.facts import reading
from nvdiag.facts.engines import MOUNTS
from nvdiag.facts.libraries import DriverLibraries, Kind, LibraryCopy, release_in
from nvdiag.facts.nodes import DeviceNodes
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.toolkits import Toolkits
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

GONE = "//deleted"
"""What the kernel writes behind the root of a mount whose file was unlinked (fs/d_path.c, dentry_path)."""

REQUIREMENTS = ("NVIDIA_REQUIRE_CUDA", "NVIDIA_REQUIRE_DRIVER")
"""What NVIDIA's images set; the toolkit takes every variable with the prefix (its image/cuda_image.go)."""


class Origin(Enum):
    """Where a driver library in a container comes from."""

    HOST = "mounted from the host"
    IMAGE = "in the image"
    COMPAT = "cuda-compat of the image"
    PLACEHOLDER = "an empty file"


@dataclass(frozen=True, slots=True)
class MountedFile:
    """A file with a mount of its own, or below one: `root` is its path in the file system that was mounted."""

    point: str
    root: str

    @property
    def release(self) -> DriverRelease | None:
        """The driver release in the name that the file has where it comes from, else in the one that it has here."""
        return release_in(self.root.removesuffix(GONE)) or release_in(self.point)

    @property
    def evidence(self) -> Evidence:
        same = self.root == self.point
        return Evidence(source=MOUNTS, excerpt=f"{self.point} is mounted" + ("" if same else f" from {self.root}"))


@dataclass(frozen=True, slots=True)
class ContainerLibraries:
    """Where libnvidia-ml and libcuda come from, None where that is not known or there is none.

    `mounts` has, by file, what is mounted over the library that a program gets; `injected` are all driver libraries
    that have a mount of their own, whichever the loader takes.
    """

    nvml: Origin | None
    libcuda: Origin | None
    mounts: Mapping[str, MountedFile]
    injected: tuple[MountedFile, ...]

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings, libraries: DriverLibraries) -> ContainerLibraries:
        if not surroundings.container:
            raise NotApplicable("this is not a container")
        mounts = {copy.file: found for copy in libraries.taken if (found := mount_of(host, copy.file))}
        readable = _readable(host)
        nvml, libcuda = (
            _origin(copy, mounts.get(copy.file), readable) if copy else None
            for copy in (libraries.nvml.taken, libraries.libcuda.taken)
        )
        return cls(nvml, libcuda, mounts, tuple(_with_mounts_of_their_own(host)))

    def origin_of(self, copy: LibraryCopy) -> Origin | None:
        return self.nvml if copy.soname.startswith("libnvidia-ml") else self.libcuda

    @property
    def replaced(self) -> tuple[MountedFile, ...]:
        """Those that the host has removed or replaced since the container was started."""
        return tuple(one for one in self.injected if one.root.endswith(GONE))


def mount_of(host: Host, path: str) -> MountedFile | None:
    """What is mounted at a path or at the nearest folder above it; None where the file is of the root's file system."""
    place = path
    while place != "/":
        try:
            lines = host.lines_with(f" {place} ", MOUNTS)
        except Unknown:
            return None
        roots = [fields[3] for line in lines if len(fields := line.split()) > 4 and fields[4] == place]
        if roots:
            return MountedFile(path, roots[-1] + path[len(place) :])
        place = place.rpartition("/")[0] or "/"
    return None


def _readable(host: Host) -> bool:
    try:
        host.lines_with(" / / ", MOUNTS)
    except Unknown:
        return False
    return True


def _origin(copy: LibraryCopy, mount: MountedFile | None, readable: bool) -> Origin | None:
    if copy.kind is Kind.EMPTY:
        return Origin.PLACEHOLDER
    if copy.kind is Kind.COMPAT or (mount is not None and "/compat" in mount.root):
        return Origin.COMPAT  # the toolkit's mode legacy binds the image's compat files into the loader's folder
    if mount is not None:
        return Origin.HOST
    return Origin.IMAGE if readable else None


def _with_mounts_of_their_own(host: Host) -> Iterator[MountedFile]:
    for stem in ("/libnvidia-ml.so.", "/libcuda.so."):
        try:
            lines = host.lines_with(stem, MOUNTS)
        except Unknown:
            return
        for line in lines:
            fields = line.split()
            if len(fields) > 4 and stem in fields[4]:
                yield MountedFile(fields[4], fields[3])


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStart:
    """What the container was started with, by its variables (its own or its image's) and namespaces.

    `visible` is NVIDIA_VISIBLE_DEVICES, `capabilities` NVIDIA_DRIVER_CAPABILITIES, None where they are not set: only
    NVIDIA's own runtime goes by them. `requires` are the image's conditions, `required` False where they are off.
    `maps_users` is True in a user namespace; `shared_memory` is the size of /dev/shm in bytes.
    """

    visible: str | None
    capabilities: tuple[str, ...] | None
    requires: Mapping[str, str]
    required: bool
    maps_users: bool
    shared_memory: int | None

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings) -> ContainerStart:
        if not surroundings.container:
            raise NotApplicable("this is not a container")
        capabilities = reading.variable(host, "NVIDIA_DRIVER_CAPABILITIES")
        asked = {name: value for name in REQUIREMENTS if (value := reading.variable(host, name))}
        switched_off = (reading.variable(host, "NVIDIA_DISABLE_REQUIRE") or "").lower() in ("1", "t", "true")
        return cls(
            visible=reading.variable(host, "NVIDIA_VISIBLE_DEVICES"),
            capabilities=None if capabilities is None else tuple(filter(None, re.split(r"[,\s]+", capabilities))),
            requires=asked,
            required=not switched_off,
            maps_users=_maps_users(host),
            shared_memory=_size_of_shm(host),
        )

    def lacks(self, capability: str) -> bool:
        """Whether the variable is set, and without this capability: then NVIDIA's runtime leaves its libraries out."""
        return bool(self.capabilities) and not {capability, "all"} & set(self.capabilities or ())


def _maps_users(host: Host) -> bool:
    """Whether user ids are mapped: outside of user namespaces every id is its own (user_namespaces(7))."""
    rows = (reading.text(host, "/proc/self/uid_map") or "").split()
    return bool(rows) and rows != ["0", "0", "4294967295"]


def _size_of_shm(host: Host) -> int | None:
    """The limit of the tmpfs on /dev/shm by its mount option, which the kernel shows in KiB (shmem_show_options)."""
    try:
        lines = host.lines_with(" /dev/shm ", MOUNTS)
    except Unknown:
        return None
    sizes = [found[1] for line in lines if (found := re.search(r"\bsize=(\d{1,15})k\b", line))]
    return int(sizes[-1]) * 1024 if sizes else None


@dataclass(frozen=True, slots=True)
class GivenGpus:
    """Whether anything of a GPU was given to this container, and what shows that it wants one; None for nothing."""

    given: bool
    wanted: Evidence | None

    @classmethod
    def collect(
        cls,
        start: ContainerStart,
        nodes: DeviceNodes | Unknown,
        libraries: DriverLibraries | Unknown,
        toolkits: Toolkits | Unknown,
    ) -> GivenGpus:
        has_nodes = isinstance(nodes, Unknown) or bool(nodes.nodes)
        has_libraries = isinstance(libraries, Unknown) or bool(libraries.taken)
        wanted: Evidence | None = None
        if start.visible is not None and start.visible not in ("", "void", "none"):
            wanted = Evidence(source="environment", excerpt=f"NVIDIA_VISIBLE_DEVICES={start.visible}"[:120])
        elif start.requires:
            name, value = next(iter(start.requires.items()))
            wanted = Evidence(source="environment", excerpt=f"{name}={value}"[:120])
        elif isinstance(toolkits, Toolkits) and toolkits.found:
            wanted = Evidence(source="toolkits", excerpt=f"{toolkits.found[0].root} is installed")
        return cls(has_nodes or has_libraries, wanted)

    @property
    def nothing(self) -> bool:
        """Neither given nor wanted: a container that has nothing to do with GPUs."""
        return not self.given and self.wanted is None
