"""The terminal report: the stack, then the findings in the manner of rustc, then what could not be told."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from nvdiag import __version__
from nvdiag.facts.reboot import Answer, RebootVerdict
from nvdiag.facts.system import Distribution, RunningKernel
from nvdiag.model.dataclass import dataclass
from nvdiag.model.diagnosis import Diagnosis, Ranked, Verdict
from nvdiag.model.finding import Confidence, Evidence, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import Unknown
from nvdiag.report import cuda_picture, sentences, timeline, untold
from nvdiag.report.asks import question
from nvdiag.report.printable import obeyed_by_nobody, printable
from nvdiag.report.shown import fact
from nvdiag.report.stack import Row, rows, status_lines
from nvdiag.report.styled import Line, coloured, plain

_LABEL_WIDTH = 20
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.INFO: "bold cyan"}
_MARK_STYLES = {"ok": "green", "bad": "bold red", "warn": "yellow", "unsure": "magenta", "skipped": "dim"}
_MARKS = {"ok": "✓", "bad": "✗", "warn": "!", "unsure": "?", "skipped": "·"}
_ASCII_MARKS = {"ok": "+", "bad": "x", "warn": "!", "unsure": "?", "skipped": "."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How the report is drawn: columns, colour, whether the stream can show more than ASCII.

    `verbose` names each check that did not judge.
    """

    width: int = 80
    colour: bool = False
    unicode: bool = True
    verbose: bool = False


def render(diagnosis: Diagnosis, look: Look, fail_on: Severity = Severity.ERROR, strict: bool = False) -> str:
    """The report as text, with colour only where `look` asks for it."""
    lines = _lines(diagnosis, look, fail_on, strict)
    drawn = coloured(lines, max(60, look.width)) if look.colour else plain(lines)
    text = "\n".join(line.rstrip() for line in drawn.split("\n"))
    return obeyed_by_nobody(text if look.unicode else text.encode("ascii", "replace").decode("ascii"))


def _lines(diagnosis: Diagnosis, look: Look, fail_on: Severity, strict: bool) -> Iterator[Line]:
    yield from _heading(diagnosis, look)
    yield Line()
    stack = list(_stack(diagnosis, look))
    yield from stack
    for status in status_lines(diagnosis):
        for line in _wrapped(printable(status if look.unicode else status.replace("°", "")), "  ", look, hang=" " * 9):
            yield Line(line)
    yield from _reboot(diagnosis, look)
    if stack:
        yield Line()
    yield from _picture(diagnosis, look)
    history, owner = timeline.lines(diagnosis), timeline.belongs_to(diagnosis)
    if owner is None and history:
        yield from _timeline(history, "", look)
        yield Line()
    for ranked in diagnosis.findings:
        yield from _finding(ranked, look, history if ranked.finding.key == owner else ())
        yield Line()
    yield from _open_question(diagnosis, look)
    yield from _untold(diagnosis, look)
    yield from _conclusion(diagnosis, look, fail_on, strict)


def _heading(diagnosis: Diagnosis, look: Look) -> Iterator[Line]:
    kernel, distribution = fact(diagnosis.facts, RunningKernel), fact(diagnosis.facts, Distribution)
    words = [f"nvdiag {__version__}"]
    if diagnosis.source.kind != "live":
        dated = diagnosis.source.captured_at or ("" if diagnosis.source.kind == "paste" else "unknown date")
        words.append(f"{diagnosis.source.kind} {diagnosis.source.name}{f' of {dated}' if dated else ''}")
    if isinstance(distribution, Distribution):
        words.append(distribution.name)
    if isinstance(kernel, RunningKernel):
        words.append(f"kernel {kernel.release}")
    for line in _wrapped(printable(", ".join(words)), "", look):
        yield Line(line, style="bold")


def _stack(diagnosis: Diagnosis, look: Look) -> Iterator[Line]:
    marks = _MARKS if look.unicode else _ASCII_MARKS
    before: Row | None = None
    shown = rows(diagnosis)
    if diagnosis.source.kind == "paste":  # a text shows little of a machine: only what it shows is drawn
        shown = [row for row in shown if row.told and row.mark != "skipped"]
    for row in shown:
        if row.release and before and before.release and row.release != before.release:
            yield Line("  ≠" if look.unicode else "  #", style="bold red")
        label = "" if before and before.layer is row.layer else row.layer.value
        text = Line("  ")
        text.append(marks.get(row.mark, " "), style=_MARK_STYLES.get(row.mark, ""))
        text.append(f" {label:<{_LABEL_WIDTH}}")
        yield from _value(text, row, look)
        before = row if row.release or before is None else before
        if row.release is None and row.layer is not before.layer:
            before = Row(layer=row.layer, value=row.value, release=before.release)


