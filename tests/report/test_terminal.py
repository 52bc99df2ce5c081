"""The terminal report: readable at 80 columns, harmless whatever was read, honest about what was not judged."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from typing import Any

import pytest

from nvdiag.host.snapshot import SnapshotHost
from nvdiag.model.diagnosis import Diagnosis, Status
from nvdiag.model.finding import Evidence
from tests.checks.pasting import pasted
from tests.report.reporting import CRASHED, HUNG, MACHINES, SLOW, as_document, as_lines, commands, diagnosed, troubled
from tests.report.test_json import diagnosis_with_failed_check
from tests.scenarios import containers, machines

HARMFUL = (
    "\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\x1b]8;;http://x\x1b\\", "[/bold]", "[bold red]", "[link=http://x]",
    "\u202e", "\u2066", "\u061c", "\u200f", "\u2028", "\r", "\x08", "\x00", "\x7f", "\udc9b", ":bomb:",
)  # fmt: skip
NEVER_SHOWN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff]")


@pytest.fixture(scope="module", params=MACHINES)
def machine(request: pytest.FixtureRequest) -> Diagnosis:
    return diagnosed(MACHINES[request.param]())


def too_long(diagnosis: Diagnosis, width: int = 80) -> list[str]:
    typed = commands(diagnosis)
    return [line for line in as_lines(diagnosis, width=width) if len(line) > width and line.strip() not in typed]


@pytest.mark.parametrize("width", [60, 80, 110])
def test_no_line_is_wider_than_the_terminal(machine: Diagnosis, width: int) -> None:
    assert too_long(machine, width) == []


def test_long_words_of_evidence_do_not_widen_the_report(machine: Diagnosis) -> None:
    long = Evidence(source=f"/opt/{'a' * 200}/x", excerpt="b" * 200)
    findings = tuple(
        replace(one, finding=replace(one.finding, evidence=(long,), title=f"c {'c' * 100}", subject="d" * 100))
        for one in machine.findings
    )
    followed = tuple(replace(one, caused_by="e" * 120) for one in findings)
    assert too_long(replace(machine, findings=(*findings, *followed))) == []


def test_many_processes_do_not_widen_the_status_line() -> None:
    tree = machines.ubuntu_dkms("570.172.08")
    processes = [{"pid": pid, "memory_bytes": 1, "name": f"python3.12-worker-{pid}"} for pid in range(4000, 4009)]
    tree.probes["nvml"]["devices"][0]["compute_processes"] = processes
    found = diagnosed(tree.host())
    assert too_long(found) == []
    assert "9 processes" in " ".join(as_lines(found))


def test_commands_are_never_wrapped_or_cut() -> None:
    for name in MACHINES:
        found = diagnosed(MACHINES[name]())
        shown = {line.strip() for line in as_lines(found, width=60)}
        told = {
            command
            for one in found.findings
            if not one.caused_by
            for r in one.finding.remedies
            for command in r.commands
        }
        assert told <= shown


def test_a_command_longer_than_the_terminal_stays_one_line() -> None:
    found = diagnosed(MACHINES["mismatch"]())
    command = "sudo apt install " + " ".join(f"package-{number}" for number in range(20))
    first = found.findings[0]
    remedy = replace(first.finding.remedies[0], commands=(command,))
    changed = replace(found, findings=(replace(first, finding=replace(first.finding, remedies=(remedy,))),))
    assert command in [line.strip() for line in as_lines(changed)]


def test_without_colour_there_is_no_escape_sequence(machine: Diagnosis) -> None:
    assert not NEVER_SHOWN.search("".join(as_lines(machine)))


def test_colour_changes_no_word(machine: Diagnosis) -> None:
    coloured = "\n".join(as_lines(machine, colour=True))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert "\x1b[" in coloured
    assert [line.rstrip() for line in plain.split("\n")] == as_lines(machine)


def test_ascii_mode_is_pure_ascii(machine: Diagnosis) -> None:
    assert "\n".join(as_lines(machine, unicode=False)).isascii()


def test_ascii_mode_says_the_same_in_as_many_words() -> None:
    found = diagnosed(MACHINES["two GPUs"]())
    text = " ".join(" ".join(as_lines(found, unicode=False)).split())
    assert "?" not in text
    assert "41 C" in text


# What was read may hold anything.


def poisoned(value: Any, poison: str) -> Any:
    """Every text of a snapshot with something harmful in its middle, numbers of versions left alone."""
    if isinstance(value, dict):
        return {key: poisoned(one, poison) for key, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one, poison) for one in value]
    if isinstance(value, str):
        return re.sub(r"(?<=[A-Za-z])(?=[A-Za-z]{3})", poison.replace("\\", r"\\"), value, count=3) + poison
    return value


def poisonings() -> list[Any]:
    return [
        pytest.param(name, poison, id=f"{name}-{index}", marks=[pytest.mark.long] if name == "healthy" else [])
        for (name, (index, poison)) in itertools.product(("mismatch", "healthy"), enumerate(HARMFUL))
    ]


@pytest.mark.parametrize(("name", "poison"), poisonings())
def test_nothing_harmful_of_a_snapshot_comes_through(name: str, poison: str) -> None:
    recorded = record(name)
    for section in recorded:
        changed = {**recorded, section: poisoned(recorded[section], poison)}
        host = SnapshotHost(changed, f"file{poison}.json")
        text = "".join(as_lines(diagnosed(host)))
        assert not NEVER_SHOWN.search(text), section


def record(name: str) -> dict[str, Any]:
    tree = machines.ubuntu_dkms("570.169" if name == "mismatch" else "570.172.08")
    document: dict[str, Any] = json.loads(json.dumps(tree.snapshot().document))
    return document


@pytest.mark.parametrize("poison", HARMFUL)
def test_nothing_harmful_of_a_finding_comes_through(poison: str, machine: Diagnosis) -> None:
    findings = []
    for one in machine.findings:
        finding = one.finding
        remedies = tuple(
            replace(r, summary=r.summary + poison, commands=(f"echo {poison}",), prediction=poison + r.prediction)
            for r in finding.remedies
        )
        evidence = tuple(Evidence(source=poison + e.source, excerpt=e.excerpt + poison) for e in finding.evidence)
        changed = replace(
            finding, title=poison + finding.title, detail=finding.detail + poison, subject=f"s{poison}",
            evidence=evidence, remedies=remedies,
        )  # fmt: skip
        findings.append(replace(one, finding=changed, caused_by=one.caused_by and one.caused_by + poison))
    checks = tuple(replace(one, name=one.name + poison, reason=one.reason + poison) for one in machine.checks)
    source = replace(machine.source, kind="snapshot", name=f"n{poison}", captured_at=f"2025{poison}")
    found = replace(machine, findings=tuple(findings), checks=checks, source=source)
    text = "\n".join(as_lines(found))
    assert not NEVER_SHOWN.search(text.replace("\n", ""))
    for markup in ("[/bold]", "[bold red]", "[link=http://x]", ":bomb:"):
        if poison == markup and findings:
            assert markup in text  # shown as it is, not taken for rich's markup


@pytest.mark.parametrize("poison", HARMFUL)
def test_the_json_report_is_ascii_and_gives_the_words_back(poison: str) -> None:
    found = diagnosed(MACHINES["mismatch"]())
    first = found.findings[0]
    changed = replace(found, findings=(replace(first, finding=replace(first.finding, detail=poison)),))
    assert as_document(changed)["findings"][0]["detail"] == poison


# What a person reads.


def test_the_cause_stands_before_the_consequence_which_names_it() -> None:
    lines = as_lines(diagnosed(MACHINES["mismatch with a consequence"]()))
    cause = next(n for n, line in enumerate(lines) if line.startswith("error[driver-library-mismatch]"))
    consequence = next(n for n, line in enumerate(lines) if line.startswith("  error[driver-submodule-mismatch]"))
    assert cause < consequence
    assert "driver-library-mismatch" in " ".join(lines[consequence : consequence + 3])


def test_a_consequence_offers_no_remedy_of_its_own() -> None:
    lines = as_lines(diagnosed(MACHINES["mismatch with a consequence"]()))
    consequence = next(n for n, line in enumerate(lines) if line.startswith("  error[driver-submodule-mismatch]"))
    assert not any("fix:" in line for line in lines[consequence:])


def test_each_gpu_has_a_line_of_status() -> None:
    lines = as_lines(diagnosed(MACHINES["two GPUs"]()))
    assert [line.strip() for line in lines if line.startswith("  GPU ")] == [
        f"GPU {index}: 37 % busy, 1.0/24.0 GiB, 41 °C, 61/450 W, 1 process (llama-server)" for index in (0, 1)
    ]


def stack(lines: list[str]) -> list[str]:
    """The lines of the stack by their first word: the layers' names, and the marks between them."""
    rows = lines[lines.index("") + 1 :]
    rows = rows[: rows.index("")]
    return [row.strip() if row.strip() == "≠" else row[4:24].strip() for row in rows if row[4:24].strip() or "≠" in row]


