"""Variables that choose a library or a tool of CUDA's by hand, against what is really there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from nvdiag.facts import reading
from nvdiag.facts.frameworks import Frameworks
from nvdiag.facts.python_environments import PythonEnvironment, PythonEnvironments
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable, Unknown


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a variable: the package, and what it does where the value is wrong."""

    package: str
    then: str
    goes_on: bool


READERS: Mapping[str, Reader] = {
    "BNB_CUDA_VERSION": Reader("bitsandbytes", "bitsandbytes finds no library, and stops", False),
    "LD_PRELOAD": Reader("", "the loader says so at each start, and goes on without it", True),
    "NUMBA_CUDA_DRIVER": Reader("numba", "Numba finds no CUDA driver, and stops", False),
    "TRITON_LIBCUDA_PATH": Reader("triton", "Triton looks for libcuda nowhere else, and its first kernel fails", False),
    "TRITON_PTXAS_PATH": Reader("triton", "Triton takes the ptxas that it brings", True),
    "VLLM_NCCL_SO_PATH": Reader("vllm", "vLLM loads no other NCCL, and stops", False),
    "XLA_FLAGS": Reader("jaxlib", "XLA warns, looks elsewhere, and may not compile", True),
}
"""By the sources of bitsandbytes (cextension.py), Numba (cudadrv/driver.py), Triton (knobs.py and the NVIDIA backend's
driver.py), vLLM (utils: find_nccl_library) and XLA (its flag xla_gpu_cuda_data_dir); LD_PRELOAD is in ld.so(8)."""

_FILES = ("NUMBA_CUDA_DRIVER", "TRITON_PTXAS_PATH", "VLLM_NCCL_SO_PATH")
_OF_CUDA = regex(r"lib(?:cu|nv|nccl)[\w-]{0,40}\.so(?:\.[\d.]{1,20})?$")
_LIBDEVICE = "nvvm/libdevice/libdevice.10.bc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A variable that leads nowhere. `wrong` says so in words; `installed` is its reader's version, empty for none."""

    name: str
    value: str
    wrong: str
    installed: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Overrides:
    """The variables of READERS that are set, and those that lead nowhere. NotApplicable where none is set."""

    names: tuple[str, ...]
    broken: tuple[Override, ...]

    @classmethod
    def collect(
        cls, host: Host, environments: PythonEnvironments | Unknown, frameworks: Frameworks | Unknown
    ) -> Overrides:
        values = {name: value for name in READERS if (value := reading.variable(host, name))}
        if not values:
            raise NotApplicable("no variable chooses a CUDA library or tool by hand")
        environment = environments.chosen if isinstance(environments, PythonEnvironments) else None
        found = []
        for name, value in values.items():
            told = _wrong(host, name, value, frameworks)
            if told is not None:
                wrong, evidence = told
                installed = _version(environment, READERS[name].package)
                found.append(Override(name=name, value=value, wrong=wrong, installed=installed, evidence=evidence))
        return cls(tuple(values), tuple(found))


def _version(environment: PythonEnvironment | None, package: str) -> str:
    """The version of the reader, or of the package that goes by another name."""
    names = (package, *(["numba-cuda"] if package == "numba" else []))
    versions = environment.versions if environment is not None else {}
    return next((f"{name} {versions[name]}" for name in names if name in versions), "")


def _wrong(host: Host, name: str, value: str, frameworks: Frameworks | Unknown) -> tuple[str, Evidence] | None:
    """What is wrong with a value, and where that was seen; None where nothing is, or where it cannot be seen."""
    if name == "BNB_CUDA_VERSION":
        return _no_build(value, frameworks)
    if name == "XLA_FLAGS":
        return _no_libdevice(host, value)
    if name == "TRITON_LIBCUDA_PATH":
        return _no_libcuda(host, value)
    paths = _preloaded(value) if name == "LD_PRELOAD" else [value] if name in _FILES else []
    gone = next((path for path in paths if path.startswith("/") and reading.certainly_absent(host, path)), None)
    return (f"names {gone}, which is not there", Evidence(source=gone, excerpt="not there")) if gone else None


def _preloaded(value: str) -> Iterator[str]:
    """The CUDA libraries that LD_PRELOAD names by path."""
    return (path for path in re.split(r"[:\s]", value) if "/" in path and _OF_CUDA.search(path))


def _no_build(value: str, frameworks: Frameworks | Unknown) -> tuple[str, Evidence] | None:
    """bitsandbytes takes libbitsandbytes_cudaNNN.so, NNN as the variable has it."""
    bnb = frameworks.found.get("bitsandbytes") if isinstance(frameworks, Frameworks) else None
    if bnb is None or not bnb.builds:
        return None
    has = [one.text.replace(".", "") for one in bnb.builds]
    if value.replace(".", "") in has:
        return None
    return (
        f"asks for CUDA {value}, and bitsandbytes {bnb.version} has libraries for {', '.join(has)}",
        Evidence(source=bnb.source, excerpt=f"libbitsandbytes_cuda: {', '.join(has)}"),
    )


def _no_libdevice(host: Host, value: str) -> tuple[str, Evidence] | None:
    flag = re.search(r"--xla_gpu_cuda_data_dir=(\S{1,1000})", value)
    folder = flag[1].rstrip("/") if flag else ""
    if not folder.startswith("/") or not reading.certainly_absent(host, f"{folder}/{_LIBDEVICE}"):
        return None
    return (
        f"names {folder} as CUDA's folder, which has no {_LIBDEVICE}",
        Evidence(source=f"{folder}/{_LIBDEVICE}", excerpt="not there"),
    )


def _no_libcuda(host: Host, folder: str) -> tuple[str, Evidence] | None:
    """Triton wants the folder in which libcuda lies; somebody who names the file itself misleads it."""
    folder = folder.rstrip("/") or "/"
    files = [f"{folder}/libcuda.so.1", f"{folder}/libcuda.so"]
    if not folder.startswith("/") or not all(reading.certainly_absent(host, path) for path in files):
        return None
    if folder.rpartition("/")[2].startswith("libcuda.so"):
        return f"names the file {folder}, and Triton wants its folder", Evidence(source=folder, excerpt="a file")
    return f"names {folder}, where no libcuda.so.1 is", Evidence(source=files[0], excerpt="not there")
