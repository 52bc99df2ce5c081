"""JUnit's XML, one test case a check: for GitLab, Jenkins, Buildkite and whatever else shows test results.

A check that could not judge is skipped with its reason, under --strict an error. A finding that is merely possible is
an error, for the run exits with 3. One that does not make the run fail stands in its passing test case's output, since
JUnit knows no warnings.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from nvdiag import __version__
from nvdiag.model.diagnosis import CheckOutcome, Diagnosis, Status
from nvdiag.model.finding import Confidence, Finding, Severity
from nvdiag.report import sentences
from nvdiag.report.printable import obeyed_by_nobody, printable


def render(diagnosis: Diagnosis, ids: Mapping[str, tuple[str, ...]], fail_on: Severity, strict: bool) -> str:
    """The report as XML with a final newline. `ids` are the finding ids that each check, by its name, may report."""
    suite = TestSuite("nvdiag")
    suite.hostname = printable(diagnosis.source.name)
    if diagnosis.source.captured_at:
        suite.timestamp = diagnosis.source.captured_at[:19]
    for name, value in _properties(diagnosis, fail_on, strict).items():
        suite.add_property(name, value)
    findings = [ranked.finding for ranked in diagnosis.findings]
    for finding in findings:
        suite.add_property(f"nvdiag.class.{printable(finding.key)}", finding.kind.value)
    claimed: set[str] = set()
    for one in diagnosis.checks:
        own = [finding for finding in findings if finding.id in ids.get(one.name, ())] if one.status in _TOLD else []
        claimed.update(finding.key for finding in own)
        suite.add_testcase(_case(one, own, fail_on, strict))
    for finding in findings:  # of a plug-in or of the engine's own, which no check of this run names
        if finding.key not in claimed:
            outcome = CheckOutcome(name=finding.key, area="engine", status=Status.FOUND)
            suite.add_testcase(_case(outcome, [finding], fail_on, strict))
    report = JUnitXml("nvdiag")
    report.add_testsuite(suite)
    suite.time = round(diagnosis.seconds, 3)
    written = io.BytesIO()
    report.write(written, pretty=True)
    return obeyed_by_nobody(written.getvalue().decode("utf-8").rstrip("\n") + "\n")


_TOLD = (Status.FOUND, Status.FAILED)


def _properties(diagnosis: Diagnosis, fail_on: Severity, strict: bool) -> dict[str, str]:
    return {
        "nvdiag.version": __version__,
        "nvdiag.source": diagnosis.source.kind,
        "nvdiag.verdict": diagnosis.verdict(fail_on, strict).value,
        "nvdiag.exit_code": str(diagnosis.exit_code(fail_on, strict)),
    }


def _case(one: CheckOutcome, findings: Sequence[Finding], fail_on: Severity, strict: bool) -> TestCase:
    case = TestCase(printable(one.name).replace("_", " "), f"nvdiag.{one.area}", round(one.seconds, 4))
    reason = printable(one.reason)
    grave = [finding for finding in findings if sentences.fails(finding, fail_on)]
    if one.status is Status.FAILED:
        case.result = [Error(f"nvdiag's own check failed: {reason}", "check-failed")]
    elif one.status is Status.UNKNOWN and strict:
        case.result = [Error(f"could not be judged: {reason}", "unknown")]
    elif one.status is Status.UNKNOWN:
        case.result = [Skipped(f"could not be judged: {reason}")]
    elif one.status is Status.SKIPPED:
        case.result = [Skipped(f"does not apply here: {reason}")]
    elif grave:
        failure = Failure(_titles(grave), grave[0].id)
        failure.text = _told(grave)  # GitLab once showed the body alone, others the message alone
        case.result = [failure]
    unsure = [
        finding
        for finding in findings
        if finding.severity is Severity.ERROR and finding.confidence is Confidence.POSSIBLE
    ]
    if unsure and one.status is Status.FOUND:  # the run exits with 3: it cannot tell
        error = Error(_titles(unsure), unsure[0].id)
        error.text = _told(unsure)
        case.result = [*case.result, error]
    milder = [finding for finding in findings if finding not in (*grave, *unsure)]
    if milder:
        case.system_out = _told(milder)
    return case


def _titles(findings: Sequence[Finding]) -> str:
    return "; ".join(f"{printable(finding.title)} ({finding.kind.value})" for finding in findings)


def _told(findings: Sequence[Finding]) -> str:
    return "\n\n".join(
        "\n".join(
            (
                f"{finding.severity.value} {finding.key} ({finding.confidence.value}, {finding.kind.value}):"
                f" {printable(finding.title)}",
                *sentences.plain(finding),
            )
        )
        for finding in findings
    )