def _reboot(diagnosis: Diagnosis, look: Look) -> Iterator[Line]:
    """What a reboot does, where something is wrong that one might end or bring."""
    verdict = fact(diagnosis.facts, RebootVerdict)
    if isinstance(verdict, Unknown) or (verdict.well and verdict.answer is not Answer.BREAKS):
        return
    mark = {Answer.FIXES: "ok", Answer.CANNOT_TELL: "unsure"}.get(verdict.answer, "bad")
    row = Row(layer=Layer.NEXT_BOOT_MODULE, value=f"{verdict.answer.value}: {verdict.reasons[0].why.value}")
    text = Line("  ")
    text.append((_MARKS if look.unicode else _ASCII_MARKS)[mark], style=_MARK_STYLES[mark])
    text.append(f" {'a reboot':<{_LABEL_WIDTH}}")
    yield from _value(text, row, look)


def _picture(diagnosis: Diagnosis, look: Look) -> Iterator[Line]:
    """Library by library what a program gets that was asked about by name."""
    for program, lines in cuda_picture.in_full(diagnosis).items():
        for line in _wrapped(f"{printable(program)} gets of CUDA's libraries:", "", look, hang="  "):
            yield Line(line, style="bold")
        for one in lines:
            words = "  ".join(part for part in (one.version, printable(one.rule)) if part)
            for line in _wrapped(words, f"  {printable(one.soname):<24} ", look, hang=" " * 27):
                yield Line(line)
            for below in one.below:
                for line in _wrapped(printable(below), "      ", look):
                    yield Line(line, style="dim")
        yield Line()


def _value(text: Line, row: Row, look: Look) -> Iterator[Line]:
    """The value and where it was read, on one line where that fits, else the source below."""
    indent = " " * (_LABEL_WIDTH + 4)
    value, source = printable(row.value), printable(row.source)
    room = look.width - len(indent)
    if len(value) + len(source) + 2 <= room and source:
        text.append(value.ljust(room - len(source)))
        text.append(source, style="dim")
        yield text
        return
    first, *more = _wrapped(value, indent, look)
    text.append(first[len(indent) :])
    yield text
    for line in more:
        yield Line(line)
    if source:
        for line in _wrapped(source, indent, look):
            yield Line(line, style="dim")


def _finding(ranked: Ranked, look: Look, history: Sequence[timeline.Line]) -> Iterator[Line]:
    finding = ranked.finding
    indent = "  " if ranked.caused_by else ""
    sure = "" if finding.confidence is Confidence.CERTAIN else f" ({finding.confidence.value})"
    code = f"{finding.severity.value}[{finding.id}]{sure}: "
    first, *more = _wrapped(code + printable(finding.title), indent, look, hang="  ")
    head = Line(first)
    head.stylize(_STYLES[finding.severity], len(indent), len(indent) + len(code) - 2)
    head.stylize("bold", min(len(first), len(indent) + len(code) - 2))
    yield head
    for line in more:
        yield Line(line, style="bold")
    if ranked.caused_by:
        lead = f"{indent}  {'└ ' if look.unicode else ''}"
        for line in _wrapped(f"follows from {printable(ranked.caused_by)}", lead, look):
            yield Line(line, style="dim")
    for one in finding.evidence:
        yield from _evidence(one, indent, look)
    if finding.detail:
        for line in _wrapped(printable(finding.detail), f"{indent}  = ", look, hang=" " * (len(indent) + 4)):
            yield Line(line)
    yield from _timeline(history, indent, look)
    if ranked.caused_by:
        return
    for remedy in finding.remedies:
        yield from _remedy(remedy, indent, look)
    note = f"{finding.kind.value}; nvdiag explain {finding.id}"
    for line in _wrapped(note, f"{indent}  note: ", look):
        yield Line(line, style="dim")


