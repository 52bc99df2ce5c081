"""Checks of other packages: they run like nvdiag's own, and one that fails is never silence."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import call, process, written
from tests.scenarios import machines

WORKS = """
from nvdiag.engine import check
from nvdiag.facts.system import RunningKernel
from nvdiag.model.finding import Confidence, Evidence, Finding, Severity

@check("kernel-of-the-site", area="site")
def kernel_is_the_sites(kernel: RunningKernel):
    \"\"\"The kernel is the one that this site uses.\"\"\"
    yield Finding(id="kernel-of-the-site", severity=Severity.ERROR, confidence=Confidence.CERTAIN,
                  title=f"the kernel is {kernel.release}",
                  evidence=(Evidence(source="/proc/sys/kernel/osrelease", excerpt=kernel.release.text),))
"""
RAISES = """
from nvdiag.engine import check
from nvdiag.facts.system import RunningKernel

@check("kernel-of-the-site", area="site")
def kernel_is_the_sites(kernel: RunningKernel):
    \"\"\"The kernel is the one that this site uses.\"\"\"
    raise RuntimeError("the [bold]site[/bold] is \\x1b[31mdown")
    yield
"""
EXITS = RAISES.replace("raise RuntimeError", "raise SystemExit(0) from ValueError")

Install = Callable[[str], Path]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    def installed(source: str) -> Path:
        site = tmp_path / "site"
        metadata = site / "site_checks-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: site-checks\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text("[nvdiag.checks]\nsite = site_checks_of_a_test\n")
        (site / "site_checks_of_a_test.py").write_text(source)
        return site

    return installed


@pytest.fixture
def healthy(tmp_path: Path) -> str:
    return written(tmp_path, machines.ubuntu_dkms("570.172.08"))


def report(site: Path, healthy: str, *options: str) -> tuple[int, dict[str, Any]]:
    result = process("check", "--from", healthy, "--format", "json", *options, path=[site])
    assert "Traceback" not in result.stderr
    return result.returncode, json.loads(result.stdout)


def test_a_plug_ins_check_runs_and_its_finding_is_reported(install: Install, healthy: str) -> None:
    code, document = report(install(WORKS), healthy)
    assert code == document["exit_code"] == 1
    assert [(one["id"], one["area"]) for one in document["findings"]] == [("kernel-of-the-site", "site")]
    assert {"name": "kernel_is_the_sites", "area": "site", "status": "found"}.items() <= document["checks"][-1].items()


def test_a_plug_ins_ids_can_be_selected_ignored_and_are_listed(install: Install, healthy: str) -> None:
    site = install(WORKS)
    assert report(site, healthy, "--ignore", "site")[0] == 0
    assert report(site, healthy, "--select", "kernel-of-the-site")[0] == 1
    assert "kernel-of-the-site" in process("list", path=[site]).stdout


@pytest.mark.parametrize(
    "source",
    ["import no_such_module", "raise RuntimeError('no')", "def broken(:", "import sys; sys.exit(0)"],
    ids=["import", "raise", "syntax", "exit"],
)
@pytest.mark.parametrize("form", ["terminal", "json"])
def test_a_plug_in_that_cannot_be_imported_is_a_finding(install: Install, healthy: str, source: str, form: str) -> None:
    result = process("check", "--from", healthy, "--format", form, path=[install(source)])
    assert result.returncode == 1
    assert "check-failed" in result.stdout
    assert "the plug-in site could not be imported" in " ".join(result.stdout.split())
    assert "Traceback" not in result.stderr


def test_a_plug_in_that_cannot_be_imported_is_a_failed_check_with_its_reason(install: Install, healthy: str) -> None:
    _, document = report(install("import no_such_module"), healthy)
    failed = [one for one in document["checks"] if one["status"] == "failed"]
    assert [(one["name"], "no_such_module" in one["reason"]) for one in failed] == [("site", True)]


def test_list_names_a_plug_in_that_cannot_be_imported_on_stderr(install: Install) -> None:
    result = process("list", path=[install("import no_such_module")])
    assert result.returncode == 0
    assert "site" in result.stderr
    assert "no_such_module" in result.stderr


@pytest.mark.parametrize("source", [RAISES, EXITS], ids=["raises", "exits"])
@pytest.mark.parametrize("form", ["terminal", "json"])
def test_a_check_that_raises_is_a_finding_and_the_others_still_run(
    install: Install, healthy: str, source: str, form: str
) -> None:
    result = process("check", "--from", healthy, "--format", form, path=[install(source)])
    assert result.returncode == 1
    assert "check-failed" in result.stdout
    assert "kernel_is_the_sites" in result.stdout
    assert "\x1b" not in result.stdout
    if form == "json":
        assert "passed" in {one["status"] for one in json.loads(result.stdout)["checks"]}
    else:
        assert re.search(r"\d+ checks passed", result.stdout)


def test_a_chosen_check_that_raises_is_not_left_out_by_select(install: Install, healthy: str) -> None:
    code, document = report(install(RAISES), healthy, "--select", "site")
    assert (code, [one["id"] for one in document["findings"]]) == (1, ["check-failed"])


def test_check_failed_can_be_ignored_by_name(install: Install, healthy: str) -> None:
    code, document = report(install(RAISES), healthy, "--ignore", "check-failed")
    assert (code, document["findings"]) == (0, [])
    assert report_status(document, "kernel_is_the_sites") == "failed"


def report_status(document: dict[str, Any], name: str) -> str:
    return str(next(one["status"] for one in document["checks"] if one["name"] == name))


def test_a_built_in_check_that_raises_is_a_finding_in_every_format(
    healthy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_arguments: object) -> str:
        raise ZeroDivisionError("x")

    monkeypatch.setattr(sys.modules["nvdiag.checks.driver"], "user_space_release", fails)
    for form in ("terminal", "json"):
        result = call("check", "--from", healthy, "--format", form)
        assert result.exit_code == 1
        assert "ZeroDivisionError: x" in result.stdout
        assert "module_and_libraries_are_one_release" in result.stdout


def test_a_fact_that_raises_is_a_finding_and_what_needs_it_is_unknown(
    healthy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nvdiag.facts import libraries

    def fails(*_arguments: object) -> None:
        raise ZeroDivisionError("x")

    monkeypatch.setattr(libraries, "release_in", fails)
    document = json.loads(call("check", "--from", healthy, "--format", "json").stdout)
    assert [one["key"] for one in document["findings"]] == ["check-failed:DriverLibraries.collect"]
    assert report_status(document, "module_and_libraries_are_one_release") == "unknown"
    assert document["exit_code"] == 1
