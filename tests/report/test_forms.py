"""The forms for CI and monitors, each read back by something that is not nvdiag's."""

from __future__ import annotations

import functools
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import html5lib
import pytest
from junitparser import Failure, JUnitXml, Skipped
from markdown_it import MarkdownIt
from prometheus_client.parser import text_string_to_metric_families

from nvdiag.cli import delivering, running
from nvdiag.model.diagnosis import Diagnosis, Ranked, Status
from nvdiag.model.finding import Confidence, Evidence, Finding, Remedy, Severity
from nvdiag.report import github, markdown, monitors
from nvdiag.report.printable import printable
from tests.cli.calling import call, process
from tests.report.reporting import MACHINES, commands, diagnosed

CHOICE = running.chosen((), ())
DEMO = str(Path(__file__).parents[2] / "nvdiag" / "demo" / "machine.json")
HOSTILE = (
    "::error::owned", "\n::set-output name=x::y", "%0A::warning::x", "a\r\n::stop-commands::x", "\x1b[2J\x00\ud800",
    "<script>x</script>", "[x](http://evil.example)", "![x](http://evil.example/x.png)", "`rm -rf`", "``` \n# x",
    "@everyone #123", "| a | b |", "]]>", "&lt;b&gt;", "www.evil.example", "https://evil.example", "**x** _y_ ~~z~~",
)  # fmt: skip


@pytest.fixture(scope="module", params=MACHINES)
def machine(request: pytest.FixtureRequest) -> Diagnosis:
    return diagnosed(MACHINES[request.param]())


def shown(diagnosis: Diagnosis, form: str, fail_on: Severity = Severity.ERROR, strict: bool = False) -> str:
    wanted = delivering.Wanted(form=form, fail_on=fail_on, strict=strict)
    return delivering.rendered(diagnosis, CHOICE, wanted, to_file=True)


@functools.cache
def well() -> Diagnosis:
    return diagnosed(MACHINES["healthy"]())


def saying(
    text: str,
    *,
    count: int = 1,
    severity: Severity = Severity.ERROR,
    confidence: Confidence = Confidence.CERTAIN,
) -> Diagnosis:
    """A diagnosis with `count` findings that say `text` wherever they say anything."""
    findings = [
        Finding(
            id="driver-library-mismatch",
            subject=str(number) if number else "",
            severity=severity,
            confidence=confidence,
            title=f"{number} {text}",
            detail=text,
            evidence=(Evidence(source=text, excerpt=text),),
            remedies=(Remedy(summary=text, commands=(f"echo {text}",), prediction=text),),
        )
        for number in range(count)
    ]
    return replace(well(), findings=tuple(Ranked(finding=one) for one in findings))


# Markdown


@pytest.mark.parametrize("text", HOSTILE)
def test_no_data_is_markup(text: str) -> None:
    parsed = MarkdownIt("gfm-like", {"linkify": False}).parse(shown(saying(text), "markdown"))
    inner = [child for one in parsed for child in one.children or ()]
    assert [one.content for one in parsed if one.type == "html_block" and "details" not in one.content] == []
    assert {one.type for one in inner} <= {"text", "code_inline", "strong_open", "strong_close", "em_open", "em_close"}
    assert len([one for one in parsed if one.type == "heading_open"]) == 2
    words = re.sub(r"(`+)[^`].*?\1", "", shown(saying(text), "markdown"), flags=re.S)
    assert not re.search(r"@|://|www\.", words)  # which GitHub makes mentions and links of


def test_the_commands_stand_in_blocks_to_copy(machine: Diagnosis) -> None:
    parsed = MarkdownIt("gfm-like", {"linkify": False}).parse(shown(machine, "markdown"))
    blocks = "".join(one.content for one in parsed if one.type == "fence").splitlines()
    own = {
        command
        for one in machine.findings
        if not one.caused_by
        for remedy in one.finding.remedies
        for command in remedy.commands
    }
    assert set(blocks) == own <= commands(machine)


