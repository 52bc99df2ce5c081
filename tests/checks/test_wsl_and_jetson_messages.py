"""What is said in WSL2 and on a Jetson, where the driver is not a package of Linux."""

from __future__ import annotations

import pytest

from tests.checks.diagnosing import first, ids
from tests.checks.pasting import saying

WSL = "$ uname -r\n5.15.167.4-microsoft-standard-WSL2\n"


@pytest.mark.parametrize(
    "text",
    [
        "$ nvidia-smi\nFailed to initialize NVML: GPU access blocked by the operating system\nFailed to properly"
        " shut down"
        " NVML: GPU access blocked by the operating system",
        "Failed to initialize NVML: N/A\nFailed to properly shut down NVML: N/A",
        "nvidia-container-cli: initialization error: WSL environment detected but no adapters were found: unknown",
        "nvidia-container-cli: initialization error: nvml error: gpu access blocked by the operating system: unknown.",
        "E0203 01:02:03.000004 99 dxcore.c:227] Found a WDDM adapter running a driver with pre-WDDM 2.8 . Skipping it.",
        "nvidia-container-cli: detection error: path error:"
        " ///usr/lib/wsl/drivers/nvlt.inf_amd64_0f0e/libcuda.so.1.1: not found",
        f"{WSL}NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest"
        " NVIDIA driver is installed and running.",
        f"{WSL}$ python -c 'import torch; torch.zeros(1).cuda()'\nRuntimeError: Found no NVIDIA driver on your system.",
        "modprobe: FATAL: Module nvidia not found in directory /lib/modules/6.6.87.2-microsoft-standard-WSL2",
        "ls: cannot access '/dev/dxg': No such file or directory",
        f"{WSL}Command 'nvidia-smi' not found, but can be installed with:\nsudo apt install nvidia-utils-535",
        "Error! Your kernel headers for kernel 5.10.16.3-microsoft-standard-WSL2 cannot be found.",
        "I use Ubuntu 22.04 in WSL2.\nFailed to initialize NVML: GPU access blocked by the operating system",
    ],
)
def test_wsl_without_the_windows_driver_is_told(text: str) -> None:
    assert first(saying(text)).id == "wsl-driver-misinstalled"


@pytest.mark.parametrize(
    "text",
    [
        WSL,
        f"{WSL}/sbin/ldconfig.real: /usr/lib/wsl/lib/libcuda.so.1 is not a symbolic link",
        f"{WSL}[    4.0] misc dxg: dxgk: dxgkio_query_adapter_info: Ioctl failed: -22",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
        "modprobe: FATAL: Module nvidia not found in directory /lib/modules/6.8.0-60-generic",
        f"{WSL}$ docker run --gpus all app\nRuntimeError: Found no NVIDIA driver on your system.",
    ],
)
def test_harmless_words_of_wsl_and_words_of_linux_prove_nothing(text: str) -> None:
    assert "wsl-driver-misinstalled" not in ids(saying(text))


@pytest.mark.parametrize(
    "text",
    [
        "NvRmMemInitNvmap failed with No such file or directory\n549: Memory Manager Not supported\n\n\n"
        "****NvRmMemMgrInit failed**** error type: 196626\n\n\n*** NvRmMemInit failed NvRmMemConstructor",
        "NvRmMemInitNvmap failed: error No such file or directory",
        "ImportError: libnvrm_gpu.so: cannot open shared object file: No such file or directory",
        "OSError: libcudla.so.1: cannot open shared object file: No such file or directory",
        "ERROR: This container was built for NVIDIA Driver Release 575.51 or later, but\n       version 540.3.0 was"
        " detected"
        " and compatibility mode is UNAVAILABLE.",
    ],
)
def test_l4t_parts_that_do_not_fit_are_told(text: str) -> None:
    assert first(saying(text)).id == "jetson-stack-mismatch"


@pytest.mark.parametrize(
    "text",
    [
        "NvRmMemInitNvmap failed: error Permission denied\n356: Memory Manager Not supported\nNvRmGpuLibOpen failed,"
        " error=196623",
        "/sbin/ldconfig.real: File /usr/lib/aarch64-linux-gnu/tegra/libnvos.so is empty, not checked.",
        "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64",
    ],
)
def test_a_jetson_whose_nodes_are_forbidden_is_no_mismatch(text: str) -> None:
    assert "jetson-stack-mismatch" not in ids(saying(text))
