"""The checks that did not judge, by their reasons: silence is never shown as health."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.model.diagnosis import Diagnosis, Status
from nvdiag.model.text import listed
from nvdiag.report.printable import printable

_MOST = 8
"""Reasons of what does not apply that are told unless all are asked for. What should have been told is always told."""
_FEW = 4
"""Checks with one reason that are named unless all are asked for."""


def by_reason(diagnosis: Diagnosis, *statuses: Status) -> dict[str, list[str]]:
    """The names of the checks that came to one of these, as words, by their reason; the commonest reason first."""
    reasons: dict[str, list[str]] = {}
    for one in diagnosis.checks:
        if one.status in statuses:
            reasons.setdefault(one.reason, []).append(one.name.replace("_", " "))
    return dict(sorted(reasons.items(), key=lambda item: -len(item[1])))


def unjudged(diagnosis: Diagnosis, *, verbose: bool) -> Iterator[str]:
    """One line a reason for the checks that should have judged and could not."""
    reasons = by_reason(diagnosis, Status.UNKNOWN)
    silent = [why for why in reasons if _is_silence(why)] if diagnosis.source.kind == "paste" and not verbose else []
    count = sum(len(reasons.pop(why)) for why in silent)
    for why, names in reasons.items():
        yield f"{_all_of(names) if verbose else _some_of(names)}: {printable(why)}"
    if count:  # a text was not written to show a whole machine: all that it leaves out is one reason
        yield f"{_checks(count)}: the text does not show what they look at (--verbose names each)"


def not_asked(diagnosis: Diagnosis, *, verbose: bool) -> Iterator[str]:
    """What does not apply: a paragraph of the commonest reasons, or a line for each reason and its checks."""
    reasons = by_reason(diagnosis, Status.SKIPPED)
    count = sum(map(len, reasons.values()))
    if not count:
        return
    lead = f"{_checks(count)} {'does' if count == 1 else 'do'} not apply here:"
    if verbose:
        yield lead
        yield from (f"  - {printable(why)}: {_all_of(names)}" for why, names in reasons.items())
    elif diagnosis.source.kind == "paste":
        yield f"{lead} they ask for what is not in the text (--verbose names each)"
    else:
        yield f"{lead} {_commonest(reasons)}"


def _commonest(reasons: dict[str, list[str]]) -> str:
    told = list(reasons.items())
    told = told if len(told) <= _MOST + 1 else told[:_MOST]
    words = "; ".join(printable(why) + (f" ({len(names)})" if len(names) > 1 else "") for why, names in told)
    others = sum(map(len, reasons.values())) - sum(len(names) for _, names in told)
    if not others:
        return words
    return f"{words}; {others} more for {len(reasons) - len(told)} other reasons (--verbose names each)"


def _is_silence(why: str) -> bool:
    return "the text does not show " in why or "is recorded" in why


def _checks(count: int) -> str:
    return f"{count} checks" if count > 1 else "1 check"


def _some_of(names: list[str]) -> str:
    """All of them where they are few."""
    if len(names) <= _FEW:
        return _all_of(names)
    return f"{', '.join(printable(name) for name in names[:2])} and {len(names) - 2} more (--verbose names each)"


def _all_of(names: list[str]) -> str:
    return listed([printable(name) for name in names])
