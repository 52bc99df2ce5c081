"""The kernel's and the X server's logs: what belongs to this boot, each event once.

The same event stands in up to four places (kern.log, the dmesg file, the journal, dmesg), and kern.log and the
journals of earlier boots reach back for weeks. dmesg is this boot alone, but its ring may have lost the start;
`journalctl -b -0` is this boot alone, too; kern.log says by the kernel's own clock where its last boot begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from nvdiag.host.bugreport.draft import PER_LINE, Draft, Kept
from nvdiag.host.bugreport.times import Moment, full_time

WHOLE_LOG = 1 << 20
"""Bytes of a log that are kept as they are; of what follows only lines that speak of NVIDIA's driver."""
_TAIL = 1 << 18
_MOST_LOGS = 12
_FROM_START = 2.0
"""Seconds since boot: a dmesg whose first line is not later has lost nothing that matters here."""

_SOURCE = re.compile(r"  (/\S{1,200}|journalctl -b -?\d{1,3}):$")
_JOURNAL = re.compile(r"journalctl -b -?(\d{1,3})")
_CLOCK = re.compile(rb"(?:^|kernel: ?)\[ {0,9}(\d{1,9}\.\d{1,9})\]")
_KERNEL = re.compile(rb"^[^\[]{0,200}?\bkernel(?:\[\d{1,9}\])?: ")
_STAMPS = re.compile(rb"^\s{0,80}(?:\[[ \d.TC]{1,24}\] ?){0,3}(?:kernel: )?")
_SERVICE = re.compile(
    rb"^.{8,80}? (?:nvidia-(?:persistenced|fabricmanager|imex|powerd|modprobe)|nv-fabricmanager)\S{0,20}: "
)
_LOADING = re.compile(rb"NVRM: loading NVIDIA UNIX .{0,80}?Kernel Module.{0,20}? {1,4}(\d{3}\.[0-9.]{1,12})")
_FAULTS = (b"Xid (", b"RmInitAdapter failed", b"fallen off the bus")
_MOST_EARLIER, _MOST_BOOTS = 1000, 50
_MINUTE = 60.0
_ISO = re.compile(rb"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d{1,9})?([+-]\d\d):?(\d\d) .*", re.S)
_X_WORDS = (b"(EE)", b"(WW) NVIDIA", b"(II) NVIDIA", b"NVIDIA:", b"NVRM", b"no screens found", b"Fatal server error")


class Log:
    """One log: whole up to a length, beyond it only what speaks of NVIDIA's driver, of that the end."""

    def __init__(self) -> None:
        self._whole: list[bytes] = []
        self._room = WHOLE_LOG
        self._more = Kept(0, _TAIL)

    def add(self, line: bytes) -> None:
        if self._room > 0:
            self._room -= len(line) + PER_LINE
            self._whole.append(line)
        elif b"NVRM" in line or b"nvidia" in line:
            self._more.add(line)

    def lines(self) -> list[bytes]:
        """What was kept."""
        return self._whole + self._more.lines()


class Logs:
    """All logs of a report, by where they stood."""

    def __init__(self) -> None:
        self.dmesg = Log()
        self._scanned: dict[str, Log] = {}
        self._x: dict[str, tuple[Moment | None, Log]] = {}

    def scanned(self, source: str) -> Log:
        """The log of a source in the script's scan: a file's path or a journalctl command line."""
        if source not in self._scanned and len(self._scanned) >= _MOST_LOGS:
            return Log()
        return self._scanned.setdefault(source, Log())

    def x_server(self, source: str, written: Moment | None, log: Log) -> None:
        """An X server's log; `written` is when its file was changed last, None for a journal of this boot."""
        if len(self._x) < _MOST_LOGS:
            self._x[source] = (written, log)

    def write(self, draft: Draft) -> None:
        """Record this boot's texts in the order of time as far as it is known, and what earlier boots said."""
        dmesg = self.dmesg.lines()
        started, ended = _first_clock(dmesg), _last_clock(dmesg)
        is_whole = started is not None and started <= _FROM_START
        told = {_words(line) for line in dmesg}
        now: list[tuple[str, list[bytes]]] = []
        if not is_whole and "/var/log/dmesg" in self._scanned:
            now.append(("/var/log/dmesg", self._boot_file(draft, told)))
        journal = next((source for source in self._scanned if _boot_of(source) == 0), None)
        if journal:
            now.append((journal, list(_new(_of_driver(self._scanned[journal].lines()), told))))
        if not is_whole and not (journal and self._scanned[journal].lines()):
            now += self._last_boot_of_files(told)
        for source, lines in [*now, ("dmesg", dmesg)]:
            draft.say(source, lines)
        began = _boot_began(draft, ended)
        self._earlier(draft, told, began)
        for source, (written, log) in self._x.items():
            if written is None or (began is not None and written.seconds >= began):
                draft.say(source, log.lines())

    def _boot_file(self, draft: Draft, told: set[bytes]) -> list[bytes]:
        """/var/log/dmesg, which is written once a boot, unless it is left over from another release's boot."""
        lines = self._scanned["/var/log/dmesg"].lines()
        loaded = draft.document["files"].get("/proc/driver/nvidia/version")
        releases = {found[1].decode() for line in lines if (found := _LOADING.search(line))}
        if releases and isinstance(loaded, str) and not any(release in loaded for release in releases):
            return []
        return list(_new(lines, told))

    def _earlier(self, draft: Draft, told: set[bytes], began: float | None) -> None:
        """What other boots' logs say of faults, a text a boot: it is history, and no state of this boot.

        A journal's boot stands in a file, too; only within one source each boot is there once.
        """
        for source, log in self._scanned.items():
            if _boot_of(source):
                draft.say_of_earlier_boots(source, _of_faults(log.lines()))
            elif source.startswith("/") and source != "/var/log/dmesg":
                boots = _boots(log.lines())
                if boots and _is_this_boot(boots[-1], told, began):
                    boots.pop()
                for lines in boots[-_MOST_BOOTS:]:
                    draft.say_of_earlier_boots(source, _of_faults(lines))

    def _last_boot_of_files(self, told: set[bytes]) -> Iterator[tuple[str, list[bytes]]]:
        for source, log in self._scanned.items():
            if source.startswith("/") and source != "/var/log/dmesg":
                yield source, list(_new(_of_driver(_last_boot(log.lines())), told))