def test_releases_that_differ_have_a_mark_between_them() -> None:
    assert stack(as_lines(diagnosed(MACHINES["mismatch"]())))[:4] == ["GPU", "loaded module", "≠", "next-boot module"]


def test_the_mark_stands_where_the_releases_part() -> None:
    shown = stack(as_lines(diagnosed(MACHINES["mismatch on the disk too"]())))
    assert shown[1:5] == ["loaded module", "next-boot module", "≠", "libnvidia-ml"]


@pytest.mark.parametrize("name", ["healthy", "two GPUs", "no libraries", "module not loaded", "an empty snapshot"])
def test_releases_that_agree_have_no_mark_between_them(name: str) -> None:
    assert "≠" not in stack(as_lines(diagnosed(MACHINES[name]())))


def test_the_mark_in_ascii() -> None:
    assert "  #" in as_lines(diagnosed(MACHINES["mismatch"]()), unicode=False)


def test_a_check_that_should_have_judged_and_did_not_is_shown_with_its_reason(machine: Diagnosis) -> None:
    text = " ".join(" ".join(as_lines(machine)).split())
    for one in machine.checks:
        if one.status is Status.UNKNOWN:
            assert f": {one.reason}" in text


def test_checks_that_share_what_they_lack_are_told_in_a_few_words() -> None:
    lines = as_lines(diagnosed(MACHINES["an empty snapshot"]()))
    start = lines.index("could not be judged:")
    told = lines[start : lines.index("", start)]
    assert len(told) < 40
    assert "more (--verbose names each): the snapshot does not say anything about /sys/bus/pci/devices" in " ".join(
        " ".join(told).split()
    )


