"""The table of compute capabilities."""

import pytest

from nvdiag.knowledge.compute_capabilities import capability, compute, computes


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
