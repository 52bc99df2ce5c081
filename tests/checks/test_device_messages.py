"""What texts say of GPUs, their nodes and their services: the right finding first, none where a text decides none."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.checks.pasting import saying

TORCH_999 = (
    "UserWarning: CUDA initialization: CUDA unknown error - this may be due to an incorrectly set up environment, e.g."
    " changing env variable CUDA_VISIBLE_DEVICES after program start. Setting the available devices to be zero."
)
TORCH_802 = (
    "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling"
    " NumCudaDevices() that might have already set an error? Error 802: system not yet initialized"
)
LOST = "NVRM: Xid (PCI:0000:65:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."

TEXTS: dict[str, tuple[str, ...]] = {
    "gpu-init-failed": (
        ("root@box:~# nvidia-smi\nNo devices were found\n"),
        "[   12.13] NVRM: GPU 0000:65:00.0: RmInitAdapter failed! (0x24:0x65:1501)",
        "Jan 02 10:00:00 box kernel: nvidia 0000:65:00.0: probe with driver nvidia failed with error -1",
        ("nvidia: probe of 0000:65:00.0 failed with error -1\nNVRM: The NVIDIA probe routine failed for 1 device(s)."),
        "NVRM: GPU 0000:65:00.0: GPU does not have the necessary power cables connected.",
        "NVRM: gpuWaitForGfwBootComplete_TU102: failed to wait for GFW_BOOT: (progress 0x1)",
        "Unable to determine the device handle for GPU0000:65:00.0: Unknown Error",
        ("Unable to determine the device handle for GPU2: 0000:65:00.0: Not Found\nNo devices were found"),
        "open /dev/nvidia3: input/output error",
        "nvidia-persistenced[901]: device 0000:65:00.0 - failed to open.",
    ),
    "gpu-fallen-off-bus": (
        "[Tue Mar  4 03:11:09 2025] " + LOST,
        (
            "NVRM: The NVIDIA GPU 0000:65:00.0\n"
            "  NVRM: (PCI ID: 10de:2204) installed in this system has\n"
            "  NVRM: fallen off the bus and is not responding to commands."
        ),
        "pynvml.nvml.NVMLError_GpuIsLost: GPU is lost",
        (
            "Unable to determine the device handle for GPU 0000:65:00.0: GPU is lost.  Reboot the system"
            " to recover this GPU"
        ),
        "65:00.0 VGA compatible controller: NVIDIA Corporation GA102 [GeForce RTX 3090] (rev ff)",
        "nvidia 0000:01:00.0: can't change power state from D3cold to D0 (config space inaccessible)",
    ),
    "gpu-switched-off": (
        "[    3.9] bbswitch: Succesfully loaded. Discrete card 0000:01:00.0 is off",
        ("me@laptop:~$ prime-select query\nintel\nme@laptop:~$ nvidia-smi"),
        ("$ envycontrol --query\nintegrated"),
        ("$ cat /sys/devices/platform/asus-nb-wmi/dgpu_disable\n1"),
        ("NVRM: GPU 0000:65:00.0: open() not permitted for excluded GPU-12345678-aaaa-bbbb-cccc-1234567890ab"),
    ),
    "gpu-slowed": (
        (
            "    Clocks Throttle Reasons\n"
            "        HW Slowdown                       : Active\n"
            "            HW Thermal Slowdown           : Active"
        ),
        "            HW Power Brake Slowdown       : Active",
        "<clocks_event_reason_sw_thermal_slowdown>Active</clocks_event_reason_sw_thermal_slowdown>",
    ),
    "compute-mode-restricted": (
        "RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable",
        "    Compute Mode                          : Prohibited",
        (
            "numba.cuda.cudadrv.driver.CudaAPIError: [46] Call to cuDevicePrimaryCtxRetain results in"
            " CUDA_ERROR_DEVICE_UNAVAILABLE"
        ),
    ),
    "confidential-computing-not-ready": (
        ("$ nvidia-smi conf-compute -grs\nConfidential Compute GPUs Ready state: not-ready"),
        "CC status: ON\n" + TORCH_802,
    ),
    "pci-resources-unavailable": (
        (
            "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:\n"
            "NVRM: BAR1 is 0M @ 0x0 (PCI:0000:65:00.0)\n"
            "nvidia: probe of 0000:65:00.0 failed with error -1"
        ),
        "pci 0000:65:00.0: BAR 1: no space for [mem size 0x1000000000 64bit pref]",
        "        Region 1: Memory at <unassigned> (64-bit, prefetchable)",
    ),
    "device-nodes-missing": (
        ("$ ls -l /dev/nvidia*\nls: cannot access '/dev/nvidia*': No such file or directory"),
        "FileNotFoundError: [Errno 2] No such file or directory: '/dev/nvidia0'",
        (
            "docker: Error response from daemon: error gathering device information while adding custom"
            ' device "/dev/nvidia0": no such file or directory.'
        ),
    ),
    "device-nodes-stale": (
        "cat: /dev/nvidia-uvm: No such device or address",
        (
            "crw-rw-rw- 1 root root 245,   0 Mar  3 09:10 /dev/nvidia-uvm\n"
            "$ grep nvidia /proc/devices\n"
            "195 nvidia\n"
            "508 nvidia-uvm"
        ),
        "drwxr-xr-x 2 root root 40 Mar  3 09:10 /dev/nvidia0",
    ),
    "device-nodes-forbidden": (
        "Failed to initialize NVML: Insufficient Permissions",
        "PermissionError: [Errno 13] Permission denied: '/dev/nvidiactl'",
        'openat(AT_FDCWD, "/dev/nvidia0", O_RDWR|O_CLOEXEC) = -1 EPERM (Operation not permitted)',
        ("NvRmMemInitNvmap failed with Permission denied\n549: Memory Manager Not supported"),
    ),
    "uvm-not-loaded": (
        TORCH_999,
        "E tensorflow: failed call to cuInit: CUDA_ERROR_UNKNOWN: unknown error",
        ("cudaGetDeviceCount returned 999\n-> unknown error\nResult = FAIL"),
        "ggml_cuda_init: failed to initialize CUDA: unknown error",
        ('level=INFO msg="unable to load cuda driver library" error="cuda driver library init failure: 999"'),
        "modprobe: ERROR: could not insert 'nvidia_uvm': Cannot allocate memory",
        "nvidia-uvm: uvm_pmm_gpu.c:3176 devmem_alloc_pagemap[pid:77] request_free_mem_region() err -34",
        "ls: cannot access '/dev/nvidia-uvm': No such file or directory",
    ),
    "uvm-broken-after-suspend": (
        "[ 9120.1] PM: suspend exit\n$ python t.py\n" + TORCH_999,
        "It works until my laptop goes to sleep. After waking up from suspend: cuInit(0) returned 999",
    ),
    "fabric-manager-not-running": (
        TORCH_802,
        "ggml_cuda_init: failed to initialize CUDA: system not yet initialized",
        "NCCL WARN Cuda failure 802 'system not yet initialized'",
        ("    Fabric\n        State                             : In Progress\n"),
        "systemd[1]: Failed to start NVIDIA fabric manager service.",
    ),
    "fabric-manager-mismatch": (
        (
            "fabric manager NVIDIA GPU driver interface version 550.127.05 don't match with driver"
            " version 550.120. Please update with matching NVIDIA driver package."
        ),
        "nvidia-nvswitch: Version mismatch, kernel version 535.161.08 user version 535.154.05",
    ),
    "imex-not-running": (
        ("NCCL WARN MNNVL (cliqueSize 72) is available but not working on this system. Check the IMEX channel"),
        "ls: cannot access '/dev/nvidia-caps-imex-channels': No such file or directory",
    ),
    "mps-unavailable": (
        ("RuntimeError: CUDA error: MPS client failed to connect to the MPS control daemon or the MPS server"),
        "CUDA error: the hardware resources required to create MPS client have been exhausted",
        "failed call to cuInit: CUDA_ERROR_MPS_CLIENT_TERMINATED: unknown error",
        "cuInit(0) returned 805",
    ),
    "vgpu-misconfigured": (
        "        License Status                    : Unlicensed (Restricted)",
        (
            "nvidia-gridd[811]: Failed to acquire license from dls.example.com (Info: NVIDIA RTX Virtual"
            " Workstation - Error: The allowed time to process response has expired)"
        ),
        "NVRM: Xid (PCI:0000:00:05): 160, Guest driver is incompatible with host driver",
    ),
}

UNDECIDED = [
    "Failed to initialize NVML: Unknown Error",
    "Failed to initialize NVML: Unknown Error\n" + TORCH_999,
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
    "nvidia-uvm: Loaded the UVM driver, major device number 510.",
    ("        HW Slowdown                       : Not Active\n        SW Power Cap                      : Active"),
    "    Compute Mode                          : Exclusive_Process",
    "    Compute Mode                          : Default",
    "CC status: OFF",
    ("CC status: ON\nConfidential Compute GPUs Ready state: ready"),
    ("    Fabric\n        State                             : Completed"),
    ("$ prime-select query\non-demand"),
    ("$ envycontrol --query\nhybrid"),
    ("$ cat /sys/devices/platform/asus-nb-wmi/dgpu_disable\n0"),
    (
        "crw-rw-rw- 1 root root 195,   0 Mar  3 09:10 /dev/nvidia0\n"
        "crw-rw-rw- 1 root root 508,   0 Mar  3 09:10 /dev/nvidia-uvm\n"
        "508 nvidia-uvm"
    ),
    "drwxr-xr-x 2 root root 4096 Mar  3 09:10 nvidia-uvm",
    "PM: suspend exit",
    "Unable to set persistence mode for GPU 00000000:65:00.0: Insufficient Permissions",
    "Cannot find MPS control daemon process",
    "Server 2290 exited with status 0",
    (
        "nvidia-gridd[811]: Failed to acquire license from dls.example.com (Info: vWS - Error: timed"
        " out)\n"
        "nvidia-gridd[811]: License acquired successfully. (Info: dls.example.com, vWS)"
    ),
    (
        "pci 0000:65:00.0: BAR 1: no space for [mem size 0x10000000 64bit pref]\n"
        "pci 0000:65:00.0: BAR 1: assigned [mem 0x38000000000-0x3800fffffff 64bit pref]"
    ),
    "pci 0000:00:1c.0: BAR 13: no space for [io size 0x1000]",
    "epoch 12 step 999: loss 0.999, cuda memory 46 GB",
    "Running 802 tests with cuda 12: 805 passed",
    "pci 0000:65:00.0: 63.0 Gb/s available PCIe bandwidth, limited by 8.0 GT/s PCIe x8 link",
    "pciehp: Slot(12): Link Down",
    "InnoDB: fts system not yet initialized",
    "Unit nvidia-fabricmanager.service could not be found.",
]


@pytest.mark.parametrize(("identifier", "text"), [(one, text) for one, texts in TEXTS.items() for text in texts])
def test_a_text_gives_its_finding_first(identifier: str, text: str) -> None:
    finding = first(saying(text))
    assert finding.id == identifier
    assert finding.confidence is not Confidence.POSSIBLE
    assert "unknown (" not in finding.title


@pytest.mark.parametrize("text", UNDECIDED)
def test_a_text_that_decides_nothing_gives_nothing(text: str) -> None:
    assert ids(saying(text)) == []


def causes(text: str) -> list[tuple[str, str | None]]:
    return [(ranked.finding.id, ranked.caused_by) for ranked in diagnosed(saying(text)).findings]


def test_a_gpu_off_the_bus_explains_that_nothing_works() -> None:
    text = f"{LOST}\nNVRM: GPU 0000:65:00.0: RmInitAdapter failed! (0x62:0x65:2011)\nNo devices were found"
    assert causes(text) == [("gpu-fallen-off-bus", None), ("gpu-init-failed", "gpu-fallen-off-bus")]


def test_a_switch_stays_a_guess_where_the_gpu_has_fallen_off_the_bus() -> None:
    text = "bbswitch: disabling discrete graphics\n01:00.0 3D controller: NVIDIA Corporation GP107M (rev ff)"
    assert causes(text) == [("gpu-fallen-off-bus", None), ("gpu-switched-off", None)]


def test_a_missing_window_explains_a_failed_probe() -> None:
    text = "NVRM: BAR1 is 0M @ 0x0 (PCI:0000:65:00.0)\nnvidia: probe of 0000:65:00.0 failed with error -1"
    assert causes(text) == [("pci-resources-unavailable", None), ("gpu-init-failed", "pci-resources-unavailable")]


def test_a_fabric_manager_of_another_release_explains_802() -> None:
    text = f"nvidia-nvswitch: Version mismatch, kernel version 550.120 user version 550.127.05\n{TORCH_802}"
    assert causes(text) == [
        ("fabric-manager-mismatch", None),
        ("fabric-manager-not-running", "fabric-manager-mismatch"),
    ]


def test_802_on_a_confidential_gpu_blames_no_fabric_manager() -> None:
    assert ids(saying("CC status: ON", TORCH_802)) == ["confidential-computing-not-ready"]


def test_802_with_an_absent_fabric_manager_is_certain() -> None:
    finding = first(saying("Unit nvidia-fabricmanager.service could not be found.\n" + TORCH_802))
    assert (finding.id, finding.confidence) == ("fabric-manager-not-running", Confidence.CERTAIN)


def test_999_says_nothing_of_uvm_where_the_gpu_does_not_start() -> None:
    assert ids(saying("No devices were found\n" + TORCH_999)) == ["gpu-init-failed"]


def test_999_says_nothing_of_uvm_where_the_driver_itself_is_at_odds() -> None:
    text = "Failed to initialize NVML: Driver/library version mismatch\n" + TORCH_999
    assert "uvm-not-loaded" not in ids(saying(text))


def test_missing_nodes_decide_nothing_where_the_driver_may_not_be_loaded() -> None:
    text = (
        "ls: cannot access '/dev/nvidia*': No such file or directory\n"
        "nvidia-persistenced failed to initialize. Check syslog for more details."
    )
    assert ids(saying(text)) == []


@pytest.mark.parametrize(
    ("identifier", "text"),
    [
        ("gpu-init-failed", "(EE) NVIDIA(GPU-0): Failed to initialize the NVIDIA GPU at PCI:65:0:0.  Please"),
        ("gpu-fallen-off-bus", "vfio-pci 0000:65:00.0: not ready 65535ms after bus reset; giving up"),
        ("device-nodes-forbidden", 'avc:  denied  { read write } for  pid=7 comm="x" name="nvidiactl" dev="devtmpfs"'),
        ("fabric-manager-not-running", "ERROR: the fabric manager is not running on this host"),
        ("imex-not-running", "Domain State: DEGRADED"),
    ],
)
def test_other_programs_tell_of_it_too(identifier: str, text: str) -> None:
    assert first(saying(text)).id == identifier


def test_a_suspend_alone_does_not_hide_a_missing_node() -> None:
    text = "PM: suspend exit\nls: cannot access '/dev/nvidia-uvm': No such file or directory"
    assert ids(saying(text)) == ["uvm-not-loaded"]


@pytest.mark.parametrize(
    "words",
    ["I put the laptop to sleep, and now:", "since I closed the lid: after resume", "after waking up from suspend"],
)
def test_words_tell_of_a_suspend_too(words: str) -> None:
    assert ids(saying(f"{words}\n{TORCH_999}")) == ["uvm-broken-after-suspend"]


def test_a_table_of_nvidia_smi_beside_error_999_speaks_for_uvm() -> None:
    table = "| NVIDIA-SMI 550.90.07              Driver Version: 550.90.07      CUDA Version: 12.4     |"
    assert ids(saying(f"{table}\n{TORCH_999}")) == ["uvm-not-loaded"]
    assert ids(saying(f"$ docker exec -it trainer python a.py\n{TORCH_999}")) == ["uvm-not-loaded"]


def test_resuming_a_training_run_is_no_suspend() -> None:
    assert ids(saying("after resuming from checkpoint:\n" + TORCH_999)) == ["uvm-not-loaded"]


@pytest.mark.parametrize(
    "mode",
    [
        "    Compute Mode   : Exclusive_Process",
        "| N/A   35C    P0    63W / 235W |     74MiB / 11439MiB |      0%   E. Process |",
        "| 57%   79C    P0    N/A /  N/A |    362MiB /  6143MiB |     N/A    E. Thread |",
        "0, Exclusive_Process",
    ],
)
def test_error_46_in_exclusive_mode_is_certain(mode: str) -> None:
    finding = first(saying(f"{mode}\nCUDA error: CUDA-capable device(s) is/are busy or unavailable"))
    assert (finding.id, finding.confidence) == ("compute-mode-restricted", Confidence.CERTAIN)


def test_a_slowed_gpu_is_a_warning() -> None:
    assert first(saying("HW Thermal Slowdown : Active")).severity is Severity.WARNING


def test_the_gpu_that_is_meant_stands_in_the_title() -> None:
    assert "0000:65:00.0" in first(saying(LOST)).title


def test_missing_power_cables_are_named() -> None:
    text = (
        "NVRM: GPU 0000:65:00.0: GPU does not have the necessary power cables connected.\n"
        "NVRM: GPU 0000:65:00.0: RmInitAdapter failed! (0x24:0x1c:1447)"
    )
    assert "power cables" in first(saying(text)).title


def test_the_fabric_managers_package_is_that_of_the_driver() -> None:
    text = "nvidia-nvswitch: Version mismatch, kernel version 550.120 user version 550.127.05"
    commands = first(saying(text)).remedies[0].commands
    assert commands[0] == "sudo apt install 'nvidia-fabricmanager-550=550.120*'"
