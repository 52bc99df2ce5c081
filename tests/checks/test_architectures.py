"""The toolkit against the GPUs here and against the architectures that the environment asks for."""

from __future__ import annotations

from typing import Any

import pytest

from nvdiag.model.diagnosis import Status
from nvdiag.model.finding import Confidence, Finding, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.checks.pasting import pasted
from tests.scenarios import machines
from tests.scenarios.tree import Tree

NEW = "580.95.05"


def nvml(name: str, capability: str) -> dict[str, Any]:
    answer = machines.nvml_healthy(NEW, cuda=13000)
    answer["devices"] = [{**answer["devices"][0], "name": name, "compute_capability": capability}]
    return answer


def machine(gpu: tuple[str, str], *toolkits: str, **env: str) -> Tree:
    """One GPU and these toolkits, the first of which is on PATH."""
    files: dict[str, str] = {}
    for version in toolkits:
        root = f"/usr/local/cuda-{version}"
        files |= {f"{root}/version.json": f'{{"cuda_nvcc": {{"version": "{version}.88"}}}}', f"{root}/bin/nvcc": ""}
    healthy = machines.ubuntu_dkms(NEW, NEW, NEW)
    path = {"PATH": f"/usr/local/cuda-{toolkits[0]}/bin:/usr/bin"}
    return healthy.but(files=files, env={**path, **env}, probes={"nvml": nvml(*gpu)})


RTX_5090 = ("NVIDIA GeForce RTX 5090", "12.0")
GTX_1080 = ("NVIDIA GeForce GTX 1080", "6.1")
GB10 = ("NVIDIA GB10", "12.1")


def found(tree: Tree) -> Finding:
    finding = first(tree)
    assert (finding.id, finding.severity) == ("nvcc-arch-unsupported", Severity.WARNING)
    return finding


def outcome(tree: Tree, name: str) -> tuple[Status, str]:
    one = next(one for one in diagnosed(tree).checks if one.name == name)
    return one.status, one.reason


def test_an_older_toolkit_on_path_is_no_finding() -> None:
    assert ids(machine(RTX_5090, "12.4")) == []
    assert ids(machine(GTX_1080, "13.0")) == []


@pytest.mark.parametrize(
    ("gpu", "toolkit", "made_by"),
    [(RTX_5090, "12.4", "CUDA 12.8 or newer"), (GTX_1080, "13.0", "CUDA 12.9 or older")],
    ids=["too old", "too new"],
)
def test_the_toolkit_that_cuda_home_means_must_know_the_gpu(gpu: tuple[str, str], toolkit: str, made_by: str) -> None:
    finding = found(machine(gpu, toolkit, CUDA_HOME=f"/usr/local/cuda-{toolkit}"))
    assert finding.confidence is Confidence.LIKELY
    assert gpu[0] in finding.title
    assert made_by in finding.remedies[0].summary
    assert any("nvdiag's table of compute capabilities" in one.source for one in finding.evidence)


def test_a_toolkit_that_is_here_and_knows_the_gpu_is_what_the_remedy_names() -> None:
    finding = found(machine(RTX_5090, "12.4", "12.9", CUDAARCHS="native"))
    assert finding.title.startswith("CUDAARCHS picks a toolkit of CUDA 12.4")
    assert finding.remedies[0].commands[0].startswith("export CUDA_HOME=/usr/local/cuda-12.9 ")


def test_code_of_a_lower_minor_of_the_gpus_major_runs_on_it() -> None:
    assert ids(machine(GB10, "12.8", CUDA_HOME="/usr/local/cuda-12.8")) == []


@pytest.mark.parametrize(
    ("env", "which"),
    [
        ({"TORCH_CUDA_ARCH_LIST": "8.6 8.9 12.0+PTX"}, "12.0"),
        ({"CUDAARCHS": "75-real;90a-virtual;100"}, "10.0"),
        ({"CMAKE_CUDA_ARCHITECTURES": "35;86"}, "3.5"),
        ({"NVCC_APPEND_FLAGS": "-gencode arch=compute_120,code=sm_120"}, "12.0"),
    ],
    ids=str,
)
def test_an_architecture_that_a_variable_asks_of_a_toolkit_without_it(env: dict[str, str], which: str) -> None:
    finding = found(machine(GTX_1080, "12.4", **env))
    assert finding.confidence is Confidence.CERTAIN
    assert f"{next(iter(env))} asks for compute capability {which}, for which CUDA 12.4 makes no code" == finding.title


