"""Nothing that an input says reaches a terminal, a CI system or a parser of XML as more than text."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nvdiag.cli import running
from nvdiag.engine import BrokenPlugin
from nvdiag.host import Host, handed
from nvdiag.host.snapshot import SnapshotHost
from nvdiag.knowledge.messages import messages
from nvdiag.model.diagnosis import CheckOutcome, Diagnosis, Part, Ranked, Source, Status
from nvdiag.model.finding import Confidence, Evidence, Finding, Remedy, Severity
from nvdiag.model.text import as_json
from nvdiag.report import as_json as report
from nvdiag.report import terminal
from nvdiag.report.printable import obeyed_by_nobody, printable
from tests.cli.calling import call, one_line, process
from tests.report.reporting import MACHINES

CONTROLS = (
    "\x1b]0;owned\x07", "\x1b[2J", "\x9b31m", "\x00", "\x08\x08", "\r", "\x7f", "\x85", "\x0c", "\u202e", "\u2066",
    "\u200f", "\u2028", "\ufeff", "\ud800", "\ufffe", "\uffff", "\u00ad", "\U000e0041",
)  # fmt: skip
COMMANDS = ("::error::owned", "##[error]owned", "##vso[task.complete]owned", "##teamcity[x]", "::add-mask::owned")
MARKUP = ("[bold red]owned[/]", "[link=https://x.example]owned[/link]", ":warning:", "<script>owned</script>")
PLANTS = (*CONTROLS, *COMMANDS, *MARKUP)

_HARMFUL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff\ud800-\udfff"
    r"\U000e0000-\U000e0fff]|^\s*::|##[a-z]{0,20}\[",
    re.M | re.I,
)


def assert_harmless(shown: str) -> None:
    assert _HARMFUL.findall(shown) == []


def shown(diagnosis: Diagnosis) -> dict[str, str]:
    """A diagnosis in every form, the terminal's in several widths."""
    choice = running.chosen((), ())
    looks = [terminal.Look(width=width, unicode=width != 61) for width in (60, 61, 72, 80, 110)]
    return {
        "json": report.render(diagnosis, choice.areas, Severity.ERROR, False),
        **{f"terminal {look.width}": terminal.render(diagnosis, look) for look in looks},
    }


def diagnosed(host: Host) -> Diagnosis:
    return running.diagnosed(running.begun(host), running.chosen((), ()))


# Every place of a report that data can stand in


def hostile(text: str) -> Diagnosis:
    """A diagnosis that says `text` wherever it says anything, so long that it is wrapped everywhere."""
    long = f"{text} words {text} " * 40
    finding = Finding(
        id="driver-library-mismatch",
        subject=long,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=long,
        detail=long,
        evidence=(Evidence(source=long, excerpt=long), Evidence(source=text, excerpt=text)),
        remedies=(
            Remedy(summary=long, commands=(text, long), prediction=long),
            Remedy(summary=text, commands=(), prediction=text),
        ),
        links=(text,),
    )
    consequence = Finding(
        id="gpu-init-failed", severity=Severity.ERROR, confidence=Confidence.LIKELY, title=text,
        evidence=(Evidence(source=text, excerpt=long),),
    )  # fmt: skip
    checks = tuple(
        CheckOutcome(name=text, area=text, status=status, reason=reason) for status in Status for reason in (text, long)
    )
    return Diagnosis(
        source=Source(kind="paste", name=long, captured_at=text),
        findings=(Ranked(finding=finding), Ranked(finding=consequence, caused_by=long)),
        checks=checks,
        facts={},
        seconds=0.0,
        parts=(Part(label=long, facts={}),),
    )


@pytest.mark.parametrize("plant", PLANTS, ids=ascii)
def test_no_place_of_a_report_lets_data_through(plant: str) -> None:
    for text in shown(hostile(plant)).values():
        assert_harmless(text)
    for kind in ("live", "snapshot", "bug-report"):
        diagnosis = hostile(plant)
        object.__setattr__(diagnosis, "source", Source(kind=kind, name=plant, captured_at=plant))
        assert_harmless(shown(diagnosis)["terminal 80"])


@pytest.mark.parametrize("plant", MARKUP)
def test_markup_is_shown_as_it_is(plant: str) -> None:
    assert plant in shown(hostile(plant))["terminal 80"]


def test_json_says_the_same_in_other_signs() -> None:
    for plant in (*CONTROLS, *COMMANDS):
        assert json.loads(as_json({plant: [plant]})) == {plant: [plant]}
    assert json.loads(as_json(r"\##[x] \\##[y] ###[z]")) == r"\##[x] \\##[y] ###[z]"
    assert json.loads(shown(hostile("##[error]\x7f\x00"))["json"])["findings"][0]["links"] == ["##[error]\x7f\x00"]


@settings(deadline=None, max_examples=60)
@given(
    text=st.text() | st.lists(st.sampled_from((*PLANTS, " ", "\n", "\t", "a", ":", "#", "[")), max_size=12).map("".join)
)
@example("\n::error::x")
@example("\u3000::error::x")
@example(":\x00:error")
@example("#" * 5 + "[error]")
@example("##" + "\x1b" + "[error]")
def test_any_text_is_harmless_once_it_was_made_so(text: str) -> None:
    assert_harmless(obeyed_by_nobody("\n".join(("x", printable(text), f"  {printable(text)}"))))
    assert_harmless(as_json([text]))
    assert json.loads(as_json([text])) == [text]


