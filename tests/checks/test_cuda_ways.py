"""Ways out of a driver that is too old for a program's CUDA: the numbers in them are the tables'."""

from __future__ import annotations

from nvdiag.model.finding import Finding
from tests.checks.diagnosing import first, ids
from tests.checks.pasting import pasted
from tests.scenarios import machines
from tests.scenarios.tree import Tree

INDEX = "https://download.pytorch.org/whl"


def said(found: str, driver: str, gpu: str, *packages: str) -> str:
    number = CUDA[driver.split(".", maxsplit=1)[0]]
    return (
        "$ python train.py\nRuntimeError: The NVIDIA driver on your system is too old (found version"
        f" {found}).\n$ nvidia-smi\n| NVIDIA-SMI {driver}   Driver Version: {driver}   CUDA Version: {number}     |\n"
        f"|   0  {gpu}    On   | 00000000:01:00.0 Off |                  N/A |\n"
        "$ pip list\n" + "".join(f"{one}\n" for one in packages)
    )


CUDA = {"470": "11.4", "535": "12.2", "550": "12.4"}


def too_old(text: str) -> Finding:
    finding = first(pasted(text))
    assert finding.id == "driver-too-old-for-cuda"
    return finding


def commands(finding: Finding) -> list[str]:
    return [command for remedy in finding.remedies for command in remedy.commands]


def words(finding: Finding) -> str:
    return " ".join(f"{one.summary} {one.prediction}" for one in finding.remedies)


def test_driver_470_gets_pytorch_for_cuda_11_8_or_the_driver_that_cuda_12_needs() -> None:
    finding = too_old(said("11040", "470.256.02", "NVIDIA GeForce RTX 3090", "torch    2.4.1+cu121"))
    assert f"python3 -m pip install --force-reinstall 'torch==2.4.*' --index-url {INDEX}/cu118" in commands(finding)
    assert "by minor-version compatibility (CUDA 11.x from driver 450.80.02)" in words(finding)
    assert "CUDA 12.x runs from driver 525.60.13, and all of CUDA 12.1 from driver 530.30.02 on" in words(finding)
    assert "cuda-compat" not in words(finding)
    tables = [one.source for one in finding.evidence if one.source.startswith("nvdiag's table")]
    assert [source.partition(" (")[0] for source in tables] == [
        "nvdiag's table of driver branches, 470",
        "nvdiag's table of toolkits, 12.1 GA",
    ]


def test_what_needs_no_root_stands_before_what_does() -> None:
    finding = too_old(said("12020", "535.161.07", "NVIDIA A100-SXM4-40GB", "torch    2.9.1+cu130"))
    roots = [remedy.needs_root for remedy in finding.remedies]
    assert roots == sorted(roots)
    assert f"python3 -m pip install --force-reinstall 'torch==2.9.*' --index-url {INDEX}/cu126" in commands(finding)


def test_a_data_centre_gpu_may_keep_its_driver_by_cuda_compat() -> None:
    finding = too_old(said("12020", "535.161.07", "NVIDIA A100-SXM4-40GB", "torch    2.9.1+cu130"))
    assert "sudo apt install cuda-compat-13-0" in commands(finding)
    other = too_old(said("12040", "550.54.15", "NVIDIA A100-SXM4-40GB", "torch    2.9.1+cu130"))
    assert "cuda-compat" not in words(other)


def test_no_driver_is_advised_that_does_not_know_the_gpu() -> None:
    finding = too_old(said("11040", "470.256.02", "Tesla K80", "torch    2.4.1+cu121"))
    assert "no newer driver helps: branch 470 is the last for Tesla K80 (Kepler)" in words(finding)
    assert not any(remedy.reboots for remedy in finding.remedies)
    assert any(f"{INDEX}/cu118" in command for command in commands(finding))


def test_no_driver_is_advised_for_a_cuda_that_makes_no_code_for_the_gpu() -> None:
    finding = too_old(said("12040", "550.54.15", "NVIDIA GeForce GTX 1080", "torch    2.9.1+cu130"))
    assert "no newer driver helps: CUDA 12.9 is the last that makes code for NVIDIA GeForce GTX 1080" in words(finding)
    assert any(f"'torch==2.9.*' --index-url {INDEX}/cu126" in command for command in commands(finding))


