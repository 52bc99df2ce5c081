"""The table of compute capabilities."""

import re
import subprocess
from pathlib import Path

import pytest

from nvdiag.facts.toolkits import parse_nvcc
from nvdiag.knowledge._tables import MalformedTable, Table
from nvdiag.knowledge.compute_capabilities import capability, compute, compute_of_gpu, computes, computes_of
from nvdiag.knowledge.cuda import branches, toolkits
from nvdiag.knowledge.gpu_generations import generations
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion

INSTALLED = sorted(Path("/usr/local").glob("cuda-*/bin/nvcc"))


@pytest.mark.parametrize("word", ["sm_120", "compute_120a", "120", "12.0", "SM_120", "lto_120"])
def test_an_architecture_is_read_in_each_of_nvccs_ways(word: str) -> None:
    assert capability(word) == "12.0"


@pytest.mark.parametrize("word", ["", "native", "sm_", "sm_12345", "x"])
def test_what_is_no_architecture_has_no_capability(word: str) -> None:
    assert capability(word) is None
    assert compute(word) is None


def test_the_first_and_the_last_toolkit_of_a_capability_are_known() -> None:
    old, new = compute("6.1"), compute("sm_120")
    assert old is not None
    assert new is not None
    assert (str(old.first), str(old.last)) == ("8.0", "12.9")
    assert (str(new.first), new.last) == ("12.8", None)


def test_each_toolkit_that_the_table_names_was_released() -> None:
    released = {row.cuda for row in toolkits()}
    named = {cuda for row in computes() for cuda in (row.first, row.last) if cuda and cuda >= min(released)}
    assert named <= released


def test_capabilities_stand_in_order() -> None:
    numbers = [tuple(map(int, row.capability.split("."))) for row in computes()]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("NVIDIA GeForce RTX 5070 Ti", "12.0"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "12.0"),
        ("NVIDIA GB10", "12.1"),
        ("NVIDIA GB200", "10.0"),
        ("NVIDIA H100 80GB HBM3", "9.0"),
        ("NVIDIA GH200 480GB", "9.0"),
        ("NVIDIA RTX 6000 Ada Generation", "8.9"),
        ("NVIDIA L40S", "8.9"),
        ("NVIDIA RTX A6000", "8.6"),
        ("NVIDIA A10G", "8.6"),
        ("NVIDIA A100-SXM4-40GB", "8.0"),
        ("Quadro RTX 8000", "7.5"),
        ("GeForce RTX 208...", "7.5"),
        ("Tesla V100-SXM2-32GB", "7.0"),
        ("GeForce GTX 108...", "6.1"),
        ("GeForce GTX TITAN X", "5.2"),
        ("GeForce GTX 750 Ti", "5.0"),
        ("Tesla K80", "3.7"),
    ],
)
def test_a_products_name_tells_its_capability(name: str, capability: str) -> None:
    row = compute_of_gpu(name)
    assert row is not None
    assert row.capability == capability


@pytest.mark.parametrize(
    "name", ["NVIDIA GeForce ...", "GeForce GTX 750M", "NVIDIA GeForce MX130", "AMD Radeon RX 6800"]
)
def test_a_name_that_stands_for_several_chips_tells_nothing(name: str) -> None:
    assert compute_of_gpu(name) is None


def test_a_build_has_code_of_the_gpus_own_major_and_a_lower_minor() -> None:
    ada = compute("8.9")
    assert ada is not None
    assert ada.has_code_of(CudaVersion.of("11.1"))
    assert not ada.has_code_of(CudaVersion.of("10.2"))


LISTED = {
    "11.7": "35 37 50 52 53 60 61 62 70 72 75 80 86 87",
    "11.8": "35 37 50 52 53 60 61 62 70 72 75 80 86 87 89 90",
    "12.6": "50 52 53 60 61 62 70 72 75 80 86 87 89 90",
    "12.8": "50 52 53 60 61 62 70 72 75 80 86 87 89 90 100 101 120",
    "12.9": "50 52 53 60 61 62 70 72 75 80 86 87 89 90 100 101 103 120 121",
    "13.0": "75 80 86 87 88 89 90 100 103 110 120 121",
    "13.4": "75 80 86 87 88 89 90 100 103 107 110 120 121",
}
"""What nvcc of the wheels nvidia-cuda-nvcc of these versions lists."""


def made_by(cuda: CudaVersion) -> set[str]:
    return {row.capability.replace(".", "") for row in computes() if row.is_made_by(cuda)}


@pytest.mark.parametrize(("cuda", "listed"), LISTED.items(), ids=LISTED)
def test_a_toolkit_makes_what_its_nvcc_lists(cuda: str, listed: str) -> None:
    assert made_by(CudaVersion.of(cuda)) == set(listed.split())


@pytest.mark.skipif(not INSTALLED, reason="no CUDA toolkit with nvcc is installed below /usr/local")
@pytest.mark.parametrize("nvcc", INSTALLED, ids=str)
def test_the_table_says_what_the_installed_nvcc_itself_lists(nvcc: Path) -> None:
    def said(option: str) -> str:
        return subprocess.run([nvcc, option], capture_output=True, text=True, check=True).stdout

    assert made_by(parse_nvcc(said("--version"))) == set(re.findall(r"compute_(\d+)", said("--list-gpu-arch")))


def test_a_toolkit_newer_than_the_table_is_unknown_unless_a_former_one_dropped_the_gpu() -> None:
    hopper, pascal = compute("9.0"), compute("6.1")
    assert hopper is not None
    assert pascal is not None
    with pytest.raises(Unknown, match=r"CUDA 14\.0 is newer than nvdiag's table"):
        hopper.is_made_by(CudaVersion.of("14.0"))
    assert not pascal.is_made_by(CudaVersion.of("14.0"))


def test_drivers_of_a_capability_agree_with_those_of_its_generation() -> None:
    known = {row.branch for row in branches()}
    rows = {row.capability: row for row in computes()}
    for generation in generations():
        for name in generation.capabilities:
            row = rows[name]
            assert row.last_driver in (generation.last, 470), name  # the first GRID boards ended before their Kepler
            assert row.first_driver is None or generation.first <= row.first_driver
            assert {row.first_driver, row.last_driver} - {None} <= known


ROW = '[[compute]]\ncapability = "{}"\nname = "X"\nfirst = "{}"\nlast = "{}"\n{}source = ["s"]\n'


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("8.0", "11.0", "12.9", ""), ("8.0", "11.0", "12.9", "")], "is there twice"),
        ([("8.0", "11.0", "12.9", ""), ("7.5", "10.0", "12.9", "")], "out of order"),
        ([("8.0", "11.0", "10.2", "")], "older than its first"),
        ([("8.0", "11.0", "12.9", "first_driver = 450\nlast_driver = 440\n")], "last driver branch is older"),
        ([("80", "11.0", "12.9", "")], "no compute capability"),
    ],
)
def test_a_wrong_table_is_refused(rows: list[tuple[str, str, str, str]], message: str) -> None:
    text = '[sources]\ns = "a source"\n' + "".join(ROW.format(*row) for row in rows)
    with pytest.raises(MalformedTable, match=message):
        computes_of(Table("computes.toml", text, ("compute",)))
