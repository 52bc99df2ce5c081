"""Frameworks that are installed in the chosen Python environment: with CUDA or without, and for which CUDA.

Each is known by the files that its own build writes; none is imported. What a build needs of CUDA's libraries stands in
the dynamic section of its extension modules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from nvdiag.facts import reading
from nvdiag.facts.python_environments import PythonEnvironment, PythonEnvironments
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """One framework as it was built.

    `cuda` is the CUDA version of its build as far as it is told (12, or 12.8); None where it is not, or for a build
    without CUDA, which alone has `cpu_only`. `architectures` are those that its files name: sm_90 is binary code,
    compute_90 PTX. `builds` are the CUDA versions that it has a library for, where it brings several.
    """

    name: str
    version: str
    cuda: CudaVersion | None = None
    cpu_only: bool = False
    source: str
    architectures: tuple[str, ...] = ()
    builds: tuple[CudaVersion, ...] = ()


@dataclass(frozen=True, slots=True)
class Frameworks:
    """The frameworks of one environment by the names of their packages. NotApplicable where it has none."""

    environment: PythonEnvironment
    found: Mapping[str, Framework]

    @classmethod
    def collect(cls, host: Host, environments: PythonEnvironments) -> Frameworks:
        environment = environments.chosen
        readers = {name: _READERS[name] for name in _READERS if name in environment.versions}
        readers |= {"torch": _torch} if "torch" in environment.modules else {}
        told = (read(host, environment, name) for name, read in readers.items())
        found = {one.name: one for one in told if one is not None}
        if not found:
            raise NotApplicable(f"no framework is installed in {environment.prefix}")
        return cls(environment, found)


def _torch(host: Host, environment: PythonEnvironment, name: str) -> Framework | None:
    """PyTorch by torch/version.py, which its build generates: conda's too, which has no local version."""
    path = f"{environment.modules.get(name, '')}/version.py"
    told = parse_torch_version(reading.text(host, path) or "")
    if told is None:
        return None
    version, cuda, without = told
    return Framework(name=name, version=version, cuda=cuda, cpu_only=without, source=path)


def parse_torch_version(text: str) -> tuple[str, CudaVersion | None, bool] | None:
    """torch/version.py as version, CUDA version, and whether it is for the CPU alone; None where it is no such file.

    A build for ROCm or XPU has None at `cuda`, too, and a value at `hip` or `xpu`.
    """
    fields = dict(re.findall(r"^(\w{2,20})(?::[^=\n]{1,40})? ?= ?(None|'[^'\n]{1,80}')", text, re.M))
    if "__version__" not in fields or "cuda" not in fields:
        return None
    values = {name: value.strip("'") for name, value in fields.items() if value != "None"}
    cuda = CudaVersion.or_none(values.get("cuda"))
    return values.get("__version__", ""), cuda, not any(values.get(kind) for kind in ("cuda", "hip", "xpu"))


def _tensorflow(host: Host, environment: PythonEnvironment, name: str) -> Framework | None:
    """TensorFlow by the module that its build generates."""
    path = f"{environment.modules.get('tensorflow', '')}/python/platform/build_info.py"
    text = reading.text(host, path)
    if text is None:
        return None
    cuda = re.search(r"'cuda_version', ?'(\d{1,2}(?:\.\d{1,3}){0,2})'", text)
    architectures = re.search(r"'cuda_compute_capabilities', ?\[([^\]]{0,400})\]", text)
    return Framework(
        name=name,
        version=environment.versions[name],
        cuda=CudaVersion.or_none(cuda[1]) if cuda else None,
        cpu_only="'is_cuda_build', False" in text and "'is_rocm_build', True" not in text,
        source=path,
        architectures=tuple(re.findall(r"(?:sm|compute)_\d{2,3}", architectures[1])) if architectures else (),
    )


