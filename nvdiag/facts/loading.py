"""How programs load CUDA's libraries: PyTorch, which loads some by their paths first, and any program or library."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from nvdiag.facts import reading
from nvdiag.facts.cuda_sonames import is_cudas, sonames, stem, wheel_folders
from nvdiag.facts.frameworks import Framework, Frameworks, kernel_libraries
from nvdiag.facts.libraries import LIBCUDA
from nvdiag.facts.loader import PRELOADED, Process
from nvdiag.facts.python_environments import PythonEnvironment
from nvdiag.facts.search_path import SearchPath, Taken
from nvdiag.host import Host
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import Numbered

_OF_THE_C_LIBRARY = ("libc.", "libm.", "libdl.", "librt.", "libpthread.", "libstdc++.", "libgcc_s.", "ld-linux")
_OWN = ("torch", "c10", "caffe2", "shm")
_ALWAYS = ("graph", "engines_runtime_compiled")
_IN_FULL = ("ops", "cnn", "adv", "heuristic", "engines_precompiled")
"""cuDNN's parts, which libcudnn.so.9 opens by their names when it is called.

By default all are needed; CUDNN_LIB_CONFIG=GRAPH_JIT_ONLY does without the latter (cuDNN frontend's documentation,
"cuDNN Library Configuration"). So one of these is missing only where others of them are there.
"""


def as_a_program_gets_them(host: Host, search: SearchPath, program: str) -> dict[str, Taken]:
    """What a program or a library gets when it is loaded, and ggml's CUDA backend, which llama.cpp opens beside it."""
    process = Process(host, program, search, lambda name: not name.startswith(_OF_THE_C_LIBRARY))
    folder = posixpath.dirname(host.resolve(program))
    for name in (host.resolve(program), f"{folder}/libggml-cuda.so"):
        process.load(name)
    process.open_by_name(LIBCUDA, host.resolve(program), needed=True)
    return {name: one for name, one in process.taken.items() if is_cudas(name) or name == LIBCUDA}


def as_frameworks_get_them(
    host: Host, search: SearchPath, frameworks: Frameworks
) -> Iterator[tuple[str, dict[str, Taken]]]:
    """What each framework that has CUDA gets, by its name and version; PyTorch stands first."""
    for name in ("torch", "jaxlib", "tensorflow", "onnxruntime", "ctranslate2", "llama-cpp-python"):
        one = frameworks.found.get(name)
        if one is None or one.cuda is None:
            continue
        if name == "torch":
            yield f"torch {one.version}", as_torch_gets_them(host, search, frameworks.environment)
            continue
        module = _Module(host, search, frameworks.environment)
        path = next(kernel_libraries(host, frameworks, one), None)
        if path is not None and module.loads(path, one):
            yield f"{name} {one.version}", module.taken()


class _Module:
    """A compiled module of an environment in a process of its own."""

    def __init__(self, host: Host, search: SearchPath, environment: PythonEnvironment) -> None:
        self._process = Process(host, environment.python, search, lambda name: not name.startswith(_OF_THE_C_LIBRARY))
        self._wheels = {file.rpartition("/")[2]: file for file in _wheel_files(host, environment)}
        self._takes_wheels = False

    def loads(self, path: str, framework: Framework) -> bool:
        """Load it as its framework goes about it; False where there is nothing to follow."""
        process, name = self._process, framework.name
        needed, more = self._opened(framework)
        self._takes_wheels = name not in _BY_THE_LOADER_ALONE
        if name == "jaxlib":  # its plug-in loads NVIDIA's wheels by their paths before all else
            for soname in (*needed, *more):
                if soname in self._wheels:
                    process.load(self._wheels[soname], soname)
        if not process.load(path):
            return False
        by = f"{posixpath.dirname(path)}/libtensorflow_framework.so.2" if name == "tensorflow" else path
        for soname in (*needed, *more):
            process.open_by_name(soname, by, needed=soname in needed)
        process.open_by_name(LIBCUDA, path, needed=True)
        return True

    def _opened(self, framework: Framework) -> tuple[list[str], list[str]]:
        """The sonames that a framework opens and fails without, and those that it does without."""
        release = Numbered.or_none(framework.version.partition("+")[0])
        first = _SINCE.get(framework.name)
        if framework.cuda is None or (first is not None and (release is None or release.numbers < first)):
            return [], []
        needed, more = (sonames(framework.cuda.major, *stems) for stems in _OPENED.get(framework.name, ((), ())))
        return needed + ([_CUDNN] if needed and framework.name in _SINCE else []), more

    def taken(self) -> dict[str, Taken]:
        """NVIDIA's wheels count where such modules load them themselves, as ONNX Runtime's preload_dlls() does."""
        wheels = self._wheels if self._takes_wheels else {}
        return {
            name: Taken(name, wheels[name], PRELOADED, one.by) if one.path is None and name in wheels else one
            for name, one in self._process.taken.items()
            if is_cudas(name) or name == LIBCUDA
        }


