"""A throw-away environment with NVIDIA's real wheels in it, and a small program in PyTorch's place.

The stand-in is built here: shared libraries that need the real ones under the names, with the DT_RPATH and with the
metadata that PyTorch 2.8.0's wheel has. So the real loader can be asked what it takes, without a gigabyte of PyTorch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.packages.fetch import CACHE
from tests.scenarios.pythons import COMPONENTS, PRELOADING, torch_version

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


class Environment:
    """An environment at `prefix` with these folders of fetched wheels, hard-linked: it takes no space and no time."""

    def __init__(self, prefix: Path, *wheels: str) -> None:
        self.prefix = prefix
        self.packages = prefix / "lib" / f"python{MINOR}" / "site-packages"
        self.packages.mkdir(parents=True)
        (prefix / "bin").mkdir()
        (prefix / "bin" / "python").symlink_to(Path(sys.executable).resolve())
        home = Path(sys.executable).resolve().parent
        (prefix / "pyvenv.cfg").write_text(f"home = {home}\nversion = {sys.version.split()[0]}\n", encoding="ascii")
        for name in wheels:
            shutil.copytree(CACHE / name, self.packages, copy_function=_linked, dirs_exist_ok=True)

    def remove(self, place: str) -> None:
        """Take a file or a folder out again."""
        path = self.packages / place
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def add_torch(self, needed: tuple[str, ...], *, preloads: bool = False) -> None:
        """PyTorch's stand-in, whose libtorch_cuda.so needs these libraries."""
        library = self.packages / "torch" / "lib"
        library.mkdir(parents=True)
        source = library.parent / "empty.c"
        source.write_text("int nothing_of_it;\n", encoding="ascii")
        folders = ":".join(f"$ORIGIN/../../nvidia/{name}/lib" for name in COMPONENTS if name != "nvjitlink")
        for name, wants in (
            ("libtorch_global_deps.so", ("libcudart.so.12",)),
            ("libtorch_cuda.so", needed),
            ("libtorch_python.so", ("libtorch_cuda.so",)),
        ):
            compile_library(library / name, source, wants, f"-Wl,--disable-new-dtags,-rpath,{folders}:$ORIGIN")
        pins = "".join(f"Requires-Dist: {name}=={version}\n" for name, version, _ in COMPONENTS.values())
        info = self.packages / "torch-2.8.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: torch\n{pins}", encoding="ascii")
        (library.parent / "version.py").write_text(torch_version("2.8.0+cu128", "12.8"), encoding="ascii")
        (library.parent / "__init__.py").write_text(PRELOADING if preloads else "", encoding="ascii")

    def add_cusparse(self) -> None:
        """A stand-in for cusparse of CUDA 12.8: with its DT_RUNPATH, and a symbol of nvJitLink that carries 12_8."""
        library = self.packages / "nvidia" / "cusparse" / "lib"
        library.mkdir(parents=True)
        source = library / "cusparse.c"
        source.write_text(
            "int __nvJitLinkCreate_12_8(void *, unsigned, const char **);\n"
            "int cusparse_calls(void) { return __nvJitLinkCreate_12_8(0, 0, 0); }\n",
            encoding="ascii",
        )
        real = self.packages / "nvidia" / "nvjitlink" / "lib" / "libnvJitLink.so.12"
        options = ["-Wl,-z,now", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../../nvjitlink/lib:$ORIGIN"]
        compile_library(library / "libcusparse.so.12", source, (), *options, str(real))
        info = self.packages / "nvidia_cusparse_cu12-12.5.8.93.dist-info"
        info.mkdir()

    def maps(self, code: str, library_path: str) -> tuple[list[str], str]:
        """The libraries of CUDA that a child has mapped after this code, and what it said on stderr."""
        lines = f"{code}\nfor line in open('/proc/self/maps'): print(line.split()[-1])\n"
        environment = {**os.environ, "LD_LIBRARY_PATH": library_path}
        told = subprocess.run(
            [sys.executable, "-c", lines], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        return sorted({path for path in told.stdout.split() if "/lib" in path and ".so." in path}), told.stderr


def compile_library(target: Path, source: Path, needed: tuple[str, ...], *options: str) -> None:
    """A shared library that needs others by these sonames, whether or not they are there."""
    stubs = target.parent / "stubs"
    stubs.mkdir(exist_ok=True)
    paths = []
    for soname in needed:
        stub = stubs / soname
        if not stub.exists():
            _cc("-o", str(stub), f"-Wl,-soname,{soname}", "-x", "c", "/dev/null")
        paths.append(str(stub))
    _cc("-o", str(target), f"-Wl,-soname,{target.name}", str(source), "-Wl,--no-as-needed", *paths, *options)
    shutil.rmtree(stubs)


def _cc(*arguments: str) -> None:
    subprocess.run(["cc", "-shared", "-fPIC", "-Wl,--allow-shlib-undefined", *arguments], check=True)


def _linked(source: str, target: str) -> None:
    os.link(source, target)