def _evidence(one: Evidence, indent: str, look: Look) -> Iterator[Line]:
    arrow = f"{indent}  --> "
    source, excerpt = printable(one.source), printable(one.excerpt)
    if len(arrow) + len(source) + 2 + len(excerpt) <= look.width:
        text = Line()
        text.append(arrow, style="blue")
        text.append(f"{source}: ", style="dim")
        text.append(excerpt, style="")
        yield text
        return
    for number, line in enumerate(_wrapped(f"{source}:", arrow, look)):
        text = Line(line)
        text.stylize("dim", len(arrow))
        if number == 0:
            text.stylize("blue", 0, len(arrow))
        yield text
    for line in _wrapped(excerpt, " " * len(arrow), look):
        yield Line(line)


def _timeline(history: Sequence[timeline.Line], indent: str, look: Look) -> Iterator[Line]:
    """What happened when, oldest first."""
    lead = f"{indent}  since: "
    for line in history:
        start = f"{lead}{line.when}  " if line.when else lead
        for text in _wrapped(printable(line.words), printable(start), look, hang=" " * len(start)):
            yield Line(text)
        lead = " " * len(lead)


def _remedy(remedy: Remedy, indent: str, look: Look) -> Iterator[Line]:
    label = f"{indent}  fix: "
    marks = sentences.marks(remedy)
    tail = f" [{marks}]" if marks else ""
    first, *more = _wrapped(printable(remedy.summary) + tail, label, look, hang=" " * len(label))
    head = Line(first)
    head.stylize("bold green", len(indent), len(label))
    yield head
    for line in more:
        yield Line(line)
    for command in remedy.commands:
        yield Line(f"{' ' * len(label)}  {printable(command)}", style="cyan")
    if remedy.prediction:
        for line in _wrapped(printable(remedy.prediction), " " * len(label), look):
            yield Line(line, style="italic" if look.colour else "")


def _open_question(diagnosis: Diagnosis, look: Look) -> Iterator[Line]:
    """Where a text supports no cause: what it is also seen with, and what to paste next."""
    asked = question(diagnosis)
    if asked is None or not asked.asks:
        return
    if asked.suspected:
        words = f"the text alone decides nothing; it is seen with {listed(asked.suspected, 'or')}"
    else:
        words = "the text holds no message that decides anything"
    for line in _wrapped(words, "", look, hang="  "):
        yield Line(line, style="bold")
    yield Line("add what these print, the most telling first:")
    for one in asked.asks:
        yield Line(f"  $ {printable(one.command)}", style="cyan")
        for line in _wrapped(one.shows, "      ", look):
            yield Line(line)
    yield Line()


def _untold(diagnosis: Diagnosis, look: Look) -> Iterator[Line]:
    """Every check that did not judge, by its reason."""
    unjudged = list(untold.unjudged(diagnosis, verbose=look.verbose))
    if unjudged:
        yield Line("could not be judged:", style="magenta")
        for words in unjudged:
            for line in _wrapped(words, "  - ", look, hang="    "):
                yield Line(line, style="magenta")
        yield Line()
    not_asked = list(untold.not_asked(diagnosis, verbose=look.verbose))
    for words in not_asked:
        for line in _wrapped(words, "", look, hang="    " if words.startswith(" ") else "  "):
            yield Line(line, style="dim")
    if not_asked:
        yield Line()


def _conclusion(diagnosis: Diagnosis, look: Look, fail_on: Severity, strict: bool) -> Iterator[Line]:
    verdict = diagnosis.verdict(fail_on, strict)
    style = {Verdict.HEALTHY: "bold green", Verdict.PROBLEMS: "bold red", Verdict.INCONCLUSIVE: "bold magenta"}[verdict]
    words = (
        f"{verdict.value}: {sentences.counted(diagnosis)}; {sentences.judged(diagnosis)};"
        f" exit code {diagnosis.exit_code(fail_on, strict)}"
    )
    for line in _wrapped(words, "", look, hang="  "):
        yield Line(line, style=style)


def _wrapped(text: str, lead: str, look: Look, hang: str | None = None) -> list[str]:
    """`text` after `lead`, wrapped at the width; further lines start with `hang` (by default the lead's room).

    A word that is longer than a line is cut: only commands are there to be copied whole.
    """
    return textwrap.wrap(
        text,
        look.width,
        initial_indent=lead,
        subsequent_indent=" " * len(lead) if hang is None else hang,
        break_on_hyphens=False,
    ) or [lead]
