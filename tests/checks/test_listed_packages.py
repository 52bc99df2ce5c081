"""The installed driver, as lists of packages and DKMS tell of it, against the GPU that it does not drive."""

from __future__ import annotations

import pytest

from tests.checks.diagnosing import ids
from tests.checks.pasting import pasted

SILENT = "$ nvidia-smi\nNVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"
NONE_FOUND = "$ nvidia-smi\nNo devices were found\n"

KEPLER = (
    "$ lspci -nn\n01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GK107 [GeForce GT 640] [10de:0fc1]\n"
)
MAXWELL = "$ lspci\n01:00.0 VGA compatible controller: NVIDIA Corporation GM107 [GeForce GTX 750] (rev a2)\n"
AMPERE = "$ lspci\n01:00.0 VGA compatible controller: NVIDIA Corporation GA102 [GeForce RTX 3080] (rev a1)\n"
BLACKWELL = "$ lspci\n01:00.0 VGA compatible controller: NVIDIA Corporation GB203 [GeForce RTX 5080] (rev a1)\n"

UBUNTU = (
    "$ dpkg -l | grep nvidia\n"
    "ii  nvidia-driver-{0}  {0}.65.06-0ubuntu0.24.04.1  amd64  NVIDIA driver metapackage\n"
    "ii  nvidia-dkms-{0}    {0}.65.06-0ubuntu0.24.04.1  amd64  NVIDIA DKMS package\n"
)
ARCH_OPEN = "$ pacman -Q | grep nvidia\nnvidia-open-dkms 575.57.08-1\nnvidia-utils 575.57.08-1\n"
FEDORA = (
    "$ rpm -qa | grep nvidia\nakmod-nvidia-{0}.256.02-1.fc40.x86_64\nxorg-x11-drv-nvidia-{0}.256.02-1.fc40.x86_64\n"
)
DKMS = "$ dkms status\nnvidia/{0}.65.06, 6.8.0-85-generic, x86_64: installed\n"


@pytest.mark.parametrize(
    ("identifier", "text"),
    [
        ("gpu-needs-legacy-driver", KEPLER + UBUNTU.format(580) + SILENT),
        ("gpu-needs-legacy-driver", KEPLER + DKMS.format(580) + SILENT),
        ("gpu-needs-legacy-driver", KEPLER + FEDORA.format(535) + SILENT),
        ("gpu-needs-newer-driver", BLACKWELL + UBUNTU.format(535) + SILENT),
        ("gpu-needs-open-module", BLACKWELL + UBUNTU.format(580) + NONE_FOUND),
        ("gpu-needs-proprietary-module", MAXWELL + ARCH_OPEN + SILENT),
    ],
)
def test_an_installed_driver_that_does_not_suit_the_gpu_is_told(identifier: str, text: str) -> None:
    assert ids(pasted(text))[0] == identifier


@pytest.mark.parametrize(
    "text",
    [
        AMPERE + UBUNTU.format(580) + SILENT,
        KEPLER + FEDORA.format(470) + SILENT,
        KEPLER + UBUNTU.format(580),
        KEPLER + UBUNTU.format(580) + FEDORA.format(470) + SILENT,
        KEPLER + UBUNTU.format(580) + DKMS.format(470) + SILENT,
        BLACKWELL + "$ dpkg -l | grep nvidia\nii  libnvidia-compute-580  580.65.06-0ubuntu1  amd64  library\n" + SILENT,
    ],
)
def test_a_driver_that_suits_or_is_not_settled_is_not_blamed(text: str) -> None:
    assert not [identifier for identifier in ids(pasted(text)) if identifier.startswith("gpu-needs")]
