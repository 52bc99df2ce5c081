"""What to look at next, where a text supports no cause: the commands that would decide, the most telling first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nvdiag.facts.messages import Messages
from nvdiag.facts.smi_report import SmiReport
from nvdiag.model.dataclass import dataclass
from nvdiag.model.diagnosis import Diagnosis
from nvdiag.model.finding import Confidence, Severity

_MOST = 4
_START = frozenset(
    {"driver-not-loaded", "driver-library-mismatch", "no-nvidia-gpu", "driver-not-built", "no-cuda-device"}
)
"""What is in question where a text says nothing that nvdiag knows."""
_START_AT_PROGRAM = frozenset(
    {
        "framework-cpu-only", "framework-cuda-mismatch", "driver-too-old-for-cuda", "uvm-not-loaded", "libcuda-missing",
        "visible-devices-invalid", "no-cuda-device",
    }
)  # fmt: skip
"""The same, where the text shows that the driver answers."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A command whose output would decide, and between which findings."""

    command: str
    shows: str
    decides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What is open: `suspected` are the findings that the text is also seen with; `asks` in the order of asking."""

    suspected: tuple[str, ...]
    asks: tuple[Ask, ...]


def question(diagnosis: Diagnosis) -> Question | None:
    """What to ask next about a text; None where a cause is claimed, and where no text was handed over."""
    claimed = any(
        ranked.finding.severity is not Severity.INFO and ranked.finding.confidence is not Confidence.POSSIBLE
        for ranked in diagnosis.findings
    )
    if claimed or diagnosis.source.kind != "paste":
        return None
    tables = [part.facts for part in diagnosis.parts] or [diagnosis.facts]
    suspected = tuple(dict.fromkeys(identifier for facts in tables for identifier in _suspected(facts)))
    possible = tuple(ranked.finding.id for ranked in diagnosis.findings)
    answers = any(isinstance(smi := facts.get(SmiReport), SmiReport) and smi.works for facts in tables)
    wanted = frozenset(suspected) | frozenset(possible) or (_START_AT_PROGRAM if answers else _START)
    seen = (*_seen(tables), *(("nvidia-smi",) if answers else ()))
    return Question(suspected, tuple(_asks(wanted, seen)))


def _suspected(facts: Mapping[type[object], object]) -> Iterator[str]:
    messages = facts.get(Messages)
    if isinstance(messages, Messages):
        for one in messages.said:
            yield from () if one.message.context else one.message.suggests


def _seen(tables: list[Mapping[type[object], object]]) -> tuple[str, ...]:
    """The sources of the texts, which are the commands that printed them; nvidia-smi's table is known without it."""
    found: list[str] = []
    for facts in tables:
        messages = facts.get(Messages)
        if isinstance(messages, Messages):
            found += messages.sources
    return tuple(found)


def _asks(wanted: frozenset[str], seen: tuple[str, ...]) -> list[Ask]:
    """The commands in the order of what each decides that those before it leave open."""
    from nvdiag.knowledge.deciders import deciders

    left = [row for row in deciders() if not any(one.startswith(start) for one in seen for start in row.seen)]
    open_ids = set(wanted)
    found: list[Ask] = []
    while open_ids and left and len(found) < _MOST:
        best = max(left, key=lambda row: len(open_ids.intersection(row.decides)))  # the first of equals
        decided = tuple(identifier for identifier in best.decides if identifier in wanted)
        if not open_ids.intersection(best.decides):
            break
        found.append(Ask(best.command, best.shows, decided))
        open_ids.difference_update(best.decides)
        left.remove(best)
    return found
