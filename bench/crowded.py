"""A machine with much on it: ten Python environments and three toolkits, in the places where nvdiag looks.

One environment is active, one is conda's, eight lie on PATH, where the first one's Python is what a shell takes.
Variables and PATH lead to each toolkit, and the libraries of one come first in LD_LIBRARY_PATH. An environment has
NVIDIA's real wheels that tests/packages/fetch.py fetches and the stand-in for PyTorch of tests/packages, else all that
is beside the PyTorch that is named. It is made once; the other nine are hard links to it.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.packages.environment import Environment
from tests.packages.fetch import CACHE

ENVIRONMENTS = 10
TOOLKITS = {"12.4": ("12.4.1", "12.4.131"), "12.8": ("12.8.1", "12.8.93"), "13.0": ("13.0.2", "13.0.88")}
"""For each folder its toolkit's version and its compiler's."""

_WHEELS = ("cuda12", "apart", "onnxruntime")
_NEEDED = ("libcudart.so.12", "libnvJitLink.so.12", "libnccl.so.2", "libcudnn.so.9")


def why_not(python: Path | None) -> str | None:
    """Why there can be no such machine here; None where there can."""
    if python is not None:
        return None
    missing = [name for name in _WHEELS if not (CACHE / name).is_dir()]
    if missing:
        return f"{', '.join(missing)} not fetched: python tests/packages/fetch.py"
    return None if shutil.which("cc") else "no C compiler"


def build(folder: Path, python: Path | None) -> None:
    """Make it in `folder`, which is on the same file system as what is linked; `python` is an interpreter of PyTorch's.

    What is only read as a name, as nvcc is, is there as a name and a size.
    """
    first = folder / "environment-0"
    if python is None:
        Environment(first, *_WHEELS).add_torch(_NEEDED, preloads=True)
    else:
        shutil.copytree(python.parent.parent, first, copy_function=_linked, symlinks=True)
    for number in range(1, ENVIRONMENTS):
        shutil.copytree(first, folder / f"environment-{number}", copy_function=_linked, symlinks=True)
    libraries = first.glob("lib/python*/site-packages/nvidia/*/lib/lib*.so.*")
    toolkits = [folder / f"cuda-{name}" for name in TOOLKITS]
    for root, (version, compiler) in zip(toolkits, TOOLKITS.values(), strict=True):
        (root / "bin").mkdir(parents=True)
        (root / "lib64").mkdir()
        with (root / "bin" / "nvcc").open("wb") as file:
            file.truncate(20 * 2**20)
        told = {"cuda": {"name": "CUDA SDK", "version": version}, "cuda_nvcc": {"name": "nvcc", "version": compiler}}
        (root / "version.json").write_text(json.dumps(told), encoding="ascii")
        (root / "bin" / "nvcc").chmod(0o755)
    for library in libraries:
        os.link(library, toolkits[1] / "lib64" / library.name)


def variables(folder: Path) -> dict[str, str]:
    """The variables that lead there."""
    old, new, newest = (folder / f"cuda-{name}" for name in TOOLKITS)
    active, conda, *others = (folder / f"environment-{number}" for number in range(ENVIRONMENTS))
    on_path = [one / "bin" for one in (*others, active, newest)]
    return {
        "VIRTUAL_ENV": str(active),
        "CONDA_PREFIX": str(conda),
        "PATH": ":".join([*map(str, on_path), os.environ.get("PATH", "/usr/bin:/bin")]),
        "CUDA_HOME": str(new),
        "CUDA_PATH": str(old),
        "LD_LIBRARY_PATH": str(new / "lib64"),
    }


def _linked(source: str, target: str) -> None:
    os.link(source, target)
