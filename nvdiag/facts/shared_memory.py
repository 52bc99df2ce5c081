"""/dev/shm in a container: how large its engine made it, and how full it is, where PyTorch or NCCL is there to use it.

An engine mounts a tmpfs there, of 64 MiB unless it is told otherwise (docker run --shm-size); proc_pid_mountinfo(5)
has the mount with its size. A host's own takes half of its memory, and is nobody's question.
"""

from __future__ import annotations

import re

from nvdiag.facts.frameworks import Framework, Frameworks
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

PATH = "/dev/shm"
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_LARGE = 8 << 30
"""Bytes from which on nobody's loader fills it soon: how full it is is not asked then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMemory:
    """The size and what is used of it in bytes, None for the latter where df does not tell; `mount` is its line.

    `user` is the framework that puts data there. NotApplicable on a host, and where no framework is installed.
    """

    size: int
    used: int | None
    mount: str
    user: Framework

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings, frameworks: Frameworks) -> SharedMemory:
        if not surroundings.container:
            raise NotApplicable("this is not a container")
        user = frameworks.found.get("vllm") or frameworks.found.get("torch")
        if user is None or user.cpu_only:
            raise NotApplicable("no PyTorch with CUDA is installed here")
        line = next((one for one in host.lines_with(f" {PATH} ", "/proc/self/mountinfo") if " - tmpfs " in one), "")
        size = size_of(line)
        if size is None:
            raise NotApplicable(f"{PATH} is no tmpfs with a limit of its own")
        used = None if size >= _LARGE else _used(host)
        return cls(size=size, used=used, mount=line.strip(), user=user)


def size_of(mount: str) -> int | None:
    """The size in a tmpfs' mount options, `size=65536k`; None where it names none."""
    found = re.search(r"\bsize=(\d{1,12})([kmg]?)(?:,|$)", mount.rpartition(" ")[2].strip())
    return int(found[1]) * _UNITS[found[2]] if found else None


def _used(host: Host) -> int | None:
    """What df counts as used: `df -k` prints 1024-byte blocks, used ones in the third column."""
    try:
        rows = host.run("df", "-k", PATH).stdout.splitlines()
    except Unknown:
        return None
    found = re.search(r"\s(\d{1,12})\s{1,20}(\d{1,12})\s{1,20}\d{1,12}\s{1,20}\d{1,3}%", rows[-1]) if rows else None
    return int(found[2]) << 10 if found else None