def test_markdown_names_every_check_that_did_not_judge_below_its_reason(machine: Diagnosis) -> None:
    lines = shown(machine, "markdown").splitlines()
    for one in machine.checks:
        if one.status in (Status.UNKNOWN, Status.SKIPPED):
            (line,) = (line for line in lines if line.startswith(f"- {markdown.prose(one.reason)}: "))
            assert markdown.prose(one.name.replace("_", " ")) in line


# HTML


def page_of(text: str) -> ElementTree.Element:
    """The page as a strict parser of HTML 5 has it: any error of syntax is raised."""
    page: ElementTree.Element = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    return page


def text_of(element: ElementTree.Element) -> str:
    return "".join(element.itertext())


def test_the_page_is_strict_html_and_asks_for_nothing_else(machine: Diagnosis) -> None:
    page = page_of(shown(machine, "html"))
    assert [one for one in page.iter() if {"src", "href", "action", "onclick"} & {*one.attrib}] == []
    assert len(list(page.iter("script"))) == len(list(page.iter("style"))) == 1
    titles = [text_of(one).partition(": ")[2] for one in page.iter("h3")]
    assert titles == [printable(ranked.finding.title) for ranked in machine.findings]


def test_the_page_has_all_to_read_and_to_copy(machine: Diagnosis) -> None:
    page = page_of(shown(machine, "html"))
    told = {line for block in page.iter("pre") for line in text_of(block).splitlines()}
    causes = [one.finding for one in machine.findings if not one.caused_by]
    assert told == {command for finding in causes for remedy in finding.remedies for command in remedy.commands}
    words = " ".join(text_of(page).split())
    for ranked in machine.findings:
        for one in ranked.finding.evidence:
            assert " ".join(printable(one.excerpt).split()) in words
    reasons = {pair[0]: pair[1] for one in page.iter("dl") if "reasons" in one.get("class", "") for pair in pairs(one)}
    for check in machine.checks:
        if check.status in (Status.UNKNOWN, Status.SKIPPED):
            assert printable(check.name.replace("_", " ")) in reasons[" ".join(printable(check.reason).split())]


def pairs(one: ElementTree.Element) -> list[tuple[str, str]]:
    """Each term of a list, without the count behind it, and what is said of it."""
    words = [" ".join(text_of(child).split()) for child in one]
    return [(re.sub(r" \(\d+\)$", "", words[n]), words[n + 1]) for n in range(0, len(words), 2)]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_data_is_a_tag_of_the_page(text: str) -> None:
    def tags(page: ElementTree.Element) -> list[str]:
        return [str(one.tag) for one in page.iter()]

    written = shown(saying(text), "html")
    assert tags(page_of(written)) == tags(page_of(shown(saying("x"), "html")))
    assert not re.search(r"^\s*::|[\x00-\x08\x0e-\x1f\ud800-\udfff]", written, re.M)


# GitHub


def annotated(text: str) -> list[tuple[str, str, str]]:
    """Level, title and message of each, as the runner reads them."""
    found = re.findall(r"^::(error|warning|notice) title=([^:]*)::(.*)$", text, re.M)
    return [(level, title, message.replace("%0A", "\n").replace("%25", "%")) for level, title, message in found]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_data_is_a_workflow_command(text: str) -> None:
    lines = shown(saying(text), "github").split("\n")
    obeyed = [line for line in lines if line.lstrip().startswith("::")]
    assert [line.split(" ")[0].split(":")[2] for line in obeyed] == ["error", "group", "endgroup"]
    assert not any("\r" in line for line in lines)


def test_no_more_annotations_than_github_shows_and_none_that_it_cuts() -> None:
    told = annotated(shown(saying("x" * 3000, count=40), "github"))
    assert len(told) == github.MOST
    assert told[-1][1] == "nvdiag%3A 31 more"
    assert all(len(message) <= github.LONGEST for _, _, message in told)
    possible = annotated(shown(saying("x", count=40, confidence=Confidence.POSSIBLE), "github"))
    assert [level for level, _, _ in possible] == ["warning"] * github.MOST
    assert possible[0][1].startswith("nvdiag cannot tell")


