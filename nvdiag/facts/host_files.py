"""Inside a container: libraries of the host's driver that the host has replaced since the container was started."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Absent, Host
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import NotApplicable

MOUNTS = "/proc/self/mountinfo"
GONE = "//deleted"
"""What the kernel writes behind the root of a mount whose file was unlinked (fs/d_path.c, dentry_path)."""

_LIBRARY = r"/lib(?:cuda|nvidia-ml)\.so\.(\d{3,4}(?:\.\d{1,4}){1,2})$"


@dataclass(frozen=True, slots=True)
class ReplacedOnHost:
    """The driver's libraries that this container still has and that are gone from the host, with the lines seen."""

    paths: tuple[str, ...]
    evidence: tuple[Evidence, ...]

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings) -> ReplacedOnHost:
        if not surroundings.container:
            raise NotApplicable("this is not a container")
        try:
            lines = host.lines_with(GONE, MOUNTS)
        except Absent as why:
            raise NotApplicable(str(why)) from why
        found = {}
        for line in lines:
            fields = line.split()
            if len(fields) > 4 and fields[3].endswith(GONE) and re.search(_LIBRARY, fields[4]):
                found[fields[4]] = Evidence(source=MOUNTS, excerpt=f"{fields[3]} on {fields[4]}")
        return cls(tuple(found), tuple(found.values()))
