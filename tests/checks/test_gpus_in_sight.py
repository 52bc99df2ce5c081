"""GPUs that cannot be looked at, that only the driver shows, or that no driver holds."""

from __future__ import annotations

from typing import Any

import pytest

from nvdiag.host.snapshot import SnapshotHost
from nvdiag.model.diagnosis import Status
from nvdiag.model.finding import Finding
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import machines
from tests.scenarios.tree import Tree

NEW = "570.172.08"
WELL = machines.ubuntu_dkms(NEW, NEW, NEW)
NONE_COUNTED: dict[str, Any] = {**machines.nvml_healthy(NEW, ()), "count": 0}
BUS = "/sys/bus/pci/devices"
SECOND = "0000:41:00.0"


def found_as(machine: Tree, identifier: str) -> list[Finding]:
    return [one.finding for one in diagnosed(machine).findings if one.finding.id == identifier]


@pytest.mark.parametrize("name", ["vendor", "class"])
def test_a_device_that_does_not_tell_its_maker_is_not_taken_for_no_gpu(name: str) -> None:
    machine = machines.ubuntu_dkms(None, NEW, NEW).but(refused={f"{BUS}/{machines.GPU}/{name}": "EACCES"})
    diagnosis = diagnosed(machine)
    assert "no-nvidia-gpu" not in ids(machine)
    assert diagnosis.exit_code() == 3
    assert any(one.status is Status.UNKNOWN and machines.GPU in one.reason for one in diagnosis.checks)


def test_a_system_without_sysfs_is_not_said_to_have_no_gpu() -> None:
    machine = WELL.without("/sys/")
    assert "no-nvidia-gpu" not in ids(machine)


def test_a_gpu_that_the_driver_answers_for_is_there_whatever_the_bus_shows() -> None:
    assert ids(machines.docker(NEW, NEW).without(f"{BUS}/{machines.GPU}")) == []


def test_a_driver_that_counts_no_gpu_is_believed_where_the_bus_cannot_be_read() -> None:
    machine = WELL.but(refused={BUS: "EACCES"}, probes={"nvml": NONE_COUNTED})
    assert first(machine).id == "no-nvidia-gpu"
    assert [one.excerpt for one in first(machine).evidence if one.source == "nvmlDeviceGetCount"] == ["0"]


def test_windows_driver_without_a_gpu_is_no_health() -> None:
    finding = first(machines.wsl().but(probes={"nvml": NONE_COUNTED}))
    assert finding.id == "no-nvidia-gpu"
    assert "wsl --update" in finding.remedies[0].commands


def test_a_gpu_that_no_driver_holds_though_the_module_is_loaded_is_found() -> None:
    machine = machines.ubuntu_dkms(NEW, NEW, NEW, held_by=None).but(probes={"nvml": NONE_COUNTED})
    found = found_as(machine, "gpu-init-failed")
    assert [one.subject for one in found] == [machines.GPU]
    assert diagnosed(machine).exit_code() == 1


def test_one_of_two_gpus_without_a_driver_is_named() -> None:
    machine = machines.ubuntu_dkms(NEW, NEW, NEW, gpus=(machines.GPU, SECOND)).without(f"{BUS}/{SECOND}/driver")
    found = found_as(machine.but(probes={"nvml": machines.nvml_healthy(NEW)}), "gpu-init-failed")
    assert [one.subject for one in found] == [SECOND]


def test_a_container_with_one_of_the_hosts_gpus_lacks_no_node() -> None:
    other = f"{BUS}/{SECOND}"
    machine = machines.docker(NEW, NEW).but(
        files={f"{other}/vendor": "0x10de\n", f"{other}/device": "0x2684\n", f"{other}/class": "0x030000\n"},
        links={f"{other}/driver": "../../../../bus/pci/drivers/nvidia"},
    )
    assert ids(machine) == []


def test_a_container_in_which_the_driver_counts_no_gpu_is_no_health() -> None:
    assert ids(machines.docker(NEW, NEW).but(probes={"nvml": NONE_COUNTED})) == ["gpu-init-failed"]


def test_an_answer_of_nvml_that_says_nothing_is_unknown() -> None:
    machine = WELL.but(probes={"nvml": {"library": "x"}})
    outcome = next(one for one in diagnosed(machine).checks if one.name == "the_driver_answers_for_every_gpu")
    assert outcome.status is Status.UNKNOWN


@pytest.mark.parametrize("module", [NEW, None], ids=["not loaded", "not built"])
def test_a_gpu_that_nobody_holds_is_no_health_where_modules_cannot_be_seen(module: str | None) -> None:
    document = machines.ubuntu_dkms(None, module, NEW).snapshot().document
    document["files"]["/sys/module/nvidia/version"] = {"error": "EACCES"}
    diagnosis = diagnosed(SnapshotHost(document, "hidden"))
    assert [one.finding.id for one in diagnosis.findings] == ["driver-not-loaded"]
    assert diagnosis.exit_code() == 3
