"""R3 and R1: the smoke test as its user runs it, on GPUs that do each thing that a GPU can do wrong."""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nvdiag.probes.smoke import kernel_text
from tests.checks.test_smoke import CALLS
from tests.rigs import rig
from tests.rigs.asking import PROJECT, check, found

pytestmark = pytest.mark.rig

MakeMachine = Callable[..., rig.Machine]


def test_two_gpus_that_work_are_healthy(fake_gpus: MakeMachine) -> None:
    report, result = check(fake_gpus(), "--smoke", "--require", "healthy", "--select", "device")
    assert (report["verdict"], result.exit, found(report)) == ("healthy", 0, [])
    told = report["facts"]["smoke"]
    assert (told["mps"], [gpu["address"] for gpu in told["gpus"]]) == (False, ["0000:01:00.0", "0000:02:00.0"])
    for gpu in told["gpus"]:
        assert (gpu["result"], gpu["name"]) == ("passed", "NVIDIA H100 80GB HBM3")
        assert [step["call"] for step in gpu["steps"]] == list(CALLS)


AT_FAULT = (
    "1.cuCtxCreate_v2=46", "1.compute_mode=3", "2.crash=cuMemAlloc_v2", "3.wrong=7", "4.cuModuleLoadDataEx=222",
    "4.jit=ptxas fatal   : Unsupported .version", "5.cuCtxSynchronize=700", "6.cuCtxCreate_v2=2",
    "6.memory_used=85520809984",
)  # fmt: skip
KEYS = {
    "compute-mode-restricted", "probe-crashed:0000:03:00.0", "gpu-hardware-fault:0000:04:00.0",
    "driver-library-incomplete", "gpu-hardware-fault:0000:06:00.0", "gpu-memory-held:0000:07:00.0",
}  # fmt: skip


def test_each_gpu_is_judged_for_itself_whatever_becomes_of_the_others(fake_gpus: MakeMachine) -> None:
    machine = fake_gpus(*AT_FAULT, "7.hang=cuCtxSynchronize", gpus=8)
    report, result = check(machine, "--smoke", "--deadline", "3")
    results = [gpu["result"] for gpu in report["facts"]["smoke"]["gpus"]]
    assert results == ["passed", "failed", "crashed", "wrong result", "failed", "failed", "failed", "hung"]
    assert {one["key"] for one in report["findings"]} == KEYS | {"probe-hung:0000:08:00.0"}
    assert result.exit == 1
    hung = next(one for one in report["findings"] if one["id"] == "probe-hung")
    assert "cuCtxSynchronize of the GPU at 0000:08:00.0" in hung["title"]
    words = [one["excerpt"] for finding in report["findings"] for one in finding["evidence"]]
    assert "ptxas fatal   : Unsupported .version" in words


@pytest.mark.long
def test_a_snapshot_of_a_smoke_test_is_judged_as_the_machine_was(fake_gpus: MakeMachine, tmp_path: Path) -> None:
    machine = fake_gpus(*AT_FAULT, gpus=7)
    dressed = dataclasses.replace(machine, env={"PYTHONPATH": str(PROJECT), **machine.env})
    run = rig.run(dressed, sys.executable, "-m", "nvdiag", "snapshot", "--smoke", "--show")
    file = tmp_path / "machine.json"
    file.write_text(run.stdout, encoding="utf-8")
    report, result = check(machine, "--from", str(file))
    assert ({one["key"] for one in report["findings"]}, result.exit) == (KEYS, 1)
    assert json.loads(run.stdout)["probes"]["smoke 3"]["wrong"] == 1


def test_an_exclusive_gpu_works_through_its_mps_server_as_for_every_program(
    fake_gpus: MakeMachine, tmp_path: Path
) -> None:
    """Past the server its context would be refused with 46, which is what the server is for."""
    machine = fake_gpus("mps=46", "0.compute_mode=3", gpus=1)
    through = dataclasses.replace(machine, env={**machine.env, "CUDA_MPS_PIPE_DIRECTORY": str(tmp_path)})
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as daemon:
        daemon.bind(f"{tmp_path}/control")
        daemon.listen()
        report, result = check(through, "--smoke")
    assert (found(report), result.exit, report["facts"]["smoke"]["mps"]) == ([], 0, True)


def test_on_nvidias_own_library_a_mismatch_stands_and_no_gpu_was_tried(real550: tuple[Path, str]) -> None:
    folder, _ = real550
    machine = rig.Machine(module="570.169", libraries=folder, submodules=("nvidia_uvm",))
    report, result = check(machine, "--smoke")
    assert (found(report), result.exit) == (["driver-library-mismatch"], 1)
    assert "no GPU was tried: cuInit answers 803" in report["facts"]["smoke"]["unknown"]
    asked = next(one for one in report["checks"] if one["name"] == "every_gpu_runs_a_kernel")
    assert asked["status"] == "unknown"


def test_nvidias_own_libraries_have_every_function_that_is_called(branch: str) -> None:
    from elftools.elf.elffile import ELFFile

    folder, release = rig.real(branch)
    told = ("cuDeviceGetName", "cuDeviceGetPCIBusId", "cuDeviceGetAttribute", "cuGetErrorName")
    with (folder / f"libcuda.so.{release}").open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".dynsym")
        missing = [name for name in (*CALLS, *told) if not symbols.get_symbol_by_name(name)]
    assert missing == []


def test_the_kernel_is_in_the_package() -> None:
    assert b".entry nvdiag_smoke(" in kernel_text()
