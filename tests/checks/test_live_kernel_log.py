"""A machine whose kernel log may be read: what it says, and what of that still holds."""

from __future__ import annotations

from typing import Any

import pytest

from nvdiag.facts.kernel_log import KernelLog
from nvdiag.facts.messages import Messages
from nvdiag.model.diagnosis import Status
from nvdiag.model.finding import Confidence, Severity
from nvdiag.model.unknown import NotApplicable, Unknown
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import machines
from tests.scenarios.tree import Tree

NEW, OLD = "570.172.08", "570.169"
QUIET = f"""\
[    0.000000] Linux version 6.8.0-85-generic (buildd@host) #85-Ubuntu SMP
[    0.400123] pci 0000:01:00.0: [10de:2684] type 00 class 0x030000 PCIe Legacy Endpoint
[    0.400200] pci 0000:01:00.0: BAR 1 [mem 0x6000000000-0x67ffffffff 64bit pref]
[    0.400300] pci 0000:01:00.0: vgaarb: setting as boot VGA device
[    4.100000] nvidia: loading out-of-tree module taints kernel.
[    4.100100] nvidia: module verification failed: signature and/or required key missing - tainting kernel
[    4.200000] nvidia-nvlink: Nvlink Core is being initialized, major device number 508
[    4.300000] NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  {NEW}  Release Build  (dvs-builder@U22)
[    4.500000] nvidia-modeset: Loading NVIDIA UNIX Open Kernel Mode Setting Driver for x86_64  {NEW}  Release Build
[    4.600000] [drm] [nvidia-drm] [GPU ID 0x00000100] Loading driver
[    5.000000] nvidia-uvm: Loaded the UVM driver, major device number 510.
"""
XID_13 = "[ 1200.5] NVRM: Xid (PCI:0000:01:00): 13, pid=4242, name=python3, Graphics SM Warp Exception\n"
XID_62 = "[ 1200.5] NVRM: Xid (PCI:0000:01:00): 62, pid=4242, name=python3, 20b1 0000 0000 0000\n"
XID_122 = "[ 1200.5] NVRM: Xid (PCI:0000:01:00): 122, pid=4242, name=python3, SPI read failure\n"
LOADED_ANEW = f"[ 1300.5] NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  {NEW}  Release Build\n"
BACK_ON_BUS = "[ 1300.5] pci 0000:01:00.0: [10de:2684] type 00 class 0x030000 PCIe Legacy Endpoint\n"
INIT_FAILED = "[ 1310.5] NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x24:0x72:1564)\n"
MISMATCH = f"[  900.5] NVRM: API mismatch: the client has the version {NEW}, but\n\
               NVRM: this kernel module has the version {OLD}.  Please\n"
REJECTED = "[    4.1] Loading of unsigned module is rejected\n"
SILENT: dict[str, Any] = {"nvml": {"library": "x", "init": 999, "init_text": "Unknown Error"}}


def with_log(text: str, base: Tree | None = None) -> Tree:
    machine = base or machines.ubuntu_dkms(NEW, NEW, NEW)
    return machine.but(commands={"dmesg": {"exit": 0, "stdout": text, "stderr": ""}})


def facts_of(machine: Tree) -> Any:
    return diagnosed(machine).facts


def test_a_quiet_log_is_no_finding_and_no_table_is_read() -> None:
    machine = with_log(QUIET)
    assert ids(machine) == []
    assert isinstance(facts_of(machine)[Messages], NotApplicable)
    assert isinstance(facts_of(machine)[KernelLog], NotApplicable)


def test_a_failed_verification_is_never_secure_boot() -> None:
    machine = with_log(QUIET, machines.ubuntu_dkms(None, NEW, NEW))
    assert "secure-boot-rejected" not in ids(machine)


def test_an_xid_is_found_on_a_machine_that_answers() -> None:
    found = first(with_log(QUIET + XID_13))
    assert (found.id, found.evidence[0].source) == ("xid-reported", "dmesg")
    assert diagnosed(with_log(QUIET + XID_62)).findings[0].finding.id == "gpu-reset-required"


@pytest.mark.parametrize("anew", [LOADED_ANEW, BACK_ON_BUS])
def test_an_xid_from_before_a_new_start_is_history(anew: str) -> None:
    found = first(with_log(QUIET + XID_62 + anew))
    assert (found.id, found.severity) == ("xid-reported", Severity.INFO)
    assert "started anew" in found.title
    assert diagnosed(with_log(QUIET + XID_62 + anew)).exit_code() == 0


def test_a_fault_of_the_board_outlives_a_new_start_as_a_warning() -> None:
    found = first(with_log(QUIET + XID_122 + LOADED_ANEW))
    assert (found.id, found.severity) == ("gpu-hardware-fault", Severity.WARNING)


