"""What an installation of the driver leaves on disk besides modules and libraries: a sign that somebody made one."""

from __future__ import annotations

import re
import time

from nvdiag.facts import reading
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.regex import regex
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease

INSTALLER_LOG = "/var/log/nvidia-installer.log"
UNINSTALLER_LOG = "/var/log/nvidia-uninstall.log"
PROFILES = "/usr/share/nvidia"

_COMPLETE = regex(r"\(version: ([0-9.]{3,20})\) is now complete")
_CREATED = regex(r"^creation time: (\w{3} \w{3} [ \d]\d [\d:]{8} \d{4})$", re.M)
_PROFILE = regex(r"nvidia-application-profiles-(\d{3}\.[0-9.]{2,12})-rc")


@dataclass(frozen=True, slots=True)
class DriverTraces:
    """Releases that NVIDIA's installer, or a package of the libraries, has put here, with the evidence.

    `installer` is None where its log tells of no installation that was completed and not taken back; `profiles` are the
    releases in the names of the libraries' application profiles. Unknown where neither can be looked at.
    """

    installer: DriverRelease | None
    profiles: tuple[DriverRelease, ...]
    evidence: tuple[Evidence, ...]

    @classmethod
    def collect(cls, host: Host) -> DriverTraces:
        found = (_PROFILE.fullmatch(name) for name in reading.names(host, PROFILES))
        profiles = tuple(release for one in found if one and (release := DriverRelease.or_none(one[1])))
        evidence = [
            Evidence(source=PROFILES, excerpt=f"nvidia-application-profiles-{release}-rc") for release in profiles
        ]
        installer = None
        try:
            log = host.read(INSTALLER_LOG)
        except Absent:
            log = ""
        except Unknown:
            if not profiles:
                raise
            log = ""
        completed = _COMPLETE.search(log)
        if completed and not _taken_back(log, reading.text(host, UNINSTALLER_LOG) or ""):
            installer = DriverRelease.or_none(completed[1])
            evidence.insert(0, Evidence(source=INSTALLER_LOG, excerpt=completed[0]))
        return cls(installer, profiles, tuple(evidence))


def _taken_back(installed: str, uninstalled: str) -> bool:
    """Whether the uninstaller ran after the installer: an upgrade has it run before."""
    before, after = _created(installed), _created(uninstalled)
    return before is not None and after is not None and after > before


def _created(log: str) -> time.struct_time | None:
    found = _CREATED.search(log[:4000])
    try:
        return time.strptime(found[1]) if found else None
    except ValueError:
        return None
