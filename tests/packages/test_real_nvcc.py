"""NVIDIA's real nvcc, ptxas and headers, as their wheels bring them: found, believed, and held against the tables."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nvdiag.engine import Facts
from nvdiag.facts.host_compiler import limit_in
from nvdiag.facts.toolkits import Toolkits, parse_nvcc
from nvdiag.host import Host
from nvdiag.host.live import LiveHost
from nvdiag.knowledge.compute_capabilities import computes
from nvdiag.knowledge.host_compilers import host_compilers
from nvdiag.model.finding import Confidence
from nvdiag.model.versions import CudaVersion
from tests.checks.diagnosing import diagnosed, first
from tests.checks.pasting import pasted
from tests.packages.environment import Environment
from tests.packages.fetch import CACHE, why_not

pytestmark = [pytest.mark.packages, pytest.mark.live]

ROOT = "nvidia/cu13"
HEADERS = {"13.0": f"nvcc/{ROOT}", "12.8": "nvcc12/nvidia/cuda_nvcc"}
"""Where the wheels of two toolkits have bin and include."""

NEWER = """#!/bin/sh
[ "$1" = --version ] && { echo "g++ (GCC) 99.1.0"; exit 0; }
exec c++ -U__GNUC__ -D__GNUC__=99 "$@"
"""
"""The system's compiler, which says that it is gcc 99."""


@pytest.fixture(autouse=True)
def _packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped loudly without the wheels or a compiler; a failure with NVDIAG_RIGS_REQUIRED=1."""
    if (why := why_not() or (None if shutil.which("c++") else "no C++ compiler")) is not None:
        if os.environ.get("NVDIAG_RIGS_REQUIRED"):
            pytest.fail(why)
        pytest.skip(why)
    for name in ("CC", "CXX", "CUDAHOSTCXX", "CUDA_PATH", "NVCC_APPEND_FLAGS", "NVCC_PREPEND_FLAGS", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


@pytest.fixture
def toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toolkit of the wheels for CUDA 13 in an environment that CUDA_HOME leads into."""
    environment = Environment(tmp_path / "env", "nvcc", "cuda13")
    monkeypatch.setenv("VIRTUAL_ENV", str(environment.prefix))
    monkeypatch.setenv("CUDA_HOME", str(environment.packages / ROOT))
    return environment.packages / ROOT


@pytest.fixture
def newer_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "g++"
    path.write_text(NEWER, encoding="ascii")
    path.chmod(0o755)
    monkeypatch.setenv("NVCC_CCBIN", str(path))
    return path


def test_the_nvcc_of_wheels_is_a_toolkit_of_its_own_version(toolkit: Path) -> None:
    found = Facts({Host: LiveHost()})[Toolkits].found[0]
    assert (found.root, str(found.version), found.chosen_by) == (str(toolkit), "13.0.88", "CUDA_HOME")


def test_the_nvcc_of_an_environment_that_is_named_is_found(toolkit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_HOME")
    monkeypatch.delenv("VIRTUAL_ENV")
    monkeypatch.setenv("NVDIAG_PYTHON", str(toolkit.parents[4] / "bin" / "python"))
    roots = [one.root for one in Facts({Host: LiveHost()})[Toolkits].found]
    assert str(toolkit) in roots


def test_a_compiler_that_nvcc_rejects_is_named_before_it_is_called_and_after(
    toolkit: Path, newer_compiler: Path, tmp_path: Path
) -> None:
    found = [one.finding for one in diagnosed(LiveHost()).findings if one.finding.id == "host-compiler-unsupported"]
    assert [(one.confidence, one.title) for one in found] == [
        (Confidence.CERTAIN, "NVCC_CCBIN gives nvcc gcc 99, and CUDA 13.0 takes gcc up to 15")
    ]
    source = tmp_path / "empty.cu"
    source.write_text("int main() { return 0; }\n", encoding="ascii")
    command = [str(toolkit / "bin/nvcc"), "-ccbin", str(newer_compiler), "-c", "-o", "/dev/null", str(source)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode != 0
    told = first(pasted(said.stderr))
    assert told.id == "host-compiler-unsupported"
    assert told.title == "the host's gcc is newer than 15, the last that this CUDA toolkit supports"


def test_the_table_of_architectures_says_what_a_real_nvcc_lists(toolkit: Path) -> None:
    def said(option: str) -> str:
        return subprocess.run([toolkit / "bin" / "nvcc", option], capture_output=True, text=True, check=True).stdout

    cuda = parse_nvcc(said("--version"))
    made = {row.capability.replace(".", "") for row in computes() if row.is_made_by(cuda)}
    assert made == set(re.findall(r"compute_(\d+)", said("--list-gpu-arch")))


@pytest.mark.parametrize(("cuda", "folder"), HEADERS.items(), ids=HEADERS)
def test_the_table_of_architectures_says_what_a_real_ptxas_takes(cuda: str, folder: str) -> None:
    told = subprocess.run([CACHE / folder / "bin" / "ptxas", "--help"], capture_output=True, text=True, check=True)
    made = {row.capability.replace(".", "") for row in computes() if row.is_made_by(CudaVersion.of(cuda))}
    assert made == set(re.findall(r"'sm_(\d+)'", told.stdout))


@pytest.mark.parametrize(("cuda", "folder"), HEADERS.items(), ids=HEADERS)
def test_the_table_of_compilers_says_what_a_real_header_says(cuda: str, folder: str) -> None:
    row = host_compilers(CudaVersion.of(cuda))
    assert row is not None
    lines = tuple((CACHE / folder / "include/crt/host_config.h").read_text().splitlines())
    assert (limit_in(lines, "gcc"), limit_in(lines, "clang")) == (row.gcc, row.clang)
