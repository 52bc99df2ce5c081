"""The verdict on a reboot, on machines of each distribution, well and broken."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from nvdiag.facts.packages import DriverPackages, Package
from nvdiag.facts.reboot import Answer, RebootVerdict
from nvdiag.model.finding import Finding, Severity
from nvdiag.model.unknown import NotApplicable
from tests.checks.diagnosing import diagnosed
from tests.scenarios.reboots import SCENARIOS, Scenario

ALL = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


@ALL
def test_the_finding_the_verdict_and_what_to_do_first(scenario: Scenario) -> None:
    diagnosis = diagnosed(scenario.tree)
    found = [ranked.finding for ranked in diagnosis.findings]
    verdict = diagnosis.facts[RebootVerdict]
    if scenario.answer is None:
        assert isinstance(verdict, NotApplicable)
    else:
        assert isinstance(verdict, RebootVerdict), verdict
        assert verdict.answer is scenario.answer, verdict.prediction
        assert scenario.says in verdict.prediction
    assert (found[0].id if found else "") == scenario.finding, [one.title for one in found]
    if scenario.remedy:
        ways = [" ".join(one.commands) for one in found[0].remedies]
        after = 2 if "rmmod" in ways[0] else 1  # a reload, which ends it now, stands before what mends the next boot
        assert scenario.remedy in " ".join(ways[:after])


@ALL
def test_a_run_on_the_machine_and_on_its_snapshot_find_the_same(scenario: Scenario) -> None:
    live, replayed = diagnosed(scenario.tree), diagnosed(scenario.tree.snapshot())
    assert [one.finding for one in live.findings] == [one.finding for one in replayed.findings]
    assert live.facts[RebootVerdict] == replayed.facts[RebootVerdict] or scenario.answer is None


def commands_of(found: list[Finding]) -> list[str]:
    return [command for one in found for remedy in one.remedies for command in remedy.commands]


INSTALLS = re.compile(r"sudo (?:apt install|dnf (?:re)?install|zypper install|pacman -S)((?: -\S+)*)((?: \S+)+)")
NEW_NAMES = re.compile(
    r"linux-headers(?:-\S+)?|kernel-devel-\S+|kernel-default-devel|linux-modules-nvidia-\d+(?:-server)?(?:-open)?-\S+"
    r"|python3-dnf-plugin-versionlock|gcc-\d+|make"
)
"""Packages that are for a kernel: the scenario has none of them, since that one is what is missing; and dnf's own."""


@ALL
def test_every_command_can_be_read_and_names_only_packages_that_are_there(scenario: Scenario) -> None:
    diagnosis = diagnosed(scenario.tree)
    listed = diagnosis.facts[DriverPackages]
    names = (
        {one.name for one in listed.packages if isinstance(one, Package)}
        if isinstance(listed, DriverPackages)
        else set()
    )
    for command in commands_of([ranked.finding for ranked in diagnosis.findings]):
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
        for found in INSTALLS.finditer(command):
            for name in found[2].split():
                assert name in names or NEW_NAMES.fullmatch(name), (command, sorted(names))


WELL = {name: one for name, one in SCENARIOS.items() if one.finding == ""}


@pytest.mark.parametrize("scenario", WELL.values(), ids=WELL)
def test_a_machine_that_is_well_pays_nothing_for_it(scenario: Scenario) -> None:
    host = scenario.tree.host()
    assert diagnosed(host).findings == ()
    dear = ("contents initramfs ", "commands dpkg", "commands rpm", "commands df", "folders /proc", "files /proc/4")
    assert not [
        question for question in host.asked if question.startswith(dear) and "folders /proc/driver" not in question
    ]


def test_every_distribution_has_a_machine_that_is_well_and_one_that_is_broken() -> None:
    kinds = (
        "debian",
        "ubuntu-dkms",
        "ubuntu-prebuilt",
        "ubuntu-server",
        "rocky",
        "fedora",
        "suse",
        "arch",
        "run",
        "ostree",
    )
    for kind in kinds:
        found = [one.finding for name, one in SCENARIOS.items() if name.startswith(kind)]
        assert "" in found, kind
        assert any(found), kind


def test_what_will_break_is_a_warning_and_what_is_broken_an_error() -> None:
    for name, scenario in SCENARIOS.items():
        found = [ranked.finding for ranked in diagnosed(scenario.tree).findings]
        if scenario.answer is Answer.BREAKS:
            assert {one.severity for one in found} == {Severity.WARNING}, name
        elif found:
            assert found[0].severity is Severity.ERROR or "akmods" in name, name


def test_the_verdict_is_in_the_json_report() -> None:
    from nvdiag.report import as_json

    for scenario in SCENARIOS.values():
        document = as_json.document(diagnosed(scenario.tree), {}, Severity.ERROR, False)
        told = json.loads(json.dumps(document))["facts"]["driver"]["reboot"]
        if scenario.answer is None:
            assert "not_applicable" in told
        else:
            assert told["answer"] == scenario.answer.value
            assert all(reason["says"] for reason in told["reasons"])


def test_the_terminal_report_says_what_a_reboot_does_where_something_is_wrong() -> None:
    from nvdiag.report import terminal

    look = terminal.Look(width=100)
    fixed = terminal.render(diagnosed(SCENARIOS["ubuntu-dkms-upgraded"].tree), look)
    assert re.search(r"✓ a reboot\s+will fix: a module of the libraries' release", fixed)
    assert re.search(
        r"✗ a reboot\s+will not fix: ", terminal.render(diagnosed(SCENARIOS["suse-kmp-behind"].tree), look)
    )
    assert "a reboot " not in terminal.render(diagnosed(SCENARIOS["suse-well"].tree), look)
