"""Times as logs write them, mostly without a zone.

A time without a zone is a span of possible instants: what is compared with it is before, after, or cannot be told.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_EASTMOST, _WESTMOST = 14 * 3600, -12 * 3600
"""The offsets of all zones lie between these."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NUMERIC = regex(
    r"(\d{4})-(\d\d)-(\d\d)[T ]{1,2}(\d\d):(\d\d)(?::(\d\d))?(?:[.,]\d{1,9})?[ \t]?(Z|[+-]\d\d:?(?:\d\d)?)?(?![\d:])"
)
_ASCTIME = regex(r"(?:[A-Z][a-z]{2} )?([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d) (\d{4})")
_SPOKEN = regex(
    r"(?:[A-Z][a-z]{2} )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d)(?: ([AP])M)?(?: (UTC|GMT))?"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """What a clock on the wall showed, in seconds as though it were UTC's, and the instants that it may have been."""

    wall: int
    earliest: int
    latest: int

    @classmethod
    def at(cls, wall: int, offset: int | None = None) -> Moment:
        """`offset` is in seconds east of UTC; None where the log does not say it."""
        if offset is not None:
            return cls(wall, wall - offset, wall - offset)
        return cls(wall, wall - _EASTMOST, wall - _WESTMOST)

    def within(self, zone: str | None) -> Moment:
        """This moment by a zone's rules, where it has no offset of its own."""
        if zone is None or self.earliest == self.latest:
            return self
        offsets = _offsets(zone, self.wall)
        return Moment(self.wall, self.wall - max(offsets), self.wall - min(offsets)) if offsets else self

    def is_after(self, seconds: int) -> bool | None:
        """Whether it was after an instant; None where the missing zone leaves that open."""
        if self.earliest > seconds:
            return True
        return False if self.latest < seconds else None

    @property
    def text(self) -> str:
        """As people write it: 2026-11-25 06:12."""
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(self.wall))

    @property
    def iso(self) -> str:
        """ISO 8601, with the offset where it is known."""
        told = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.wall))
        if self.earliest != self.latest:
            return told
        offset = self.wall - self.earliest
        sign, minutes = "-" if offset < 0 else "+", abs(offset) // 60
        return f"{told}{sign}{minutes // 60:02d}:{minutes % 60:02d}"


def moment_in(text: str) -> Moment | None:
    """The first time in a line of a log: ISO 8601 and its like, asctime's, or a locale's "Tue 25 Nov 2025 06:12:01"."""
    if found := _NUMERIC.search(text):
        year, month, day, hour, minute = (int(found[number]) for number in range(1, 6))
        wall = _wall(year, month, day, hour, minute, int(found[6] or 0))
        return None if wall is None else Moment.at(wall, _offset(found[7]))
    if found := _ASCTIME.search(text):
        wall = _wall(int(found[6]), _month(found[1]), *(int(found[number]) for number in range(2, 6)))
        return None if wall is None else Moment.at(wall)
    if found := _SPOKEN.search(text):
        hour = int(found[4])
        if found[7]:
            hour = hour % 12 + (12 if found[7] == "P" else 0)
        wall = _wall(int(found[3]), _month(found[2]), int(found[1]), hour, int(found[5]), int(found[6]))
        return None if wall is None else Moment.at(wall, 0 if found[8] else None)
    return None


def without_year(text: str, year: int) -> Moment | None:
    """A time in the form "Nov 25 06:12:04", of a year that the caller knows."""
    found = re.match(r"([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)", text)
    wall = _wall(year, _month(found[1]), *(int(found[number]) for number in range(2, 6))) if found else None
    return None if wall is None else Moment.at(wall)


def _month(name: str) -> int:
    return _MONTHS.index(name) + 1 if name in _MONTHS else 0


def _wall(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int | None:
    if not (1990 <= year <= 2200 and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61):
        return None
    return _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01. The module calendar would do it, too, and imports much more than this is worth."""
    year, month = (year, month) if month > 2 else (year - 1, month + 12)
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day - 719469


def _offset(text: str | None) -> int | None:
    if not text:
        return None
    if text == "Z":
        return 0
    digits = text[1:].replace(":", "").ljust(4, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -seconds if text[0] == "-" else seconds


def _offsets(zone: str, wall: int) -> tuple[int, ...]:
    """A zone's offsets for a wall time: two in the hour that an autumn has twice. None where the zone is not known."""
    from datetime import datetime, timezone

    rules = _rules(zone)
    if rules is None:
        return ()
    local = datetime.fromtimestamp(wall, timezone.utc).replace(tzinfo=rules)
    found = (local.replace(fold=fold).utcoffset() for fold in (0, 1))
    return tuple(int(one.total_seconds()) for one in found if one is not None)


def _rules(zone: str) -> ZoneInfo | None:
    """The rules of a zone by its name in the IANA database; None where this Python has no such zone."""
    from zoneinfo import ZoneInfo

    if not re.fullmatch(r"[A-Za-z][\w+-]{0,40}(?:/[\w+-]{1,40}){0,2}", zone):
        return None
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return None


def shown_in(zone: str | None, seconds: int) -> str:
    """An instant as the machine's own clock showed it, where its zone is known, else in UTC."""
    rules = _rules(zone) if zone else None
    if rules is None:
        return f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime(seconds))} UTC"
    from datetime import datetime

    return datetime.fromtimestamp(seconds, rules).strftime("%Y-%m-%d %H:%M")
