"""The Xids in the texts that were handed over, in their order, and what else the driver wrote of the same GPUs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from nvdiag.facts.log_lines import bare
from nvdiag.facts.pci import normal_address
from nvdiag.facts.xid import SxidLine, XidLine, parse_sxid, parse_xid
from nvdiag.host import Host, Refused
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable, ParseError, Unknown

_MOST = 4000
"""How many lines of a kind are kept, over all texts; the first ones are."""
_MOST_OF_ONE = 1000
"""How many lines of one Xid on one GPU are kept, so that a flood of them leaves room for what ends it."""
_BEFORE, _AFTER = 400, 4000
_MOST_LOOKED_AT = 50_000
_TELLING = regex(
    r"Xid \(|NVRM: Xid|XidCriticalError|XID_ERRORS|RmInitAdapter failed|fallen off the bus"
    r"|NVRM: loading NVIDIA|[0-9a-f]\.[0-7]: (?:\[10de:|resetting)"
)
_START = regex(
    r"NVRM: loading NVIDIA UNIX|pci (?P<address>[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): (?:\[10de:|resetting)"
)
_INIT = regex(r"(?:GPU (?P<address>[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]): )?RmInitAdapter failed")
_PLACE = regex(r"GPU (?:at )?(?:PCI:)?([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}(?:\.[0-7])?)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Where a line stood: its text's name, its place among all lines of all texts, and its words without prefixes."""

    source: str
    place: tuple[int, int]
    since_boot: float | None
    words: str

    @property
    def evidence(self) -> Evidence:
        return Evidence(source=self.source, excerpt=self.words[:400])


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedXid:
    """An Xid and its line."""

    xid: XidLine
    line: Line

    @property
    def gpu(self) -> str:
        """What tells GPUs apart: the PCI address, else the words that stand in its place, if any."""
        return self.xid.address or re.sub(r"[^\w.:-]", "", self.xid.where)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedSxid:
    """An SXid and its line."""

    sxid: SxidLine
    line: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuLine:
    """A line about one GPU; `address` None where it does not name it."""

    address: str | None
    line: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelLog:
    """The Xids and SXids of all texts. NotApplicable where there is no text, or none of these in it.

    `failed_inits` are lines of a GPU that could not be initialised, `lost` those of one that fell off the bus, `starts`
    those of a driver (without an address) or a GPU that started anew.
    """

    xids: tuple[LoggedXid, ...]
    sxids: tuple[LoggedSxid, ...]
    failed_inits: tuple[GpuLine, ...]
    lost: tuple[GpuLine, ...]
    starts: tuple[GpuLine, ...] = ()

    @classmethod
    def collect(cls, host: Host) -> KernelLog:
        texts = host.texts()
        if not texts:
            raise why_none(host)
        if not any("xid" in text.lower() for _, text in texts):
            raise NotApplicable("no Xid is in the text")
        xids: list[LoggedXid] = []
        sxids: list[LoggedSxid] = []
        inits: list[GpuLine] = []
        lost: list[GpuLine] = []
        starts: list[GpuLine] = []
        for number, (source, text) in enumerate(texts):
            for found in _lines(text, source, number):
                match found:
                    case LoggedXid():
                        xids.append(found)
                    case LoggedSxid():
                        sxids.append(found)
                    case GpuLine() if _START.search(found.line.words):
                        starts.append(found)
                    case GpuLine() if "RmInitAdapter" in found.line.words:
                        inits.append(found)
                    case GpuLine():
                        lost.append(found)
        if not xids and not sxids:
            raise NotApplicable("no Xid is in the text")
        return cls(
            xids=tuple(xids[:_MOST]),
            sxids=tuple(sxids[:_MOST]),
            failed_inits=tuple(inits[:_MOST]),
            lost=tuple(lost[:_MOST]),
            starts=tuple(starts[-_MOST:]),
        )

    def started_after(self, gpu: str, line: Line) -> Line | None:
        """The last start of this GPU, or of its driver, after a line of the same text and boot; None where it failed.

        A boot is no such start: a log of several boots says nothing of which one is looked at.
        """
        later = [one for one in self.starts if one.address in (None, gpu) and _follows(one.line, line)]
        if not later:
            return None
        last = later[-1].line
        fallen = any(
            one.address in (None, gpu) and _follows(one.line, last) for one in (*self.failed_inits, *self.lost)
        )
        return None if fallen else last


