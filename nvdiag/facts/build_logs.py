"""Logs of builds of the driver's module that failed, by DKMS or akmods: which build, and the lines that say why."""

from __future__ import annotations

import re

from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.regex import regex
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease, KernelRelease

_STAMPED = regex(r"^\d[\d/ A-Za-z:]{8,24} akmodsbuild: ")
"""What akmods puts before each line of the build."""
_MAKES_OWN = regex(r"^\s*(?:g?make(?:\[\d+\])?: \*\*\*|Error! )|Error \d+$", re.I)
_DECISIVE = regex(
    r"fatal error:|\berror:|ERROR: modpost|ERROR: Kernel|undefined!|not found|compiler|No space left|not supported",
    re.I,
)
_MOST_LINES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedBuild:
    """A build that left a log and no module; `lines` are the first of its log that say why."""

    by: str
    release: DriverRelease
    kernel: KernelRelease | None
    log: str
    lines: tuple[str, ...]

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return tuple(Evidence(source=self.log, excerpt=line) for line in self.lines or ("the log of a failed build",))


def telling(host: Host, log: str) -> tuple[str, ...]:
    """The lines of a build's log that say why it failed, without what make says of its own end."""
    lines = [_STAMPED.sub("", line).strip()[:240] for line in lines_of(host, "rror", log)]
    errors = [line for line in lines if not _MAKES_OWN.search(line)]
    return tuple(([line for line in errors if _DECISIVE.search(line)] or errors)[:_MOST_LINES])


def lines_of(host: Host, text: str, path: str) -> tuple[str, ...]:
    """The lines with a text in them, none for whatever reason."""
    try:
        return host.lines_with(text, path)
    except Unknown:
        return ()
