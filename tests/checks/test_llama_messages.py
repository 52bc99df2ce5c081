"""What llama.cpp and its embedders say, in texts as people paste them."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence
from tests.checks.diagnosing import first, ids
from tests.checks.pasting import saying

FIRST = {
    "llama-built-without-cuda": (
        "warning: not compiled with GPU offload support, --n-gpu-layers option will be ignored\nwarning: see main"
        " README.md for information on enabling GPU BLAS support",
        "Not compiled with GPU offload support, --n-gpu-layers option will be ignored. See main README.md",
        "warning: llama.cpp was compiled without cuBLAS. It is not possible to set a main GPU.",
        "warning: no usable GPU found, --gpu-layers option will be ignored\nwarning: one possible reason is that"
        " llama.cpp was compiled without GPU support",
        "AVX = 1 | AVX_VNNI = 0 | AVX2 = 1 | AVX512 = 0 | FMA = 1 | F16C = 1 | BLAS = 0 | SSE3 = 1 | VSX = 0 |",
        "system_info: n_threads = 4 / 16 | AVX = 1 | AVX2 = 1 | FMA = 1 | BLAS = 0 | SSE3 = 1 | CUDA = 0 | COREML = 0",
        "Warning: CuBLAS library file not found. Non-BLAS library will be used.",
    ),
    "llama-model-does-not-fit": (
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 13542.00 MiB on device 0: cudaMalloc failed: out of"
        " memory\nllama_model_load: error loading model: unable to allocate CUDA0 buffer\nmain: exiting due to model"
        " loading error",
        "CUDA error 2 at /tmp/llama.cpp/ggml-cuda.cu:7233: out of memory",
        "llama_kv_cache_init: failed to allocate buffer for kv cache\nllama_init_from_model: failed to initialize the"
        " context: failed to allocate buffer for kv cache",
        "ggml_gallocr_reserve_n: failed to allocate CUDA0 buffer of size 1613758464",
        "Error: llama runner process has terminated: cudaMalloc failed: out of memory",
        "common_fit_params: failed to fit params to free device memory: n_gpu_layers already set by user to 99, abort",
    ),
    "llama-layers-on-cpu": (
        "ggml_cuda_init: found 1 CUDA devices:\n  Device 0: NVIDIA GeForce RTX 3060, compute capability 8.6, VMM:"
        " yes\nload_tensors: offloaded 0/33 layers to GPU",
        "llm_load_tensors: offloaded 0/41 layers to GPU",
        "llm_load_tensors: using CUDA for GPU acceleration\nllm_load_tensors: offloaded 2/41 layers to GPU",
        "$ ollama ps\nllama3.1:8b    42182419e950    6.2 GB    100% CPU     4 minutes from now\n$ nvidia-smi\n"
        "| NVIDIA-SMI 550.90.07              Driver Version: 550.90.07      CUDA Version: 12.4     |",
    ),
    "llama-server-unhealthy": (
        '$ curl localhost:8080/health\n{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
        "This server does not support metrics endpoint. Start it with `--metrics`",
        "main: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080",
        "Error: llama runner process has terminated: exit status 2",
        "Error: could not connect to ollama app, is it running?",
        "unable to start process: health check timed out after 120s",
        "llama-server  | error: invalid argument: --n-gpu-layer\nllama-server exited with code 1 (restarting)",
    ),
    "llama-template-broken": (
        "common_chat_templates_init: failed to parse chat template (defaulting to chatml): Expected value expression"
        " at row 12, column 3:",
        'srv  operator(): got exception: {"code":500,"message":"Value is not callable: null at row 58, column 111:'
        '\\n","type":"server_error"}',
        "While executing CallExpression at line 80, column 32 in source:\n...\nError: Jinja Exception: System message"
        " must be at the beginning.",
        "error: the supplied chat template is not supported: foo.jinja\nnote: llama.cpp was started without --jinja",
        '{"error":{"code":500,"message":"tools param requires --jinja flag","type":"server_error"}}',
        "jinja2.exceptions.TemplateError: System role not supported",
        "jinja2.exceptions.UndefinedError: 'list object' has no attribute 'startswith'",
        "throw new Error(args);\nError: Conversation roles must alternate user/assistant/user/assistant/...",
        "ValueError: Cannot use chat template functions because tokenizer.chat_template is not set and no template",
    ),
}


@pytest.mark.parametrize(("identifier", "text"), [(name, text) for name, texts in FIRST.items() for text in texts])
def test_what_the_words_single_out_stands_first(identifier: str, text: str) -> None:
    found = first(saying(text))
    assert found.id == identifier
    assert found.confidence is not Confidence.POSSIBLE
    assert found.remedies


@pytest.mark.parametrize(
    "text",
    [
        "ggml_cuda_init: found 1 CUDA devices:\nwarning: no usable GPU found, --gpu-layers option will be ignored",
        "load_backend: loaded CUDA backend from /app/libggml-cuda.so\nwarning: no usable GPU found, --gpu-layers option"
        " will be ignored\nwarning: one possible reason is that llama.cpp was compiled without GPU support",
        "llm_load_tensors: offloaded 33/33 layers to GPU\nAVX = 1 | AVX2 = 1 | BLAS = 0 | SSE3 = 1 |",
        "cmake .. -DBLAS=0",
        "BLAS = 0",
        "load_tensors: offloaded 33/33 layers to GPU",
        "offloaded 20/33 layers to GPU",
        'msg="inference compute" library=cuda total="8.0 GiB" available="7.2 GiB"\noffloaded 9/33 layers to GPU',
        "allocating 2500.00 MiB on device 0: cudaMalloc failed: out of memory\nllama_params_fit: successfully fit"
        " params to free device memory\nmain: server is listening on http://127.0.0.1:8080",
        "RuntimeError: CUDA error: invalid argument: 3",
        "jinja2.exceptions.TemplateNotFound: index.html",
        "Error: model requires more system memory (9.1 GiB) than is available (7.4 GiB)",
        "llama_params_fit: failed to fit params to free device memory: n_gpu_layers already set by user to 99\n"
        "main: server is listening on http://127.0.0.1:8080 - starting the main loop",
        "cannot meet free memory target of 1024 MiB, need to reduce device memory by 512 MiB\nllama_params_fit:"
        " successfully fit params to free device memory",
        "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "whisper_backend_init_gpu: no GPU found",
        'level=INFO msg="inference compute" id=cpu library=cpu compute="" name=cpu',
        "WARNING: failed to allocate 1024.00 MB of pinned memory: out of memory",
        '{"status":"ok"}',
    ],
)
def test_words_that_prove_nothing_claim_nothing(text: str) -> None:
    assert set(ids(saying(text))) & set(FIRST) == set()


def test_a_build_without_cuda_is_the_cause_of_layers_on_the_cpu() -> None:
    text = "warning: not compiled with GPU offload support\nllm_load_tensors: offloaded 0/33 layers to GPU"
    assert ids(saying(text)) == ["llama-built-without-cuda", "llama-layers-on-cpu"]


def test_memory_that_ran_out_is_the_cause_of_a_server_that_died() -> None:
    text = "cudaMalloc failed: out of memory\nError: llama runner process has terminated: exit status 2"
    assert ids(saying(text)) == ["llama-model-does-not-fit", "llama-server-unhealthy"]


def test_no_device_is_the_cause_of_layers_on_the_cpu() -> None:
    text = "ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected\noffloaded 0/33 layers to GPU"
    assert ids(saying(text)) == ["no-cuda-device", "llama-layers-on-cpu"]
