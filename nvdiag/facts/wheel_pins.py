"""Which versions of NVIDIA's wheels a framework asks for, by its own metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nvdiag.facts import reading
from nvdiag.facts.frameworks import Frameworks
from nvdiag.host import Host


def pins_of(host: Host, frameworks: Frameworks, program: str) -> Mapping[str, str]:
    """Versions by the wheels' names: those that PyTorch pins, and the lowest cuDNN that JAX and TensorFlow take.

    PyTorch's newer releases pin the toolkit's libraries through the package cuda-toolkit. JAX and TensorFlow refuse a
    cuDNN of an older minor version than they were built with, which is the lowest that their packages ask for.
    """
    infos = frameworks.environment.infos
    name = program.partition(" ")[0]

    def metadata(package: str) -> str:
        return (reading.text(host, f"{infos[package]}/METADATA") or "") if package in infos else ""

    if name == "torch":
        return {**parse_pins(metadata("cuda-toolkit")), **parse_pins(metadata("torch"))}
    jax = frameworks.found.get("jaxlib")
    if name == "jaxlib" and jax is not None and jax.cuda is not None:
        return parse_lowest(metadata(f"jax-cuda{jax.cuda.major}-plugin"))
    return parse_lowest(metadata("tensorflow")) if name == "tensorflow" else {}


def parse_pins(metadata: str) -> dict[str, str]:
    """NVIDIA's wheels that a package's METADATA pins, by their names: `Requires-Dist: nvidia-cudnn-cu12==9.10.2.21`."""
    return dict(re.findall(r"^Requires-Dist: (nvidia-[\w-]{1,60}) ?\(?==(\d[\d.]{0,29}\d)", metadata, re.M))


def parse_lowest(metadata: str) -> dict[str, str]:
    """The lowest cuDNN of METADATA: `Requires-Dist: nvidia-cudnn-cu12<10.0,>=9.8; sys_platform == "linux" and …`."""
    return dict(re.findall(r"^Requires-Dist: (nvidia-cudnn-cu\d\d)\b[^;\n]{0,40}>=(\d[\d.]{0,29}\d)", metadata, re.M))
