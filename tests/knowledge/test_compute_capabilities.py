"""The table of compute capabilities."""

import pytest

from nvdiag.knowledge.compute_capabilities import capability, compute, compute_of_gpu, computes
from nvdiag.model.versions import CudaVersion


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
