"""Since when: this boot, the module's load and what package logs tell, in the order of time, as a few lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nvdiag.facts.history import DriverHistory
from nvdiag.model.dataclass import dataclass
from nvdiag.model.diagnosis import Diagnosis
from nvdiag.report.shown import fact

if TYPE_CHECKING:
    from nvdiag.facts.package_logs import Transaction

_BELONGS_TO = (
    "driver-library-mismatch", "driver-disk-mismatch", "driver-not-built", "driver-not-loaded", "driver-not-installed",
    "driver-submodule-mismatch", "driver-package-conflict", "secure-boot-rejected", "gsp-firmware-missing",
    "libcuda-mismatch", "gpu-init-failed",
)  # fmt: skip
"""The findings that such a history explains; it is shown once, under the first of them."""
_MOST = 4


@dataclass(frozen=True, slots=True)
class Line:
    """What happened, and when as the machine's clock showed it."""

    when: str
    words: str


def belongs_to(diagnosis: Diagnosis) -> str | None:
    """The key of the finding that the timeline stands under; None where none is its subject."""
    return next((one.finding.key for one in diagnosis.findings if one.finding.id in _BELONGS_TO), None)


def lines(diagnosis: Diagnosis) -> tuple[Line, ...]:
    """The timeline, oldest first; empty where no log tells of a change."""
    history = fact(diagnosis.facts, DriverHistory)
    if not isinstance(history, DriverHistory) or not history.transactions:
        return ()
    found = sorted(_events(history), key=lambda one: one[0])
    open_zone = history.booted is not None and any(one.when.earliest != one.when.latest for one in history.transactions)
    note = [Line("", "(the logs' times are local, of a zone that is not known here)")] if open_zone else []
    return (*(line for _, line in found), *note)


def _events(history: DriverHistory) -> Iterator[tuple[int, Line]]:
    from nvdiag.facts.clock import shown_in
    from nvdiag.facts.package_logs.asking import asked_for

    for seconds, words in ((history.booted, "this boot"), (history.loaded, "the nvidia module was loaded")):
        if seconds is not None:
            yield seconds, Line(shown_in(history.zone, seconds), words)
    cause = history.cause
    chosen = [*history.transactions[-_MOST:]]
    if cause is not None and cause not in chosen:
        chosen = [cause, *chosen[1:]]
    for one in chosen:
        by = asked_for(one).words
        told = [change.told for change in one.of_driver] or [change.told for change in one.changes]
        words = f"{_few(told)}{f', by {by}' if by else ''}{' (not finished)' if one.failed else ''}"
        yield (one.when.earliest + one.when.latest) // 2, Line(one.when.text, words)


def _few(told: Sequence[str]) -> str:
    return f"{told[0]}{f' and {len(told) - 1} more' if len(told) > 1 else ''}"


def data(history: DriverHistory) -> dict[str, object]:
    """The history for the JSON report, whole."""
    cause = history.cause
    return {
        "booted_at": _utc(history.booted),
        "module_loaded_at": _utc(history.loaded),
        "time_zone": history.zone,
        "logs": list(history.looked),
        "cause": history.transactions.index(cause) if cause is not None else None,
        "transactions": [_transaction(one, history.booted) for one in history.transactions],
    }


def _transaction(one: Transaction, booted: int | None) -> dict[str, object]:
    from nvdiag.facts.package_logs.asking import asked_for

    return {
        "at": one.when.iso,
        "after_boot": None if booted is None else one.when.is_after(booted),
        "tool": one.tool,
        "asked_by": asked_for(one).kind.value,
        "user": one.user,
        "command": one.command,
        "failed": one.failed,
        "source": one.source,
        "changes": [
            {
                "name": change.name,
                "old": change.old,
                "new": change.new,
                "role": change.role.value if change.role else None,
            }
            for change in one.changes
        ],
    }


def _utc(seconds: int | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(seconds))
