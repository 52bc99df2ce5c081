"""What one Xid line asks for: its number decides by the table, unless its own words say more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from nvdiag.facts.kernel_log import GpuLine, KernelLog, Line, LoggedXid
from nvdiag.knowledge.xid import Xid, xid
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Confidence, Severity
from nvdiag.model.regex import regex

FAULT, RESET, REPORTED, LOST = "gpu-hardware-fault", "gpu-reset-required", "xid-reported", "gpu-fallen-off-bus"
_ORDER = (LOST, FAULT, RESET, REPORTED)
_TO_ACTIVATE = regex(r"(?:reset|reboot)\b.{0,20}\bto activate", re.IGNORECASE)
_FATALITY = regex(r"\b(Fatal|Non-?fatal)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a line comes to. `row` is None for a number that the table does not have; `words` are a reason of its own.

    `passed` says that a later line told that the GPU has recovered.
    """

    logged: LoggedXid
    row: Xid | None
    identifier: str
    severity: Severity
    confidence: Confidence
    words: str = ""
    passed: bool = False

    @property
    def weight(self) -> tuple[int, int, int, bool, tuple[int, int]]:
        """The gravest and surest first; what merely follows from another Xid last among its equals."""
        follows = self.row is not None and self.row.immediate.kind in ("follow", "message")
        return (
            list(Severity).index(self.severity),
            list(Confidence).index(self.confidence),
            _ORDER.index(self.identifier),
            follows,
            self.logged.line.place,
        )


def verdict(logged: LoggedXid, *, peer_lost: bool = False) -> Verdict:
    """What this line comes to by itself. `peer_lost`: another GPU was lost, of which link errors here are the echo."""
    row = xid(logged.xid.number)
    previous = logged.xid.previous
    if previous is not None:
        return _of_previous(logged, row, previous)
    if row is None:
        return _plain(logged, None, Severity.WARNING, Confidence.LIKELY)
    if row.immediate.kind == "message":
        return _of_recovery(logged, row)
    if row.immediate.kind == "link":
        return _of_link(logged, row, peer_lost)
    if _TO_ACTIVATE.search(logged.xid.rest):
        return Verdict(
            logged=logged,
            row=row,
            identifier=RESET,
            severity=Severity.WARNING,
            confidence=Confidence.CERTAIN,
            words="it takes effect at the next reset",
        )
    return _by_table(logged, row)


def all_of(xids: Sequence[LoggedXid], *, peer_lost: bool) -> list[Verdict]:
    """The verdicts on the Xids of one GPU, which are in their order; those that a recovery ended are marked."""
    found = [verdict(logged, peer_lost=peer_lost) for logged in xids]
    ended = max((n for n, one in enumerate(xids) if (one.xid.recovery or "").lower() == "none"), default=-1)
    return [_passed(one) if n < ended and one.identifier != REPORTED else one for n, one in enumerate(found)]


def of_the_past(one: Verdict) -> Verdict:
    """What a line comes to that was written before the GPU or its driver started anew: history, and no error.

    A fault of the board outlives that, so it stays what it is, as a warning.
    """
    words = "the GPU or its driver was started anew since"
    if one.identifier == FAULT:
        return replace(one, severity=Severity.WARNING, confidence=Confidence.LIKELY, words=words)
    return replace(one, identifier=REPORTED, severity=Severity.INFO, words=words, passed=True)


def first_loss(log: KernelLog, gpu: str, xids: Sequence[LoggedXid]) -> tuple[int, int] | None:
    """The place of the first line that tells that this GPU fell off the bus, and that did not come back since."""
    lines = [one.line for one in log.lost if one.address == gpu]
    rows = ((logged, xid(logged.xid.number)) for logged in xids)
    lines += [logged.line for logged, row in rows if row is not None and row.finding == LOST]
    return min((line.place for line in lines if log.started_after(gpu, line) is None), default=None)


def failed_init(log: KernelLog, gpu: str, after: Line, alone: bool) -> GpuLine | None:
    """The first failed initialisation of this GPU after a line; one that names no GPU counts where there is one GPU.

    Only in the same text, and not with an earlier clock: a report may have the logs of several boots.
    """
    for one in log.failed_inits:
        mine = one.address == gpu or (one.address is None and alone)
        same_text = one.line.place[0] == after.place[0] and one.line.place > after.place
        if mine and same_text and (one.line.since_boot or after.since_boot or 0) >= (after.since_boot or 0):
            return one
    return None


def _plain(logged: LoggedXid, row: Xid | None, severity: Severity, confidence: Confidence, words: str = "") -> Verdict:
    return Verdict(logged=logged, row=row, identifier=REPORTED, severity=severity, confidence=confidence, words=words)


def _by_table(logged: LoggedXid, row: Xid) -> Verdict:
    return Verdict(logged=logged, row=row, identifier=row.finding, severity=row.severity, confidence=row.confidence)


def _of_previous(logged: LoggedXid, row: Xid | None, number: int) -> Verdict:
    """A line that names the Xid that it follows from: that one decides, less surely than its own line would."""
    cause = xid(number)
    words = f"it follows from Xid {number}"
    if cause is None or cause.finding in (LOST, REPORTED) or cause.immediate.kind == "link":
        return _plain(logged, row, Severity.WARNING, Confidence.LIKELY, words)
    return replace(_by_table(logged, cause), row=row, confidence=Confidence.LIKELY, words=words)


def _of_recovery(logged: LoggedXid, row: Xid) -> Verdict:
    asked = logged.xid.recovery
    if asked is None:
        return _plain(logged, row, Severity.WARNING, Confidence.LIKELY, "its words are cut off")
    if asked.lower() == "none":
        return _plain(logged, row, Severity.INFO, Confidence.CERTAIN, "the GPU needs nothing any more")
    if re.search("reset|reboot", asked, re.IGNORECASE):
        return replace(
            _plain(logged, row, Severity.ERROR, Confidence.CERTAIN, f"the driver asks for: {asked}"), identifier=RESET
        )
    return _plain(logged, row, Severity.WARNING, Confidence.CERTAIN, f"the driver asks for: {asked}")


def _of_link(logged: LoggedXid, row: Xid, peer_lost: bool) -> Verdict:
    said = _FATALITY.search(logged.xid.rest)
    if said and said[1].lower().startswith("non"):
        return _plain(logged, row, Severity.WARNING, Confidence.CERTAIN, "the line says that it is not fatal")
    if peer_lost:
        return _plain(logged, row, Severity.WARNING, Confidence.LIKELY, "another GPU was lost, of which it is the echo")
    if said or row.finding == FAULT:
        return _by_table(logged, row)
    return _plain(logged, row, Severity.WARNING, Confidence.LIKELY)


def _passed(one: Verdict) -> Verdict:
    return replace(
        one,
        identifier=REPORTED,
        severity=Severity.WARNING,
        words="the GPU has recovered since, as a later Xid 154 tells",
        passed=True,
    )
