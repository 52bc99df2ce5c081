"""For monitors that read one line and an exit code of their own: Nagios and its kin, node-problem-detector."""

from __future__ import annotations

from collections import Counter

from nvdiag.model.diagnosis import Diagnosis, Status, Verdict
from nvdiag.model.finding import Severity
from nvdiag.report import sentences
from nvdiag.report.printable import obeyed_by_nobody, printable

NAGIOS_STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
"""By exit code (Monitoring Plugins' development guidelines)."""
NAGIOS_UNKNOWN = 3
NPD_OK, NPD_PROBLEM, NPD_UNKNOWN = 0, 1, 2
"""Exit codes of node-problem-detector's custom plug-ins (its docs/custom_plugin_monitor.md)."""
NPD_BYTES = 80
"""What node-problem-detector keeps of a message unless it is told otherwise (max_output_length)."""


def nagios_code(diagnosis: Diagnosis, fail_on: Severity, strict: bool) -> int:
    """0 to 3; a sure warning below --fail-on is WARNING."""
    code = diagnosis.exit_code(fail_on, strict)
    if code == 1:
        return 2
    if diagnosis.verdict(fail_on, strict) is Verdict.PROBLEMS:
        return 1
    return NAGIOS_UNKNOWN if code else 0


def nagios(diagnosis: Diagnosis, fail_on: Severity, strict: bool) -> str:
    """One line with performance data, then a line for each finding. A bar ends the words, so none is among them."""
    state = NAGIOS_STATES[nagios_code(diagnosis, fail_on, strict)]
    causes = [ranked.finding for ranked in diagnosis.findings if ranked.caused_by is None]
    said = (
        f"{causes[0].id} ({causes[0].kind.value}): {printable(causes[0].title)}"
        if causes
        else sentences.judged(diagnosis)
    )
    more = f" (+{len(causes) - 1} more)" if len(causes) > 1 else ""
    lines = [f"{_words(f'NVDIAG {state} - {said}{more}')} | {_performance(diagnosis)}"]
    for one in (ranked.finding for ranked in diagnosis.findings):
        lines.append(_words(f"{one.severity.value} {one.key} ({one.kind.value}): {printable(one.title)}"))
    return obeyed_by_nobody("\n".join(lines) + "\n")


def _words(text: str) -> str:
    return printable(text).replace("|", "/")


def _performance(diagnosis: Diagnosis) -> str:
    severities = Counter(ranked.finding.severity for ranked in diagnosis.findings)
    unknown = sum(1 for one in diagnosis.checks if one.status in (Status.UNKNOWN, Status.FAILED))
    passed = sum(1 for one in diagnosis.checks if one.status is Status.PASSED)
    return (
        f"errors={severities[Severity.ERROR]};;;0 warnings={severities[Severity.WARNING]};;;0 unknown={unknown};;;0"
        f" passed={passed};;;0 time={diagnosis.seconds:.3f}s;;;0"
    )


def npd_code(diagnosis: Diagnosis, fail_on: Severity, strict: bool) -> int:
    """0 well, 1 a problem, 2 unknown."""
    return {0: NPD_OK, 1: NPD_PROBLEM}.get(diagnosis.exit_code(fail_on, strict), NPD_UNKNOWN)


def npd(diagnosis: Diagnosis, fail_on: Severity, strict: bool) -> str:
    """One line of at most 80 bytes: what stands first, and how many more there are.

    node-problem-detector makes all of a plug-in's output, cut to that length, a condition's message, which stands in a
    table (its pkg/custompluginmonitor/plugin/plugin.go), so there is no second line.
    """
    causes = [ranked.finding for ranked in diagnosis.findings if ranked.caused_by is None]
    if causes:
        more = f" (+{len(causes) - 1} more)" if len(causes) > 1 else ""
        line = _short(f"{causes[0].key}: {printable(causes[0].title)}", NPD_BYTES - len(more)) + more
    else:
        line = _short(f"{diagnosis.verdict(fail_on, strict).value}: {sentences.judged(diagnosis)}", NPD_BYTES)
    return obeyed_by_nobody(f"{line}\n")


def _short(text: str, most: int) -> str:
    """At most so many bytes of UTF-8."""
    shown = printable(text)
    while len(shown.encode("utf-8", "replace")) > most:
        shown = shown[:-1]
    return shown