def test_a_pytorch_that_the_driver_runs_says_nothing_of_what_another_program_needs() -> None:
    text = (
        "$ ./app\nCUDA driver version is insufficient for CUDA runtime version\n"
        "$ nvidia-smi\n| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4     |\n"
        "$ pip list\ntorch    2.5.1+cu121\n"
    )
    finding = too_old(text)
    assert not any(one.source.startswith("nvdiag's table of toolkits") for one in finding.evidence)
    assert "to the branch of the CUDA version that the program brings" in words(finding)


def test_a_cuda_newer_than_the_tables_is_said_to_be_so() -> None:
    finding = too_old(said("12020", "535.161.07", "NVIDIA A100-SXM4-40GB", "torch    2.9.1+cu199"))
    assert "CUDA 19.9 is newer than nvdiag's table" in words(finding)


def test_a_containers_requirement_tells_what_is_needed() -> None:
    text = (
        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.4, please update your driver to a"
        " newer version, or use an earlier cuda container: unknown\n"
        "| NVIDIA-SMI 470.256.02   Driver Version: 470.256.02   CUDA Version: 11.4     |\n"
    )
    finding = too_old(text)
    assert "all of CUDA 12.4 from driver 550.54.14 on" in words(finding)
    assert "image for CUDA 11.4 or older, or for any CUDA 11.x (from driver 450.80.02)" in words(finding)


def test_ptx_that_is_too_new_gets_the_gpus_own_binary_code_and_the_toolkits_driver() -> None:
    text = (
        "$ ./app\nRuntimeError: CUDA error: the provided PTX was compiled with an unsupported toolchain.\n"
        "$ nvcc --version\nCuda compilation tools, release 12.8, V12.8.93\n"
        "$ nvidia-smi\n| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4     |\n"
        "|   0  NVIDIA L4    On   | 00000000:01:00.0 Off |                  N/A |\n"
    )
    finding = first(pasted(text))
    assert finding.id == "ptx-newer-than-driver"
    assert "at most CUDA 12.4" in words(finding)
    assert "-gencode arch=compute_89,code=sm_89; TORCH_CUDA_ARCH_LIST=8.9 without +PTX" in words(finding)
    assert "570.26 or newer for CUDA 12.8" in words(finding)
    assert any(one.excerpt == "CUDA up to 12.4" for one in finding.evidence)


def test_versions_of_ptx_are_told_as_cuda_versions() -> None:
    text = "ptxas application ptx input, line 9; fatal   : Unsupported .version 8.7; current version is '8.2'\n"
    finding = first(pasted(text))
    assert finding.title == "the PTX is of CUDA 12.8, and what compiles it here is of CUDA 12.2"
    assert "570.26 or newer for CUDA 12.8" in words(finding)
    newer = first(pasted(text.replace("8.7", "9.9")))
    assert newer.title == "PTX of version 9.9 met a compiler that knows PTX up to 8.2"


def toolkits(*versions: str) -> Tree:
    release = "570.172.08"
    files = {}
    for version in versions:
        root = f"/usr/local/cuda-{version}"
        files[f"{root}/version.json"] = f'{{"cuda_nvcc": {{"version": "{version}.88"}}}}'
        files[f"{root}/bin/nvcc"] = ""
    env = {"PATH": f"/usr/local/cuda-{versions[0]}/bin:/usr/bin"}
    return machines.ubuntu_dkms(release, release, release).but(files=files, env=env)


def test_a_toolkit_of_the_drivers_major_that_is_here_is_the_first_way() -> None:
    finding = first(toolkits("13.0", "12.6", "12.9"))
    assert finding.remedies[0].commands == (
        "export CUDA_HOME=/usr/local/cuda-12.6 PATH=/usr/local/cuda-12.6/bin:$PATH",
    )
    alone = first(toolkits("13.0"))
    assert "conda install -c nvidia cuda-nvcc=12.8" in commands(alone)
    assert "CUDA 13.x runs from driver branch 580, and all of CUDA 13.0 from driver 580.65.06 on" in words(alone)
    assert ids(toolkits("12.9", "13.0")) == []