@pytest.mark.parametrize(
    ("env", "command"),
    [
        ({"TORCH_CUDA_ARCH_LIST": "8.6 8.9+PTX 12.0+PTX"}, "export TORCH_CUDA_ARCH_LIST='8.6;8.9+PTX'"),
        ({"CUDAARCHS": "75-real;90a-virtual;100"}, "export CUDAARCHS='75-real;90a-virtual'"),
        ({"CUDAARCHS": "100-real"}, "nvidia-smi --query-gpu=name,compute_cap --format=csv"),
    ],
    ids=str,
)
def test_the_list_without_it_is_given_as_it_would_be_typed(env: dict[str, str], command: str) -> None:
    assert found(machine(GTX_1080, "12.4", **env)).remedies[0].commands[-1] == command


@pytest.mark.parametrize(
    "env",
    [
        {"TORCH_CUDA_ARCH_LIST": "7.5;8.0 8.6,9.0+PTX"},
        {"TORCH_CUDA_ARCH_LIST": "Ampere;Hopper"},
        {"CUDAARCHS": "all-major"},
        {"CUDAARCHS": "OFF"},
        {"NVCC_APPEND_FLAGS": "-std=c++17 --threads 12"},
        {"TORCH_CUDA_ARCH_LIST": "9.0", "CUDA_HOME": "/usr/local/cuda-12.4"},
    ],
    ids=str,
)
def test_what_the_toolkit_makes_is_well_whatever_gpu_is_here(env: dict[str, str]) -> None:
    assert ids(machine(RTX_5090, "12.4", **env)) == []


def test_a_toolkit_or_a_gpu_newer_than_the_table_is_not_guessed_about() -> None:
    status, reason = outcome(
        machine(RTX_5090, "13.9", TORCH_CUDA_ARCH_LIST="12.0"), "the_toolkit_makes_what_this_environment_asks_for"
    )
    assert (status, "newer than nvdiag's table" in reason) == (Status.UNKNOWN, True)
    status, reason = outcome(
        machine(("NVIDIA X", "19.0"), "13.0", CUDA_HOME="/usr/local/cuda-13.0"),
        "the_toolkit_that_is_meant_knows_the_gpus",
    )
    assert (status, "does not have compute capability 19.0" in reason) == (Status.UNKNOWN, True)


def test_a_gpu_is_known_by_its_pci_id_where_the_driver_says_nothing() -> None:
    tree = machines.ubuntu_dkms(None, NEW, NEW, device="0x2b85").but(
        files={
            "/usr/local/cuda-12.4/version.json": '{"cuda_nvcc": {"version": "12.4.131"}}',
            "/usr/local/cuda-12.4/bin/nvcc": "",
        },
        env={"PATH": "/usr/bin", "CUDA_HOME": "/usr/local/cuda-12.4"},
    )
    finding = next(one.finding for one in diagnosed(tree).findings if one.finding.id == "nvcc-arch-unsupported")
    assert any("10de:2b85, Blackwell" in one.excerpt or "10de:2b85" in one.source for one in finding.evidence)


def test_a_message_and_a_toolkit_in_one_text_give_the_toolkit_as_the_remedy() -> None:
    text = (
        "$ /usr/local/cuda-12.8/bin/nvcc --version\nCuda compilation tools, release 12.8, V12.8.93\n"
        "$ make\nnvcc fatal   : Unsupported gpu architecture 'compute_120'\n"
    )
    finding = first(pasted(text))
    assert finding.id == "nvcc-arch-unsupported"
    assert any("/usr/local/cuda-12.8" in command for remedy in finding.remedies for command in remedy.commands)


def test_a_build_machine_without_a_gpu_leaves_no_question_open() -> None:
    tree = machines.ubuntu_dkms(None, None, None, gpus=()).but(
        files={
            "/usr/local/cuda-12.4/version.json": '{"cuda_nvcc": {"version": "12.4.131"}}',
            "/usr/local/cuda-12.4/bin/nvcc": "",
        },
        env={"PATH": "/usr/bin", "CUDA_HOME": "/usr/local/cuda-12.4"},
    )
    status, reason = outcome(tree, "the_toolkit_that_is_meant_knows_the_gpus")
    assert (status, reason) == (Status.SKIPPED, "no NVIDIA GPU is on the PCI bus")


@pytest.mark.parametrize("env", [{"CUDA_HOME": "/usr/local/cuda-12.4"}, {"CUDAARCHS": "native;120"}], ids=str)
def test_a_snapshot_gives_the_same(env: dict[str, str]) -> None:
    tree = machine(RTX_5090, "12.4", "12.9", **env)
    live, replay = diagnosed(tree), diagnosed(tree.snapshot())
    assert [one.finding for one in replay.findings] == [one.finding for one in live.findings] != []
