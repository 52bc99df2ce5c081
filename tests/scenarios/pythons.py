"""Python environments as pip and venv lay them out, with what the builds of frameworks write into their own files.

Texts and dynamic sections follow those of the real wheels: torch 2.8.0, torchvision 0.23.0, onnxruntime-gpu 1.22.0,
bitsandbytes 0.50.2, NVIDIA's wheels for CUDA 12.8.
"""

from __future__ import annotations

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


def package(name: str, version: str, files: Mapping[str, str] | None = None, *, at: str = "") -> Tree:
    """One distribution: its .dist-info, and files below the environment's packages."""
    folder = at or site()
    info = f"{folder}/{name.replace('-', '_')}-{version}.dist-info"
    return Tree(
        files={
            f"{info}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n",
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