@pytest.mark.parametrize(
    ("severity", "confidence", "level"),
    [
        (Severity.ERROR, Confidence.LIKELY, "error"),
        (Severity.ERROR, Confidence.POSSIBLE, "warning"),
        (Severity.WARNING, Confidence.CERTAIN, "warning"),
        (Severity.INFO, Confidence.CERTAIN, "notice"),
    ],
)
def test_an_annotation_is_an_error_where_the_run_fails(severity: Severity, confidence: Confidence, level: str) -> None:
    text = shown(saying("x", severity=severity, confidence=confidence), "github")
    assert annotated(text)[0][0] == level


def test_an_annotation_says_what_kind_of_trouble_it_is_and_what_to_do() -> None:
    (told,) = annotated(shown(diagnosed(MACHINES["mismatch"]()), "github"))
    assert told[:2] == ("error", "nvdiag%3A driver-library-mismatch (configuration)")
    assert "fix: reboot [root, reboots, disruptive]\n    sudo reboot" in told[2]


def test_a_machine_that_cannot_be_judged_is_annotated_too() -> None:
    ((level, title, _),) = annotated(shown(diagnosed(MACHINES["an empty snapshot"]()), "github"))
    assert (level, title.startswith("nvdiag cannot tell")) == ("warning", True)


def test_the_jobs_summary_is_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert call("check", "--from", DEMO, "--format", "github").exit_code == 1
    assert summary.read_text().startswith("before\n## ❌ nvdiag: problems, 1 error\n")
    size = summary.stat().st_size
    assert call("check", "--from", DEMO).exit_code == 1
    assert summary.stat().st_size == size


def test_a_summary_is_never_longer_than_github_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary"
    summary.write_bytes(b"x" * (1024 * 1024 - 1000))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    call("check", "--from", DEMO, "--format", "github")
    assert summary.stat().st_size <= 1024 * 1024
    assert summary.read_text().endswith("(cut: a summary takes 1 MiB)\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere" / "x"))
    refused = call("check", "--from", DEMO, "--format", "github")
    assert (refused.exit_code, "cannot write the summary" in refused.stderr) == (1, True)


# JUnit


def test_junit_has_a_case_for_every_check(machine: Diagnosis) -> None:
    report = JUnitXml.fromstring(shown(machine, "junit").encode())
    cases = [case for suite in report for case in suite]
    names = [(case.classname, case.name) for case in cases]
    assert len(set(names)) == len(names)
    assert {(f"nvdiag.{one.area}", one.name.replace("_", " ")) for one in machine.checks} <= set(names)
    failing = {failure.type for case in cases for failure in case.result if isinstance(failure, Failure)}
    sure = {
        one.finding.id
        for one in machine.findings
        if one.finding.severity is Severity.ERROR and one.finding.confidence is not Confidence.POSSIBLE
    }
    assert failing <= sure
    assert bool(failing) == bool(sure - {"check-failed"})
    skipped = [result.message for case in cases for result in case.result if isinstance(result, Skipped)]
    assert len(skipped) == sum(one.status in (Status.UNKNOWN, Status.SKIPPED) for one in machine.checks)
    assert all(message and ": " in message for message in skipped)


def test_junit_says_of_each_finding_of_what_class_it_is(machine: Diagnosis) -> None:
    (suite,) = JUnitXml.fromstring(shown(machine, "junit").encode())
    properties = {one.get("name", ""): one.get("value") for one in suite._elem.iter("property")}
    told = {name.removeprefix("nvdiag.class."): value for name, value in properties.items() if "class" in name}
    assert told == {ranked.finding.key: ranked.finding.kind.value for ranked in machine.findings}
    failed = [result for case in suite for result in case.result if isinstance(result, Failure)]
    assert all(re.search(r" \((configuration|hardware|application|environment|tool)\)$", one.message) for one in failed)
    assert all(f" {one.type}" in one.text for one in failed)


