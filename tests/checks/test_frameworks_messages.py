"""What frameworks' own words say of their builds, in texts as people paste them."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence
from tests.checks.diagnosing import first, ids
from tests.checks.pasting import saying

CPU_ONLY = (
    """
Traceback (most recent call last):
  File "train.py", line 12, in <module>
    model.cuda()
  File "/venv/lib/python3.10/site-packages/torch/cuda/__init__.py", line 221, in _lazy_init
    raise AssertionError("Torch not compiled with CUDA enabled")
AssertionError: Torch not compiled with CUDA enabled
""",
    """
>>> import torch
>>> torch.__version__
'2.6.0+cpu'
>>> torch.cuda.is_available()
False
""",
    "$ pip list | grep torch\ntorch              2.3.1+cpu\ntorchvision        0.18.1+cpu",
    "PyTorch version: 1.9.0+cpu\nIs debug build: False\nCUDA used to build PyTorch: None\nIs CUDA available: False",
    "python 3.11, torch=2.2.0+cpu, driver 550, RTX 4070",
    "Successfully installed filelock-3.13 torch-2.1.2+cpu",
    ">>> print(torch.version.cuda)\nNone",
    "print(torch.__version__, torch.version.cuda)  ->  torch.version.cuda: None",
    "# packages in environment:\npytorch                   2.0.1           cpu_generic_py310h0000000_0    conda-forge",
    "cpuonly                   2.0                           0    pytorch",
    "NotImplementedError: Could not run 'torchvision::nms' with arguments from the 'CUDA' backend. This could be",
    "RuntimeError: PyTorch is not linked with support for cuda devices",
    ">>> tf.test.is_built_with_cuda()\nFalse",
    "2024-01-02 10:00:00 WARNING:jax._src.xla_bridge:An NVIDIA GPU may be present on this machine, but a CUDA-enabled"
    " jaxlib is not installed. Falling back to cpu.",
    "RuntimeError: Backend 'cuda' is not in the list of known backends: ['cpu', 'tpu'].",
    "/venv/onnxruntime_inference_collection.py:69: UserWarning: Specified provider 'CUDAExecutionProvider' is not in"
    " available provider names.Available providers: 'CPUExecutionProvider'",
    ">>> ort.get_available_providers()\n['AzureExecutionProvider', 'CPUExecutionProvider']",
    "ValueError: This CTranslate2 package was not compiled with CUDA support",
    "[LightGBM] [Fatal] CUDA Tree Learner was not enabled in this build.",
    "error: (-216:No CUDA support) The library is compiled without CUDA support in function 'throw_no_cuda'",
    "RuntimeError: nms_impl: implementation for device cuda:0 not found.",
    "AttributeError: module 'faiss' has no attribute 'StandardGpuResources'",
    "ImportError: libc10_cuda.so: cannot open shared object file: No such file or directory",
    "xFormers was built for:\n    PyTorch 2.3.0+cu121 with CUDA 1201 (you have 2.3.1+cpu)",
)

NO_CPU_ONLY = (
    "Unable to initialize backend 'rocm': module 'jaxlib.xla_extension' has no attribute 'GpuAllocatorConfig'\nUnable"
    " to initialize backend 'tpu': INTERNAL: Failed to open libtpu.so: libtpu.so: cannot open shared object file",
    ">>> torch.cuda.is_available()\nFalse",
    "No CUDA runtime is found, using CUDA_HOME='/usr/local/cuda'",
    "This TensorFlow binary is optimized to use available CPU instructions in performance-critical operations.",
    "Your CPU supports instructions that this TensorFlow binary was not compiled to use: AVX2 FMA",
    "2023-05-05: Could not find cuda drivers on your machine, GPU will not be used.",
    "WARNING: No GPU/TPU found, falling back to CPU. (Set TF_CPP_MIN_LOG_LEVEL=0 and rerun for more info.)",
    "Found existing installation: torch 2.1.0+cpu\nUninstalling torch-2.1.0+cpu:\nSuccessfully installed torch-2.1.0",
    "pip install torch==2.1.0+cpu -f https://example.org/wheels",
    ">>> ort.get_available_providers()\n['CUDAExecutionProvider', 'CPUExecutionProvider']",
    "torch                     2.4.1+cu124",
    "pytorch                   1.12.1          py3.9_cuda11.3_cudnn8.3.2_0    pytorch",
    "EP Error Failed to create CUDAExecutionProvider. Please reference the requirements page",
    "before: torch 2.1.0+cpu\nnow: torch 2.1.0+cu121",
)


@pytest.mark.parametrize("text", CPU_ONLY)
def test_a_build_without_cuda_is_named_first(text: str) -> None:
    found = first(saying(text))
    assert found.id == "framework-cpu-only"
    assert found.confidence is not Confidence.POSSIBLE
    assert found.remedies


@pytest.mark.parametrize("text", NO_CPU_ONLY)
def test_what_does_not_tell_of_the_build_claims_nothing_of_it(text: str) -> None:
    assert "framework-cpu-only" not in ids(saying(text))


def test_a_bare_fall_back_of_bitsandbytes_is_only_possible() -> None:
    found = first(saying("UserWarning: The installed version of bitsandbytes was compiled without GPU support."))
    assert (found.id, found.confidence) == ("framework-cpu-only", Confidence.POSSIBLE)


MISMATCH = (
    "RuntimeError: operator torchvision::nms does not exist",
    "RuntimeError: Couldn't load custom C++ ops. This can happen if your PyTorch and torchvision versions are"
    " incompatible",
    "RuntimeError: Detected that PyTorch and torchvision were compiled with different CUDA versions. PyTorch has CUDA"
    " Version=11.8 and torchvision has CUDA Version=12.1. Please reinstall the torchvision that matches",
    "RuntimeError: Detected that PyTorch and TorchAudio were compiled with different CUDA versions. PyTorch has CUDA"
    " version 12.1 whereas TorchAudio has CUDA version 11.7. Please install the TorchAudio version that matches",
    "ImportError: /x/site-packages/flash_attn_2_cuda.cpython-310-x86_64-linux-gnu.so: undefined symbol:"
    " _ZN2at4_ops5zeros4callEN3c108ArrayRefINS2_6SymIntEEENS2_8optionalINS2_10ScalarTypeEEE",
    "ImportError: /x/vllm/_C.abi3.so: undefined symbol: _ZN3c104cuda9SetDeviceEi",
    "ImportError: DLL load failed while importing flash_attn_2_cuda: The specified procedure could not be found.",
    "ImportError: libtorch_cuda_cu.so: cannot open shared object file: No such file or directory",
    "xFormers can't load C++/CUDA extensions. xFormers was built for:\n    PyTorch 2.1.0+cu121 with CUDA 1201 (you have"
    " 2.0.1+cu118)",
    "RuntimeError: jaxlib version 0.4.20 is newer than and incompatible with jax version 0.4.16. Please update",
    "RuntimeError: jaxlib is version 0.4.7, but this version of jax requires version >= 0.4.14.",
    "plugin_support.py:71: RuntimeWarning: JAX plugin jax_cuda12_plugin version 0.7.2 is installed, but it is not"
    " compatible with the installed jaxlib version 0.7.1, so it will not be used.",
    "Unable to initialize backend 'cuda': INVALID_ARGUMENT: Mismatched PJRT plugin PJRT API version (0.58) and"
    " framework PJRT API version (0.54))",
    "UserWarning:\n----\n\n  CuPy may not function correctly because multiple CuPy packages are installed\n  in your"
    " environment:\n\n    cupy-cuda11x, cupy-cuda12x\n",
    "cupy-cuda11x    12.3.0\ncupy-cuda12x    13.1.0",
    "WARNING:bitsandbytes.cextension:Could not find the bitsandbytes CUDA binary at"
    " PosixPath('/x/bitsandbytes/libbitsandbytes_cuda128.so')\nThe installed version of bitsandbytes was compiled"
    " without GPU support.",
    "CUDA SETUP: Required library version not found: libbitsandbytes_cuda117.so. Maybe you need to compile it?",
    "🚨 CUDA VERSION MISMATCH 🚨\nRequested CUDA version:          13.2\nDetected PyTorch CUDA version:   13.2",
    "torchaudio 2.2.0 requires torch==2.2.0, but you have torch 2.5.1 which is incompatible.",
    "torch 2.4.1+cu121\ntorchvision 0.19.1+cu118",
)


@pytest.mark.parametrize("text", MISMATCH)
def test_parts_that_do_not_fit_each_other_are_named_first(text: str) -> None:
    found = first(saying(text))
    assert found.id == "framework-cuda-mismatch"
    assert found.confidence is not Confidence.POSSIBLE
    assert found.remedies


@pytest.mark.parametrize(
    "text",
    [
        "torch 2.4.1+cu121\ntorchvision 0.19.1+cu121\ntorchaudio 2.4.1+cu121",
        "torch 2.4.1+cu121, and after the upgrade torch 2.6.0+cu124",
        "xFormers was built for:\n    PyTorch 2.1.0+cu121 with CUDA 1201 (you have 2.1.0+cu121)\n    Python  3.10.13"
        " (you have 3.10.6)",
        "cupy-cuda12x    13.1.0",
        "ImportError: CuPy is not correctly installed.",
        "libfoo.so: undefined symbol: _ZN5boost6system15system_categoryEv",
        "ImportError: libtorch_cuda.so: undefined symbol: ncclCommRegister",
        "vllm 0.6.3 requires numpy<2.0.0, but you have numpy 2.1.0 which is incompatible.",
    ],
)
def test_parts_that_fit_and_words_that_prove_nothing_are_no_mismatch(text: str) -> None:
    assert "framework-cuda-mismatch" not in ids(saying(text))


def test_the_cpu_build_of_pytorch_is_the_cause_of_what_its_extensions_say() -> None:
    text = "torch 2.1.0+cpu\nRuntimeError: operator torchvision::nms does not exist"
    assert ids(saying(text))[:2] == ["framework-cpu-only", "framework-cuda-mismatch"] or (
        first(saying(text)).id == "framework-cpu-only"
    )
