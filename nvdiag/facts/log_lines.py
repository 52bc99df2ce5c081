"""Lines of logs without what loggers put before them: times, host, unit, the names of containers."""

from __future__ import annotations

from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex

_CONTAINER = regex(r"^[\w.-]{1,80}(?:\[[\w.-]{1,40}\])? {1,40}\| ?")
_POD = regex(r"^\[(?:pod|container)/[^\]\s]{1,200}\] ")
_LEVEL = regex(r"^<\d{1,3}>")
_SINCE_BOOT = regex(r"^\[ {0,9}(\d{1,9}\.\d{1,9})\] ?(?:\[ {0,9}[TC]\d{1,7}\] ?)?")
_CLOCK = regex(
    r"^\[[^\]\n]{0,12}\d{1,2}:\d\d:\d\d[^\]\n]{0,30}\] ?|^\[\w{3} \w{3} {1,2}\d{1,2} [\d:]{8}(?: \d{4})?\] ?"
)
_SYSLOG = regex(
    r"^(?:\d{4}-\d\d-\d\d[T ][\d:.,]{8,18}(?:Z|[+-]\d\d:?\d\d)?"  # ISO 8601
    r"|[^\W\d]{3,9}\.? {1,2}\d{1,2},? (?:\d{4} )?[\d:.]{8,15}"  # Oct 16 22:58:02
    r"|\d{1,2}月 {1,2}\d{1,2} [\d:]{8}"
    r"|\d{1,2} [\d:]{8})"
    r" (?:(?P<host>[\w.-]{1,255}) )?(?P<unit>[\w@./:()\\-]{1,120}?)(?:\[\d{1,10}\])?: ?"
)
_STREAM = regex(
    r"^\d{4}-\d\d-\d\dT[\d:.]{8,18}(?:Z|[+-]\d\d:?\d\d)?:? (?:std(?:out|err) [FP] )?"
    r"|^==> [a-z][\w-]{1,40}\.[\w.-]{1,40}: ?"
)
"""What collectors of other programs' output put first: GitHub's, containerd's and Packer's."""
_UNIT = regex(r"^(?:kernel|[\w@.-]{1,60}\[\d{1,10}\]): ?")


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line without its logger's prefixes; `since_boot` are seconds of the kernel's own clock, where it is there."""

    text: str
    since_boot: float | None = None


def bare(line: str) -> LogLine:
    """Take prefixes off: docker compose, kubectl, syslog (RFC 3164 or ISO times, any language), dmesg, either clock."""
    text = line[:8000]
    seconds: float | None = None
    for pattern in (_CONTAINER, _POD, _LEVEL, _SYSLOG, _UNIT):
        found = pattern.match(text)
        if found:
            text = text[found.end() :]
    for _ in range(2):
        if found := _STREAM.match(text):
            text = text[found.end() :]
    if found := _SINCE_BOOT.match(text):
        seconds, text = float(found[1]), text[found.end() :]
    elif found := _CLOCK.match(text):
        text = text[found.end() :]
    return LogLine(text, seconds)
