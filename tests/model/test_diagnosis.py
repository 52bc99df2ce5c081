"""Exit codes and verdicts, and what a finding must have."""

from __future__ import annotations

import pytest

from nvdiag.model.diagnosis import CheckOutcome, Diagnosis, Ranked, Source, Status, Verdict
from nvdiag.model.finding import Confidence, Evidence, Finding, Severity
from nvdiag.model.text import listed

SURE, LIKELY, PERHAPS = Confidence.CERTAIN, Confidence.LIKELY, Confidence.POSSIBLE
ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def diagnosis(found: list[tuple[Severity, Confidence]], statuses: list[Status]) -> Diagnosis:
    evidence = (Evidence(source="/a", excerpt="b"),)
    findings = [
        Ranked(finding=Finding(id="x", severity=severity, confidence=confidence, title="t", evidence=evidence))
        for severity, confidence in found
    ]
    checks = tuple(CheckOutcome(name=f"c{index}", area="a", status=status) for index, status in enumerate(statuses))
    return Diagnosis(
        source=Source(kind="snapshot", name="s", captured_at=""),
        findings=tuple(findings), checks=checks, facts={}, seconds=0.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "statuses", "fail_on", "strict", "code", "verdict"),
    [
        ([], [Status.PASSED], ERROR, False, 0, Verdict.HEALTHY),
        ([], [Status.PASSED, Status.SKIPPED], ERROR, True, 0, Verdict.HEALTHY),
        ([], [Status.PASSED, Status.UNKNOWN], ERROR, False, 0, Verdict.HEALTHY),
        ([], [Status.PASSED, Status.UNKNOWN], ERROR, True, 3, Verdict.INCONCLUSIVE),
        ([], [Status.PASSED, Status.FAILED], ERROR, True, 3, Verdict.INCONCLUSIVE),
        ([], [Status.SKIPPED, Status.UNKNOWN], ERROR, False, 3, Verdict.INCONCLUSIVE),
        ([], [], ERROR, False, 3, Verdict.INCONCLUSIVE),
        ([(ERROR, SURE)], [Status.FOUND], ERROR, False, 1, Verdict.PROBLEMS),
        ([(ERROR, LIKELY)], [Status.FOUND], ERROR, False, 1, Verdict.PROBLEMS),
        ([(ERROR, PERHAPS)], [Status.FOUND], ERROR, False, 3, Verdict.INCONCLUSIVE),
        ([(ERROR, PERHAPS), (ERROR, SURE)], [Status.FOUND], ERROR, False, 1, Verdict.PROBLEMS),
        ([(WARNING, SURE)], [Status.FOUND], ERROR, False, 0, Verdict.PROBLEMS),
        ([(WARNING, SURE)], [Status.FOUND], WARNING, False, 1, Verdict.PROBLEMS),
        ([(WARNING, PERHAPS)], [Status.FOUND], WARNING, False, 3, Verdict.INCONCLUSIVE),
        ([(INFO, SURE)], [Status.FOUND], WARNING, False, 0, Verdict.HEALTHY),
    ],
)
def test_exit_code_and_verdict(
    found: list[tuple[Severity, Confidence]],
    statuses: list[Status],
    fail_on: Severity,
    strict: bool,
    code: int,
    verdict: Verdict,
) -> None:
    result = diagnosis(found, statuses)
    assert (result.exit_code(fail_on, strict), result.verdict(fail_on, strict)) == (code, verdict)


def test_finding_without_evidence_is_refused() -> None:
    with pytest.raises(ValueError, match="without evidence"):
        Finding(id="x", severity=ERROR, confidence=SURE, title="t", evidence=())


def test_key_tells_findings_of_one_id_apart() -> None:
    evidence = (Evidence(source="/a", excerpt="b"),)
    assert Finding(id="x", severity=ERROR, confidence=SURE, title="t", evidence=evidence).key == "x"
    assert Finding(id="x", subject="s", severity=ERROR, confidence=SURE, title="t", evidence=evidence).key == "x:s"


def test_lists_read_as_one_writes_them() -> None:
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert listed(["a", "b"], "or") == "a or b"
