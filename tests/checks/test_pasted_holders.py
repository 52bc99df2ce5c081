"""Who uses the GPU, by pasted output of fuser and lsof: the plan without a reboot names them."""

from __future__ import annotations

import subprocess

import pytest

from nvdiag.engine import Facts
from nvdiag.facts.holders import ModuleHolders
from nvdiag.host import Host
from nvdiag.model.finding import Finding, Remedy
from nvdiag.model.unknown import NotApplicable, Unknown
from tests.checks.diagnosing import first
from tests.checks.pasting import pasted

MISMATCH = "$ nvidia-smi\nFailed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.172\n"
FUSER = """\
$ sudo fuser -v /dev/nvidia*
                     USER        PID ACCESS COMMAND
/dev/nvidia0:        root       1234 F...m nvidia-persiste
                     alice     23456 F...m python3
/dev/nvidiactl:      root       1234 F.... nvidia-persiste
                     root       2001 F...m Xorg
"""
BARE = "$ sudo fuser /dev/nvidia0\n/dev/nvidia0:         1234m 23456m\n"
LSOF = """\
$ sudo lsof /dev/nvidia*
COMMAND     PID  USER   FD   TYPE  DEVICE SIZE/OFF NODE NAME
python3   23456 alice  mem    CHR   195,0           912 /dev/nvidia0
python3   23456 alice   11u   CHR 195,255      0t0  911 /dev/nvidiactl
python3   23456 alice   12u   CHR   510,0      0t0 1002 /dev/nvidia-uvm
"""


def holders(text: str) -> ModuleHolders | Unknown:
    found = Facts({Host: pasted(text)})[ModuleHolders]
    assert isinstance(found, (ModuleHolders, Unknown))
    return found


def plan_of(finding: Finding) -> Remedy:
    return next(one for one in finding.remedies if "rmmod" in " ".join(one.commands))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (
            FUSER,
            [
                (1234, "nvidia-persiste", "root", ("/dev/nvidia0", "/dev/nvidiactl")),
                (23456, "python3", "alice", ("/dev/nvidia0",)),
                (2001, "Xorg", "root", ("/dev/nvidiactl",)),
            ],
        ),
        (BARE, [(1234, "?", "", ("/dev/nvidia0",)), (23456, "?", "", ("/dev/nvidia0",))]),
        (LSOF, [(23456, "python3", "alice", ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"))]),
    ],
)
def test_fuser_and_lsof_tell_who_holds_the_nodes(text: str, rows: list[object]) -> None:
    found = holders(MISMATCH + text)
    assert isinstance(found, ModuleHolders)
    assert [(one.pid, one.name, one.user, one.nodes) for one in found.processes] == rows


def test_the_plan_names_them_and_stops_services_by_their_units() -> None:
    finding = first(pasted(MISMATCH + FUSER))
    assert finding.id == "driver-library-mismatch"
    plan = plan_of(finding)
    assert plan.commands[:3] == (
        "sudo kill 23456",
        "sudo systemctl stop display-manager.service",
        "sudo systemctl stop nvidia-persistenced.service",
    )
    assert "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia" in plan.commands
    assert "python3 (23456)" in plan.prediction
    assert "if `modinfo -F version nvidia` says 570.172" in plan.prediction
    assert ("fuser", "python3 of alice has /dev/nvidia0 open") in [
        (one.source, one.excerpt) for one in finding.evidence
    ]
    for command in plan.commands:
        assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0


def test_only_the_modules_that_lsmod_lists_are_taken_out() -> None:
    lsmod = "$ lsmod | grep nvidia\nnvidia_uvm   4956160  2\nnvidia    97120256  31 nvidia_uvm\n"
    disk = "$ modinfo -F version nvidia\n570.172.08\n"
    plan = plan_of(first(pasted(MISMATCH + lsmod + disk + LSOF)))
    assert "sudo rmmod nvidia_uvm nvidia" in plan.commands
    assert plan.prediction.startswith("it will end the mismatch: the module on disk for this kernel is 570.172.08")


def test_a_service_is_known_by_the_name_that_lsof_cuts() -> None:
    cut = LSOF + "nvidia-pe  1234  root    4u   CHR 195,255      0t0  911 /dev/nvidiactl\n"
    plan = plan_of(first(pasted(MISMATCH + cut)))
    assert "sudo systemctl stop nvidia-persistenced.service" in plan.commands
    assert "sudo kill 23456" in plan.commands


def test_nobody_is_told_to_stop_programs_where_nothing_is_to_be_reloaded() -> None:
    assert isinstance(holders(FUSER), NotApplicable)


def test_a_mismatch_without_such_output_has_no_plan() -> None:
    assert "rmmod" not in " ".join(command for one in first(pasted(MISMATCH)).remedies for command in one.commands)