def _follows(one: Line, other: Line) -> bool:
    """Whether a line comes after another one of the same text and boot."""
    if one.place[0] != other.place[0] or one.place <= other.place:
        return False
    return one.since_boot is None or other.since_boot is None or one.since_boot >= other.since_boot


def why_none(host: Host) -> Unknown:
    """Why there is no text: nobody gave one and there is no kernel log here, or this user may not read it."""
    try:
        host.kernel_log()
    except Refused as why:
        return Unknown(
            f"the kernel log may not be read by this user ({why.error}): root may (`sudo dmesg` shows it), and mostly"
            " the members of the groups adm and systemd-journal"
        )
    except Unknown:
        pass
    return NotApplicable("no text with messages is looked at")


def xids_in(text: str, source: str) -> tuple[LoggedXid | LoggedSxid, ...]:
    """The Xids and SXids of one text, in its order."""
    return tuple(found for found in _lines(text, source, 0) if isinstance(found, (LoggedXid, LoggedSxid)))


def _lines(text: str, source: str, number: int) -> Iterator[LoggedXid | LoggedSxid | GpuLine]:
    position = counted = index = looked = 0
    counts: Counter[tuple[int, str]] = Counter()
    while looked < _MOST_LOOKED_AT and (found := _TELLING.search(text, position)):
        looked += 1
        start = text.rfind("\n", max(0, found.start() - _BEFORE), found.start()) + 1 or max(0, found.start() - _BEFORE)
        end = text.find("\n", found.end())
        end = len(text) if end < 0 else end
        index += text.count("\n", counted, start)
        position = counted = end
        one = _read(text, start, min(end, found.end() + _AFTER), source, (number, index))
        if isinstance(one, LoggedXid):
            key = (one.xid.number, one.gpu)
            counts[key] += 1
            if counts[key] > _MOST_OF_ONE:
                continue
        if one is not None:
            yield one


def _read(
    text: str, start: int, end: int, source: str, place: tuple[int, int]
) -> LoggedXid | LoggedSxid | GpuLine | None:
    cut = bare(text[start:end].rstrip("\r"))
    line = Line(source=source, place=place, since_boot=cut.since_boot, words=cut.text.strip())
    try:
        xid = parse_xid(line.words)
        if not xid.rest.strip(" ,") or (xid.number == 154 and xid.recovery is None):
            line, xid = _continued(line, xid, text, end)
        return LoggedXid(xid=xid, line=line)
    except ParseError:
        pass
    try:
        return LoggedSxid(sxid=parse_sxid(line.words), line=line)
    except ParseError:
        pass
    if anew := _START.search(line.words):
        return GpuLine(address=_normal(anew["address"]), line=line)
    if init := _INIT.search(line.words):
        return GpuLine(address=_normal(init["address"]), line=line)
    if "fallen off the bus" in line.words and "xid" not in line.words.lower():
        places = _PLACE.findall(text, max(0, start - _BEFORE), end)
        return GpuLine(address=_normal(places[-1]) if places else None, line=line)
    return None


def _continued(line: Line, xid: XidLine, text: str, end: int) -> tuple[Line, XidLine]:
    """A line that a narrow terminal or a mail broke before its words, with the words of the next one."""
    following = bare(text[end + 1 : end + 1000].partition("\n")[0]).text.strip()
    if not following or "NVRM:" in following or _TELLING.search(following):
        return line, xid
    words = f"{line.words} {following}"
    joined = parse_xid(words)
    return Line(source=line.source, place=line.place, since_boot=line.since_boot, words=words), joined


def _normal(address: str | None) -> str | None:
    if address is None:
        return None
    return normal_address(address if "." in address else f"{address}.0")