def _jaxlib(host: Host, environment: PythonEnvironment, name: str) -> Framework:
    """JAX: with CUDA by a plug-in, until 0.4.26 also by jaxlib's local version (+cuda12.cudnn89)."""
    version = environment.versions[name]
    majors = [found[1] for one in environment.versions if (found := re.fullmatch(r"jax-cuda(\d\d)-plugin", one))]
    local = re.search(r"\+cuda(\d\d)", version)
    others = any(re.fullmatch(r"jax-rocm\d+-plugin|libtpu|jax-metal", one) for one in environment.versions)
    cuda = CudaVersion.or_none(majors[0] if majors else local[1] if local else None)
    return Framework(
        name=name, version=version, cuda=cuda, cpu_only=cuda is None and not others, source=environment.infos[name]
    )


def _onnxruntime(host: Host, environment: PythonEnvironment, name: str) -> Framework | None:
    """ONNX Runtime: whichever of its packages was installed last, by the module that its build writes.

    onnxruntime and onnxruntime-gpu put their files into one folder, so there is one build whatever pip lists.
    """
    path = f"{environment.modules.get('onnxruntime', '')}/capi/build_and_package_info.py"
    fields = dict(re.findall(r"^(\w{2,20}) ?= ?['\"]([^'\"\n]{1,80})['\"]", reading.text(host, path) or "", re.M))
    package = fields.get("package_name", "")
    if not package:
        return None
    return Framework(
        name="onnxruntime",
        version=fields.get("__version__", environment.versions[name]),
        cuda=CudaVersion.or_none(fields.get("cuda_version")),
        cpu_only=package == "onnxruntime",
        source=path,
    )


def _cupy(host: Host, environment: PythonEnvironment, name: str) -> Framework:
    major = re.search(r"cuda(\d{2})", name)
    return Framework(
        name=name,
        version=environment.versions[name],
        cuda=CudaVersion.or_none(major[1] if major else None),
        source=environment.infos[name],
    )


def _bitsandbytes(host: Host, environment: PythonEnvironment, name: str) -> Framework:
    """bitsandbytes: a library for each CUDA version, by its name (libbitsandbytes_cuda128.so)."""
    folder = environment.modules.get(name, "")
    files = reading.names(host, folder)
    numbers = (re.fullmatch(r"libbitsandbytes_cuda(\d{2,3})(\d)(?:_nocublaslt\d*)?\.so", one) for one in files)
    builds = dict.fromkeys(f"{found[1]}.{found[2]}" for found in numbers if found)
    others = any(one.startswith(("libbitsandbytes_rocm", "libbitsandbytes_xpu")) for one in files)
    return Framework(
        name=name,
        version=environment.versions[name],
        cpu_only=not builds and not others and "libbitsandbytes_cpu.so" in files,
        source=folder or environment.infos[name],
        builds=tuple(CudaVersion.of(one) for one in builds),
    )


def _llama_cpp(host: Host, environment: PythonEnvironment, name: str) -> Framework:
    """llama-cpp-python: with CUDA where it has ggml's CUDA backend as a library."""
    folder = f"{environment.modules.get('llama_cpp', '')}/lib"
    files = reading.names(host, folder)
    backend = f"{folder}/libggml-cuda.so"
    others = any(re.match(r"libggml-(hip|vulkan|sycl|metal|musa|cann)\.", one) for one in files)
    return Framework(
        name=name,
        version=environment.versions[name],
        cuda=_needed_major(host, backend) if "libggml-cuda.so" in files else None,
        cpu_only="libggml-cuda.so" not in files and "libggml-base.so" in files and not others,
        source=folder if files else environment.infos[name],
    )


_EXTENSIONS = {
    "flash-attn": r"flash_attn_2_cuda\..*so",
    "torchaudio": r"torchaudio/lib/libtorchaudio\.so",
    "torchvision": r"torchvision/_C\.so",
    "vllm": r"vllm/_C\..*so",
    "xformers": r"xformers/_C.*\.so",
}
"""The compiled modules of PyTorch's extensions, by their names below an environment's packages."""


