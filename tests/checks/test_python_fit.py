"""Versions that cannot go together, where two facts of a text decide and no message does."""

from __future__ import annotations

import pytest

from nvdiag.host.paste import hosts_of
from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import first, ids
from tests.checks.pasting import pasted

VLLM = """
       PyTorch Info
==============================
PyTorch version              : {torch}
CUDA used to build PyTorch   : {cuda}

==============================
       CUDA / GPU Info
==============================
Is CUDA available            : {sees}
GPU models and configuration :
GPU 0: {gpu}
GPU 1: {gpu}

Nvidia driver version        : {driver}
"""
OLD = """
PyTorch version: {torch}
CUDA used to build PyTorch: {cuda}
Is CUDA available: {sees}
GPU models and configuration: GPU 0: {gpu}
Nvidia driver version: {driver}
"""


def found(text: str) -> list[str]:
    return ids(hosts_of(text.encode(), "a text")[0])


def told(form: str, torch: str, cuda: str, gpu: str, driver: str, sees: str = "False") -> str:
    return form.format(torch=torch, cuda=cuda, gpu=gpu, driver=driver, sees=sees)


@pytest.mark.parametrize("form", [VLLM, OLD])
def test_collect_env_alone_shows_a_driver_that_is_too_old(form: str) -> None:
    host = hosts_of(told(form, "2.9.0+cu130", "13.0", "NVIDIA A100-SXM4-80GB", "550.90.07").encode(), "a text")[0]
    assert first(host).id == "driver-too-old-for-cuda"
    assert first(host).confidence is Confidence.LIKELY


def test_before_cuda_11_a_minor_version_needs_its_own_driver() -> None:
    assert found(told(OLD, "1.5.0", "10.2", "Tesla T4", "410.104", "No")) == ["driver-too-old-for-cuda"]


def test_a_driver_is_not_too_old_where_pytorch_sees_the_gpu() -> None:
    assert found(told(OLD, "2.9.0+cu130", "13.0", "NVIDIA A100-SXM4-80GB", "550.90.07", "True")) == []


def test_within_one_major_an_older_driver_will_do() -> None:
    assert found(told(OLD, "2.6.0+cu126", "12.6", "NVIDIA A100-SXM4-80GB", "535.54.03")) == []


def test_a_summary_of_the_machine_in_somebodys_words_counts() -> None:
    assert found("driver=470.199.02 torch=2.1.0+cu121 gpu=Tesla T4") == ["driver-too-old-for-cuda"]
    assert found("driver=570.86.15 torch=2.5.1+cu121 gpu=RTX 5090") == ["gpu-arch-not-in-build"]


def test_condas_build_tells_the_cuda_version() -> None:
    text = """
$ nvidia-smi
| NVIDIA-SMI 470.129.06   Driver Version: 470.129.06   CUDA Version: 11.4     |
$ conda list
pytorch                   2.2.0           py3.11_cuda12.1_cudnn8.9.2_0    pytorch
"""
    assert found(text) == ["driver-too-old-for-cuda"]


@pytest.mark.parametrize("form", [VLLM, OLD])
@pytest.mark.parametrize(
    ("gpu", "torch", "cuda", "missing"),
    [
        ("NVIDIA GeForce RTX 5080", "2.5.1+cu124", "12.4", True),
        ("NVIDIA GeForce RTX 5080", "2.7.0+cu128", "12.8", False),
        ("NVIDIA GeForce RTX 4090", "1.13.1+cu117", "11.7", False),  # it runs code for 8.6
        ("NVIDIA H100 80GB HBM3", "1.13.1+cu117", "11.7", True),
        ("NVIDIA GeForce GTX 1080 Ti", "2.8.0+cu128", "12.8", True),
        ("NVIDIA GeForce GTX 1080 Ti", "2.8.0+cu126", "12.6", False),
        ("Tesla V100-SXM2-16GB", "2.9.0+cu130", "13.0", True),
        ("Tesla V100-SXM2-16GB", "2.9.0+cu128", "12.8", False),
        ("Tesla V100-SXM2-16GB", "2.11.0+cu128", "12.8", True),
        ("NVIDIA GeForce RTX 5080", "2.40.0+cu128", "12.8", False),  # newer than the table: by the toolkit alone
        ("Tesla T4", "2.9.0+cu130", "13.0", False),
        ("NVIDIA Something New", "2.5.1+cu124", "12.4", False),
    ],
)
def test_a_gpu_that_the_builds_cuda_does_not_know_is_named(
    form: str, gpu: str, torch: str, cuda: str, missing: bool
) -> None:
    assert ("gpu-arch-not-in-build" in found(told(form, torch, cuda, gpu, "580.65.06", "True"))) is missing


