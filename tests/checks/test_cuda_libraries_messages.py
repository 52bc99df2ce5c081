"""What texts say of the driver's and CUDA's libraries: each wording leads to its finding, and no look-alike does."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence
from tests.checks.diagnosing import first, ids
from tests.checks.pasting import saying

CASES = [
    ("libcuda-missing", "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory"),
    ("libcuda-missing", "OSError: libcuda.so: cannot open shared object file: No such file or directory"),
    ("libcuda-missing", "\tlibcuda.so.1 => not found"),
    (
        "libcuda-missing",
        "AssertionError: libcuda.so cannot found!\nPossible files are located at ['/lib64/libcuda.so.1'].",
    ),
    ("libcuda-missing", "/usr/bin/ld: cannot find -lcuda"),
    ("libcuda-missing", "/usr/bin/ld: cannot find -lcuda: No such file or directory\ncollect2: error: ld returned 1"),
    (
        "libcuda-missing",
        "/usr/bin/ld: warning: libcuda.so.1, needed by bin/libggml-cuda.so, not found (try using -rpath)",
    ),
    ("libcuda-missing", "CudaSupportError: Error at driver init:\n\nCUDA driver library cannot be found."),
    ("libcuda-missing", "[AVHWDeviceContext @ 0x55] Cannot load libcuda.so.1\nCould not dynamically load CUDA"),
    ("libcuda-missing", "E cuda_driver.cc:266] failed call to cuInit: UNKNOWN ERROR (303)"),
    ("libcuda-missing", "dlopen libcuda.so failed!. Please install GPU driver"),
    ("libcuda-missing", "CUDA_SETUP: WARNING! libcuda.so not found! Do you have a CUDA driver installed?"),
    ("nvml-library-missing", "pynvml.NVMLError_LibraryNotFound: NVML Shared Library Not Found"),
    ("nvml-library-missing", "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure"),
    (
        "nvml-library-missing",
        "x: error while loading shared libraries: libnvidia-ml.so.1: cannot open shared object file",
    ),
    (
        "nvml-stub-loaded",
        "WARNING:\n\nYou should always run with libnvidia-ml.so that is installed with your\nNVIDIA Dis",
    ),
    ("nvml-stub-loaded", "libnvidia-ml.so.1 => /usr/local/cuda-12.4/targets/x86_64-linux/lib/stubs/libnvidia-ml.so.1"),
    ("libcuda-stub-loaded", "RuntimeError: CUDA driver initialization failed: CUDA driver is a stub library"),
    ("libcuda-stub-loaded", "CUDA_ERROR_STUB_LIBRARY"),
    ("libcuda-stub-loaded", "failed call to cuInit: UNKNOWN ERROR (34)"),
    ("libcuda-stub-loaded", "\tlibcuda.so.1 => /usr/local/cuda/lib64/stubs/libcuda.so.1 (0x00007f)"),
    ("libcuda-mismatch", "Error 803: system has unsupported display driver / cuda driver combination"),
    ("libcuda-mismatch", "failed call to cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH: system has unsupported display dr"),
    ("libcuda-mismatch", 'time=2025 level=INFO msg="cuda driver library init failure: 803"'),
    ("libcuda-mismatch", "kernel version 460.32.3 does not match DSO version 470.57.2 -- cannot find working devices"),
    ("cuda-compat-unsupported", "Error 804: forward compatibility was attempted on non supported HW"),
    (
        "cuda-compat-unsupported",
        "UserWarning: CUDA initialization: Unexpected error from cudaGetDeviceCount(). Error 804"
        ": forward compatibility was attempted on non supported HW (Triggered internally at x.cpp:100.)",
    ),
    (
        "cuda-compat-unsupported",
        "[[Forward compatibility was attempted on non supported HW (CUDA_ERROR_COMPAT_NOT_SUPPO"
        "RTED_ON_DEVICE) cuInit()=804]]",
    ),
    ("driver-library-incomplete", "CUDA error: PTX JIT compiler library not found"),
    (
        "driver-library-incomplete",
        "libnvidia-ptxjitcompiler.so.1: cannot open shared object file: No such file or direct",
    ),
    (
        "driver-library-incomplete",
        "OSError: libnvidia-nvvm.so.4: cannot open shared object file: No such file or directo",
    ),
    ("driver-library-incomplete", "CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND: shared object symbol not found"),
    (
        "cuda-library-missing",
        "ImportError: libcudart.so.9.0: cannot open shared object file: No such file or directory",
    ),
    (
        "cuda-library-missing",
        "./app: error while loading shared libraries: libcublasLt.so.12: cannot open shared object f"
        "ile: No such file or directory",
    ),
    (
        "cuda-library-missing",
        "Could not load dynamic library 'libcudart.so.11.0'; dlerror: libcudart.so.11.0: cannot open"
        " shared object file: No such file or directory; LD_LIBRARY_PATH: /usr/lib",
    ),
    (
        "cuda-library-missing",
        "Could not load library libcudnn_cnn_infer.so.8. Error: libnvrtc.so: cannot open shared obje"
        "ct file: No such file or directory",
    ),
    ("cuda-library-missing", "RuntimeError: Library libcublas.so.12 is not found or cannot be loaded"),
    ("cuda-library-missing", "nvrtc: error: failed to open libnvrtc-builtins.so.11.7."),
    (
        "cuda-library-missing",
        "RuntimeError: CuPy failed to load libnvrtc.so.11.2: OSError: libnvrtc.so.11.2: cannot open "
        "shared object file: No such file or directory",
    ),
    ("cuda-library-missing", "\tlibnvToolsExt.so.1 => not found"),
    ("cuda-library-missing", "/usr/bin/ld: cannot find -lcublas: No such file or directory"),
    (
        "cuda-library-missing",
        "NvvmSupportError: libNVVM cannot be found. Do `conda install cudatoolkit`:\nlibrary nvvm",
    ),
    (
        "cuda-library-missing",
        "ImportError: libcusparseLt.so.0: cannot open shared object file: No such file or directory",
    ),
    ("cuda-library-missing", "RuntimeError: Failed to dlopen libnvrtc.so.12"),
    (
        "cuda-library-missing",
        "Cannot dlopen some GPU libraries. Please make sure the missing libraries mentioned above",
    ),
    (
        "cuda-library-shadowed",
        "ImportError: libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4, version libnvJitLink.so.12",
    ),
    ("cuda-library-shadowed", "libcublas.so.11: undefined symbol: cublasLtGetStatusString, version libcublasLt.so.11"),
    (
        "cuda-library-shadowed",
        "libcublas.so.12: symbol cublasLtMatmulAlgo version libcublasLt.so.12 not defined in file l"
        "ibcublasLt.so.12 with link time reference",
    ),
    (
        "cuda-library-shadowed",
        "/usr/local/cuda/lib64/libcusparse.so.12: version `libcusparse.so.12.5' not found (required by app)",
    ),
    (
        "cuda-library-shadowed",
        "Could not load dynamic library 'libcusolver.so.11'; dlerror: libnvJitLink.so.12: cannot op"
        "en shared object file: No such file or directory",
    ),
    (
        "cuda-library-shadowed",
        "CUDA backend failed to initialize: Found cuBLAS version 120103, but JAX was built against v"
        "ersion 120205, which is newer.",
    ),
    (
        "cuda-library-shadowed",
        "RuntimeError: Outdated cuSPARSE installation found.\nVersion JAX was built against: 12505",
    ),
    ("cudnn-mismatch", "ImportError: libcudnn.so.8: cannot open shared object file: No such file or directory"),
    (
        "cudnn-mismatch",
        "Could not load dynamic library 'libcudnn.so.8'; dlerror: libcudnn.so.8: cannot open shared object "
        "file: No such file or directory",
    ),
    (
        "cudnn-mismatch",
        "RuntimeError: cuDNN version incompatibility: PyTorch was compiled  against (9, 1, 0) but found run"
        "time version (8, 9, 7).",
    ),
    (
        "cudnn-mismatch",
        "Loaded runtime CuDNN library: 7101 (compatibility version 7100) but source was compiled with 7003 "
        "(compatibility version 7000).",
    ),
    ("cudnn-mismatch", "Loaded runtime CuDNN library: 9.1.0 but source was compiled with: 9.8.0."),
    (
        "cudnn-mismatch",
        "CUDA backend failed to initialize: Found cuDNN version 8600, but JAX was built against version 870"
        "0, which is newer.",
    ),
    (
        "cudnn-mismatch",
        "Unable to load any of {libcudnn_ops.so.9.1.0, libcudnn_ops.so.9.1, libcudnn_ops.so.9, libcudnn_ops",
    ),
    ("cudnn-mismatch", "RuntimeError: cuDNN error: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH"),
    (
        "cudnn-mismatch",
        "Could not load library libcudnn_cnn_train.so.8. Error: /usr/lib/libcudnn_cnn_train.so.8: undefined"
        " symbol: _ZN5cudnn3cnn, version libcudnn_cnn_infer.so.8",
    ),
    ("cudnn-mismatch", "UNIMPLEMENTED: DNN library is not found."),
    (
        "cudnn-mismatch",
        "PreconditionNotMetError: Cannot load cudnn shared library. Cannot invoke method cudnnGetVersion.",
    ),
    ("nccl-mismatch", "ImportError: libtorch_cuda.so: undefined symbol: ncclCommRegister"),
    ("nccl-mismatch", "NCCL WARN Mismatched NCCL version detected : rank 1 version 22705 rank 0 version 22703"),
    ("nccl-mismatch", "ImportError: libnccl.so.2: cannot open shared object file: No such file or directory"),
]


@pytest.mark.parametrize(("identifier", "text"), CASES)
def test_each_wording_leads_to_its_finding_and_to_no_other(identifier: str, text: str) -> None:
    found = first(saying(text))
    assert found.id == identifier
    assert found.confidence in (Confidence.CERTAIN, Confidence.LIKELY)
    assert ids(saying(text)) == [identifier]


def test_the_title_names_the_libraries_that_are_missing() -> None:
    text = "\tlibcublas.so.12 => not found\n\tlibcudart.so.12 => not found"
    assert first(saying(text)).title == "libcublas.so.12 and libcudart.so.12 are not found by the loader"


def test_the_remedy_installs_the_wheel_of_the_missing_library() -> None:
    found = first(saying("ImportError: libcufft.so.11: cannot open shared object file: No such file or directory"))
    assert any("nvidia-cufft-cu12" in command for remedy in found.remedies for command in remedy.commands)


def test_803_and_804_are_not_told_apart_from_a_driver_that_was_not_reloaded() -> None:
    for error in (
        "803: system has unsupported display driver",
        "804: forward compatibility was attempted on non supported HW",
    ):
        text = f"Failed to initialize NVML: Driver/library version mismatch\nError {error}"
        assert {"libcuda-mismatch", "cuda-compat-unsupported"}.isdisjoint(ids(saying(text)))


def test_tensorflows_summary_does_not_blame_the_toolkit_where_cudnn_alone_is_missing() -> None:
    text = (
        "Could not load dynamic library 'libcudnn.so.8'; dlerror: libcudnn.so.8: cannot open shared"
        " object file: No such\n"
        "Cannot dlopen some GPU libraries. Please make sure the missing libraries mentioned above are"
        " installed properly"
    )
    assert ids(saying(text)) == ["cudnn-mismatch"]


def test_where_all_libraries_are_missing_cudnn_is_one_of_them() -> None:
    missing = "cannot open shared object file: No such file or directory"
    text = "\n".join(
        f"Could not load dynamic library '{name}'; dlerror: {name}: {missing}"
        for name in ("libcudart.so.11.0", "libcublas.so.11", "libcudnn.so.8")
    )
    assert ids(saying(text)) == ["cuda-library-missing", "cudnn-mismatch"]


@pytest.mark.parametrize(
    "text",
    [
        "CUDA_SETUP: WARNING! libcudart.so not found in any environmental path. Searching in backup paths...\nCUDA"
        " SETUP: CUDA runtime path found: /usr/local/cuda/lib64/libcudart.so.11.0",
        "ImportError: libcublas.so.12:",
        "ldconfig: /lib/i386-linux-gnu/libcuda.so.1: wrong ELF class: ELFCLASS32",
        "/sbin/ldconfig.real: /usr/lib/wsl/lib/libcuda.so.1 is not a symbolic link",
        "Could not load dynamic library 'libnvinfer.so.7'; dlerror: libnvinfer.so.7: cannot open shared object file",
        "I dso_loader.cc:53] Successfully opened dynamic library libcudart.so.11.0",
        "libcudart.so.12 => /usr/local/cuda/lib64/libcudart.so.12 (0x00007f0e3c000000)",
        "gcc -L/usr/local/cuda/lib64/stubs -lcuda -lnvidia-ml main.o -o main",
        "/usr/local/cuda/lib64/libcublas.so.11: no version information available (required by ./app)",
        "undefined symbol: _ZN3c104cuda9SetDeviceEi",
        "undefined symbol: curl_easy_init",
        "NCCL version 2.21.5+cuda12.4",
        "NCCL INFO NET/Plugin : No plugin found (libnccl-net.so)",
        "Loaded cuDNN version 8907",
        "NOTE: CUDA Forward Compatibility mode ENABLED.",
        "libgomp.so.1: cannot open shared object file: No such file or directory",
        "CUDNN_STATUS_NOT_INITIALIZED",
        "You should always run with sudo",
    ],
)
def test_a_text_that_only_looks_like_it_gives_none_of_these(text: str) -> None:
    assert ids(saying(text)) == []
