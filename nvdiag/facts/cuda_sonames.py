"""CUDA's own libraries by their sonames, and the wheels that carry them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from nvdiag.facts import reading
from nvdiag.facts.python_environments import PythonEnvironment
from nvdiag.host import Host

WHEELS = {
    "cudart": "cuda-runtime", "cublas": "cublas", "cublasLt": "cublas", "cufft": "cufft", "curand": "curand",
    "cusolver": "cusolver", "cusparse": "cusparse", "nvrtc": "cuda-nvrtc", "nvrtc-builtins": "cuda-nvrtc",
    "nvJitLink": "nvjitlink", "cupti": "cuda-cupti", "nvToolsExt": "nvtx", "cufile": "cufile", "nvjpeg": "nvjpeg",
    "nvvm": "cuda-nvcc",
}  # fmt: skip
"""The wheels that carry a library of the toolkit, without `nvidia-` before and `-cu12` behind."""

COMPONENTS = {**WHEELS, "cudnn": "cudnn", "nccl": "nccl", "cusparseLt": "cusparselt", "nvshmem_host": "nvshmem"}
"""The same with what is no part of the toolkit."""


def stem(soname: str) -> str:
    """`cublas` of libcublas.so.12, `cudnn` of libcudnn_ops.so.9."""
    name = soname.partition(".so")[0].removeprefix("lib")
    return "cudnn" if name.startswith("cudnn_") else name


@cache
def is_cudas(soname: str) -> bool:
    """Whether a soname is one of CUDA's libraries, the driver's not among them."""
    return stem(soname) in COMPONENTS and re.search(r"\.so\.\d{1,2}(?:\.\d{1,2})?$", soname) is not None


_NUMBERS = {
    12: {"cufft": 11, "cusolver": 11, "nccl": 2},
    13: {"cufft": 12, "cusolver": 12, "cusparse": 12, "nccl": 2},
}
"""The numbers in sonames that are not the CUDA major, as the wheels of the two toolkits have them."""


def sonames(major: int, *stems: str) -> list[str]:
    """The sonames of libraries in a CUDA major, `libcufft.so.11`; none for one whose numbers are not known."""
    numbers = _NUMBERS.get(major)
    return [] if numbers is None else [f"lib{name}.so.{numbers.get(name, major)}" for name in stems]


def wheel_names(component: str) -> list[str]:
    """What NVIDIA's wheels of a component are called; those of CUDA 13's toolkit have no number."""
    return [f"nvidia-{component}", *numbered_wheels(component)]


def numbered_wheels(component: str) -> list[str]:
    """Those with the CUDA major in their names."""
    return [f"nvidia-{component}-cu{major}" for major in (11, 12, 13, 14)]


def wheel_folders(host: Host, environment: PythonEnvironment | None) -> Iterator[str]:
    """`nvidia/COMPONENT/lib` below an environment's packages; from CUDA 13 on one folder for all, `nvidia/cu13/lib`."""
    for folder in environment.folders if environment is not None else ():
        for name in reading.names(host, f"{folder}/nvidia"):
            if not name.startswith("_") and "." not in name:
                yield f"{folder}/nvidia/{name}/lib"