def test_under_strict_a_check_that_cannot_judge_is_an_error() -> None:
    empty = diagnosed(MACHINES["an empty snapshot"]())
    (suite,) = JUnitXml.fromstring(shown(empty, "junit", strict=True).encode())
    assert suite.errors == sum(one.status is Status.UNKNOWN for one in empty.checks) > 0


def test_a_warning_is_output_of_a_passing_case_unless_warnings_fail() -> None:
    warned = saying("x", severity=Severity.WARNING)
    (suite,) = JUnitXml.fromstring(shown(warned, "junit").encode())
    assert (suite.failures, sum(bool(case.system_out) for case in suite)) == (0, 1)
    (suite,) = JUnitXml.fromstring(shown(warned, "junit", fail_on=Severity.WARNING).encode())
    assert suite.failures == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_junit_is_well_formed_whatever_is_told(text: str) -> None:
    written = shown(saying(text), "junit")
    root = ElementTree.fromstring(written.encode())
    assert root.find(".//failure") is not None
    assert not re.search(r"^\s*::|[\x00-\x08\x0e-\x1f\ufffe\uffff]", written, re.M)


# Prometheus


def test_prometheus_own_parser_reads_the_metrics(machine: Diagnosis) -> None:
    families = {one.name: one for one in text_string_to_metric_families(shown(machine, "prometheus"))}
    assert all(one.documentation and name.startswith("nvdiag_") for name, one in families.items())
    samples = [sample for one in families.values() for sample in one.samples]
    assert all(sample.timestamp is None for sample in samples)
    assert families["nvdiag_exit_code"].samples[0].value == machine.exit_code()
    assert {one.labels["verdict"] for one in families["nvdiag_verdict"].samples if one.value} == {
        machine.verdict().value
    }
    told = sorted(one.labels["id"] for one in families["nvdiag_finding"].samples)
    assert told == sorted(ranked.finding.id for ranked in machine.findings)


def test_metrics_have_the_same_names_on_every_machine() -> None:
    texts = [shown(diagnosed(MACHINES[name]()), "prometheus") for name in ("healthy", "mismatch", "no GPU")]
    assert len({tuple(re.findall(r"^# HELP (.*)$", text, re.M)) for text in texts}) == 1


def test_the_collector_may_read_the_file_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        call("check", "--from", DEMO, "--format", "prometheus", "--output", str(tmp_path / "nvdiag.prom"))
        call(
            "check", "--from", DEMO, "--report", f"prometheus={tmp_path / 'more.prom'}", "--output", str(tmp_path / "x")
        )
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"nvdiag.prom": 0o644, "more.prom": 0o644, "x": 0o600}


# Monitors


def test_nagios_gets_one_line_with_performance_data_and_its_own_exit_codes(machine: Diagnosis) -> None:
    first = shown(machine, "nagios").splitlines()[0]
    found = re.fullmatch(r"NVDIAG (OK|WARNING|CRITICAL|UNKNOWN) - ([^|]+) \| (.+)", first)
    assert found
    code = delivering.exit_code(machine, delivering.Wanted(form="nagios"))
    assert monitors.NAGIOS_STATES[code] == found[1]
    assert (code == 2) == (machine.exit_code() == 1)
    assert code == 3 or machine.exit_code() != 3 or machine.findings
    assert all(re.fullmatch(r"[a-z]+=\d+(\.\d+)?s?;;;0", one) for one in found[3].split(" "))


@pytest.mark.parametrize(
    ("severity", "confidence", "nagios", "npd"),
    [
        (Severity.ERROR, Confidence.CERTAIN, 2, 1),
        (Severity.ERROR, Confidence.POSSIBLE, 3, 2),
        (Severity.WARNING, Confidence.LIKELY, 1, 0),
        (Severity.INFO, Confidence.CERTAIN, 0, 0),
    ],
)
def test_the_exit_codes_of_monitors(severity: Severity, confidence: Confidence, nagios: int, npd: int) -> None:
    found = saying("x | y", severity=severity, confidence=confidence)
    assert delivering.exit_code(found, delivering.Wanted(form="nagios")) == nagios
    assert delivering.exit_code(found, delivering.Wanted(form="npd")) == npd
    assert shown(found, "nagios").splitlines()[0].count("|") == 1


