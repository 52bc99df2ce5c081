"""The rigs behave as shared/rigs.md says that NVIDIA's own user space does: nvdiag has no part in these tests."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import cgroups, rig

pytestmark = pytest.mark.rig

INIT = """
import pynvml
try:
    pynvml.nvmlInit()
    print(0)
except pynvml.NVMLError as error:
    print(error.value)
"""
CUDA = "import ctypes; print(ctypes.CDLL('libcuda.so.1').cuInit(0))"
EACH = """
import json, pynvml as n
n.nvmlInit()
told = []
for index in range(n.nvmlDeviceGetCount()):
    gpu, one = None, {}
    told.append(one)
    try:
        gpu = n.nvmlDeviceGetHandleByIndex(index)
    except n.NVMLError as error:
        one["handle"] = error.value
        continue
    for name, ask in {
        "name": lambda: n.nvmlDeviceGetName(gpu),
        "pci": lambda: n.nvmlDeviceGetPciInfo(gpu).busId,
        "free": lambda: n.nvmlDeviceGetMemoryInfo(gpu).free,
        "compute": lambda: n.nvmlDeviceGetCudaComputeCapability(gpu),
        "ecc": lambda: n.nvmlDeviceGetEccMode(gpu),
        "errors": lambda: n.nvmlDeviceGetTotalEccErrors(gpu, 1, 1),
        "remapped": lambda: n.nvmlDeviceGetRemappedRows(gpu),
        "width": lambda: (n.nvmlDeviceGetCurrPcieLinkWidth(gpu), n.nvmlDeviceGetMaxPcieLinkWidth(gpu)),
        "throttle": lambda: n.nvmlDeviceGetCurrentClocksThrottleReasons(gpu),
        "mig": lambda: n.nvmlDeviceGetMigMode(gpu),
        "fan": lambda: n.nvmlDeviceGetFanSpeed(gpu),
        "temperature": lambda: n.nvmlDeviceGetTemperature(gpu, 0),
        "processes": lambda: [(p.pid, p.usedGpuMemory) for p in n.nvmlDeviceGetComputeRunningProcesses(gpu)],
    }.items():
        try:
            one[name] = ask()
        except n.NVMLError as error:
            one[name] = f"error {error.value}"
