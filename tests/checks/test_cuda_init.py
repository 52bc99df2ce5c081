"""cuInit fails while everything else is well: never health."""

from __future__ import annotations

import pytest

from nvdiag.model.diagnosis import Status
from nvdiag.model.finding import Confidence
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import machines
from tests.scenarios.tree import Tree

NEW = "570.172.08"
LIBRARY = {"library": f"{machines.MULTIARCH}/libcuda.so.{NEW}", "driver_version": 12080}


def with_cuda(base: Tree | None = None, **answer: object) -> Tree:
    machine = base or machines.ubuntu_dkms(NEW, NEW, NEW)
    return machine.but(probes={"cuda": {**LIBRARY, **answer}})


@pytest.mark.parametrize("number", [3, 46, 100, 304, 500, 802, 803, 804, 805, 999])
def test_a_cuinit_that_fails_is_never_health(number: int) -> None:
    for machine in (with_cuda(init=number), with_cuda(machines.docker(NEW, NEW), init=number)):
        found = first(machine)
        assert found.id == "no-cuda-device"
        assert str(number) in found.title
        assert diagnosed(machine).exit_code() in (1, 3)
        assert diagnosed(machine.snapshot()).findings == diagnosed(machine).findings


def test_what_nvdiags_own_confinement_may_cause_is_only_possible() -> None:
    assert [first(with_cuda(init=number)).confidence for number in (46, 805, 999)] == [
        Confidence.POSSIBLE,
        Confidence.POSSIBLE,
        Confidence.LIKELY,
    ]


def test_a_cuda_that_counts_no_device_is_no_health_either() -> None:
    assert "0 devices" in first(with_cuda(init=0, count=0)).title


def test_gpus_that_a_variable_hides_are_said_to_be_hidden() -> None:
    hidden, empty = diagnosed(with_cuda(init=100).but(env={"CUDA_VISIBLE_DEVICES": ""})).findings
    assert (hidden.finding.id, hidden.finding.confidence) == ("visible-devices-invalid", Confidence.POSSIBLE)
    assert "CUDA_VISIBLE_DEVICES is ''" in hidden.finding.title
    assert (empty.finding.id, empty.caused_by) == ("no-cuda-device", "visible-devices-invalid")


def test_the_usual_causes_of_the_error_are_told() -> None:
    assert "fabricmanager" in first(with_cuda(init=802)).detail


def test_a_foreign_libcuda_is_the_cause_and_the_failure_its_consequence() -> None:
    machine = machines.ubuntu_dkms(NEW, NEW, NEW).but(
        env={"LD_LIBRARY_PATH": "/opt/old"},
        links={"/opt/old/libcuda.so.1": "libcuda.so.550.90.07"},
        libraries={"/opt/old/libcuda.so.550.90.07": 30_000_000},
        probes={"cuda": {**LIBRARY, "init": 803}},
    )
    assert [(one.finding.id, one.caused_by) for one in diagnosed(machine).findings] == [
        ("libcuda-mismatch", None),
        ("no-cuda-device", "libcuda-mismatch"),
    ]


def test_where_nvml_fails_too_cuda_is_not_blamed() -> None:
    machine = with_cuda(init=100).but(probes={"nvml": {"library": "x", "init": 9, "init_text": "Driver Not Loaded"}})
    assert ids(machine) == ["gpu-init-failed"]


def test_where_cuinit_may_not_be_called_it_is_unknown_and_not_passed() -> None:
    machine = machines.ubuntu_dkms(NEW, NEW, NEW, submodules=("nvidia_modeset",)).but(probes={"cuda": LIBRARY})
    outcome = next(one for one in diagnosed(machine).checks if one.name == "cuda_initialises")
    assert outcome.status is Status.UNKNOWN
    assert "nvidia_uvm" in outcome.reason
