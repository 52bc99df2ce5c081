"""The times in a report: its date, which is in the reporter's language, and those that `ls --full-time` prints."""

from __future__ import annotations

import re
from dataclasses import dataclass  # noqa: TID251 - it is put in order
from datetime import datetime, timedelta, timezone

_MONTHS = (
    "jan gen ene янв oca sty", "feb fév fev февр фев şub lut", "mar mär mrt мар", "apr avr abr апр nis kwi",
    "may mai mag мая май mei maj", "jun jui giu июн haz cze", "jul lug июл tem lip", "aug aoû ago авг ağu sie",
    "sep set сен eyl wrz", "oct okt ott out окт eki paź", "nov ноя kas lis", "dec déc dez dic дек ara gru",
)  # fmt: skip
"""Beginnings of the months' names as `date` writes them in a dozen languages."""

_CLOCK = re.compile(r"(?<![\d:.])(\d{1,2})[:.](\d\d)[:.](\d\d)(?![\d:.])(?:\s{1,3}([AaPp])\.?[Mm]\b)?")
_EAST = re.compile(r"(?<!\d)(\d{4})(?:年|년|\. ?) {0,2}(\d{1,2})(?:月|월|\. ?) {0,2}(\d{1,2})(?:日|일|\.)")
_YEAR = re.compile(r"(?<![\d:.+-])((?:19|20)\d\d)(?![\d:.])")
_DAY_MONTH = re.compile(r"(?<![\d:.])(\d{1,2})\.?,?\s{1,3}(?:de )?([^\W\d]{3,12})\.?")
_MONTH_DAY = re.compile(r"([^\W\d]{3,12})\.?\s{1,3}(\d{1,2})(?![\d:.])")
_OFFSET = re.compile(r"(?<![\w:.])([+-])(\d\d):?(\d\d)?(?!\d)")
_FULL_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.\d{1,9})? ([+-])(\d\d)(\d\d)(?= )"  # ls --full-time
)


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """A point in time: seconds since the epoch, and the offset of the clock that told it, in minutes."""

    seconds: float
    offset: int


def full_time(text: str) -> Moment | None:
    """The time in a line of `ls -l --full-time`."""
    found = _FULL_TIME.search(text[:400])
    if not found:
        return None
    offset = (int(found[8]) * 60 + int(found[9])) * (-1 if found[7] == "-" else 1)
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    try:
        return Moment(datetime(year, month, day, hour, minute, second, tzinfo=_zone(offset)).timestamp(), offset)
    except (ValueError, OverflowError):
        return None


def iso_date(text: str, near: Moment | None = None) -> str:
    """What `date` printed as ISO 8601, in many languages; the text as it is where it cannot be read.

    Names of zones are ambiguous (CST, IST): the offset is the one of `near`, a time of the same clock, if that is
    within a day.
    """
    text = " ".join(text.split())[:120]
    read = _clock(text)
    if read is None:
        return text
    offset = _offset(text)
    if (
        offset is None
        and near is not None
        and abs(read.replace(tzinfo=_zone(near.offset)).timestamp() - near.seconds) < 86400
    ):
        offset = near.offset
    return (read if offset is None else read.replace(tzinfo=_zone(offset))).isoformat()


def _zone(minutes: int) -> timezone:
    return timezone(timedelta(minutes=minutes))


def _clock(text: str) -> datetime | None:
    time = _CLOCK.search(text)
    day = _day(text)
    if not time or not day:
        return None
    hour = int(time[1])
    if time[4]:
        hour = hour % 12 + (12 if time[4] in "pP" else 0)
    try:
        return datetime(*day, hour, int(time[2]), int(time[3]))  # noqa: DTZ001 - its zone is added where it is known
    except ValueError:
        return None


def _day(text: str) -> tuple[int, int, int] | None:
    """Year, month, day."""
    if east := _EAST.search(text):
        return int(east[1]), int(east[2]), int(east[3])
    year = _YEAR.search(text)
    if not year:
        return None
    for pattern, day, name in ((_DAY_MONTH, 1, 2), (_MONTH_DAY, 2, 1)):
        for found in pattern.finditer(text):
            if (month := _month(found[name])) is not None:
                return int(year[1]), month, int(found[day])
    return None


def _month(word: str) -> int | None:
    word = word.lower()
    if word.startswith("juil"):
        return 7
    return next(
        (number for number, names in enumerate(_MONTHS, 1) if any(word.startswith(name) for name in names.split())),
        None,
    )


def _offset(text: str) -> int | None:
    if re.search(r"\b(?:UTC|GMT)\b", text):
        return 0
    found = _OFFSET.search(text)
    if not found:
        return None
    minutes = (int(found[2]) * 60 + int(found[3] or 0)) * (-1 if found[1] == "-" else 1)
    return minutes if abs(minutes) < 1440 else None