def test_the_remedy_is_a_build_with_code_for_the_gpu_that_the_driver_runs() -> None:
    text = (
        "$ nvidia-smi\n| NVIDIA-SMI 535.161.07   Driver Version: 535.161.07   CUDA Version: 12.2     |\n"
        "|   0  NVIDIA GeForce GTX 1080    Off  | 00000000:01:00.0 Off |                  N/A |\n"
        "$ pip list\ntorch   2.8.0+cu128\n"
    )
    finding = first(pasted(text))
    assert finding.id == "gpu-arch-not-in-build"
    assert finding.title.startswith("PyTorch 2.8.0+cu128 has no code for the NVIDIA GeForce GTX 1080")
    assert "needs a build made with CUDA 11.8, 12.1, 12.4 and 12.6" in finding.detail
    install = "python3 -m pip install --force-reinstall 'torch==2.8.*' --index-url"
    assert finding.remedies[1].commands == (f"{install} https://download.pytorch.org/whl/cu126",)
    assert any("code for 7.0, 7.5" in one.excerpt for one in finding.evidence)


@pytest.mark.parametrize(
    ("typed", "missing"),
    [
        (">>> torch.cuda.get_arch_list()\n['sm_60', 'sm_70']\n>>> torch.cuda.get_device_capability()\n(8, 6)", True),
        (">>> torch.cuda.get_arch_list()\n['sm_80', 'sm_90']\n>>> torch.cuda.get_device_capability()\n(8, 6)", False),
        (">>> torch.cuda.get_arch_list()\n['sm_70', 'compute_70']\n"
         ">>> torch.cuda.get_device_name(0)\n'NVIDIA L4'", False),
        ('python -c "import torch; print(torch.cuda.get_arch_list(), torch.cuda.get_device_capability())"\n'
         "['sm_80', 'sm_90'] (12, 0)", True),
    ],
)  # fmt: skip
def test_the_list_of_what_torch_holds_is_held_against_the_gpu(typed: str, missing: bool) -> None:
    assert ("gpu-arch-not-in-build" in found(typed)) is missing


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ("jax 0.4.30\njaxlib 0.4.30\njax-cuda12-plugin 0.4.35\njax-cuda12-pjrt 0.4.35", True),
        ("jax 0.4.30\njaxlib 0.4.30\njax-cuda12-plugin 0.4.30\njax-cuda12-pjrt 0.4.30", False),
        ("jax 0.4.25\njaxlib 0.4.26", True),
        ("jax 0.4.26\njaxlib 0.4.25", False),
    ],
)
def test_jaxs_parts_are_held_against_each_other(rows: str, wrong: bool) -> None:
    assert ("framework-cuda-mismatch" in found(f"$ pip list\n{rows}")) is wrong


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ("jaxlib 0.4.10+cuda11.cudnn86\nnvidia-cudnn-cu11 8.5.0.96", True),
        ("jaxlib 0.4.10+cuda11.cudnn86\nnvidia-cudnn-cu11 8.9.5.29", False),
        ("jaxlib 0.4.10+cuda11.cudnn86\nnvidia-cudnn-cu11 9.1.0.70", True),
    ],
)
def test_jaxlibs_cudnn_must_be_new_enough(rows: str, wrong: bool) -> None:
    assert ("cudnn-mismatch" in found(f"$ pip list\n{rows}")) is wrong


NO_GPU = "\n>>> tf.config.list_physical_devices('GPU')\n[]\n"
FALLEN_BACK = "\nFailed to create CUDAExecutionProvider. Require cuDNN 9.* and CUDA 12.*\n"


@pytest.mark.parametrize(
    ("rows", "said", "wrong"),
    [
        ("tensorflow 2.18.0\nnvidia-cudnn-cu12 8.9.2.26", NO_GPU, True),
        ("tensorflow 2.18.0\nnvidia-cudnn-cu12 9.3.0.75", NO_GPU, False),
        ("tensorflow 2.18.0\nnvidia-cudnn-cu12 8.9.2.26", "", False),
        ("onnxruntime-gpu 1.19.2\nnvidia-cudnn-cu12 8.9.2.26", FALLEN_BACK, True),
        ("onnxruntime-gpu 1.17.0\nnvidia-cudnn-cu12 8.9.2.26", FALLEN_BACK, False),
    ],
)
def test_the_cudnn_wheel_is_held_against_the_framework_that_sees_no_gpu(rows: str, said: str, wrong: bool) -> None:
    assert ("cudnn-mismatch" in found(f"$ pip list\n{rows}\n{said}")) is wrong


