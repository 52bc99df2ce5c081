"""Machines on which nothing is wrong: no finding on any of them."""

from __future__ import annotations

import pytest

from nvdiag.model.diagnosis import Status, Verdict
from nvdiag.model.finding import Severity
from tests.checks.diagnosing import diagnosed, ids
from tests.scenarios import containers, jetson, machines, vgpu, wsl
from tests.scenarios.tree import Tree

NEW = "570.172.08"
HEALTHY = {
    "ubuntu-dkms": machines.ubuntu_dkms(NEW, NEW, NEW),
    "ubuntu-two-gpus": machines.ubuntu_dkms(NEW, NEW, NEW, gpus=("0000:01:00.0", "0000:41:00.0")),
    "ubuntu-prebuilt": machines.ubuntu_prebuilt(NEW, NEW, NEW),
    "debian": machines.debian_current("535.261.03", "535.261.03", "535.261.03"),
    "rocky": machines.rpm_machine("rocky", NEW, NEW, NEW),
    "fedora": machines.rpm_machine("fedora", NEW, NEW, NEW),
    "suse": machines.rpm_machine("suse", NEW, NEW, NEW),
    "arch": machines.arch(),
    "docker": machines.docker(),
    "wsl": machines.wsl(),
    **containers.HEALTHY,
    "wsl2": wsl.wsl2(),
    "jetson-r35": jetson.board(jetson.R35),
    "jetson-r36": jetson.board(jetson.R36),
    "jetson-r38": jetson.board(jetson.R38),
    "vgpu-guest": vgpu.guest(),
    "vgpu-host": vgpu.host(),
}


@pytest.mark.parametrize("machine", HEALTHY.values(), ids=HEALTHY)
def test_a_healthy_machine_has_no_finding(machine: Tree) -> None:
    diagnosis = diagnosed(machine)
    assert [ranked.finding.title for ranked in diagnosis.findings] == []
    assert (diagnosis.exit_code(), diagnosis.verdict()) == (0, Verdict.HEALTHY)
    assert any(outcome.status is Status.PASSED for outcome in diagnosis.checks)


@pytest.mark.parametrize("machine", HEALTHY.values(), ids=HEALTHY)
def test_every_check_that_did_not_judge_says_why(machine: Tree) -> None:
    for outcome in diagnosed(machine).checks:
        assert bool(outcome.reason) is (outcome.status not in (Status.PASSED, Status.FOUND)), outcome


def test_no_packages_are_asked_for_where_nothing_is_in_question() -> None:
    host = HEALTHY["ubuntu-dkms"].host()
    diagnosed(host)
    assert not [question for question in host.asked if "dpkg-query" in question]


def test_a_toolkit_of_a_newer_minor_version_is_well() -> None:
    machine = HEALTHY["ubuntu-dkms"].but(
        files={
            "/usr/local/cuda-12.9/version.json": '{"cuda": {"version": "12.9.1"}}',
            "/usr/local/cuda-12.9/bin/nvcc": "",
        },
        env={"PATH": "/usr/local/cuda-12.9/bin:/usr/bin"},
    )
    assert ids(machine) == []


def test_a_gpu_given_to_a_virtual_machine_beside_a_working_one_is_no_problem() -> None:
    machine = machines.ubuntu_dkms(NEW, NEW, NEW, gpus=("0000:01:00.0", "0000:41:00.0")).but(
        links={"/sys/bus/pci/devices/0000:41:00.0/driver": "../../../../bus/pci/drivers/vfio-pci"},
        probes={"nvml": machines.nvml_healthy(NEW)},
    )
    found = diagnosed(machine)
    assert [ranked.finding.severity for ranked in found.findings] == [Severity.INFO]
    assert found.exit_code() == 0


def test_a_silent_machine_is_never_healthy() -> None:
    from nvdiag.host.snapshot import SnapshotHost

    diagnosis = diagnosed(SnapshotHost({"nvdiag_snapshot": 1}, "empty"))
    assert diagnosis.exit_code() == 3
    assert diagnosis.verdict() is Verdict.INCONCLUSIVE
    assert not [outcome for outcome in diagnosis.checks if outcome.status is Status.PASSED]


@pytest.mark.parametrize("section", ["folders", "files"])
def test_toolkits_and_probes_alone_make_no_machine_healthy(section: str) -> None:
    """A broken machine whose bus or whose modules were not recorded: what is left says nothing of the driver."""
    from nvdiag.host.snapshot import SnapshotHost

    document = dict(machines.ubuntu_dkms(None, NEW, NEW).snapshot().document)
    document.pop(section)
    assert diagnosed(SnapshotHost(document, "partial")).exit_code() == 3
