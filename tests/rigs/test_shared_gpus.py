"""R3: who may use a GPU, and who has it: compute modes, MIG, MPS, processes, CUDA_VISIBLE_DEVICES, by the command."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import rig
from tests.rigs.asking import check

pytestmark = pytest.mark.rig

MakeMachine = Callable[..., rig.Machine]
OWN = os.getpid()


def told(machine: rig.Machine, *options: str, **env: str) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """The findings' keys and severities in an environment with these variables, and the whole report."""
    report, _ = check(dataclasses.replace(machine, env={**machine.env, **env}), *options)
    return [(one["key"], one["severity"]) for one in report["findings"]], report


def test_a_gpu_that_is_prohibited_serves_nobody_who_asks_for_it(fake_gpus: MakeMachine) -> None:
    found, report = told(fake_gpus("0.compute_mode=2", "1.compute_mode=0"), CUDA_VISIBLE_DEVICES="0")
    assert found == [("compute-mode-restricted", "error")]
    assert report["findings"][0]["remedies"][0]["commands"] == [
        "export CUDA_VISIBLE_DEVICES=GPU-00000001-1111-2222-3333-444444444444"
    ]
    assert [gpu["nvml"]["compute_mode"] for gpu in report["facts"]["gpus"]] == ["prohibited", "default"]


def test_a_gpu_that_one_program_has_for_itself_says_who(fake_gpus: MakeMachine) -> None:
    found, report = told(fake_gpus("0.compute_mode=3", f"0.process={OWN} 536870912", gpus=1))
    assert found == [("compute-mode-restricted", "info")]
    assert f"({OWN}) of root has it" in report["findings"][0]["title"]
    (process,) = report["facts"]["gpus"][0]["nvml"]["processes"]
    assert (process["pid"], process["user"], process["memory_bytes"]) == (OWN, "root", 536870912)


def test_mig_without_instances_waiting_for_a_reset_and_named_in_vain(fake_gpus: MakeMachine) -> None:
    name = "MIG-aaaaaaaa-1111-2222-3333-444444444444"
    rows = ("0.mig=1", "1.mig=1 0", f"1.0.uuid={name}", "1.0.memory_total=10200547328", "cuinit=100")
    found, report = told(fake_gpus(*rows, f"1.process={OWN} 1048576"), CUDA_VISIBLE_DEVICES="MIG-bbbbbbbb")
    assert found == [
        ("mig-misconfigured", "error"),
        ("no-cuda-device", "error"),
        ("mig-misconfigured:0000:01:00.0", "warning"),
        ("mig-misconfigured:0000:02:00.0", "warning"),
    ]
    assert report["findings"][1]["caused_by"] == "mig-misconfigured"
    assert report["findings"][0]["remedies"][0]["commands"][0] == f"export CUDA_VISIBLE_DEVICES={name}"
    assert any(f"({OWN})" in one["excerpt"] for one in report["findings"][3]["evidence"])
    assert [one["nvml"]["mig_instances"] for one in report["facts"]["gpus"]] == [
        [],
        [{"uuid": name, "memory_total_bytes": 10200547328, "memory_used_bytes": 0}],
    ]


def test_memory_is_held_by_somebody_with_a_name_or_by_nobody(fake_gpus: MakeMachine) -> None:
    used = [f"{index}.memory_used={70 << 30}" for index in (0, 1)]
    machine = fake_gpus(*used, f"0.process={OWN} {69 << 30}", "1.process=")
    found, report = told(machine, "--require", "any:free-memory>=40GiB")
    assert found == [
        ("gpu-memory-held:0000:01:00.0", "error"),
        ("requirement-not-met:any:free-memory>=40GiB", "error"),
        ("gpu-memory-held:0000:02:00.0", "error"),
    ]
    assert f"({OWN}) of root" in report["findings"][0]["title"]


def test_mps_is_missed_where_its_daemon_has_stopped(fake_gpus: MakeMachine, tmp_path: Path) -> None:
    machine = fake_gpus(gpus=1)
    daemon = socket.socket(socket.AF_UNIX)
    daemon.bind(f"{tmp_path}/control")
    daemon.listen()
    assert told(machine, CUDA_MPS_PIPE_DIRECTORY=str(tmp_path))[0] == []
    daemon.close()  # the socket's file stays
    found, report = told(machine, CUDA_MPS_PIPE_DIRECTORY=str(tmp_path))
    assert found == [("mps-unavailable", "warning")]
    assert report["findings"][0]["evidence"][-1] == {"source": "/proc/net/unix", "excerpt": "nobody listens there"}
    assert report["facts"]["job"]["mps"] == {"folder": str(tmp_path), "named": True, "answers": False, "owner": 0}


def test_a_list_of_gpus_ends_for_cuda_at_the_first_that_is_not_there(fake_gpus: MakeMachine) -> None:
    found, report = told(fake_gpus("cucount=1"), CUDA_VISIBLE_DEVICES="0,2,1")
    assert found == [("visible-devices-invalid", "warning")]
    assert "'2' in CUDA_VISIBLE_DEVICES is a number that no GPU has" in report["findings"][0]["title"]
    chosen = {"value": "0,2,1", "named": 1, "ends_at": "2", "counted_by_cuda": 1}
    assert report["facts"]["job"]["visible_devices"] == chosen
