"""Several machines, or moments of one, that one input shows: each diagnosed for itself, and one report of them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nvdiag.engine import rank, unique
from nvdiag.model.diagnosis import CheckOutcome, Diagnosis, Part, Status
from nvdiag.model.finding import Finding

_TELLING = (Status.FAILED, Status.FOUND, Status.UNKNOWN, Status.PASSED, Status.SKIPPED)
"""Of one check's outcomes in several parts, the one that is told: what went wrong before what went well."""


def joined(diagnoses: Sequence[tuple[str, Diagnosis]]) -> Diagnosis:
    """One diagnosis of the labelled ones, which are at least one. The same finding in two parts is one finding."""
    if len(diagnoses) == 1:
        return diagnoses[0][1]
    found: dict[str, Finding] = {}
    for label, diagnosis in diagnoses:
        for ranked in diagnosis.findings:
            finding = _placed(ranked.finding, label)
            first = found.get(finding.key)
            if first is not None and first.title != finding.title and label:
                finding = replace(finding, subject=", ".join(filter(None, (finding.subject, label))))
            found[finding.key] = unique([*([found[finding.key]] if finding.key in found else []), finding])[0]
    ranking = tuple(rank(list(found.values())))
    return Diagnosis(
        source=diagnoses[0][1].source,
        findings=ranking,
        checks=_outcomes([diagnosis for _, diagnosis in diagnoses]),
        facts=_main(diagnoses, ranking[0].finding.id if ranking else None).facts,
        seconds=sum(diagnosis.seconds for _, diagnosis in diagnoses),
        parts=tuple(Part(label=label, facts=diagnosis.facts) for label, diagnosis in diagnoses),
    )


def _placed(finding: Finding, label: str) -> Finding:
    """A finding whose evidence says which part it was seen in."""
    if not label:
        return finding
    return replace(finding, evidence=tuple(replace(one, source=f"{one.source} ({label})") for one in finding.evidence))


def _main(diagnoses: Sequence[tuple[str, Diagnosis]], identifier: str | None) -> Diagnosis:
    """The part that the first finding was made in; without findings, the first part."""
    for _, diagnosis in diagnoses:
        if any(ranked.finding.id == identifier for ranked in diagnosis.findings):
            return diagnosis
    return diagnoses[0][1]


def _outcomes(diagnoses: Sequence[Diagnosis]) -> tuple[CheckOutcome, ...]:
    """Each check once, with what it came to in the part where that tells most."""
    by_name: dict[str, list[CheckOutcome]] = {}
    for diagnosis in diagnoses:
        for outcome in diagnosis.checks:
            by_name.setdefault(outcome.name, []).append(outcome)
    return tuple(
        replace(min(outcomes, key=lambda one: _TELLING.index(one.status)), seconds=sum(one.seconds for one in outcomes))
        for outcomes in by_name.values()
    )
