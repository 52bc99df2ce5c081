"""Frameworks that are installed in the chosen Python environment: with CUDA or without, and for which CUDA.

Each is known by the files that its own build writes; none is imported. What a build needs of CUDA's libraries stands in
the dynamic section of its extension modules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from nvdiag.facts import reading
from nvdiag.facts.python_environments import PythonEnvironment, PythonEnvironments
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable
from nvdiag.model.versions import CudaVersion, Numbered


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """One framework as it was built.

    `cuda` is the CUDA version of its build as far as it is told (12, or 12.8); None where it is not, or for a build
    without CUDA, which alone has `cpu_only`. `architectures` are those that its files name: sm_90 is binary code,
    compute_90 PTX. `builds` are the CUDA versions that it has a library for, where it brings several. `cudnn` is the
    cuDNN, and `torch` the PyTorch (2.8), that its build names; None where it names none.
    """

    name: str
    version: str
    cuda: CudaVersion | None = None
    cpu_only: bool = False
    source: str
    architectures: tuple[str, ...] = ()
    builds: tuple[CudaVersion, ...] = ()
    cudnn: Numbered | None = None
    torch: str | None = None


@dataclass(frozen=True, slots=True)
class Frameworks:
    """The frameworks of one environment by the names of their packages. NotApplicable where it has none."""

    environment: PythonEnvironment
    found: Mapping[str, Framework]

    @classmethod
    def collect(cls, host: Host, environments: PythonEnvironments) -> Frameworks:
        from nvdiag.facts.framework_builds import builds

        environment = environments.chosen
        found = {one.name: one for one in builds(host, environment)}
        if not found:
            raise NotApplicable(f"no framework is installed in {environment.prefix}")
        return cls(environment, found)


_KERNELS = {
    "torch": ("torch", r"lib/libtorch_cuda(?:_cu)?\.so"),
    "tensorflow": ("tensorflow", r"libtensorflow_cc\.so\.\d"),
    "onnxruntime": ("onnxruntime", r"capi/libonnxruntime_providers_cuda\.so"),
    "llama-cpp-python": ("llama_cpp", r"lib/libggml-cuda\.so"),
    "ctranslate2": ("ctranslate2.libs", r"libctranslate2-\w+\.so\.[\d.]+"),
    **dict.fromkeys(("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x"), ("cupy", r"cuda/cub\..*so")),
}
"""Where the kernels lie: a package's folder, and below it the file, whose name is a regular expression."""


def kernel_libraries(host: Host, frameworks: Frameworks, framework: Framework) -> Iterator[str]:
    """The compiled files of a framework that hold its kernels, as far as they are there."""
    modules = frameworks.environment.modules
    if framework.source.endswith(".so"):
        yield framework.source
    elif framework.name == "bitsandbytes":
        torch = frameworks.found.get("torch")
        chosen = nearest_build(framework.builds, torch.cuda) if torch is not None and torch.cuda is not None else None
        if chosen is not None:
            yield f"{modules.get('bitsandbytes', '')}/libbitsandbytes_cuda{chosen.numbers[0]}{chosen.numbers[1]}.so"
    elif framework.name == "jaxlib" and framework.cuda is not None:
        plugin = f"{modules.get('jax_plugins', '')}/xla_cuda{framework.cuda.major}"
        yield from (f"{plugin}/{name}" for name in reading.names(host, plugin) if name == "xla_cuda_plugin.so")
    package, file = _KERNELS.get(framework.name, ("", ""))
    if package in modules:
        below, _, pattern = file.rpartition("/")
        folder = f"{modules[package]}/{below}".rstrip("/")
        yield from (f"{folder}/{name}" for name in reading.names(host, folder) if re.fullmatch(pattern, name))


def nearest_build(builds: Sequence[CudaVersion], cuda: CudaVersion) -> CudaVersion | None:
    """Which of its libraries bitsandbytes takes for PyTorch's CUDA; None where it has none of that major.

    The same version, else the newest older one, else the oldest newer one (bitsandbytes/cextension.py of 0.50).
    """
    same = sorted(one for one in builds if one.major == cuda.major)
    return next((one for one in reversed(same) if one <= cuda.short), same[0] if same else None)