print(json.dumps(told))
"""
OPEN = {"nvidiactl": 0o666, "nvidia0": 0o666}
SHUT = {"nvidiactl": 0o600, "nvidia0": 0o600}

MakeMachine = Callable[..., rig.Machine]


def answered(machine: rig.Machine, script: str) -> Any:
    done = rig.run(machine, sys.executable, "-c", script)
    assert done.exit == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ({"module": None}, 9),
        ({"module": None, "nodes": OPEN}, 9),
        ({"nodes": {}, "user": 65534}, 9),
        ({"nodes": SHUT, "user": 65534}, 4),
        ({"mode": "EACCES"}, 4),
        ({"mode": "EPERM"}, 999),
        ({"mode": "ENODEV"}, 999),
        ({"mode": "ENOMEM"}, 999),
        ({"mode": "EIO"}, 17),
        ({"mode": "EBUSY"}, 17),
        ({"mode": "EMFILE"}, 17),
        ({"module": "570.169"}, 18),
        ({"module": "570.169", "nodes": SHUT}, 18),
    ],
)
def test_nvml_answers_as_measured(branch: str, case: dict[str, Any], code: int) -> None:
    libraries, release = rig.real(branch)
    assert answered(rig.Machine(**{"module": release, "libraries": libraries, **case}), INIT) == code


def test_a_module_of_the_same_branch_is_a_mismatch_too(branch: str) -> None:
    libraries, _ = rig.real(branch)
    assert answered(rig.Machine(module=f"{branch}.54.99", libraries=libraries), INIT) == 18


def test_no_gpu_is_said_differently_by_the_branches(branch: str) -> None:
    libraries, release = rig.real(branch)
    assert answered(rig.Machine(module=release, libraries=libraries), INIT) == {"535": 999, "550": 28}[branch]


@pytest.mark.parametrize(
    ("case", "exit_code", "words"),
    [
        ({"module": None}, 9, "couldn't communicate with the NVIDIA driver"),
        ({"mode": "EACCES"}, 4, "Failed to initialize NVML: Insufficient Permissions"),
        ({"mode": "EPERM"}, 255, "Failed to initialize NVML: Unknown Error"),
        ({"mode": "EIO"}, 17, "Failed to initialize NVML: GPU access blocked by the operating system"),
        ({"module": "545.23.08"}, 18, "Failed to initialize NVML: Driver/library version mismatch\nNVML library ver"),
        ({}, 255, "No supported GPUs were found"),
        ({"libraries": None}, 12, "couldn't find libnvidia-ml.so library"),
    ],
)
def test_nvidia_smi_says_what_people_paste(
    real550: tuple[Path, str], case: dict[str, Any], exit_code: int, words: str
) -> None:
    libraries, release = real550
    machine = rig.Machine(**{"module": release, "libraries": libraries, **case})
    told = rig.run(machine, str(rig.CACHE / "550" / "bin" / "nvidia-smi"))
    assert told.exit == exit_code
    assert words in told.stdout + told.stderr


def test_cuda_sees_a_mismatch_only_between_branches(branch: str) -> None:
    """libcuda goes on with a module of its own branch, where libnvidia-ml refuses: hence no 803 after most updates."""
    libraries, _ = rig.real(branch)
    uvm = ("nvidia_uvm",)
    assert answered(rig.Machine(module="570.169", libraries=libraries, submodules=uvm), CUDA) == 803
    assert answered(rig.Machine(module=f"{branch}.54.99", libraries=libraries, submodules=uvm), CUDA) != 803


def test_cuda_says_100_where_nothing_can_be_opened(branch: str) -> None:
    libraries, release = rig.real(branch)
    for case in ({"module": None}, {"module": release, "mode": "EIO"}, {"module": release, "mode": "EPERM"}):
        assert answered(rig.Machine(libraries=libraries, **case), CUDA) == 100


@pytest.mark.parametrize("mode", ["hang-open", "hang-ioctl"])
def test_a_hang_hangs_and_a_timeout_ends_all_of_it(real550: tuple[Path, str], mode: str) -> None:
    libraries, release = real550
    machine = rig.Machine(module=release, libraries=libraries, mode=mode)
    started = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        rig.run(machine, sys.executable, "-c", INIT, timeout=1)
    assert time.monotonic() - started < 3


def test_nvml_as_root_changes_dev_unless_it_is_confined(real550: tuple[Path, str], strace: None) -> None:
    libraries, _ = real550
    for nodes in ({}, SHUT):
        machine = rig.Machine(module="570.169", libraries=libraries, nodes=nodes)
        told = rig.run(machine, sys.executable, "-c", INIT, trace=True)
        assert told.nodes["/dev/nvidiactl"] == 0o666
        assert bool(rig.successful(told.calls, "mknod", "mknodat")) == (not nodes)
        assert rig.successful(told.calls, "chmod")


def test_without_a_module_nvml_starts_modprobe(real550: tuple[Path, str], strace: None) -> None:
    libraries, _ = real550
    told = rig.run(rig.Machine(libraries=libraries), sys.executable, "-c", INIT, trace=True)
    assert [call for call in told.calls if "execve" in call and '"modprobe", "nvidia"' in call]


def test_no_module_can_be_loaded_from_within(namespace: None) -> None:
    told = rig.run(rig.Machine(), "sh", "-c", "grep CapBnd /proc/self/status")
    assert not int(told.stdout.split()[1], 16) >> 16 & 1


def test_a_namespace_shows_its_machine_and_leaves_nothing_behind(namespace: None, tmp_path: Path) -> None:
    module = tmp_path / "nvidia.ko"
    module.write_bytes(b"module")
    machine = rig.Machine(
        module="570.169",
        flavour="open",
        submodules={"nvidia_uvm": "570.172.08", "nvidia_drm": None},
        gpus={"0000:41:00.0": "nvidia", "0000:42:00.0": "nouveau", "0000:43:00.0": None},
        nodes={"nvidiactl": 0o600, "nvidia-uvm": 0o666},
        kernel_modules={"9.9.9-rig/updates/dkms/nvidia.ko": str(module)},
        files={"/etc/os-release": "ID=rig\n", "/var/lib/rig/made/file": "here\n"},
        user=65534,
    )
    script = """
        cat /sys/module/nvidia/version /sys/module/nvidia_uvm/version /sys/module/nvidia_drm/initstate
        head -n 1 /proc/driver/nvidia/version | grep -o 'Open Kernel Module for x86_64  [0-9.]*'
        cd /sys/bus/pci/devices && for gpu in *; do echo $gpu $(cat $gpu/class) $(readlink $gpu/driver); done
        stat -c '%n %a %t:%T' /dev/nvidia*
        cat /lib/modules/9.9.9-rig/updates/dkms/nvidia.ko /etc/os-release /var/lib/rig/made/file
        id -u; test -e /sys/module/nvidia_drm/version || echo no version
    """
    told = rig.run(machine, "sh", "-c", script)
    assert told.stdout.split("\n") == [
        "570.169",
        "570.172.08",
        "live",
        "Open Kernel Module for x86_64  570.169",
        "0000:41:00.0 0x030000 ../../../../bus/pci/drivers/nvidia",
        "0000:42:00.0 0x030000 ../../../../bus/pci/drivers/nouveau",
        "0000:43:00.0 0x030000",
        "/dev/nvidia-uvm 666 1fe:0",
        "/dev/nvidiactl 600 c3:ff",
        "moduleID=rig",
        "here",
        "65534",
        "no version",
        "",
    ]
    for path in ("/dev/nvidiactl", "/sys/module/nvidia", "/lib/modules/9.9.9-rig", "/var/lib/rig"):
        assert not Path(path).exists()


def test_two_healthy_gpus_answer_through_nvidias_own_binding(fake_gpus: MakeMachine) -> None:
    told = answered(fake_gpus("0.process=11 100,12 -", "0.ecc=1 0", "0.remapped=0 3 1 0", "1.pcie_width=4"), EACH)
    assert [gpu["name"] for gpu in told] == ["NVIDIA H100 80GB HBM3"] * 2
    assert [gpu["pci"] for gpu in told] == ["00000000:01:00.0", "00000000:02:00.0"]
    assert told[0]["processes"] == [[11, 100], [12, None]]
    assert (told[0]["ecc"], told[0]["remapped"]) == ([1, 0], [0, 3, 1, 0])
    assert told[1]["processes"] == []
    assert told[1]["compute"] == [9, 0]


def test_a_value_that_is_missing_is_not_supported_and_a_missing_function_not_found(fake_gpus: MakeMachine) -> None:
    told = answered(fake_gpus(gpus=1), EACH)[0]
    assert (told["errors"], told["width"], told["throttle"], told["mig"]) == ("error 3",) * 4
    assert told["fan"] == "error 13"


def test_faults_of_one_gpu_leave_the_others_alone(fake_gpus: MakeMachine) -> None:
    told = answered(fake_gpus("1.handle=15", "0.nvmlDeviceGetTemperature=999", gpus=3), EACH)
    assert told[0]["temperature"] == "error 999"
    assert told[1] == {"handle": 15}
    assert told[2]["temperature"] == 35


def test_nvml_before_its_init_is_uninitialised_but_for_its_version(fake_gpus: MakeMachine) -> None:
    script = """if True:
        import ctypes, json
        nvml, text, count = ctypes.CDLL("libnvidia-ml.so.1"), ctypes.create_string_buffer(80), ctypes.c_uint()
        early = nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        print(json.dumps([early, nvml.nvmlSystemGetNVMLVersion(text, 80), text.value.decode()]))
    """
    assert answered(fake_gpus(), script) == [1, 0, f"12.{rig.RELEASE}"]


@pytest.mark.parametrize("code", [9, 18, 999])
def test_a_chosen_init_code_is_answered(fake_gpus: MakeMachine, code: int) -> None:
    assert answered(fake_gpus(f"init={code}"), INIT) == code
    assert answered(fake_gpus(f"cuinit={code}"), CUDA) == code


def test_a_crash_and_a_hang_come_at_the_chosen_call(fake_gpus: MakeMachine) -> None:
    crashed = rig.run(fake_gpus("crash=nvmlDeviceGetName"), sys.executable, "-c", EACH)
    assert crashed.exit == 128 + 11
    with pytest.raises(subprocess.TimeoutExpired):
        rig.run(fake_gpus("hang=cuInit"), sys.executable, "-c", CUDA, timeout=1)


def test_a_frozen_process_outlives_sigkill_until_it_is_thawed(freezer: None) -> None:
    process = subprocess.Popen(["sleep", "60"])
    with cgroups.frozen(process.pid):
        process.kill()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
    assert process.wait(timeout=5) == -9
