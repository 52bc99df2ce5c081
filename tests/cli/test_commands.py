"""`nvdiag list`, `explain`, `demo`, and the command itself."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from nvdiag import __version__, catalogue
from nvdiag.knowledge import pages
from tests.cli.calling import call, one_line, process

IDS = [identifier for one in catalogue.built_in() for identifier in one.ids]


def test_list_names_every_id_with_its_area() -> None:
    result = call("list")
    words = result.stdout.split()
    assert (result.exit_code, result.stderr) == (0, "")
    assert set(IDS) <= set(words)
    assert {one.area for one in catalogue.built_in()} <= set(words)


@pytest.mark.parametrize("identifier", IDS)
def test_explain_prints_the_page_of_an_id(identifier: str) -> None:
    result = call("explain", identifier, "--format", "markdown")
    page = pages.page(identifier)
    assert page is not None
    assert (result.exit_code, result.stdout, result.stderr) == (0, page.body, "")


def test_explain_alone_lists_what_can_be_explained() -> None:
    result = call("explain")
    assert result.exit_code == 0
    assert set(IDS) <= set(result.stdout.split())


@pytest.mark.parametrize("name", ["driver-libary-mismatch", "Driver-Library-Mismatch", "driver-library-mismatch "])
def test_explain_answers_an_unknown_id_with_the_nearest(name: str) -> None:
    result = call("explain", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean driver-library-mismatch" in one_line(result.stderr)


@pytest.mark.parametrize("name", ["", "../../pyproject", "zzz", "\x1b[31m", "a/b", "\x00"])
def test_explain_of_what_is_no_id_is_one_line(name: str) -> None:
    result = call("explain", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "\x1b" not in one_line(result.stderr)
    assert "there is no page for" in result.stderr


def test_the_demo_shows_the_main_job_and_exits_with_0() -> None:
    if not (files("nvdiag.demo") / "machine.json").is_file():
        pytest.skip("nvdiag/demo/machine.json is not there yet")
    result = call("demo")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "error[driver-library-mismatch]" in result.stdout
    assert "570.169" in result.stdout
    assert "570.172.08" in result.stdout
    assert "a reboot will fix it" in " ".join(result.stdout.split())


def test_the_demo_machine_is_redacted() -> None:
    file = files("nvdiag.demo") / "machine.json"
    if not file.is_file():
        pytest.skip("nvdiag/demo/machine.json is not there yet")
    from nvdiag.host.redact import redacted

    document = json.loads(file.read_text(encoding="utf-8"))
    assert redacted(document, "") == document


def test_version_and_help() -> None:
    for arguments in (("--version",), ("--help",), ("-h",)):
        result = process(*arguments)
        assert (result.returncode, result.stderr) == (0, "")
    assert __version__ in process("--version").stdout
    shown = process("--help").stdout
    assert all(name in shown for name in ("check", "snapshot", "explain", "list", "demo", "Exit codes"))
