"""The probes' own code, run in this process on libraries of our own; the rigs run it where it belongs, in children."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nvdiag.facts.answers import parse_cuda, parse_nvml
from nvdiag.facts.nvml_devices import Licence
from nvdiag.facts.smoke_trials import Outcome, parse_trial
from nvdiag.probes import cuda, dlopen, driver_files, nodes, nvml, smoke
from tests.rigs import rig

Said = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def said() -> Said:
    return []


@pytest.fixture(scope="module")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Our libnvidia-ml and libcuda, loaded by path: dlopen by soname then finds them, as it would the driver's."""
    if shutil.which("cc") is None:
        pytest.skip("rig missing: cc is missing")
    folder = tmp_path_factory.mktemp("driver")
    virtual = ["0.virtualization=2", "0.licensed=0", "0.product=NVIDIA Virtual Compute Server"]
    machine = rig.healthy(folder, 2, ["1.handle=15", f"0.process={os.getpid()} 536870912", "0.mig=0", *virtual])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NVRIG_GPUS", machine.env["NVRIG_GPUS"])
        patch.setenv("CUDA_MPS_PIPE_DIRECTORY", "")
        for name in ("libnvidia-ml.so.1", "libcuda.so.1"):
            ctypes.CDLL(str(folder / name))
        yield


def test_nvml_answers_everything_of_a_gpu_and_names_the_one_that_is_lost(fake_driver: None, said: Said) -> None:
    document = nvml.run([], lambda stage, known: said.append((stage, dict(known))))
    answer = parse_nvml(document)
    assert (answer.init, answer.count, str(answer.driver), str(answer.cuda)) == (0, 2, rig.RELEASE, "12.8")
    well, lost = answer.devices
    assert (well.name, well.address, well.compute_capability) == ("NVIDIA H100 80GB HBM3", "0000:01:00.0", "9.0")
    assert (well.memory_total, well.temperature, well.power, well.power_limit) == (85520809984, 35, 71000, 700000)
    assert well.processes is not None
    assert [(one.pid, one.memory) for one in well.processes] == [(os.getpid(), 536870912)]
    assert lost.handle_error == 15


def test_a_virtual_gpu_is_asked_for_its_licence(fake_driver: None, said: Said) -> None:
    document = nvml.run([], lambda stage, known: said.append((stage, dict(known))))
    virtual = parse_nvml(document).devices[0]
    assert virtual.virtualization == 2
    assert virtual.licences == (Licence("NVIDIA Virtual Compute Server", False),)


class HostBinding:
    """The binding on a host of virtual GPUs, as far as it is asked there."""

    NVML_GPU_VIRTUALIZATION_MODE_PASSTHROUGH, NVML_GPU_VIRTUALIZATION_MODE_VGPU = 1, 2
    NVML_GPU_VIRTUALIZATION_MODE_HOST_VGPU = 3
    NVMLError = type("NVMLError", (Exception,), {"value": 3})

    def nvmlDeviceGetActiveVgpus(self, handle: object) -> list[int]:
        return [7, 8]

    def nvmlVgpuInstanceGetVmDriverVersion(self, instance: int) -> bytes:
        return {7: b"535.183.06", 8: b"Not Available"}[instance]


def test_a_host_of_virtual_gpus_is_asked_for_its_guests_drivers() -> None:
    asking = nvml._Asking(HostBinding(), lambda call: None)
    asking.values["virtualization"] = 3
    nvml._virtualised(asking, object())
    answer = parse_nvml({"init": 0, "count": 1, "devices": [{"index": 0, "handle": 0, **asking.values}]})
    assert [str(one) for one in answer.devices[0].guest_drivers] == ["535.183.06"]


def test_a_gpu_of_ones_own_is_asked_for_no_licence() -> None:
    asking = nvml._Asking(HostBinding(), lambda call: None)
    asking.values["virtualization"] = 0
    nvml._virtualised(asking, object())
    assert asking.values == {"virtualization": 0}


