"""Which variables of the environment nvdiag may read at all: what is not named here cannot end up in a report."""

from __future__ import annotations

ALLOWED_NAMES = frozenset(
    {
        "BNB_CUDA_VERSION",
        "CC",
        "CMAKE_CUDA_ARCHITECTURES",
        "CONDA_PREFIX",
        "CUDAARCHS",
        "CUDAHOSTCXX",
        "CXX",
        "KUBERNETES_SERVICE_HOST",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "LOCAL_RANK",
        "NUMBA_CUDA_DRIVER",
        "NVCC_APPEND_FLAGS",
        "NVCC_CCBIN",
        "NVCC_PREPEND_FLAGS",
        "NVDIAG_DEEP",
        "NVDIAG_PROGRAM",
        "NVDIAG_PYTHON",
        "NVDIAG_SMOKE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "PATH",
        "PYENV_VERSION",
        "PYTHONNOUSERSITE",
        "PYTHONPATH",
        "PYTHONUSERBASE",
        "SNAP",
        "TORCH_CUDA_ARCH_LIST",
        "TRITON_LIBCUDA_PATH",
        "TRITON_PTXAS_BLACKWELL_PATH",
        "TRITON_PTXAS_PATH",
        "VIRTUAL_ENV",
        "VLLM_NCCL_SO_PATH",
        "WSL_DISTRO_NAME",
        "XLA_FLAGS",
        "container",
    }
)
ALLOWED_PREFIXES = ("CUDA_", "NVIDIA_", "NCCL_", "SLURM_JOB_GPUS")

_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL", "AUTH")


def may_read(name: str) -> bool:
    """True for a variable that says something about GPUs or the loader and holds no secret by convention."""
    if any(word in name.upper() for word in _SECRET_WORDS):
        return False
    return name in ALLOWED_NAMES or name.startswith(ALLOWED_PREFIXES)
