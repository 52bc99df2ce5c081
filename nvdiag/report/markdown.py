"""The report in GitHub-flavoured Markdown: for a job's summary, an issue, a merge request.

Data is escaped for that dialect (github.github.com/gfm): no word of it is markup, a mention or a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from nvdiag import __version__
from nvdiag.facts.system import Distribution, RunningKernel
from nvdiag.model.diagnosis import Diagnosis, Ranked, Status, Verdict
from nvdiag.model.finding import Confidence, Evidence, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.report import cuda_picture, sentences, timeline, untold
from nvdiag.report.asks import question
from nvdiag.report.printable import obeyed_by_nobody, printable
from nvdiag.report.shown import fact
from nvdiag.report.stack import rows, status_lines

_MARKS = {"ok": "✅", "bad": "❌", "warn": "⚠️", "unsure": "❓", "skipped": "·"}
_VERDICTS = {Verdict.HEALTHY: "✅", Verdict.PROBLEMS: "❌", Verdict.INCONCLUSIVE: "❓"}
_SEVERITIES = {Severity.ERROR: "❌", Severity.WARNING: "⚠️", Severity.INFO: "💡"}
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~$&])")


def render(diagnosis: Diagnosis, fail_on: Severity, strict: bool) -> str:
    """The report as text with a final newline."""
    return obeyed_by_nobody("\n".join(_lines(diagnosis, fail_on, strict)) + "\n")


def prose(text: str) -> str:
    """Data as words: markup is escaped, and nobody is mentioned and nothing linked by it."""
    shown = _MARKUP.sub(r"\\\1", printable(text)).replace("@", "&#64;").replace("://", ":&#47;&#47;")
    return shown.replace("www.", "www&#46;")


def code(text: str) -> str:
    """Data as a span of code, whatever backticks are in it."""
    shown = printable(text).strip() or " "
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", shown)), default=0))
    space = " " if len(fence) > 1 or shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{space}{shown}{space}{fence}"


def _cell(text: str) -> str:
    """A span of code in a table's cell, where a bar ends the cell even in code."""
    return code(text).replace("|", "\\|")


def _block(commands: Sequence[str]) -> Iterator[str]:
    shown = [printable(command) for command in commands]
    fence = "`" * max(3, 1 + max((len(run) for line in shown for run in re.findall(r"`+", line)), default=0))
    yield from (f"{fence}sh", *shown, fence)


def _lines(diagnosis: Diagnosis, fail_on: Severity, strict: bool) -> Iterator[str]:
    verdict = diagnosis.verdict(fail_on, strict)
    yield f"## {_VERDICTS[verdict]} nvdiag: {verdict.value}, {sentences.counted(diagnosis)}"
    yield ""
    yield f"{_heading(diagnosis)}. {sentences.judged(diagnosis)}; exit code {diagnosis.exit_code(fail_on, strict)}."
    yield ""
    yield from _stack(diagnosis)
    yield from _picture(diagnosis)
    history, owner = timeline.lines(diagnosis), timeline.belongs_to(diagnosis)
    for ranked in diagnosis.findings:
        yield from _finding(ranked)
        if ranked.finding.key == owner:
            yield from _history(history)
    if owner is None:
        yield from _history(history)
    yield from _asked(diagnosis)
    yield from _untold(diagnosis, Status.UNKNOWN, "could not be judged")
    yield from _untold(diagnosis, Status.SKIPPED, "do not apply here")


def _heading(diagnosis: Diagnosis) -> str:
    kernel, distribution = fact(diagnosis.facts, RunningKernel), fact(diagnosis.facts, Distribution)
    words = [f"nvdiag {__version__}"]
    if diagnosis.source.kind != "live":
        words.append(prose(f"{diagnosis.source.kind} {diagnosis.source.name}"))
    if isinstance(distribution, Distribution):
        words.append(prose(distribution.name))
    if isinstance(kernel, RunningKernel):
        words.append(prose(f"kernel {kernel.release}"))
    return ", ".join(words)


