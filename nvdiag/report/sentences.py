"""What several reports say in the same words: the conclusion, a finding's remedies, what was not judged."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.model.diagnosis import Diagnosis, Status
from nvdiag.model.finding import Confidence, Finding, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.report.printable import printable


def counted(diagnosis: Diagnosis) -> str:
    """How many findings of which severity there are: `1 error and 2 warnings`, `nothing found`."""
    counts = [
        (severity, sum(1 for one in diagnosis.findings if one.finding.severity is severity)) for severity in Severity
    ]
    return listed([f"{count} {severity.value}{'s' if count > 1 else ''}" for severity, count in counts if count]) or (
        "nothing found"
    )


def judged(diagnosis: Diagnosis) -> str:
    """How many checks passed, how many could not judge, and what was found and does not count."""
    passed = sum(1 for one in diagnosis.checks if one.status is Status.PASSED)
    unknown = sum(1 for one in diagnosis.checks if one.status in (Status.UNKNOWN, Status.FAILED))
    told = [f"{passed} checks passed"]
    if unknown:
        told.append(f"{unknown} could not be judged")
    if left_out := [printable(key) for key in diagnosis.left_out]:
        more = f" and {len(left_out) - 4} more" if len(left_out) > 4 else ""
        barred = ", which keeps the hardware from being judged" if diagnosis.barred else ""
        told.append(f"left out: {', '.join(left_out[:4])}{more}{barred}")
    return ", ".join(told)


def fails(finding: Finding, fail_on: Severity) -> bool:
    """Whether this finding makes the exit code 1: sure enough, and at or above `--fail-on`."""
    grave = finding.severity is Severity.ERROR or finding.severity is fail_on
    return grave and finding.confidence is not Confidence.POSSIBLE


def marks(remedy: Remedy) -> str:
    """What a remedy takes and costs: `root, reboots, disruptive`; empty where it is free."""
    words = [word for word, holds in (("root", remedy.needs_root), ("reboots", remedy.reboots)) if holds]
    if remedy.risk.value != "safe":
        words.append(remedy.risk.value)
    return ", ".join(words)


def plain(finding: Finding) -> Iterator[str]:
    """A finding as lines of plain text, none of which obeys a terminal or a CI system: detail, remedies, evidence.

    The evidence stands last, since what is too long for a CI system is cut at its end.
    """
    if finding.detail:
        yield printable(finding.detail)
    for remedy in finding.remedies:
        said = marks(remedy)
        yield f"fix: {printable(remedy.summary)}{f' [{said}]' if said else ''}"
        yield from (f"    {printable(command)}" for command in remedy.commands)
        if remedy.prediction:
            yield f"  {printable(remedy.prediction)}"
    yield f"more: nvdiag explain {finding.id}"
    for one in finding.evidence:
        yield f"seen: {printable(one.source)}: {printable(one.excerpt)}"
