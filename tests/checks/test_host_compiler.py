"""The host's compiler against the toolkit that is to use it, live and from what a text shows."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nvdiag.facts.host_compiler import parse_version
from nvdiag.model.finding import Confidence, Finding, Severity
from nvdiag.model.unknown import ParseError
from tests.checks.diagnosing import diagnosed, first, ids
from tests.checks.pasting import pasted
from tests.scenarios import machines
from tests.scenarios.tree import Tree

NEW = "570.172.08"
HEALTHY = machines.ubuntu_dkms(NEW, NEW, NEW)
HEADER = "#if __GNUC__ > 13\n#endif /* __GNUC__ > 13 */\n#if (__clang_major__ >= 18) || (__clang_major__ < 3)\n"


def build(*, gcc: str = "gcc-14", header: str | None = HEADER, also: dict[str, str] | None = None, **env: str) -> Tree:
    """Ubuntu's /usr/bin/gcc beside CUDA 12.4, whose nvcc is on PATH."""
    root = "/usr/local/cuda-12.4"
    files = {
        f"{root}/version.json": '{"cuda_nvcc": {"version": "12.4.131"}}',
        f"{root}/bin/nvcc": "",
        f"/usr/bin/x86_64-linux-gnu-{gcc}": "",
        **(also or {}),
    }
    if header is not None:
        files[f"{root}/include/crt/host_config.h"] = header
    return HEALTHY.but(
        files=files,
        links={"/usr/bin/gcc": gcc, f"/usr/bin/{gcc}": f"x86_64-linux-gnu-{gcc}"},
        env={"PATH": f"{root}/bin:/usr/bin", **env},
    )


def found(machine: Tree) -> Finding:
    finding = first(machine)
    assert finding.id == "host-compiler-unsupported"
    return finding


def commands(finding: Finding) -> list[str]:
    return [command for remedy in finding.remedies for command in remedy.commands]


def test_a_newer_gcc_is_no_finding_where_nothing_asks_for_a_build() -> None:
    assert ids(build()) == []
    assert ids(build(NVCC_APPEND_FLAGS="-lineinfo")) == []


@pytest.mark.parametrize("header", [HEADER, None], ids=["by its header", "by the table"])
def test_a_compiler_that_a_variable_names_and_nvcc_refuses_is_an_error(header: str | None) -> None:
    finding = found(build(header=header, CUDAHOSTCXX="/usr/bin/gcc-14"))
    assert (finding.severity, finding.confidence) == (Severity.ERROR, Confidence.CERTAIN)
    assert finding.title == "CUDAHOSTCXX gives nvcc gcc 14, and CUDA 12.4 takes gcc up to 13"
    by = "/usr/local/cuda-12.4/include/crt/host_config.h" if header else "nvdiag's table of host compilers, CUDA 12.4"
    assert any(one.source.startswith(by) for one in finding.evidence)


@pytest.mark.parametrize(
    "env",
    [
        {"NVCC_CCBIN": "gcc-14"},
        {"NVCC_PREPEND_FLAGS": "-lineinfo -ccbin gcc-14"},
        {"NVCC_PREPEND_FLAGS": "-ccbin=/usr/bin/gcc-13 --compiler-bindir=/usr/bin"},
        {"NVCC_APPEND_FLAGS": "-ccbin '/usr/bin/gcc-14'", "NVCC_CCBIN": "gcc-13"},
    ],
    ids=" ".join,
)
def test_each_way_to_name_a_compiler_is_read(env: dict[str, str]) -> None:
    assert found(build(also={"/usr/bin/gcc-13": "", "/usr/bin/g++-13": ""}, **env)).severity is Severity.ERROR


def test_cuda_home_asks_for_a_build_with_the_default_compiler() -> None:
    finding = found(build(CUDA_HOME="/usr/local/cuda-12.4"))
    assert (finding.severity, finding.confidence) == (Severity.WARNING, Confidence.LIKELY)
    assert diagnosed(build(CUDA_HOME="/usr/local/cuda-12.4")).exit_code() == 0


def test_a_compiler_that_nvcc_takes_is_well() -> None:
    assert ids(build(gcc="gcc-13", CUDA_HOME="/usr/local/cuda-12.4", CUDAHOSTCXX="gcc-13")) == []


def test_a_build_that_has_a_compiler_of_its_own_is_left_alone() -> None:
    assert ids(build(CUDA_HOME="/usr/local/cuda-12.4", CC="gcc-13", CXX="g++-13")) == []


def test_nvcc_told_to_take_any_compiler_is_left_alone() -> None:
    assert ids(build(CUDAHOSTCXX="gcc-14", NVCC_APPEND_FLAGS="--allow-unsupported-compiler")) == []


def test_a_compiler_that_is_here_and_that_nvcc_takes_is_the_first_remedy() -> None:
    finding = found(build(also={"/usr/bin/g++-13": "", "/usr/bin/g++-12": ""}, CUDAHOSTCXX="gcc-14"))
    assert finding.remedies[0].commands == ("export CUDAHOSTCXX=/usr/bin/g++-13 NVCC_CCBIN=/usr/bin/g++-13",)
    assert not any(remedy.needs_root for remedy in finding.remedies)
    assert any("CUDA 12.8 or newer" in remedy.summary for remedy in finding.remedies)