@pytest.mark.parametrize(("form", "code"), [("nagios", 2), ("npd", 1), ("terminal", 1)])
def test_the_command_itself_ends_with_the_code_of_its_form(form: str, code: int) -> None:
    told = process("check", "--from", DEMO, "--format", form)
    assert (told.returncode, "driver-library-mismatch" in told.stdout) == (code, True)


@pytest.mark.parametrize("text", [*HOSTILE, "é" * 100, "x" * 100])
def test_node_problem_detector_gets_one_line_of_eighty_bytes(text: str) -> None:
    told = shown(saying(text, count=3), "npd")
    assert told.startswith("driver-library-mismatch: 0 ")
    assert told.endswith(" (+2 more)\n")
    assert told.count("\n") == 1
    assert len(told.encode()) <= 81


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--format", "nagios", "--from", "/nonexistent"), 3),
        (("--format=nagios", "--no-such-option"), 3),
        (("--select", "no-such-id", "--format", "nagios"), 3),
        (("--format", "npd", "--from", "/nonexistent"), 2),
    ],
)
def test_what_a_monitor_asks_wrongly_is_unknown_and_no_alarm(arguments: tuple[str, ...], code: int) -> None:
    told = process("check", *arguments)
    assert (told.returncode, told.stdout) == (code, "")


# Several at once


def test_several_reports_come_of_one_run(tmp_path: Path) -> None:
    files = {form: tmp_path / form for form in delivering.FORMS}
    result = call("check", "--from", DEMO, *(f"--report={form}={file}" for form, file in files.items()))
    assert (result.exit_code, "driver-library-mismatch" in result.stdout) == (1, True)
    assert all("driver-library-mismatch" in file.read_text() for file in files.values())


def test_several_reports_cost_one_diagnosis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Diagnosis] = []
    diagnosed_once = running.diagnosed

    def counted(*arguments: Any, **named: Any) -> Diagnosis:
        runs.append(diagnosed_once(*arguments, **named))
        return runs[-1]

    monkeypatch.setattr(running, "diagnosed", counted)
    call("check", "--from", DEMO, *(f"--report={form}={tmp_path / form}" for form in delivering.FORMS))
    assert len(runs) == 1
    seconds = json.loads((tmp_path / "json").read_text())["seconds"]
    assert f"nvdiag_run_duration_seconds {seconds}\n" in (tmp_path / "prometheus").read_text()


@pytest.mark.parametrize("form", delivering.FORMS)
def test_every_form_replaces_its_file_in_one_step(form: str, tmp_path: Path) -> None:
    target = tmp_path / "report"
    target.write_text("old")
    with target.open() as reader:
        result = call("check", "--from", DEMO, "--format", form, "--output", str(target))
        assert reader.read() == "old"
    assert result.stdout == ""
    assert "driver-library-mismatch" in target.read_text()
    assert [one.name for one in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("form", delivering.FORMS)
def test_a_file_that_cannot_be_written_is_told_and_costs_no_other_report(form: str, tmp_path: Path) -> None:
    nowhere, there = tmp_path / "nowhere" / "x", tmp_path / "json"
    result = call("check", "--from", DEMO, f"--report={form}={nowhere}", f"--report=json={there}")
    assert (result.exit_code, result.stderr) == (2, f"nvdiag: cannot write {nowhere}: No such file or directory\n")
    assert "driver-library-mismatch" in result.stdout
    assert json.loads(there.read_text())["exit_code"] == 1


@pytest.mark.parametrize(
    ("report", "words"),
    [("junit", "FORM=FILE"), ("junit=", "FORM=FILE"), ("junitt=x", "did you mean junit?"), ("=x", "form of a report")],
)
def test_a_wrong_report_is_told_before_anything_is_looked_at(report: str, words: str) -> None:
    result = call("check", "--from", DEMO, "--report", report)
    assert (result.exit_code, result.stdout, words in result.stderr) == (2, "", True)
