"""Python environments as pip and venv lay them out, with what the builds of frameworks write into their own files.

Texts and dynamic sections follow those of the real wheels: torch 2.8.0, torchvision 0.23.0, onnxruntime-gpu 1.22.0,
bitsandbytes 0.50.2, jax 0.10.2, tensorflow 2.21.0, NVIDIA's wheels for CUDA 12.8.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from tests.scenarios.tree import Tree

VENV = "/srv/app/.venv"
MINOR = "3.12"


def site(prefix: str = VENV) -> str:
    return f"{prefix}/lib/python{MINOR}/site-packages"


def venv(*packages: Tree, prefix: str = VENV, system: bool = False) -> Tree:
    """An active virtual environment of the system's Python with these packages in it."""
    from tests.scenarios import machines

    shared = "true" if system else "false"
    empty = Tree(
        files={
            f"{prefix}/pyvenv.cfg": f"home = /usr/bin\ninclude-system-site-packages = {shared}\nversion = 3.12.3\n",
            f"{prefix}/bin/activate": "",
            f"/usr/bin/python{MINOR}": "",
        },
        links={f"{prefix}/bin/python": "python3", f"{prefix}/bin/python3": "/usr/bin/python3"}
        | {"/usr/bin/python3": f"python{MINOR}"},
        env={"VIRTUAL_ENV": prefix, "PATH": f"{prefix}/bin:/usr/local/bin:/usr/bin:/bin"},
    )
    return machines.joined(empty, *packages)


def package(
    name: str, version: str, files: Mapping[str, str] | None = None, *, at: str = "", requires: Sequence[str] = ()
) -> Tree:
    """One distribution: its .dist-info, and files below the environment's packages; `requires` is what it asks for."""
    folder = at or site()
    info = f"{folder}/{name.replace('-', '_')}-{version}.dist-info"
    asked = "".join(f"Requires-Dist: {one}\n" for one in requires)
    return Tree(
        files={
            f"{info}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{asked}",
            **{f"{folder}/{path}": text for path, text in (files or {}).items()},
        }
    )


def library(path: str, needed: Sequence[str], **tags: str) -> Tree:
    """An ELF file with what the loader goes by."""
    return Tree(libraries={path: 5_000_000}, needs={path: {"needed": list(needed), **tags}})


def torch_version(version: str, cuda: str | None, hip: str | None = None) -> str:
    """torch/version.py as PyTorch's build writes it."""

    def told(value: str | None) -> str:
        return "None" if value is None else f"'{value}'"

    return (
        "from typing import Optional\n\n__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip', 'xpu']\n"
        f"__version__ = '{version}'\ndebug = False\ncuda: Optional[str] = {told(cuda)}\n"
        f"git_version = 'a1cb3cc05d46d198467bebbb6e8fba50a325d4e7'\nhip: Optional[str] = {told(hip)}\n"
        "xpu: Optional[str] = None\n"
    )


def torch(version: str = "2.8.0+cu128", cuda: str | None = "12.8", hip: str | None = None, *, at: str = "") -> Tree:
    """PyTorch: PyPI's wheel names CUDA in torch/version.py and not in its .dist-info."""
    return package("torch", version.partition("+cu")[0], {"torch/version.py": torch_version(version, cuda, hip)}, at=at)


def onnxruntime(package_name: str, version: str = "1.22.0", cuda: str | None = "12.2") -> dict[str, str]:
    """The files that either of ONNX Runtime's packages writes into the folder that both share."""
    told = f"cuda_version = '{cuda}'\n" if cuda else ""
    text = f"package_name = '{package_name}'\n__version__ = '{version}'\n{told}"
    return {"onnxruntime/capi/build_and_package_info.py": text}


PARTS = ("graph", "engines_runtime_compiled", "ops", "cnn", "adv", "heuristic", "engines_precompiled")
COMPONENTS = {
    "cuda_runtime": ("nvidia-cuda-runtime-cu12", "12.8.90", ("libcudart.so.12",)),
    "cuda_nvrtc": ("nvidia-cuda-nvrtc-cu12", "12.8.93", ("libnvrtc.so.12",)),
    "cublas": ("nvidia-cublas-cu12", "12.8.4.1", ("libcublas.so.12", "libcublasLt.so.12")),
    "cusparse": ("nvidia-cusparse-cu12", "12.5.8.93", ("libcusparse.so.12",)),
    "nvjitlink": ("nvidia-nvjitlink-cu12", "12.8.93", ("libnvJitLink.so.12",)),
    "nccl": ("nvidia-nccl-cu12", "2.27.3", ("libnccl.so.2",)),
    "cudnn": (
        "nvidia-cudnn-cu12",
        "9.10.2.21",
        ("libcudnn.so.9", *(f"libcudnn_{part}.so.9" for part in PARTS)),
    ),
}
"""NVIDIA's wheels for torch 2.8.0: folder, name, version, libraries."""

_NEEDS = {
    "libcublas.so.12": ("libcublasLt.so.12",),
    "libcusparse.so.12": ("libnvJitLink.so.12",),
    "libcudnn_ops.so.9": ("libcudnn_graph.so.9",),
}
_RUNPATHS = {"libcusparse.so.12": "$ORIGIN/../../nvjitlink/lib:$ORIGIN", "libnccl.so.2": "", "libcudart.so.12": ""}
_TORCHS = {
    "libtorch_global_deps.so": ("libcudart.so.12",),
    "libtorch_python.so": ("libtorch.so", "libtorch_cuda.so", "libcudnn.so.9"),
    "libtorch.so": ("libtorch_cuda.so",),
    "libtorch_cuda.so": ("libcudart.so.12", "libcusparse.so.12", "libnccl.so.2", "libcublas.so.12", "libcudnn.so.9"),
}
LISTING = "def _preload_cuda_deps(lib_folder, lib_name):\n            _preload_cuda_deps(lib_folder, lib_name)\n"
PRELOADING = f'{LISTING}            _preload_cuda_deps("nvjitlink", "libnvJitLink.so.*[0-9]")\n'
PRELOADING_ALL = (
    "def _preload_cuda_deps(err=None, required=True):\n            _preload_cuda_deps(required=False)\n"
    "        _preload_cuda_deps(err)\n"
)
"""What torch/__init__.py of older releases, of 2.8 and of 2.14 has of this."""