def test_a_start_that_failed_makes_no_history() -> None:
    machine = with_log(QUIET + XID_62 + LOADED_ANEW + INIT_FAILED).but(probes=SILENT)
    assert "gpu-hardware-fault" in ids(machine)


def test_what_the_driver_was_refused_for_before_it_answered_is_history() -> None:
    for line in (MISMATCH, INIT_FAILED, REJECTED):
        assert ids(with_log(QUIET + line)) == []


def test_what_a_later_load_refutes_is_history_though_the_driver_does_not_answer() -> None:
    machine = with_log(REJECTED + QUIET).but(probes=SILENT)
    assert "secure-boot-rejected" not in ids(machine)


def test_why_a_gpu_does_not_start_is_taken_from_the_log() -> None:
    line = "[ 5.5] NVRM: GPU 0000:01:00.0: GPU does not have the necessary power cables connected.\n"
    found = first(with_log(QUIET + line).but(probes=SILENT))
    assert (found.id, found.confidence) == ("gpu-init-failed", Confidence.CERTAIN)
    assert "power" in found.title


def test_a_message_of_a_gpu_that_answers_is_not_held_against_the_other_one() -> None:
    two = machines.ubuntu_dkms(NEW, NEW, NEW, gpus=("0000:01:00.0", "0000:41:00.0"))
    answers = {"nvml": {**machines.nvml_healthy(NEW, ("0000:01:00.0",)), "count": 1}}
    machine = with_log(QUIET + INIT_FAILED, two).but(probes=answers)
    assert not [one for one in diagnosed(machine).findings if "RmInitAdapter" in str(one.finding.evidence)]


def test_a_refused_module_tells_why_it_is_not_loaded() -> None:
    found = diagnosed(with_log(REJECTED, machines.ubuntu_dkms(None, NEW, NEW))).findings
    assert [(one.finding.id, one.caused_by) for one in found[:2]] == [
        ("secure-boot-rejected", None),
        ("driver-not-loaded", "secure-boot-rejected"),
    ]


def test_a_log_that_may_not_be_read_is_unknown_with_that_reason() -> None:
    machine = machines.ubuntu_dkms(NEW, NEW, NEW).but(commands={"dmesg": {"error": "EPERM"}})
    outcomes = {one.name: one for one in diagnosed(machine).checks}
    assert outcomes["no_xid_asks_for_anything"].status is Status.UNKNOWN
    assert "adm" in outcomes["no_xid_asks_for_anything"].reason
    assert isinstance(facts_of(machine)[KernelLog], Unknown)
    assert diagnosed(machine).exit_code() == 0


def test_a_mismatch_that_the_log_tells_of_as_well_is_one_finding() -> None:
    for line in (MISMATCH, MISMATCH.replace("  900.5", "   30.5")):
        machine = with_log(QUIET.replace(NEW, OLD) + line, machines.ubuntu_dkms(OLD, NEW, NEW))
        assert "driver-disk-mismatch" not in ids(machine)
        assert first(machine).id == "driver-library-mismatch"
        assert any("API mismatch" in one.excerpt for one in first(machine).evidence)


def test_in_a_container_the_hosts_log_says_nothing_of_the_container() -> None:
    machine = with_log(QUIET + MISMATCH, machines.docker(NEW, NEW)).but(probes=SILENT)
    assert "driver-library-mismatch" not in ids(machine)


def test_cuda_that_fails_since_a_suspend_is_said_to() -> None:
    slept = "[ 3000.5] PM: suspend entry (deep)\n[ 3100.5] PM: suspend exit\n"
    cuda = {"library": "x", "driver_version": 12080, "init": 999}
    found = diagnosed(with_log(QUIET + slept).but(probes={"cuda": cuda})).findings
    assert [(one.finding.id, one.caused_by) for one in found] == [
        ("uvm-broken-after-suspend", None),
        ("no-cuda-device", "uvm-broken-after-suspend"),
    ]
    assert ids(with_log(slept + QUIET).but(probes={"cuda": cuda})) == ["no-cuda-device"]


@pytest.mark.parametrize(
    "machine",
    [
        with_log(QUIET + XID_62),
        with_log(QUIET + XID_62 + LOADED_ANEW),
        with_log(REJECTED, machines.ubuntu_dkms(None, NEW, NEW)),
        machines.ubuntu_dkms(NEW, NEW, NEW).but(commands={"dmesg": {"error": "EPERM"}}),
    ],
)
def test_a_recording_gives_what_the_machine_gave(machine: Tree) -> None:
    assert diagnosed(machine.snapshot()).findings == diagnosed(machine).findings
    statuses = [(one.name, one.status, one.reason) for one in diagnosed(machine).checks]
    assert [(one.name, one.status, one.reason) for one in diagnosed(machine.snapshot()).checks] == statuses