def _extension(host: Host, environment: PythonEnvironment, name: str) -> Framework:
    """An extension of PyTorch: the CUDA runtime that its compiled module needs, else its local version (+cu128)."""
    version = environment.versions[name]
    local = re.search(r"\+(?:[\w.]*\.)?cu(\d\d)(\d)?(?!\d)", version)
    told = CudaVersion.or_none(f"{local[1]}.{local[2]}" if local and local[2] else local[1] if local else None)
    module = next(_module_files(host, environment, _EXTENSIONS[name]), None)
    needed = _needed_major(host, module) if module else None
    return Framework(
        name=name,
        version=version,
        cuda=told if told and (needed is None or told.major == needed.major) else needed,
        cpu_only="+cpu" in version,
        source=module if needed and module else environment.infos[name],
    )


def _module_files(host: Host, environment: PythonEnvironment, pattern: str) -> Iterator[str]:
    package, _, inside = pattern.partition("/")
    below, _, file = inside.rpartition("/")
    if file:
        folder = "/".join(part for part in (environment.modules.get(package, ""), below) if part)
        yield from (f"{folder}/{name}" for name in reading.names(host, folder) if re.fullmatch(file, name))
    else:
        yield from (path for name, path in environment.modules.items() if re.fullmatch(pattern, name))


def _needed_major(host: Host, path: str) -> CudaVersion | None:
    """The CUDA major of the runtime that a library needs, None where it does not tell.

    libcudart.so.12, or libcudart.7ec1eba6.so.12 as auditwheel names a copy that a wheel brings.
    """
    try:
        needed = reading.texts(host.elf_needs(path).get("needed"))
    except Unknown:
        return None
    found = (re.fullmatch(r"libcudart(?:[-.][0-9a-f]{6,10})?\.so\.(\d{2})(?:\.[\d.]{1,9})?", name) for name in needed)
    return next((CudaVersion.of(one[1]) for one in found if one), None)


def _versions_only(host: Host, environment: PythonEnvironment, name: str) -> Framework:
    return Framework(name=name, version=environment.versions[name], source=environment.infos[name])


_READERS: Mapping[str, Callable[[Host, PythonEnvironment, str], Framework | None]] = {
    "tensorflow": _tensorflow,
    "tensorflow-cpu": _tensorflow,
    "jaxlib": _jaxlib,
    "onnxruntime": _onnxruntime,
    "onnxruntime-gpu": _onnxruntime,
    "cupy": _cupy,
    "cupy-cuda11x": _cupy,
    "cupy-cuda12x": _cupy,
    "cupy-cuda13x": _cupy,
    "bitsandbytes": _bitsandbytes,
    "llama-cpp-python": _llama_cpp,
    **dict.fromkeys(_EXTENSIONS, _extension),
    "triton": _versions_only,
    "numba": _versions_only,
    "numba-cuda": _versions_only,
    "ctranslate2": _versions_only,
}


_KERNELS = {
    "torch": ("torch", ("lib/libtorch_cuda.so", "lib/libtorch_cuda_cu.so")),
    "onnxruntime": ("onnxruntime", ("capi/libonnxruntime_providers_cuda.so",)),
    "llama-cpp-python": ("llama_cpp", ("lib/libggml-cuda.so",)),
}
"""Where the kernels lie, below a framework's own folder."""


def kernel_libraries(host: Host, frameworks: Frameworks, framework: Framework) -> Iterator[str]:
    """The compiled files of a framework that hold its kernels, as far as they are there."""
    if framework.source.endswith(".so"):
        yield framework.source
    package, files = _KERNELS.get(framework.name, ("", ()))
    folder = frameworks.environment.modules.get(package)
    yield from (f"{folder}/{file}" for file in files if folder and reading.is_there(host, f"{folder}/{file}"))