def wheel(folder: str, version: str | None = None, *, at: str = "") -> Tree:
    """One of NVIDIA's wheels."""
    from tests.scenarios import machines

    name, own, libraries = COMPONENTS[folder]
    place = f"{at or site()}/nvidia/{folder}/lib"
    return machines.joined(
        package(name, version or own, at=at),
        *(
            library(f"{place}/{one}", (*_NEEDS.get(one, ()), "libc.so.6"), runpath=_RUNPATHS.get(one, "$ORIGIN"))
            for one in libraries
        ),
    )


def torch_with_cuda(*, preloads: bool = True, init: str = "", wheels: Mapping[str, str | None] | None = None) -> Tree:
    """PyTorch 2.8.0 with its libraries and NVIDIA's wheels; a wheel of another version, or None for one that is gone.

    `preloads` is whether its __init__.py loads nvJitLink by its path, as newer releases do.
    """
    from tests.scenarios import machines

    versions = {folder: own for folder, (_, own, _) in COMPONENTS.items()} | dict(wheels or {})
    pins = "".join(
        f'Requires-Dist: {name}=={own}; platform_system == "Linux"\n' for name, own, _ in COMPONENTS.values()
    )
    folders = [f"$ORIGIN/../../nvidia/{folder}/lib" for folder in COMPONENTS if folder != "nvjitlink"]
    info = f"{site()}/torch-2.8.0.dist-info/METADATA"
    return machines.joined(
        torch().but(files={info: f"Metadata-Version: 2.4\nName: torch\nVersion: 2.8.0\n{pins}"}),
        Tree(files={f"{site()}/torch/__init__.py": init or (PRELOADING if preloads else LISTING)}),
        *(
            library(f"{site()}/torch/lib/{name}", (*needed, "libc.so.6"), rpath=":".join([*folders, "$ORIGIN"]))
            for name, needed in _TORCHS.items()
        ),
        *(wheel(folder, version) for folder, version in versions.items() if version is not None),
    )


def jax(*majors: int, version: str = "0.10.2") -> Tree:
    """JAX with plug-ins for these CUDA majors, laid out as its wheels are."""
    from tests.scenarios import machines

    parts = [package("jax", version), package("jaxlib", version)]
    for major in majors:
        folders = ("cublas", "cuda_runtime", "cudnn", "nccl") if major == 12 else ("cu13",)
        rpath = ":".join(f"$ORIGIN/../../nvidia/{folder}/lib" for folder in folders)
        parts += [
            package(
                f"jax-cuda{major}-plugin",
                version,
                requires=(
                    f"jax-cuda{major}-pjrt=={version}",
                    f'nvidia-cudnn-cu{major}<10.0,>=9.8; sys_platform == "linux" and extra == "with-cuda"',
                ),
            ),
            package(f"jax-cuda{major}-pjrt", version),
            library(f"{site()}/jax_plugins/xla_cuda{major}/xla_cuda_plugin.so", ("libc.so.6",), rpath=rpath),
        ]
    return machines.joined(*parts)


TENSORFLOW = """import collections

build_info = collections.OrderedDict([('cpu_compiler', '/usr/lib/llvm-18/bin/clang'), ('cuda_compute_capabilities', \
['sm_60', 'sm_70', 'sm_80', 'sm_89', 'compute_90']), ('cuda_version', '12.5.1'), ('cudnn_version', '9'), \
('is_cuda_build', True), ('is_rocm_build', False), ('is_tensorrt_build', False)])
"""
"""tensorflow/python/platform/build_info.py of 2.21.0."""


def tensorflow() -> Tree:
    """TensorFlow with CUDA, laid out as its wheel is."""
    from tests.scenarios import machines

    folders = ("cublas", "cudnn", "cufft", "cusparse", "cuda_runtime", "nccl")
    runpath = ":".join(f"$ORIGIN/../nvidia/{folder}/lib" for folder in folders)
    needed = ("libtensorflow_framework.so.2", "libc.so.6")
    return machines.joined(
        package("tensorflow", "2.21.0", {"tensorflow/python/platform/build_info.py": TENSORFLOW}),
        library(f"{site()}/tensorflow/libtensorflow_cc.so.2", needed, runpath="$ORIGIN/"),
        library(f"{site()}/tensorflow/libtensorflow_framework.so.2", ("libc.so.6",), runpath=runpath),
    )


def container(*architectures: tuple[str, int]) -> bytes:
    """One container of device code, as nvcc writes one a compiled file: sm is binary code, compute PTX."""
    kinds = {"compute": 1, "sm": 2}
    headers = (struct.pack("<HHIQQII", kinds[kind], 0x101, 64, 32, 0, 0, number) for kind, number in architectures)
    entries = b"".join(header.ljust(64, b"\0") + bytes(32) for header in headers)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entries)) + entries


def fatbin(*containers: bytes) -> bytes:
    """A library with this device code in it."""
    from tests.host import elves

    return b"".join(elves.module(b"".join(containers), called=".nv_fatbin"))
