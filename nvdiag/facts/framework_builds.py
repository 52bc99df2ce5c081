"""How each framework's own build tells whether it has CUDA, and which: one reader a package."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from nvdiag.facts import reading
from nvdiag.facts.frameworks import Framework
from nvdiag.facts.python_environments import PythonEnvironment
from nvdiag.host import Host
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion, Numbered


def builds(host: Host, environment: PythonEnvironment) -> Iterator[Framework]:
    """The frameworks of an environment, each once."""
    readers = {name: _READERS[name] for name in _READERS if name in environment.versions}
    readers |= {"torch": _torch} if "torch" in environment.modules else {}
    for name, read in readers.items():
        if (one := read(host, environment, name)) is not None:
            yield one


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
    cudnn = re.search(r"'cudnn_version', ?'(\d{1,2}(?:\.\d{1,3}){0,2})'", text)
    architectures = re.search(r"'cuda_compute_capabilities', ?\[([^\]]{0,400})\]", text)
    return Framework(
        name=name,
        version=environment.versions[name],
        cuda=CudaVersion.or_none(cuda[1]) if cuda else None,
        cpu_only="'is_cuda_build', False" in text and "'is_rocm_build', True" not in text,
        source=path,
        architectures=tuple(re.findall(r"(?:sm|compute)_\d{2,3}", architectures[1])) if architectures else (),
        cudnn=Numbered.or_none(cudnn[1]) if cudnn else None,
    )


def _jaxlib(host: Host, environment: PythonEnvironment, name: str) -> Framework:
    """JAX: with CUDA by a plug-in, until 0.4.26 also by jaxlib's local version (+cuda12.cudnn89).

    Of several plug-ins JAX uses whichever it comes to first; the lowest major then stands for them.
    """
    version = environment.versions[name]
    plugins = (re.fullmatch(r"jax-cuda(\d\d)-plugin", one) for one in environment.versions)
    majors = sorted(CudaVersion.of(found[1]) for found in plugins if found)
    local = re.search(r"\+cuda(\d\d)(?:\.cudnn(\d)(\d+))?", version)
    others = any(re.fullmatch(r"jax-rocm\d+-plugin|libtpu|jax-metal", one) for one in environment.versions)
    cuda = majors[0] if majors else CudaVersion.of(local[1]) if local else None
    return Framework(
        name=name,
        version=version,
        cuda=cuda,
        cpu_only=cuda is None and not others,
        source=environment.infos[name],
        builds=tuple(majors) if len(majors) > 1 else (),
        cudnn=Numbered.or_none(f"{local[2]}.{local[3]}" if local and local[2] else None),
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
    provider = f"{environment.modules.get('onnxruntime', '')}/capi/libonnxruntime_providers_cuda.so"
    with_cuda = package != "onnxruntime"
    needed = _needed_number(host, provider, "cudart") if with_cuda else None
    return Framework(
        name="onnxruntime",
        version=fields.get("__version__", environment.versions[name]),
        cuda=CudaVersion.or_none(fields.get("cuda_version")) or CudaVersion.or_none(needed),
        cpu_only=not with_cuda,
        source=path,
        cudnn=Numbered.or_none(_needed_number(host, provider, "cudnn")) if with_cuda else None,
    )


def _cupy(host: Host, environment: PythonEnvironment, name: str) -> Framework:
    """CuPy: by the file that its wheels write, whichever of several wrote last, else by its name.

    Built from its source (cupy) it tells by the cuBLAS that it needs.
    """
    path = f"{environment.modules.get('cupy', '')}/.data/_wheel.json"
    written = re.search(r'"cuda": ?"(\d{2})\.x"', reading.text(host, path) or "")
    major = written or re.search(r"cuda(\d{2})", name)
    module = None if major else next(_module_files(host, environment, r"cupy_backends/cuda/libs/cublas\..*so"), None)
    return Framework(
        name=name,
        version=environment.versions[name],
        cuda=CudaVersion.or_none(major[1] if major else _needed_number(host, module, "cublas") if module else None),
        source=path if written else environment.infos[name],
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
        cuda=CudaVersion.or_none(_needed_number(host, backend, "cudart") if "libggml-cuda.so" in files else None),
        cpu_only="libggml-cuda.so" not in files and "libggml-base.so" in files and not others,
        source=folder if files else environment.infos[name],
    )


_EXTENSIONS = {
    "flash-attn": r"flash_attn_2_cuda\..*so",
    "torchaudio": r"torchaudio/lib/libtorchaudio\.so",
    "torchvision": r"torchvision/_C\.so",
    "vllm": r"vllm/_C(?:_stable_libtorch)?\..*so",
    "xformers": r"xformers/_C.*\.so",
}
"""The compiled modules of PyTorch's extensions, by their names below an environment's packages."""


def _extension(host: Host, environment: PythonEnvironment, name: str) -> Framework:
    """An extension of PyTorch: the CUDA runtime that its compiled module needs, else its local version (+cu128)."""
    version = environment.versions[name]
    local = re.search(r"\+(?:[\w.]*\.)?cu(\d\d)(\d)?(?!\d)", version)
    told = CudaVersion.or_none(f"{local[1]}.{local[2]}" if local and local[2] else local[1] if local else None)
    module = next(_module_files(host, environment, _EXTENSIONS[name]), None)
    needed = CudaVersion.or_none(_needed_number(host, module, "cudart") if module else None)
    torch = re.search(r"\+(?:[\w.]*\.)?(?:cu\d+)?torch(\d\.\d{1,2})", version)
    return Framework(
        name=name,
        version=version,
        cuda=told if told and (needed is None or told.major == needed.major) else needed,
        cpu_only="+cpu" in version,
        source=module if needed and module else environment.infos[name],
        torch=torch[1] if torch else None,
    )


def _module_files(host: Host, environment: PythonEnvironment, pattern: str) -> Iterator[str]:
    package, _, inside = pattern.partition("/")
    below, _, file = inside.rpartition("/")
    if file:
        folder = "/".join(part for part in (environment.modules.get(package, ""), below) if part)
        yield from (f"{folder}/{name}" for name in reading.names(host, folder) if re.fullmatch(file, name))
    else:
        yield from (path for name, path in environment.modules.items() if re.fullmatch(pattern, name))


def _needed_number(host: Host, path: str, library: str) -> str | None:
    """The number in the soname of a CUDA library that a file needs, None where it needs none.

    libcudart.so.12, or libcudart.7ec1eba6.so.12 as auditwheel names a copy that a wheel brings.
    """
    try:
        needed = reading.texts(host.elf_needs(path).get("needed"))
    except Unknown:
        return None
    soname = rf"lib{library}(?:[-.][0-9a-f]{{6,10}})?\.so\.(\d{{1,2}})(?:\.[\d.]{{1,9}})?"
    found = (re.fullmatch(soname, name) for name in needed)
    return next((one[1] for one in found if one), None)


def _ctranslate2(host: Host, environment: PythonEnvironment, name: str) -> Framework:
    """CTranslate2: its wheels for x86_64 have device code, those for other machines are for the CPU.

    They open cuBLAS by its name: that of CUDA 12 from release 4.0 on, of CUDA 11 from 2.0 on (its release notes).
    """
    folder = environment.modules.get("ctranslate2.libs", "")
    files = [one for one in reading.names(host, folder) if re.fullmatch(r"libctranslate2-\w+\.so\.[\d.]+", one)]
    try:
        told = host.contents("fatbin", f"{folder}/{files[0]}") if files else {}
    except Unknown:
        told = {}
    has_code, whole = bool(reading.texts(told.get("architectures"))), told.get("whole") is True
    version = environment.versions[name]
    release = CudaVersion.or_none(version)
    major = "12" if release is not None and release.major >= 4 else "11"
    return Framework(
        name=name,
        version=version,
        cuda=CudaVersion.of(major) if has_code else None,
        cpu_only=whole and not has_code,
        source=f"{folder}/{files[0]}" if has_code else environment.infos[name],
    )


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
    "ctranslate2": _ctranslate2,
}