def test_what_does_not_apply_is_counted_in_a_few_lines(machine: Diagnosis) -> None:
    skipped = [one.reason for one in machine.checks if one.status is Status.SKIPPED]
    lines = as_lines(machine)
    start = next(n for n, line in enumerate(lines) if line.startswith(f"{len(skipped)} checks do not apply here: "))
    told = " ".join(" ".join(lines[start : lines.index("", start)]).split())
    named = {one.rpartition(" (")[0] or one for one in told.partition(" here: ")[2].split("; ")}
    shown = [reason for reason in dict.fromkeys(skipped) if reason in named]
    assert len(shown) >= 8
    others = len(skipped) - sum(skipped.count(reason) for reason in shown)
    assert f"; {others} more for {len(set(skipped)) - len(shown)} other reasons (--verbose names each)" in told
    assert lines.index("", start) - start < 12


def test_verbose_names_each_check_that_did_not_judge_with_its_reason(machine: Diagnosis) -> None:
    text = " ".join(" ".join(as_lines(machine, verbose=True)).split())
    for one in machine.checks:
        if one.status in (Status.UNKNOWN, Status.SKIPPED):
            assert one.name.replace("_", " ") in text
            assert one.reason in text


def test_the_paste_that_shows_little_is_told_so_in_one_line_unless_all_is_asked_for() -> None:
    found = diagnosed(pasted("NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus."))
    lines = as_lines(found)
    assert any(line.startswith("  - ") and "the text does not show" in line for line in lines)
    assert sum(one.status is Status.UNKNOWN for one in found.checks) > 1
    text = " ".join(" ".join(as_lines(found, verbose=True)).split())
    assert "names each" not in text
    for one in found.checks:
        assert one.status not in (Status.UNKNOWN, Status.SKIPPED) or one.reason in text


def test_a_finding_says_of_what_class_it_is() -> None:
    assert "  note: configuration; nvdiag explain driver-library-mismatch" in as_lines(
        diagnosed(MACHINES["mismatch"]())
    )


def test_a_check_that_failed_is_shown_with_its_reason() -> None:
    lines = as_lines(diagnosis_with_failed_check())
    assert lines[-1].startswith("problems: 1 error")
    assert any("ValueError: x" in line for line in lines)


@pytest.mark.parametrize(("answer", "words"), [(HUNG, "uninterruptible sleep"), (CRASHED, "SIGBUS"), (SLOW, "slow")])
def test_a_probe_that_did_not_come_back_is_shown(answer: dict[str, Any], words: str) -> None:
    assert words in " ".join(as_lines(diagnosed(troubled(answer).host())))


def test_the_last_line_agrees_with_the_exit_code(machine: Diagnosis) -> None:
    last = " ".join(" ".join(as_lines(machine)).split()).rpartition(f"{machine.verdict().value}: ")[2]
    assert re.fullmatch(rf"[^:]+; \d+ checks passed.*; exit code {machine.exit_code()}", last)


def test_a_recording_says_of_what_and_of_when_it_is() -> None:
    first = " ".join(as_lines(diagnosed(MACHINES["healthy, as recorded"]())))
    assert "snapshot recorded scenario of 2025-09-16T08:11:02+00:00" in first


def test_the_terminal_says_in_one_line_which_side_of_a_container_this_is() -> None:
    text = " ".join(" ".join(as_lines(diagnosed(containers.kubernetes().host()))).split())
    assert "this system a Kubernetes pod; the kernel module is the host's" in text
    assert "this system" not in "\n".join(as_lines(diagnosed(machines.ubuntu_dkms().host()))).split("does not apply")[0]
