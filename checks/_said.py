"""What messages say, as findings: one for an id, whatever number of messages speaks of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nvdiag.facts.messages import Messages, Said
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable

_MOST_EVIDENCE = 6


def about(messages: Messages, *identifiers: str) -> tuple[Said, ...]:
    """The messages that support one of these findings. NotApplicable where there is none: that proves nothing."""
    found = tuple(one for one in messages.said if one.message.proves in identifiers)
    if not found:
        raise NotApplicable("no message in the text tells of it")
    return found


def group(said: Sequence[Said], *names: str) -> str:
    """The first of these groups that a message has; empty where none has one."""
    return next((one.groups[name] for one in said for name in names if one.groups.get(name)), "")


def finding(
    said: Sequence[Said],
    identifier: str,
    *,
    title: str = "",
    detail: str = "",
    subject: str = "",
    severity: Severity = Severity.ERROR,
    confidence: Confidence | None = None,
    kind: FindingClass = FindingClass.CONFIGURATION,
    remedies: tuple[Remedy, ...] = (),
    explains: frozenset[str] = frozenset(),
    layers: tuple[Layer, ...] = (),
    beside: Iterable[Evidence] = (),
) -> Finding:
    """The finding that these messages support; they must be some.

    Unless given, the title is what the first of the surest messages says, and the confidence is the best of theirs.
    `beside` is other evidence, which stands after the messages.
    """
    sure = [one for one in said if one.message.proves and one.message.confidence is Confidence.CERTAIN]
    best = Confidence.CERTAIN if sure else Confidence.LIKELY
    return Finding(
        id=identifier,
        subject=subject,
        severity=severity,
        confidence=confidence or best,
        kind=kind,
        title=title or (sure or said)[0].told,
        detail=detail,
        evidence=tuple(dict.fromkeys((*evidence(said), *beside))),
        remedies=remedies,
        explains=explains,
        layers=layers,
    )


def evidence(said: Sequence[Said]) -> tuple[Evidence, ...]:
    """Their words, each once, the first few."""
    return tuple(dict.fromkeys(one.evidence for one in said))[:_MOST_EVIDENCE]