def _stack(diagnosis: Diagnosis) -> Iterator[str]:
    shown = rows(diagnosis)
    if diagnosis.source.kind == "paste":
        shown = [row for row in shown if row.told and row.mark != "skipped"]
    if not shown:
        return
    yield "| | layer | | read from |"
    yield "| --- | --- | --- | --- |"
    for row in shown:
        source = _cell(row.source) if row.source else ""
        yield f"| {_MARKS.get(row.mark, '')} | {row.layer.value} | {prose(row.value)} | {source} |"
    yield ""
    if status := status_lines(diagnosis):
        yield from (f"- {prose(line)}" for line in status)
        yield ""


def _picture(diagnosis: Diagnosis) -> Iterator[str]:
    """Library by library what a program gets that was asked about by name."""
    for program, lines in cuda_picture.in_full(diagnosis).items():
        yield f"<details><summary>What {prose(program)} gets of CUDA's libraries</summary>"
        yield ""
        yield "| library | version | by | |"
        yield "| --- | --- | --- | --- |"
        for one in lines:
            below = "<br>".join(_cell(text) for text in one.below)
            yield f"| {_cell(one.soname)} | {prose(one.version)} | {prose(one.rule)} | {below} |"
        yield ""
        yield "</details>"
        yield ""


def _finding(ranked: Ranked) -> Iterator[str]:
    finding = ranked.finding
    sure = "" if finding.confidence is Confidence.CERTAIN else f" ({finding.confidence.value})"
    yield f"### {_SEVERITIES[finding.severity]} {finding.severity.value}{sure}: {prose(finding.title)}"
    yield ""
    follows = f", follows from {code(ranked.caused_by)}" if ranked.caused_by else ""
    yield f"{code(finding.id)}, {finding.kind.value}{follows}"
    yield ""
    if finding.detail:
        yield prose(finding.detail)
        yield ""
    yield from _evidence(finding.evidence)
    if not ranked.caused_by:
        for remedy in finding.remedies:
            yield from _remedy(remedy)
    yield f"More: {code(f'nvdiag explain {finding.id}')}"
    yield ""


def _evidence(evidence: Sequence[Evidence]) -> Iterator[str]:
    yield f"<details><summary>Evidence ({len(evidence)})</summary>"
    yield ""
    for one in evidence:
        yield f"- {code(one.source)}: {code(one.excerpt)}"
    yield ""
    yield "</details>"
    yield ""


def _remedy(remedy: Remedy) -> Iterator[str]:
    said = sentences.marks(remedy)
    yield f"**Fix:** {prose(remedy.summary)}{f' *({said})*' if said else ''}"
    yield ""
    if remedy.commands:
        yield from _block(remedy.commands)
        yield ""
    if remedy.prediction:
        yield prose(remedy.prediction)
        yield ""


def _history(history: Sequence[timeline.Line]) -> Iterator[str]:
    if not history:
        return
    yield "**Since:**"
    yield ""
    for line in history:
        when = f"{line.when} " if line.when else ""
        yield f"- {prose(when + line.words)}"
    yield ""


def _asked(diagnosis: Diagnosis) -> Iterator[str]:
    """What to add where a text supports no cause."""
    asked = question(diagnosis)
    if asked is None or not asked.asks:
        return
    yield "**Nothing here decides.** Add what these print, the most telling first:"
    yield ""
    for one in asked.asks:
        yield f"- {code(one.command)}: {prose(one.shows)}"
    yield ""


def _untold(diagnosis: Diagnosis, status: Status, title: str) -> Iterator[str]:
    reasons = untold.by_reason(diagnosis, status)
    if not reasons:
        return
    yield f"<details><summary>{sum(map(len, reasons.values()))} checks {title}</summary>"
    yield ""
    for why, names in reasons.items():
        yield f"- {prose(why)}: {prose(listed(names))}"
    yield ""
    yield "</details>"
    yield ""