class Scan:
    """The section in which the script looks for the driver's messages in all logs."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._log = Log()

    def add(self, line: bytes) -> None:
        if line[:3] in (b"  /", b"  j") and (found := _SOURCE.match(line.decode("utf-8", "replace"))):
            self._log = self._logs.scanned(found[1])
        elif line and not line.startswith(b"Binary file "):
            self._log.add(line)

    def close(self, whole: bool) -> None:
        """The section is over."""


class Dmesg:
    """The kernel's own ring."""

    def __init__(self, logs: Logs) -> None:
        self.add = logs.dmesg.add

    def close(self, whole: bool) -> None:
        """The section is over."""


class XLog:
    """An X server's log, its file's or the journal's: what it says of errors and of NVIDIA's driver."""

    def __init__(self, logs: Logs, source: str) -> None:
        self._logs = logs
        self._source = source
        self._log = Log()
        self._written: Moment | None = None

    def add(self, line: bytes) -> None:
        if line.startswith(b"*** ls: "):
            self._written = full_time(line.decode("utf-8", "replace"))
        elif any(word in line for word in _X_WORDS):
            self._log.add(line)

    def close(self, whole: bool) -> None:
        """The section is over."""
        if self._written is not None or _boot_of(self._source) == 0:
            self._logs.x_server(self._source, self._written, self._log)


def _boot_of(source: str) -> int | None:
    """How many boots ago a journal's boot was; None for another source."""
    found = _JOURNAL.match(source)
    return int(found[1]) if found else None


def _clock(line: bytes) -> float | None:
    found = _CLOCK.search(line[:300])
    return float(found[1]) if found else None


def _first_clock(lines: list[bytes]) -> float | None:
    return next((seconds for line in lines[:50] if (seconds := _clock(line)) is not None), None)


def _last_clock(lines: list[bytes]) -> float | None:
    return next((seconds for line in reversed(lines[-50:]) if (seconds := _clock(line)) is not None), None)


def _words(line: bytes) -> bytes:
    """A kernel message without what loggers and the kernel put before it: host, clock, thread or processor."""
    return _STAMPS.sub(b"", _KERNEL.sub(b"", line, count=1), count=1).strip()


def _new(lines: Iterable[bytes], told: set[bytes]) -> Iterator[bytes]:
    """The lines whose words were not told yet; they count as told from then on."""
    for line in lines:
        if _words(line) not in told:
            yield line
    told.update(_words(line) for line in lines)


def _of_driver(lines: Iterable[bytes]) -> list[bytes]:
    """The kernel's lines and those of NVIDIA's services: the scan also finds sudo's, cron's and containers'.

    A further line of a message is indented and has no prefix.
    """
    kept: list[bytes] = []
    wanted = False
    for line in lines:
        if line[:1] not in (b" ", b"\t"):
            wanted = bool(_KERNEL.match(line) or _SERVICE.match(line) or line[:1] == b"[")
        if wanted:
            kept.append(line)
    return kept


def _last_boot(lines: list[bytes]) -> list[bytes]:
    """The last boot's part of a log; nothing where the log has no kernel's clock, which alone shows that surely."""
    boots = _boots(lines)
    return boots[-1] if boots and any(_clock(line) is not None for line in boots[-1]) else []


def _boots(lines: list[bytes]) -> list[list[bytes]]:
    """A log's parts, one a boot: the kernel's clock goes back, or where there is none, the module is loaded anew."""
    boots: list[list[bytes]] = []
    before = -1.0
    for line in lines:
        seconds = _clock(line)
        anew = _LOADING.search(line) is not None if seconds is None else seconds + 1 < before
        if anew or not boots:
            boots.append([])
        boots[-1].append(line)
        before = -1.0 if seconds is None else seconds
    return boots


def _of_faults(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if any(word in line for word in _FAULTS)][-_MOST_EARLIER:]


def _is_this_boot(lines: list[bytes], told: set[bytes], began: float | None) -> bool:
    """Whether a log's last part is the boot that the other logs tell of: by its times, else by its words."""
    found = full_time(_ISO.sub(rb"\1 \2 \3\4 ", lines[-1][:60]).decode("ascii", "replace"))
    if found is not None and began is not None:
        return found.seconds + _MINUTE >= began
    return any(_words(line) in told for line in lines)


def _boot_began(draft: Draft, last_clock: float | None) -> float | None:
    """The latest time, in seconds since the epoch, at which this boot can have begun; None where nothing tells."""
    if draft.earliest is None or draft.latest is None:
        return None
    by_clock = draft.latest.seconds - last_clock if last_clock is not None else draft.earliest.seconds
    return min(draft.earliest.seconds, by_clock)