def test_a_compiler_whose_name_does_not_tell_is_asked() -> None:
    asked = {shlex.join(["/usr/bin/gcc", "--version"]): {"exit": 0, "stderr": "", "stdout": "gcc (GCC) 15.1.1 2025\n"}}
    machine = machines.joined(
        machines.rpm_machine("fedora", NEW, NEW, NEW),
        Tree(
            files={
                "/usr/local/cuda-12.9/version.json": '{"cuda_nvcc": {"version": "12.9.86"}}',
                "/usr/local/cuda-12.9/bin/nvcc": "",
                "/usr/bin/gcc": "",
            },
            commands=asked,
            env={"PATH": "/usr/bin", "CUDA_HOME": "/usr/local/cuda-12.9"},
        ),
    )
    finding = found(machine)
    assert "15, and CUDA 12.9 takes it up to 14" in finding.title
    assert "sudo dnf install gcc14 gcc14-c++" in commands(finding)


@pytest.mark.parametrize(
    "machine",
    [
        build(CUDA_HOME="/usr/local/cuda-12.4"),
        build(also={"/usr/bin/g++-13": ""}, NVCC_PREPEND_FLAGS="-ccbin=/usr/bin"),
        build(header=None, CUDAHOSTCXX="gcc-14"),
        build(CUDAHOSTCXX="gcc-77"),
    ],
    ids=["CUDA_HOME", "flags", "by the table", "not there"],
)
def test_a_snapshot_gives_the_same(machine: Tree) -> None:
    live, replay = diagnosed(machine), diagnosed(machine.snapshot())
    assert [one.finding for one in replay.findings] == [one.finding for one in live.findings]


def test_the_remedy_speaks_this_distributions_language() -> None:
    text = 'ID="rocky"\nID_LIKE="rhel centos fedora"\nNAME="Rocky Linux"\n'
    error = "#error -- unsupported GNU version! gcc versions later than 12 are not supported!"
    finding = first(pasted(f"$ cat /etc/os-release\n{text}$ make\n{error}\n"))
    assert "sudo dnf install gcc-toolset-12" in commands(finding)
    assert any("/opt/rh/gcc-toolset-12/root/usr/bin/g++" in command for command in commands(finding))


SEEN = (
    "$ nvcc --version\nCuda compilation tools, release 12.1, V12.1.105\n"
    "$ gcc --version\ngcc (Ubuntu 13.2.0-23ubuntu4) 13.2.0\nCopyright (C) 2023 Free Software Foundation, Inc.\n"
)


def test_versions_in_a_text_are_judged_where_a_message_of_a_build_stands_beside_them() -> None:
    assert ids(pasted(SEEN)) == []
    died = "$ make\nnvcc error   : 'cudafe++' died due to signal 11 (Invalid memory reference)\n"
    finding = first(pasted(SEEN + died))
    assert finding.id == "host-compiler-unsupported"
    assert "the gcc that nvcc calls is 13, and CUDA 12.1 takes it up to 12" in finding.title


def test_a_toolkit_newer_than_the_table_is_not_guessed_about() -> None:
    text = SEEN.replace("12.1", "19.1") + "$ make\nnvcc error   : 'cudafe++' died due to signal 11\n"
    outcome = next(one for one in diagnosed(pasted(text)).checks if one.name == "nvccs_compiler_is_one_that_it_takes")
    assert "CUDA 19.1 is newer than nvdiag's table of compilers" in outcome.reason


@pytest.mark.parametrize(
    ("text", "kind", "version"),
    [
        ("gcc (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright", "gcc", 12),
        ("g++ (GCC) 14.2.1 20250110 (Red Hat 14.2.1-7)", "gcc", 14),
        ("x86_64-conda-linux-gnu-c++ (conda-forge gcc 13.3.0-1) 13.3.0", "gcc", 13),
        ("Debian clang version 15.0.6\nTarget: x86_64-pc-linux-gnu", "clang", 15),
        ("clang version 19.1.7", "clang", 19),
    ],
)
def test_a_compilers_own_words_are_read(text: str, kind: str, version: int) -> None:
    assert parse_version(text) == (kind, version)


NVCC = sorted(Path("/usr/local").glob("cuda-*/bin/nvcc"))
TOO_NEW = """#!/bin/sh
[ "$1" = --version ] && echo "g++ (GCC) 99.1.0" && exit
exec g++ -U__GNUC__ -D__GNUC__=99 "$@"
"""


@pytest.mark.skipif(not NVCC or shutil.which("g++") is None, reason="no nvcc below /usr/local, or no g++")
def test_a_real_nvcc_refuses_the_compiler_that_is_said_to_be_too_new(tmp_path: Path) -> None:
    compiler, source = tmp_path / "g++-99", tmp_path / "a.cu"
    compiler.write_text(TOO_NEW)
    compiler.chmod(0o755)
    source.write_text("int main() { return 0; }")
    argv = [str(NVCC[-1]), "-ccbin", str(compiler), "-c", str(source), "-o", str(tmp_path / "a.o")]
    refused = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    limit = re.search(r"gcc versions later than (\d+) are not supported", refused.stderr)
    assert limit is not None
    env = {"CUDA_HOME": str(NVCC[-1].parents[1]), "CUDAHOSTCXX": str(compiler), "PATH": "/usr/bin"}
    argv = [sys.executable, "-m", "nvdiag", "check", "--select", "host-compiler-unsupported", "--format", "json"]
    report = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, **env})
    (finding,) = json.loads(report.stdout)["findings"]
    assert (finding["id"], finding["confidence"]) == ("host-compiler-unsupported", "certain")
    assert f"takes gcc up to {limit[1]}" in finding["title"]


def test_other_words_are_no_compilers_version() -> None:
    with pytest.raises(ParseError):
        parse_version("icc (ICC) 2021.1\n")
