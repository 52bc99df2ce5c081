"""Annotations for GitHub Actions, worst first, and then the terminal's report, folded, in the job's log.

The runner shows ten annotations of a kind for a step and cuts a message at 4096 characters (actions/toolkit,
docs/problem-matchers.md; actions/runner, ExecutionContext.cs), and takes %, CR, LF and, in a property, : and , only
encoded (actions/toolkit, packages/core/src/command.ts).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nvdiag.model.diagnosis import Diagnosis, Status, Verdict
from nvdiag.model.finding import Confidence, Finding, Severity
from nvdiag.report import sentences, terminal
from nvdiag.report.printable import printable

MOST = 10
"""Annotations of one kind."""
LONGEST = 4096
"""Characters of a message."""


def render(diagnosis: Diagnosis, fail_on: Severity, strict: bool) -> str:
    """The report as text with a final newline."""
    report = terminal.render(diagnosis, terminal.Look(verbose=True), fail_on, strict)
    return "\n".join(
        [*_annotations(diagnosis, fail_on, strict), "::group::nvdiag's report", report, "::endgroup::", ""]
    )


def _annotations(diagnosis: Diagnosis, fail_on: Severity, strict: bool) -> Iterator[str]:
    by_level: dict[str, list[Finding]] = {}
    for ranked in diagnosis.findings:
        if ranked.caused_by is None:
            by_level.setdefault(_level(ranked.finding, fail_on), []).append(ranked.finding)
    verdict = diagnosis.verdict(fail_on, strict)
    told = f"{sentences.counted(diagnosis)}; {sentences.judged(diagnosis)}"
    unsure = verdict is Verdict.INCONCLUSIVE
    if unsure:
        whys = [one.reason for one in diagnosis.checks if one.status in (Status.UNKNOWN, Status.FAILED)]
        yield _command("warning", f"nvdiag cannot tell whether this machine is well: {told}", list(dict.fromkeys(whys)))
    for level in ("error", "warning", "notice"):
        yield from _of_level(level, by_level.get(level, []), MOST - 1 if unsure and level == "warning" else MOST)
    if verdict is Verdict.HEALTHY and not by_level:
        well = "nothing is wrong that counts here" if diagnosis.left_out else "this machine is well"
        yield _command("notice", f"nvdiag: {well}", [told])


def _level(finding: Finding, fail_on: Severity) -> str:
    if sentences.fails(finding, fail_on):
        return "error"
    return "notice" if finding.severity is Severity.INFO else "warning"


def _of_level(level: str, findings: Sequence[Finding], most: int) -> Iterator[str]:
    shown = findings if len(findings) <= most else findings[: most - 1]
    for finding in shown:
        sure = "" if finding.confidence is Confidence.CERTAIN else f", {finding.confidence.value}"
        title = f"nvdiag: {finding.id} ({finding.kind.value}{sure})"
        yield _command(level, title, [printable(finding.title), *sentences.plain(finding)])
    if len(findings) > len(shown):
        rest = [one.key for one in findings[len(shown) :]]
        yield _command(level, f"nvdiag: {len(rest)} more", [", ".join(rest), "the report in this step's log has them"])


def _command(level: str, title: str, lines: Sequence[str]) -> str:
    """A workflow command; its message is cut so that the runner need not."""
    shown = "\n".join(line if line.startswith(" ") else printable(line) for line in lines)
    if len(shown) > LONGEST:
        shown = shown[: LONGEST - 1] + "…"
    message = shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    safe = printable(title).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={safe}::{message}"
