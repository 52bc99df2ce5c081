"""The report as one page that needs nothing else: no network, and no script to be read; light or dark."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from nvdiag import __version__
from nvdiag.facts.reboot import Answer, RebootVerdict
from nvdiag.facts.system import Distribution, RunningKernel
from nvdiag.model.dataclass import dataclass
from nvdiag.model.diagnosis import Diagnosis, Status
from nvdiag.model.finding import Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import Unknown
from nvdiag.report import cuda_picture, sentences, timeline, untold
from nvdiag.report.asks import question
from nvdiag.report.printable import obeyed_by_nobody, printable
from nvdiag.report.shown import fact
from nvdiag.report.stack import Row, rows, status_lines

_MARKS = {"ok": "✓", "bad": "✗", "warn": "!", "unsure": "?", "skipped": "·"}
_WORDS = {"ok": "fits", "bad": "does not fit", "warn": "look at this", "unsure": "cannot tell", "skipped": "not judged"}
_UNTOLD = (
    ("could not be judged", (Status.UNKNOWN, Status.FAILED)),
    ("do not apply here", (Status.SKIPPED,)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One layer of the drawing: `apart` is True where its release is not that of the layer before."""

    layer: str
    value: str
    source: str
    mark: str
    apart: bool


def render(diagnosis: Diagnosis, fail_on: Severity, strict: bool) -> str:
    """The page as text with a final newline."""
    asked = question(diagnosis)
    history, owner = timeline.lines(diagnosis), timeline.belongs_to(diagnosis)
    page = _template().render(
        version=__version__,
        newline=Markup("\n"),
        heading=_heading(diagnosis),
        verdict=diagnosis.verdict(fail_on, strict).value,
        counted=sentences.counted(diagnosis),
        judged=sentences.judged(diagnosis),
        exit_code=diagnosis.exit_code(fail_on, strict),
        boxes=list(_boxes(diagnosis)),
        marks=_MARKS,
        words=_WORDS,
        status=status_lines(diagnosis),
        reboot=_reboot(diagnosis),
        history=history,
        owner=owner,
        picture=cuda_picture.in_full(diagnosis),
        findings=diagnosis.findings,
        asks=asked.asks if asked else (),
        marks_of=sentences.marks,
        untold=[(title, untold.by_reason(diagnosis, *statuses)) for title, statuses in _UNTOLD],
        listed=listed,
    )
    return obeyed_by_nobody(page.rstrip("\n") + "\n")


def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_harmless, trim_blocks=True, lstrip_blocks=True
    )
    source = pkgutil.get_data("nvdiag.report", "page.html.j2")
    if source is None:
        raise FileNotFoundError("this installation lacks page.html.j2")
    return environment.from_string(source.decode("utf-8"))


def _harmless(value: object) -> object:
    """What the template puts out: text of a machine with nothing in it that is not seen."""
    return printable(value) if type(value) is str else value


def _heading(diagnosis: Diagnosis) -> list[str]:
    """What was looked at, and when."""
    source = diagnosis.source
    words = [f"nvdiag {__version__}", source.name if source.kind == "live" else f"{source.kind} {source.name}"]
    distribution, kernel = fact(diagnosis.facts, Distribution), fact(diagnosis.facts, RunningKernel)
    if isinstance(distribution, Distribution):
        words.append(distribution.name)
    if isinstance(kernel, RunningKernel):
        words.append(f"kernel {kernel.release}")
    if source.captured_at:
        words.append(source.captured_at)
    return words


def _boxes(diagnosis: Diagnosis) -> Iterator[Box]:
    before: Row | None = None
    for row in rows(diagnosis):
        if diagnosis.source.kind == "paste" and (not row.told or row.mark == "skipped"):
            continue
        apart = before is not None and row.release is not None and row.release != before.release
        yield Box(layer=row.layer.value, value=row.value, source=row.source, mark=row.mark, apart=apart)
        before = row if row.release is not None else before


def _reboot(diagnosis: Diagnosis) -> tuple[str, str] | None:
    """The verdict on a reboot and its mark, where something is wrong that one might end or bring."""
    verdict = fact(diagnosis.facts, RebootVerdict)
    if isinstance(verdict, Unknown) or (verdict.well and verdict.answer is not Answer.BREAKS):
        return None
    mark = {Answer.FIXES: "ok", Answer.CANNOT_TELL: "unsure"}.get(verdict.answer, "bad")
    return mark, f"{verdict.answer.value}: {verdict.reasons[0].why.value}"
