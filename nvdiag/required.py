"""What is judged after all checks: the requirement `healthy`, and a smoke test that was asked for in vain."""

from __future__ import annotations

from dataclasses import replace

from nvdiag.engine import rank, unique
from nvdiag.facts.requirements import Requirements
from nvdiag.facts.smoke import Smoke
from nvdiag.model.diagnosis import Diagnosis, Status, Verdict
from nvdiag.model.finding import Confidence, Evidence, Finding, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown

_OWN = ("requirement-not-met", "requirement-unknown")
_MOST = 8


def with_health(diagnosis: Diagnosis) -> Diagnosis:
    """The diagnosis, with a finding more where `healthy` was required and does not hold, or cannot be told."""
    given = diagnosis.facts.get(Requirements)
    if not isinstance(given, Requirements) or not any(one.key == "healthy" for one in given.given):
        return diagnosis
    finding = _not_healthy(diagnosis) or _cannot_tell(diagnosis)
    return diagnosis if finding is None else _with(diagnosis, finding)


def with_smoke(diagnosis: Diagnosis) -> Diagnosis:
    """The diagnosis, with a finding where --smoke could not tell of all GPUs and nothing that is wrong says why."""
    smoke = diagnosis.facts.get(Smoke)
    why = smoke.untold if isinstance(smoke, Smoke) else str(smoke) if isinstance(smoke, Unknown) else ""
    if not why or isinstance(smoke, NotApplicable) or diagnosis.exit_code() != 0:
        return diagnosis
    finding = Finding(
        id="requirement-unknown",
        subject="smoke",
        severity=Severity.ERROR,
        confidence=Confidence.POSSIBLE,
        title="cannot tell whether every GPU runs a kernel, which --smoke asks for",
        evidence=(Evidence(source="smoke test", excerpt=why),),
        remedies=(_LOAD_UVM,) if "nvidia_uvm" in why or "nvidia-uvm" in why else (),
    )
    return _with(diagnosis, finding)


_LOAD_UVM = Remedy(
    summary="load nvidia_uvm and make its node, as CUDA's first program does, then look again",
    commands=("sudo nvidia-modprobe -u -c 0", "nvdiag check --smoke"),
    needs_root=True,
)


def _with(diagnosis: Diagnosis, finding: Finding) -> Diagnosis:
    findings = [ranked.finding for ranked in diagnosis.findings]
    return replace(diagnosis, findings=tuple(rank(unique([*findings, finding]))))


def _not_healthy(diagnosis: Diagnosis) -> Finding | None:
    found = [ranked.finding for ranked in diagnosis.findings if ranked.finding.id not in _OWN]
    wrong = [one for one in found if one.severity is not Severity.INFO and one.confidence is not Confidence.POSSIBLE]
    if not wrong:
        return None
    return Finding(
        id="requirement-not-met",
        subject="healthy",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        kind=wrong[0].kind,
        title=f"healthy was required, and {wrong[0].title}",
        evidence=tuple(Evidence(source=one.key, excerpt=one.title) for one in wrong[:_MOST]),
        remedies=(Remedy(summary="see the other findings: each has its own way out"),),
    )


def _cannot_tell(diagnosis: Diagnosis) -> Finding | None:
    unsure = [one for one in diagnosis.checks if one.status in (Status.UNKNOWN, Status.FAILED)]
    possible = [ranked.finding for ranked in diagnosis.findings if ranked.finding.confidence is Confidence.POSSIBLE]
    evidence = [Evidence(source=one.key, excerpt=one.title) for one in possible if one.id not in _OWN]
    evidence += [Evidence(source=one.name, excerpt=one.reason) for one in unsure]
    if not evidence and diagnosis.verdict() is not Verdict.INCONCLUSIVE:
        return None
    return Finding(
        id="requirement-unknown",
        subject="healthy",
        severity=Severity.ERROR,
        confidence=Confidence.POSSIBLE,
        title="cannot tell whether this machine is healthy: not all of it could be judged",
        evidence=tuple(evidence[:_MOST]) or (Evidence(source="nvdiag", excerpt="no check could judge"),),
        remedies=(Remedy(summary="see first what keeps nvdiag from telling", commands=("nvdiag check",)),),
    )
