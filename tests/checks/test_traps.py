"""Where the obvious reading is the wrong one: CUDA's error numbers and versions that mislead if read alone."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.checks.pasting import pasted
from tests.scenarios import machines
from tests.scenarios.pythons import torch, venv
from tests.scenarios.tree import Tree

NEW = "580.95.05"
WELL = machines.nvml_healthy(NEW, cuda=13000)
SMI = "| NVIDIA-SMI 570.172.08             Driver Version: 570.172.08     CUDA Version: 12.8     |\n"
TORCH = "$ pip list\ntorch   2.8.0+cu128\n"
E35 = "RuntimeError: CUDA error: CUDA driver version is insufficient for CUDA runtime version\n"
E222 = "RuntimeError: CUDA error: the provided PTX was compiled with an unsupported toolchain.\n"
NVCC = "$ nvcc --version\nCuda compilation tools, release 12.1, V12.1.105\n"
E209 = "RuntimeError: CUDA error: no kernel image is available for execution on the device\n"
HOLDS = ">>> torch.cuda.get_arch_list()\n['sm_80', 'sm_86', 'sm_90']\n>>> torch.cuda.get_device_capability()\n(9, 0)\n"


def with_torch(build: str, cuda: str, machine: Tree | None = None) -> Tree:
    return machines.joined(machine or machines.ubuntu_dkms(NEW, NEW, NEW), venv(torch(build, cuda)))


def test_error_35_with_a_driver_that_is_new_enough_looks_for_libcuda() -> None:
    found = first(pasted(SMI + TORCH + E35))
    assert (found.id, found.confidence) == ("driver-too-old-for-cuda", Confidence.POSSIBLE)
    assert "finds no libcuda" in found.detail
    assert found.remedies[0].commands[0] == "ldconfig -p | grep libcuda.so.1"
    older = SMI.replace("12.8", "12.2")
    assert first(pasted(older + TORCH.replace("2.8.0+cu128", "2.9.0+cu130") + E35)).confidence is Confidence.LIKELY


def test_a_missing_libcuda_is_an_error_where_pytorch_wants_it_and_the_driver_is_not_too_old() -> None:
    gone = "libcuda.so.1: cannot open shared object file: No such file or directory"
    machine = with_torch("2.9.0+cu130", "13.0").without(f"{machines.MULTIARCH}/libcuda")
    found = diagnosed(machine.but(probes={"nvml": WELL, "cuda": {"dlopen_error": gone}})).findings
    assert [(one.finding.id, one.finding.severity) for one in found] == [("libcuda-missing", Severity.ERROR)]


def test_an_nvcc_that_is_older_than_the_driver_says_nothing_of_a_wheels_ptx() -> None:
    found = first(pasted(NVCC + SMI + E222))
    assert (found.id, found.confidence) == ("ptx-newer-than-driver", Confidence.CERTAIN)


def test_no_kernel_image_may_come_from_an_extension() -> None:
    found = first(pasted(HOLDS + E209))
    assert found.id == "gpu-arch-not-in-build"
    assert "PyTorch itself has code for 9.0" in found.detail
    assert "TORCH_CUDA_ARCH_LIST=9.0" in found.remedies[0].commands[0]
    assert "PyTorch itself" not in first(pasted(HOLDS.replace("(9, 0)", "(12, 0)") + E209)).detail


@pytest.mark.parametrize("libcuda", ["550.163.01", "570.172.08"])
def test_a_cuda_13_runtime_says_35_of_an_older_libcuda_whose_mismatch_is_the_cause(libcuda: str) -> None:
    folder = "/opt/old"
    machine = with_torch("2.9.0+cu130", "13.0").but(
        env={"LD_LIBRARY_PATH": folder},
        links={f"{folder}/libcuda.so.1": f"libcuda.so.{libcuda}"},
        libraries={f"{folder}/libcuda.so.{libcuda}": 30_000_000},
        probes={
            "nvml": WELL,
            "cuda": {"library": f"{folder}/libcuda.so.{libcuda}", "driver_version": 12040, "init": 803},
        },
    )
    found = diagnosed(machine).findings
    assert found[0].finding.id == "libcuda-mismatch"
    assert "driver-too-old-for-cuda" not in [one.finding.id for one in found]


def test_pytorch_brings_its_own_cuda_and_needs_no_nvcc() -> None:
    assert ids(with_torch("2.9.0+cu130", "13.0").but(probes={"nvml": WELL})) == []


@pytest.mark.parametrize(
    ("nvcc", "root"),
    [
        ("/usr/local/bin/nvcc", "/usr/local/cuda-12.8"),
        ("/srv/app/conda/bin/nvcc", "/srv/app/conda"),
        ("/srv/app/.venv/lib/python3.12/site-packages/nvidia/cuda_nvcc/bin/nvcc", ""),
    ],
)
def test_an_nvcc_on_path_is_followed_to_its_own_toolkit(nvcc: str, root: str) -> None:
    from nvdiag.engine import Facts
    from nvdiag.facts.toolkits import Toolkits
    from nvdiag.host import Host

    version = '{"cuda_nvcc": {"version": "12.8.93"}}'
    folder = nvcc.rpartition("/bin/")[0]
    files = {f"{folder}/version.json": version, nvcc: "\x7fELF"}
    if root == "/usr/local/cuda-12.8":
        wrapper = '#!/bin/sh\nexec /usr/local/cuda-12.8/bin/nvcc "$@"\n'
        files = {nvcc: wrapper, f"{root}/bin/nvcc": "", f"{root}/version.json": version}
    machine = machines.ubuntu_dkms(NEW, NEW, NEW).but(files=files, env={"PATH": f"{nvcc.rpartition('/')[0]}:/usr/bin"})
    toolkit = Facts({Host: machine.host()})[Toolkits].found[0]
    assert (toolkit.root, toolkit.chosen_by, str(toolkit.version)) == (root or folder, "PATH", "12.8.93")
