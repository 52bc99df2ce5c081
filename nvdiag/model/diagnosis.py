"""The result of one run: what every report format is made from."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Confidence, Finding, Severity


class Status(Enum):
    """What became of one check. Only PASSED says that something was looked at and is well."""

    PASSED = "passed"
    FOUND = "found"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOutcome:
    """One check of this run; `reason` is there for skipped, unknown and failed. `seconds` is wall time."""

    name: str
    area: str
    status: Status
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What was looked at: `kind` is live, snapshot, bug-report or paste; `captured_at` is ISO 8601 with its zone."""

    kind: str
    name: str
    captured_at: str


_BESIDE_THE_DRIVER = frozenset({"engine", "cuda"})
"""Areas that tell of nvdiag's own questions and of toolkits: that these are well says nothing of GPU and driver."""


class Verdict(Enum):
    """The whole answer in one word."""

    HEALTHY = "healthy"
    PROBLEMS = "problems"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A finding in its place: `caused_by` is the key of the finding that explains it."""

    finding: Finding
    caused_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of several machines, or moments of one, that the input shows apart. `label` says which."""

    label: str
    facts: Mapping[type[object], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Everything that one run found out. `facts` maps a fact's class to its value or to why it is unknown.

    `parts` is empty unless the input shows several machines or moments: then `facts` are those of the part that the
    first finding is about. `left_out` are the keys of findings that are not among those that count in this run;
    `barred` says that one of them keeps what does count from being judged.
    """

    source: Source
    findings: tuple[Ranked, ...]
    checks: tuple[CheckOutcome, ...]
    facts: Mapping[type[object], object]
    seconds: float
    parts: tuple[Part, ...] = ()
    left_out: tuple[str, ...] = ()
    barred: bool = False

    def exit_code(self, fail_on: Severity = Severity.ERROR, strict: bool = False) -> int:
        """0, 1 or 3 as documented in the README: 1 is a sure problem, 3 is 'could not tell'."""
        counted = {Severity.ERROR} if fail_on is Severity.ERROR else {Severity.ERROR, Severity.WARNING}
        bad = [ranked.finding.confidence for ranked in self.findings if ranked.finding.severity in counted]
        if any(confidence is not Confidence.POSSIBLE for confidence in bad):
            return 1
        telling = [outcome for outcome in self.checks if outcome.area not in _BESIDE_THE_DRIVER] or self.checks
        judged = any(outcome.status in (Status.PASSED, Status.FOUND) for outcome in telling)
        unsure = any(outcome.status in (Status.UNKNOWN, Status.FAILED) for outcome in self.checks)
        return 3 if bad or not judged or self.barred or (strict and unsure) else 0

    def verdict(self, fail_on: Severity = Severity.ERROR, strict: bool = False) -> Verdict:
        """PROBLEMS where the exit code is 1 or a warning is sure; else by the exit code."""
        sure = any(
            ranked.finding.severity is not Severity.INFO and ranked.finding.confidence is not Confidence.POSSIBLE
            for ranked in self.findings
        )
        if sure:
            return Verdict.PROBLEMS
        return Verdict.INCONCLUSIVE if self.exit_code(fail_on, strict) == 3 else Verdict.HEALTHY
