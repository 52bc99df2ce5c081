"""The time zone of the machine, in which its logs write times."""

from __future__ import annotations

import re

from nvdiag.facts import reading
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown

LOCALTIME = "/etc/localtime"


@dataclass(frozen=True, slots=True)
class TimeZone:
    """The machine's zone by its name in the IANA database: where /etc/localtime leads. Unknown where that is hidden."""

    name: str

    @classmethod
    def collect(cls, host: Host) -> TimeZone:
        try:
            target = host.link(LOCALTIME)
        except Absent:
            return cls("UTC")  # as the C library has it
        except Unknown:
            target = None
        found = re.search(r"zoneinfo/(?:posix/|right/)?(\S{1,80})$", target or "")
        name = found[1] if found else (reading.text(host, "/etc/timezone") or "").strip()
        if not name:
            raise Unknown(f"the machine's time zone: {LOCALTIME} does not name it")
        return cls(name)
