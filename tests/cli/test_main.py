"""The `nvdiag` command itself: what it does before click is there, and the last wall."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nvdiag import cli
from nvdiag.cli import early, running
from nvdiag.probes import starter
from tests.scenarios import shipped


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """The exit code of `nvdiag ARGUMENTS…` in this process."""
    monkeypatch.setattr(sys, "argv", ["nvdiag", *arguments])
    return cli.run()


def test_options_alone_mean_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--from", str(shipped.DEMO), "--format", "json") == 1
    assert '"driver-library-mismatch"' in capsys.readouterr().out


def test_help_and_version_exit_with_0(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert run(monkeypatch, "-h") == 0
    assert "Exit codes" in capsys.readouterr().out


def test_wrong_usage_exits_with_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(early, "begin", lambda arguments: None)
    assert run(monkeypatch, "check", "--no-such-option") == 2
    assert "--no-such-option" in capsys.readouterr().err


def test_a_defect_is_one_line_and_4(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("of the\x1b[31mtest")

    monkeypatch.setattr(running, "facts_of", fail)
    assert run(monkeypatch, "check", "--from", "x") == 4
    told = capsys.readouterr().err
    assert told.startswith("nvdiag: no report could be made: ZeroDivisionError")
    assert told.count("\n") == 1
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (["check"], True),
        (["check", "--format", "json", "--deadline", "3"], True),
        (["check", "--from", "x"], False),
        (["check", "--from=x"], False),
        (["check", "--help"], False),
        (["list"], False),
        (["demo"], False),
        (["explain", "check"], False),
    ],
)
def test_probes_start_early_for_a_check_of_this_machine_alone(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], begins: bool
) -> None:
    started: list[object] = []
    monkeypatch.setattr(early, "_started", started)
    monkeypatch.setattr(early, "_live_facts", lambda deadline, starter: deadline)
    monkeypatch.setattr(starter, "Starter", lambda: None)
    early.begin(arguments)
    assert bool(started) is begins


@pytest.mark.live
def test_what_was_started_early_is_used_with_the_deadline_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "_started", [])
    early.begin(["check", "--deadline", "5"])
    (begun,) = early._started
    assert early.live_facts(5.0) is begun
    assert early._started == []


@pytest.mark.live
def test_a_snapshot_of_this_machine_replays_as_the_machine(tmp_path: Path) -> None:
    text = running.snapshot_text(10.0)
    file = tmp_path / "here.json"
    file.write_text(text)
    live = running.diagnosed(early.live_facts(10.0), running.chosen((), ()))
    replayed = running.diagnosed(running.facts_of(str(file), None), running.chosen((), ()))
    assert [one.finding.key for one in live.findings] == [one.finding.key for one in replayed.findings]
    assert [(one.name, one.status) for one in live.checks] == [(one.name, one.status) for one in replayed.checks]


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (OSError("no more processes"), 4)])
def test_what_fails_before_click_is_there_is_no_traceback_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    def fail(_arguments: object) -> None:
        raise error

    monkeypatch.setattr(early, "begin", fail)
    assert run(monkeypatch, "check") == code
    assert capsys.readouterr().err.count("\n") == (1 if code == 4 else 0)