def test_nvml_says_what_it_is_about_to_call_before_it_calls(fake_driver: None, said: Said) -> None:
    nvml.run([], lambda stage, known: said.append((stage, dict(known))))
    stages = [stage for stage, _ in said]
    for call in ("dlopen libnvidia-ml.so.1", "nvmlInit", "nvmlDeviceGetHandleByIndex(0)", "nvmlDeviceGetName(0)"):
        assert call in stages
    assert stages.index("nvmlInit") < stages.index("nvmlDeviceGetHandleByIndex(0)") < stages.index("nvmlShutdown")


def test_libcuda_tells_its_version_and_is_initialised_only_on_request(fake_driver: None, said: Said) -> None:
    version_only = parse_cuda(cuda.run([], lambda stage, known: said.append((stage, known))))
    assert (str(version_only.version), version_only.init) == ("12.8", None)
    assert "cuInit" not in [stage for stage, _ in said]
    whole = parse_cuda(cuda.run(["init"], lambda stage, known: said.append((stage, known))))
    assert (whole.init, whole.count) == (0, 2)
    assert os.environ["CUDA_MPS_PIPE_DIRECTORY"].startswith("/proc/")


def test_a_gpu_is_put_to_work_and_each_call_is_said_before_it_is_made(
    fake_driver: None, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CUDA_DISABLE_PTX_JIT", "CUDA_CACHE_DISABLE", "CUDA_MPS_PIPE_DIRECTORY"):
        monkeypatch.setenv(name, "0")
    document = smoke.run(["1"], lambda stage, known: said.append((stage, dict(known))))
    trial = parse_trial(document, "smoke 1", 1)
    assert (trial.outcome, trial.address, trial.compute_mode) == (Outcome.PASSED, "0000:02:00.0", 0)
    calls = [step.call for step in trial.steps]
    assert calls[:3] == ["cuInit", "cuDeviceGet", "cuCtxCreate_v2"]
    assert calls[-1] == "cuCtxDestroy_v2"
    assert set(calls) < {stage for stage, _ in said}
    assert os.environ["CUDA_CACHE_DISABLE"] == "1", "the driver keeps what it compiles in the user's home"
    assert "CUDA_DISABLE_PTX_JIT" not in os.environ
    assert os.environ["CUDA_MPS_PIPE_DIRECTORY"].startswith("/proc/")


def test_the_way_through_mps_is_left_as_the_user_has_it(fake_driver: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_CACHE_DISABLE", "1")
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/run/mps")
    smoke.run(["0", "mps"], lambda stage, known: None)
    assert os.environ["CUDA_MPS_PIPE_DIRECTORY"] == "/run/mps"


def test_the_loaders_own_words_are_kept_when_a_library_is_missing(said: Said) -> None:
    document = dlopen.run(["libnvdiag-has-none.so.1"], lambda stage, known: said.append((stage, known)))
    assert "libnvdiag-has-none.so.1: cannot open shared object file" in document["dlopen_error"]
    assert said[0][0] == "dlopen libnvdiag-has-none.so.1"


def test_the_file_behind_a_loaded_library_is_named() -> None:
    document = dlopen.run(["libc.so.6"], lambda stage, known: None)
    assert Path(document["library"]).name.startswith("libc")


def test_opening_nodes_gives_each_its_errno(tmp_path: Path) -> None:
    closed, absent = tmp_path / "loop", tmp_path / "absent"
    closed.symlink_to(closed)
    document = nodes.run(["/dev/null", str(closed), str(absent)], lambda stage, known: None)
    assert document["opens"] == {"/dev/null": "ok", str(closed): "ELOOP", str(absent): None}


def test_driver_files_are_read_version_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    root = tmp_path / "nvidia"
    (root / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (root / "version").write_text("NVRM version: …\n")
    (root / "gpus" / "0000:01:00.0" / "information").write_text("Model: \t\t NVIDIA H100\n")
    monkeypatch.setattr(driver_files, "ROOT", str(root))
    document = driver_files.run([], lambda stage, known: said.append((stage, known)))
    assert said[0][0] == f"read {root}/version"
    assert document["files"][f"{root}/params"] is None
    assert document["folders"] == {f"{root}/gpus": ["0000:01:00.0"]}
    assert "H100" in document["files"][f"{root}/gpus/0000:01:00.0/information"]


def test_driver_files_without_a_driver_are_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_files, "ROOT", str(tmp_path / "none"))
    document = driver_files.run([], lambda stage, known: None)
    assert list(document["folders"].values()) == [None]