# Data on its way in


@pytest.mark.parametrize("name", MACHINES)
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_a_snapshot_with_a_plant_anywhere_is_shown_harmless(name: str, data: st.DataObject) -> None:
    from nvdiag.host.record import RecordingHost

    recording = RecordingHost(MACHINES[name]())
    diagnosed(recording)
    document = json.loads(json.dumps(recording.document))
    for _ in range(data.draw(st.integers(1, 12))):
        section = data.draw(
            st.sampled_from(
                sorted(key for key, one in document.items() if isinstance(one, dict) and one) or ["messages"]
            )
        )
        plant = data.draw(st.sampled_from(PLANTS))
        if section == "messages":
            document["messages"] = [*document["messages"], {"source": plant, "text": f"{plant} nvidia-smi {plant}"}]
            continue
        key = data.draw(st.sampled_from(sorted(document[section])))
        document[section][key] = planted(document[section][key], plant, data.draw(st.integers(0, 3)))
    document |= {"captured_at": data.draw(st.sampled_from(PLANTS)), "label": "x::y"}
    for text in shown(diagnosed(SnapshotHost(document, data.draw(st.sampled_from(PLANTS))))).values():
        assert_harmless(text)


def planted(value: Any, plant: str, how: int) -> Any:
    if isinstance(value, str):
        return (f"{plant}{value}", f"{value}{plant}", f"{value.rstrip()} {plant} {plant}\n", f"{plant}\n{value}")[how]
    if isinstance(value, list):
        return [planted(one, plant, how) for one in value]
    if isinstance(value, dict):
        return {key: planted(one, plant, how) for key, one in value.items()}
    return value


@pytest.mark.parametrize("plant", PLANTS, ids=ascii)
def test_a_paste_of_messages_is_shown_harmless(plant: str) -> None:
    rows = messages()[:: max(1, len(messages()) // 60)]
    text = "\n".join(f"{plant} {one.example} {plant}\n{plant}" for one in rows)
    host = handed.host_of(text.encode("utf-8", "replace"), "a paste")
    for said in shown(diagnosed(host)).values():
        assert_harmless(said)


@pytest.mark.parametrize("form", ["terminal", "markdown", "json"])
def test_explain_shows_a_pasted_message_harmless(form: str) -> None:
    for number, plant in enumerate(plant for plant in PLANTS if "\x00" not in plant):
        message = messages()[(number * 37) % len(messages())].example
        for text in (f"{plant}\n{message}\n{plant}", f"{plant} {message}", f"{plant} xid 79 {plant}", plant):
            result = call("explain", "--format", form, text)
            assert result.exit_code in (0, 2), result.exception
            assert_harmless(result.stdout)
            assert_harmless(result.stderr)


@pytest.mark.parametrize(
    "plant",
    [
        "\x1b]0;owned\x07\r\n::error::x",
        *(pytest.param(one, marks=pytest.mark.long) for one in (*CONTROLS[1:3], "##[error]x", "\n::error::x")),
    ],
    ids=ascii,
)
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--from", "/nonexistent/{}"), ("check", "--select", "{}"), ("check", "--{}"),
        ("check", "--format", "{}"),
        ("{}",), ("check", "--deadline", "{}"), ("explain", "{}"),
        ("check", "--output", "/nonexistent/{}", "--from", "-"),
        ("snapshot", "/nonexistent/{}", "--from", "-"), ("snapshot", "--{}"), ("explain", "--format", "{}", "x"),
    ],
    ids=str,
)  # fmt: skip
def test_no_line_on_stderr_lets_an_argument_through(arguments: tuple[str, ...], plant: str) -> None:
    if "\x00" in plant:
        return
    result = process(*(one.format(plant) for one in arguments), input="CUDA error: out of memory\n")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr
    assert_harmless(result.stderr)


def test_a_plug_in_that_fails_is_told_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    from nvdiag import catalogue

    broken = BrokenPlugin("x\x1b[2J", "\n::error::owned")
    monkeypatch.setattr(catalogue, "plug_ins", lambda: ((), (broken,)))
    result = call("list")
    assert result.exit_code == 0
    assert_harmless(result.stdout)
    assert_harmless(result.stderr)
    assert "could not be imported" in one_line(result.stderr)


def test_a_snapshot_that_is_shown_is_harmless_too() -> None:
    text = " ".join(PLANTS).encode("utf-8", "replace") + b"\nCUDA error: out of memory\n::error::x\n"
    for more in ((), ("--no-redact",)):
        result = call("snapshot", "--from", "-", "--show", *more, standard_input=text)
        assert result.exit_code == 0
        assert_harmless(result.stdout)
        assert "::error::x" in json.loads(result.stdout)["messages"][0]["text"]


def test_notes_of_a_snapshot_are_told_harmless() -> None:
    document = {"nvdiag_snapshot": 1, "notes": list(PLANTS)}
    result = call("check", "--from", "-", standard_input=json.dumps(document).encode())
    assert_harmless(result.stderr)
    assert result.stderr.count("\n") == len(PLANTS)
