"""R3: GPUs that nobody here has, healthy and at fault, behind our own libnvidia-ml and libcuda."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rigs import cgroups, rig
from tests.rigs.asking import PROJECT, check, found

pytestmark = pytest.mark.rig

MakeMachine = Callable[..., rig.Machine]


def test_a_healthy_machine_with_two_gpus_exits_with_0(fake_gpus: MakeMachine) -> None:
    report, result = check(fake_gpus())
    assert (found(report), result.exit, report["verdict"]) == ([], 0, "healthy")
    assert [gpu["nvml"]["name"] for gpu in report["facts"]["gpus"]] == ["NVIDIA H100 80GB HBM3"] * 2
    assert report["facts"]["gpus"][1]["nvml"]["memory_total_bytes"] == 85520809984
    assert report["facts"]["driver"]["libcuda"]["init"] == 0


def test_the_terminal_shows_a_status_line_for_each_gpu(fake_gpus: MakeMachine) -> None:
    machine = fake_gpus(f"0.process={os.getpid()} 536870912")
    dressed = dataclasses.replace(machine, env={"PYTHONPATH": str(PROJECT), **machine.env})
    result = rig.run(dressed, sys.executable, "-m", "nvdiag")
    assert result.exit == 0
    assert "GPU 0: 12 % busy, 1.0/79.6 GiB, 35 °C, 71/700 W, 1 process (" in result.stdout
    assert "GPU 1: 12 % busy, 1.0/79.6 GiB, 35 °C, 71/700 W, no process" in result.stdout


def test_sensors_that_a_board_lacks_are_no_fault(fake_gpus: MakeMachine, tmp_path: Path) -> None:
    machine = fake_gpus(gpus=1)
    file = Path(machine.env["NVRIG_GPUS"])
    bare = [line for line in file.read_text().splitlines() if not line.startswith(("0.power", "0.util", "0.memory"))]
    file.write_text("\n".join(bare) + "\n")
    report, result = check(machine)
    assert (found(report), result.exit) == ([], 0)
    assert report["facts"]["gpus"][0]["nvml"]["power_milliwatts"] is None
    assert report["facts"]["gpus"][0]["nvml"]["nvml_errors"]["power_milliwatts"] == 3


@pytest.mark.parametrize("call", ["nvmlInitWithFlags", "nvmlDeviceGetUUID", "cuInit"])
def test_a_crash_at_a_chosen_call_names_it(fake_gpus: MakeMachine, call: str) -> None:
    report, result = check(fake_gpus(f"crash={call}"))
    assert (found(report), result.exit) == (["probe-crashed"], 1)
    title = report["findings"][0]["title"]
    assert ("nvmlInit" if call.startswith("nvmlInit") else call) in title
    assert "SIGSEGV" in title


def test_what_was_answered_before_a_crash_is_kept(fake_gpus: MakeMachine) -> None:
    report, _ = check(fake_gpus("crash=nvmlDeviceGetTemperature"))
    assert report["facts"]["gpus"][0]["nvml"]["name"] == "NVIDIA H100 80GB HBM3"
    assert report["facts"]["driver"]["nvml"]["driver"] == rig.RELEASE


@pytest.mark.parametrize("call", ["nvmlDeviceGetPowerUsage", "cuInit", "cuDriverGetVersion"])
def test_a_hang_at_a_chosen_call_names_it_and_the_rest_answers(fake_gpus: MakeMachine, call: str) -> None:
    report, _ = check(fake_gpus(f"hang={call}"), "--deadline", "1.5")
    assert found(report) == ["probe-hung"]
    assert call in report["findings"][0]["title"]


def test_a_gpu_that_is_lost_is_noticed(fake_gpus: MakeMachine) -> None:
    report, _ = check(fake_gpus("1.handle=15"))
    assert found(report) == ["gpu-init-failed"]


def test_a_gpu_that_nvml_leaves_out_is_noticed(fake_gpus: MakeMachine) -> None:
    report, result = check(fake_gpus("count=1"))
    assert (found(report), result.exit) == (["gpu-init-failed"], 1)


def test_a_child_that_cannot_be_killed_is_left_behind(fake_gpus: MakeMachine, freezer: None, tmp_path: Path) -> None:
    """The freezer holds the probe's child in state D; nvdiag must come back all the same."""
    machine = fake_gpus("hang=nvmlInitWithFlags")
    dressed = dataclasses.replace(machine, env={"PYTHONPATH": str(PROJECT), **machine.env})
    report = tmp_path / "report.json"
    argv = [sys.executable, "-m", "nvdiag", "check", "--format", "json", "--deadline", "3", "--output", str(report)]
    line, _ = rig.command(dressed, argv, tmp_path)
    process = subprocess.Popen(line, stdin=subprocess.DEVNULL)
    try:
        with cgroups.frozen(_hanging_child(process.pid)):
            code = process.wait(timeout=30)
    finally:
        process.kill()
    import json

    told = json.loads(report.read_text())
    finding = next(one for one in told["findings"] if one["id"] == "probe-hung")
    assert (finding["confidence"], code) == ("certain", 1)
    assert "left its child behind" in finding["detail"]


def _hanging_child(parent: int) -> int:
    """The probe's child that has NVML loaded: the leader of a process group, which a child of `parent` has forked."""
    for _ in range(200):
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                above, group = _above_and_group(path)
                above, _ = _above_and_group(Path(f"/proc/{above}/stat"))
            except OSError:
                continue
            pid = int(path.parent.name)
            if above == parent and group == pid and _maps_fake(path.parent):
                return pid
        time.sleep(0.02)
    raise AssertionError("no probe is hanging")


def _above_and_group(stat: Path) -> tuple[int, int]:
    """The parent and the process group of a process."""
    _, above, group, *_ = stat.read_text().rpartition(")")[2].split()
    return int(above), int(group)


def _maps_fake(folder: Path) -> bool:
    try:
        return "libnvidia-ml" in (folder / "maps").read_text()
    except OSError:
        return False