_CUDNN = "libcudnn.so.9"
_SINCE = {"jaxlib": (0, 5), "tensorflow": (2, 18)}
"""The releases from which on it is known how they open CUDA's libraries; both with cuDNN 9."""
_BY_THE_LOADER_ALONE = ("tensorflow", "ctranslate2")
_OPENED = {
    "jaxlib": (("cudart", "cublas", "cublasLt", "cufft", "cusparse", "cupti"), ("cusolver", "nccl", "nvrtc")),
    "tensorflow": (("cudart", "cublas", "cublasLt", "cufft", "cusparse"), ("nccl", "cupti")),
    "ctranslate2": (("cublas",), ()),
}
"""What is opened by its name, and fails, and what is done without.

By jax_plugins/xla_cuda12/__init__.py of JAX 0.10, tsl/platform/default/dso_loader.cc of TensorFlow, and
src/cuda/cublas_stub.cc of CTranslate2.
"""


def as_torch_gets_them(host: Host, search: SearchPath, environment: PythonEnvironment) -> dict[str, Taken]:
    """What `import torch` loads, as torch/__init__.py goes about it.

    First libtorch_global_deps.so; where that fails, each of NVIDIA's wheels that sys.path has. Where it does not, newer
    releases load some or all of those wheels by their paths, since LD_LIBRARY_PATH would come before the DT_RUNPATH of
    cusparse and cuDNN; without that variable it makes no difference. Then comes all that libtorch_python.so needs.
    """
    package = environment.modules["torch"]
    process = Process(host, environment.python, search, lambda name: is_cudas(name) or stem(name).startswith(_OWN))
    process.load(f"{package}/lib/libtorch_global_deps.so")
    failed = [name for name, one in process.taken.items() if one.path is None and is_cudas(name)]
    wheels = {name: path for path in _wheel_files(host, environment) if (name := path.rpartition("/")[2])}
    if failed and all(name in wheels for name in failed):
        for name in failed:
            del process.taken[name]
        for name, path in wheels.items():
            process.load(path, name)
    elif search.variable:
        for kind in _preloaded(host, package, process):
            for name, path in wheels.items():
                if name.startswith(f"lib{kind}.so.") and name not in process.taken:
                    process.load(path, name)
    for name in ("libtorch_python.so", "libtorch_cuda_linalg.so"):
        process.load(f"{package}/lib/{name}")
    for name, one in tuple(process.taken.items()):
        if name.startswith("libcudnn.so.9") and one.path is not None:
            _open_parts(process, one.path)
    runtime = next((one.path for name, one in process.taken.items() if stem(name) == "cudart"), None)
    process.open_by_name(LIBCUDA, runtime or "", needed=True)
    return {name: one for name, one in process.taken.items() if is_cudas(name) or name == LIBCUDA}


def _open_parts(process: Process, cudnn: str) -> None:
    for part in (*_ALWAYS, *_IN_FULL):
        process.open_by_name(f"libcudnn_{part}.so.9", cudnn, needed=part in _ALWAYS)
    if any(f"libcudnn_{part}.so.9" in process.taken for part in _IN_FULL):
        for part in _IN_FULL:
            process.open_by_name(f"libcudnn_{part}.so.9", cudnn, needed=True)


def _wheel_files(host: Host, environment: PythonEnvironment) -> Iterator[str]:
    for folder in wheel_folders(host, environment):
        yield from (f"{folder}/{name}" for name in reading.names(host, folder) if is_cudas(name))


_ALL_PRELOADED = (
    "cublasLt", "cublas", "cudnn", "nvrtc", "nvrtc-builtins", "cupti", "cufft", "curand", "nvJitLink", "cusparse",
    "cusparseLt", "cusolver", "nccl", "nvshmem_host", "cufile",
)  # fmt: skip


def _preloaded(host: Host, package: str, process: Process) -> tuple[str, ...]:
    """The libraries that torch/__init__.py loads by their paths once the CUDA runtime is there, in its order."""
    runtime = next((one.path for name, one in process.taken.items() if stem(name) == "cudart"), None)
    try:
        calls = "\n".join(host.lines_with("_preload_cuda_deps(", f"{package}/__init__.py"))
    except Unknown:
        return ()
    if runtime is not None and re.search(r"^\s+_preload_cuda_deps\((?:required=False)?\)", calls, re.M):
        return _ALL_PRELOADED
    if runtime is not None and "/nvidia/" in runtime and '_preload_cuda_deps("nvjitlink"' in calls:
        return "nvrtc", "nvJitLink"
    return ()