def test_torchs_nccl_is_held_against_the_wheel_without_torchs_own_version() -> None:
    asked = '$ python -c "import torch; print(torch.cuda.nccl.version())"\n(2, 28, 9)\n'
    assert found(f"{asked}$ pip list\nnvidia-nccl-cu13 2.30.4") == ["nccl-mismatch"]
    assert found(f"{asked}$ pip list\nnvidia-nccl-cu13 2.28.9") == []


def test_answers_that_were_printed_together_are_told_apart() -> None:
    typed = '$ python -c "import torch; print(torch.version.cuda, torch.cuda.nccl.version())"\n12.4 (2, 21, 5)\n'
    assert found(f"{typed}$ pip list\nnvidia-nccl-cu12 2.21.5") == []


def test_two_toolkits_that_are_asked_for_are_a_warning() -> None:
    text = """
$ nvcc --version
Cuda compilation tools, release 11.5, V11.5.119
$ echo $CUDA_HOME
/usr/local/cuda-12.1
"""
    host = hosts_of(text.encode(), "a text")[0]
    assert (first(host).id, first(host).severity) == ("toolkit-shadowed", Severity.WARNING)
    assert found(text.replace("12.1", "11.5")) == []


def test_an_nvcc_by_its_path_beside_the_one_on_path_shows_which_is_taken() -> None:
    text = """
$ nvcc --version
Cuda compilation tools, release 10.1, V10.1.243
$ /usr/local/cuda-11.8/bin/nvcc --version
Cuda compilation tools, release 11.8, V11.8.89
"""
    assert found(text) == ["toolkit-shadowed"]


@pytest.mark.parametrize(
    "text",
    [
        "$ ls -l /usr/local/cuda\nlrwxrwxrwx 1 root root 30 Sep 12  2023 /usr/local/cuda -> /tmp/tmpab12/cuda-11",
        "$ echo $CUDA_HOME\n/usr/local/cuda-11.3\n$ ls /usr/local/cuda-11.3\n"
        "ls: cannot access '/usr/local/cuda-11.3': No such file or directory",
        "$ ls -l /usr/local\nlrwxrwxrwx 1 root root 22 Apr 19 05:42 cuda -> /etc/alternatives/cuda\n"
        "$ ls -l /etc/alternatives/cuda\nls: cannot access '/etc/alternatives/cuda': No such file or directory",
    ],
)
def test_a_toolkits_path_that_leads_nowhere_is_told(text: str) -> None:
    assert found(text) == ["nvcc-not-found"]


def test_a_link_to_a_toolkit_is_no_fault() -> None:
    assert (
        found("$ ls -l /usr/local/cuda\nlrwxrwxrwx 1 root root 20 Apr 1 05:42 /usr/local/cuda -> /usr/local/cuda-12.1")
        == []
    )


WHEREIS = "$ whereis libcuda.so\nlibcuda.so:\n"
LDCONFIG = "$ ldconfig -p | grep libcuda\n"
SMI = "$ nvidia-smi -L\nGPU 0: NVIDIA GeForce RTX 3080 (UUID: GPU-11111111-2222-3333-4444-555555555555)\n"


@pytest.mark.parametrize("text", [WHEREIS + LDCONFIG, LDCONFIG + WHEREIS, LDCONFIG + SMI])
def test_libcuda_is_missing_where_it_is_looked_for_in_vain(text: str) -> None:
    assert found(text) == ["libcuda-missing"]


@pytest.mark.parametrize(
    "text",
    [
        WHEREIS,
        LDCONFIG,
        LDCONFIG + "\tlibcuda.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libcuda.so.1\n" + WHEREIS,
        WHEREIS
        + LDCONFIG
        + "$ nvidia-smi\nNVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
    ],
)
def test_one_look_alone_or_a_driver_that_does_not_answer_proves_nothing(text: str) -> None:
    assert "libcuda-missing" not in found(text)


MOUNT = "$ mount | grep libcuda\n/dev/sda2 on /usr/lib/x86_64-linux-gnu/libcuda.so.{} type ext4 (ro,nosuid)\n"
LINK = (
    "$ ls -l /usr/lib/x86_64-linux-gnu/libcuda.so.1\n"
    "lrwxrwxrwx 1 root root 21 May 13 13:16 /usr/lib/x86_64-linux-gnu/libcuda.so.1 -> libcuda.so.535.54.03\n"
)


def test_a_libcuda_of_the_image_beside_the_mounted_one_is_told() -> None:
    assert found(LINK + MOUNT.format("515.105.01")) == ["libcuda-mismatch"]
    assert found(LINK + MOUNT.format("535.54.03")) == []


def test_libcuda_alone_is_blamed_where_nvidia_smi_works() -> None:
    smi = "$ nvidia-smi\n| NVIDIA-SMI 550.54.15              Driver Version: 550.54.15      CUDA Version: 12.2     |\n"
    assert found(LINK + smi) == ["libcuda-mismatch"]
