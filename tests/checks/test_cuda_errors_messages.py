"""What texts say of the driver's age and of device code: each wording leads to its finding,"
" and no look-alike does."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.checks.pasting import pasted, saying


@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040). Please update"
        " your GPU driver",
        'CUDA error at ../../common/inc/helper_cuda.h:779 code=35(cudaErrorInsufficientDriver) "cudaGetDeviceCount()"',
        "THCudaCheck FAIL file=/pytorch/aten/src/THC/THCGeneral.cpp line=50 error=35 : CUDA driver"
        " version is insuffic"
        "ient for CUDA runtime version",
        "RuntimeError: cuda runtime error (35) : CUDA driver version is insufficient for CUDA runtime"
        " version at x.cpp:51",
        "cudaGetDeviceCount returned 35\n-> CUDA driver version is insufficient for CUDA runtime"
        " version\nResult = FAIL",
        "cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorInsufficientDriver: CUDA driver"
        " version is insufficie"
        "nt for CUDA runtime version",
        "[TRT] [E] CUDA initialization failure with error: 35",
        "F0712 10:11:12.131415 7 common.cpp:152] Check failed: error == cudaSuccess (35 vs. 0)  CUDA"
        " driver version is i"
        "nsufficient",
        "Okt 03 13:16:39 box ollama[26513]: cudaSetDevice err: 35",
        "ERROR: CUDA error: driver version is insufficient (code 35, ERROR_INSUFFICIENT_DRIVER)",
        "NCCL WARN Cuda failure 35 'CUDA driver version is insufficient for CUDA runtime version'",
        "CUDA error 36: API call is not supported in the installed CUDA driver",
        "ImportError: /usr/lib64/libcuda.so.418.87.01: undefined symbol: cuDevicePrimaryCtxRelease_v2",
        "ImportError: /tmp/.triton/cache/0a1b/cuda_utils.so: undefined symbol: cuOccupancyMaxActiveClusters",
        "[h264_nvenc @ 0x55d0] Driver does not support the required nvenc API version. Required: 13.0 Found: 12.1",
        "ERROR: This version of CUDA.jl only supports NVIDIA drivers for CUDA 11.2 or higher (yours is"
        " for CUDA 10.2.0)",
    ],
)
def test_a_driver_that_is_too_old_is_told_in_every_wording(text: str) -> None:
    found = first(saying(text))
    assert found.id == "driver-too-old-for-cuda"
    assert found.confidence in (Confidence.CERTAIN, Confidence.LIKELY)


def test_pytorchs_number_is_told_as_a_version() -> None:
    found = first(saying("RuntimeError: The NVIDIA driver on your system is too old (found version 12020)."))
    assert "CUDA 12.2" in found.title
    assert found.confidence is Confidence.CERTAIN


def test_error_35_under_a_missing_libcuda_is_its_consequence() -> None:
    text = (
        "CUDA error: CUDA driver version is insufficient for CUDA runtime version\n"
        "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory"
    )
    assert ids(saying(text)) == ["libcuda-missing", "driver-too-old-for-cuda"]


def test_error_35_beside_a_mismatch_says_nothing_sure_of_the_drivers_age() -> None:
    text = (
        "Failed to initialize NVML: Driver/library version mismatch\n"
        "CUDA error: CUDA driver version is insufficient for CUDA runtime version"
    )
    found = [one.finding for one in diagnosed(saying(text)).findings if one.finding.id == "driver-too-old-for-cuda"]
    assert [one.confidence for one in found] == [Confidence.POSSIBLE]


@pytest.mark.parametrize(
    "text",
    [
        "CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the provided PTX was compiled with an unsupported toolchain.",
        "RuntimeError: CUDA error: the provided PTX was compiled with an unsupported toolchain.",
        "checkCudaErrors() Driver API error = 0222 from file <sort.cpp>, line 288.",
        "numba.cuda.cudadrv.driver.LinkerError: [222] Call to cuLinkAddData results in"
        " CUDA_ERROR_UNSUPPORTED_PTX_VERSI",
        "ptxas application ptx input, line 9; fatal   : Unsupported .version 7.8; current version is '7'",
        "ptxas /tmp/tmpq1.ptx, line 5; fatal   : Unsupported .version 8.7; current version is '8.4'",
        "CUDA driver error: 222",
        "RuntimeError: CUDA error: device kernel image is invalid",
        "CUDA_ERROR_INVALID_PTX: a PTX JIT compilation failed",
        "cuModuleLoadDataEx failed with error 218",
    ],
)
def test_ptx_that_is_too_new_is_told_in_every_wording(text: str) -> None:
    assert first(saying(text)).id == "ptx-newer-than-driver"


@pytest.mark.parametrize(
    "text",
    [
        "NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation.",
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        "ggml_cuda_compute_forward: RMS_NORM failed\nCUDA error: no kernel image is available for"
        " execution on the device",
        "cupy.cuda.driver.CUDADriverError: CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available for execution",
        "[E:onnxruntime] CUDA failure 209: no kernel image is available for execution on the device ; GPU=0",
        "CUDA error at mm.cu:88 code=209(cudaErrorNoKernelImageForDevice)",
        "cuda runtime error (48) : no kernel image is available for execution on the device at x.cu:141",
        "cuda runtime error (8) : invalid device function at /pytorch/aten/src/THC/THCBlas.cu:10",
        "terminate called after throwing: parallel_for failed: cudaErrorInvalidDeviceFunction: invalid device function",
        "CUDA Error: invalid device function: File exists",
        "ERROR: CUDA kernel mul_mat_q has no device code compatible with CUDA arch 520. ggml-cuda.cu"
        " was compiled for: 520",
        "    Found GPU0 GeForce GTX 770 which is of cuda capability 3.0.\n"
        "    PyTorch no longer supports this GPU because it is too old.",
        "UserWarning:\n    Found GPU0 NVIDIA GeForce GTX 1070 which is of cuda capability 6.1.\n   "
        " Minimum and Maximum cu"
        "da capability supported by this version of PyTorch is\n    (7.0) - (12.0)",
        "Ignoring visible gpu device (device: 0, name: GT 710) with Cuda compute capability 3.5. The"
        " minimum required Cu"
        "da capability is 6.0.",
        "API Usage Error (Target GPU SM 61 is not supported by this TensorRT release.)",
        "torch._inductor.exc.GPUTooOldForTriton: Found Tesla P40 which is too old to be supported by"
        " the triton GPU comp"
        "iler. Triton only supports devices of CUDA Capability >= 7.0, but your device is of CUDA capability 6.1",
        "RuntimeError: FlashAttention only supports Ampere GPUs or newer.",
        "CUBLAS_STATUS_ARCH_MISMATCH",
        "TensorFlow was not built with CUDA kernel binaries compatible with compute capability 12.0."
        " CUDA kernels will be"
        " jit-compiled from PTX",
    ],
)
def test_a_build_without_code_for_the_gpu_is_told_in_every_wording(text: str) -> None:
    found = first(saying(text))
    assert found.id == "gpu-arch-not-in-build"
    assert found.confidence in (Confidence.CERTAIN, Confidence.LIKELY)


def test_the_remedy_names_the_first_toolkit_that_knows_the_gpu() -> None:
    text = "NVIDIA RTX PRO 6000 with CUDA capability sm_120 is not compatible with the current PyTorch installation."
    assert "CUDA 12.8 or newer" in " ".join(remedy.summary for remedy in first(saying(text)).remedies)


def test_the_remedy_for_an_old_gpu_names_the_last_toolkit_that_knows_it() -> None:
    text = "Tesla P40 with CUDA capability sm_61 is not compatible with the current PyTorch installation."
    assert "CUDA 12.9 or older" in " ".join(remedy.summary for remedy in first(saying(text)).remedies)


def test_a_warning_of_a_gpu_that_runs_its_majors_code_is_no_finding() -> None:
    text = (
        "UserWarning: Found GPU0 NVIDIA GB10 which is of cuda capability 12.1.\n"
        "Minimum and Maximum cuda capability supported by this version of PyTorch is\n(8.0) - (12.0)"
    )
    assert ids(saying(text)) == []


def test_pytorchs_list_of_capabilities_alone_is_a_warning() -> None:
    text = "UserWarning: Found GPU0 Orin which is of compute capability (CC) 8.7."
    assert first(saying(text)).severity is Severity.WARNING


def test_ptx_that_failed_on_an_unknown_gpu_is_the_builds_consequence() -> None:
    text = (
        "TensorFlow was not built with CUDA kernel binaries compatible with compute capability 12.0.\n"
        "failed to load PTX text as a module: CUDA_ERROR_INVALID_PTX: a PTX JIT compilation failed"
    )
    assert ids(saying(text)) == ["gpu-arch-not-in-build", "ptx-newer-than-driver"]


@pytest.mark.parametrize(
    "text",
    [
        "HIP error: invalid device function",
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "CUDA error 2: out of memory",
        "step 35: loss 2.1, cuda memory 3500 MiB",
        "nvidia-smi: driver 535.129.03, CUDA Version: 12.2",
        "epoch 803: error 0.0222, cuda:0",
        "The program returned 209 rows",
        "PTX of version 8.4 is supported from CUDA 12.4 on",
        "ImportError: libcudart.so.12:",
        "CUDA error: out of memory (209 MiB free)",
        "CUDA errors: 0, 35 tests passed",
        "Your GPU has CUDA capability sm_86",
    ],
)
def test_a_text_that_only_looks_like_it_gives_none_of_these(text: str) -> None:
    assert ids(saying(text)) == []


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        ("API error at line 7: CUDA driver is a stub li", "libcuda-stub-loaded"),
        ("RuntimeError: CUDA error: no kernel image is availab", "gpu-arch-not-in-build"),
        ("CUDA error: the provided PTX was compiled with an unsuppor", "ptx-newer-than-driver"),
        ("CUDA error: CUDA driver version is insuffic", "driver-too-old-for-cuda"),
        ("Error 803: system has unsupported displ", "libcuda-mismatch"),
        ("Error 804: forward compatibility was attempted on non suppo", "cuda-compat-unsupported"),
        ("CUDA error: PTX JIT compiler library", "driver-library-incomplete"),
    ],
)
def test_a_message_that_is_cut_in_its_last_words_is_known(text: str, identifier: str) -> None:
    assert first(saying(text)).id == identifier


def test_pytorchs_warning_of_a_gpu_gets_the_build_that_has_code_for_it() -> None:
    text = (
        "NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation.\n"
        "$ nvidia-smi\n| NVIDIA-SMI 570.124.06   Driver Version: 570.124.06   CUDA Version: 12.8     |\n"
        "$ pip list\ntorch   2.6.0+cu124\n"
    )
    found = first(pasted(text))
    assert found.id == "gpu-arch-not-in-build"
    commands = [command for remedy in found.remedies for command in remedy.commands]
    assert any("'torch==2.11.*'" in command and command.endswith("/whl/cu128") for command in commands)
