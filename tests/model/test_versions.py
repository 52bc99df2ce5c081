"""Releases and versions: compared by number, printed as they were read, never mixed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvdiag.model.unknown import NotApplicable, ParseError, Unknown
from nvdiag.model.versions import CudaVersion, DriverRelease, KernelRelease
from tests.facts.hostile import QUICK


def driver(text: str) -> DriverRelease:
    return DriverRelease.of(text)


def test_leading_zeros_do_not_count_and_are_kept() -> None:
    assert driver("570.124.06") == driver("570.124.6")
    assert hash(driver("570.124.06")) == hash(driver("570.124.6"))
    assert str(driver("570.124.06")) == "570.124.06"
    assert str(driver("\t570.124.06\n")) == "570.124.06"


def test_zeros_at_the_end_do_not_count() -> None:
    assert driver("440.64.00") == driver("440.64")
    assert hash(driver("440.64.00")) == hash(driver("440.64"))


def test_releases_are_ordered_by_number() -> None:
    texts = ["96.43.23", "304.137", "535.54.03", "535.104.05", "535.216.03", "550.54.15", "570.86.10", "570.169"]
    assert sorted(map(driver, reversed(texts))) == [driver(text) for text in texts]
    assert driver("570.169") < driver("570.172.08") <= driver("570.172.08")
    assert driver("580.65.06") > driver("575.64.05")


def test_what_smi_cuts_is_a_prefix_of_the_release() -> None:
    full = driver("570.172.08")
    assert full.starts_with(driver("570.172"))
    assert full.starts_with(full)
    assert full.starts_with(driver("570"))
    assert not full.starts_with(driver("570.17"))
    assert not full.starts_with(driver("570.172.0"))
    assert not driver("570.172").starts_with(full)
    assert full.branch == 570


def test_driver_release_is_never_a_cuda_version() -> None:
    assert driver("13.0") != CudaVersion.of("13.0")
    assert len({driver("13.0"), CudaVersion.of("13.0")}) == 2
    with pytest.raises(TypeError):
        assert driver("580.65") < CudaVersion.of("13.0")
    with pytest.raises(TypeError):
        assert CudaVersion.of("13.0") >= driver("580.65")
    assert driver("580.65") != "580.65"


@pytest.mark.parametrize(
    ("number", "text"),
    [(12080, "12.8"), (13000, "13.0"), (10020, "10.2"), (11080, "11.8"), (12010, "12.1"), (13020, "13.2")],
)
def test_cuda_version_from_its_number(number: int, text: str) -> None:
    version = CudaVersion.from_number(number)
    assert version.text == text
    assert version == CudaVersion.of(text)


def test_cuda_versions_major_and_short_form() -> None:
    version = CudaVersion.of("12.8.93")
    assert version.major == 12
    assert version.short == CudaVersion.of("12.8")
    assert version.short.text == "12.8"
    assert CudaVersion.of("13").short.text == "13.0"
    assert version > version.short


@pytest.mark.parametrize(
    "text", ["", ".", "570.", ".5", "570..1", "-1", "1e3", "v570", "570.1-open", "٣.٤", "1" * 10, "1.2.3.4.5.6", "N/A"]
)
def test_other_texts_are_no_release(text: str) -> None:
    with pytest.raises(ParseError):
        DriverRelease.of(text)
    assert DriverRelease.or_none(text) is None


def test_no_text_is_no_release() -> None:
    assert DriverRelease.or_none(None) is None
    assert DriverRelease.or_none("570.169") == driver("570.169")


@QUICK
@given(st.text())
def test_any_text_is_a_release_or_a_parse_error(text: str) -> None:
    try:
        release = DriverRelease.of(text)
    except ParseError:
        return
    assert release.text == text.strip()


IN_ORDER = (
    ("6.8.0-9-generic", "6.8.0-85-generic", "6.8.0-100-generic", "6.11.0-8-generic"),
    ("5.14.0-427.13.1.el9_4.x86_64", "5.14.0-570.12.1.el9_6.x86_64", "5.14.0-570.42.2.el9_6.x86_64"),
    ("4.18.0-553.el8_10.x86_64", "5.14.0-70.el9.x86_64"),
    ("6.16.5-100.fc41.x86_64", "6.16.5-200.fc42.x86_64", "6.16.10-200.fc42.x86_64"),
    ("6.16.7-arch1-1", "6.16.7-arch1-2", "6.16.10-arch1-1", "6.17.0-arch1-1"),
    ("6.1.0-9-amd64", "6.1.0-40-amd64", "6.12.43+deb13-amd64"),
    ("5.15.0-1052-aws", "5.15.0-1067-aws", "6.8.0-1009-aws"),
    ("5.15.167.4-microsoft-standard-WSL2", "6.6.87.2-microsoft-standard-WSL2"),
    ("6.4.0-150600.21-default", "6.4.0-150600.23.65-default"),
    ("6.17.0-rc3", "6.17.0-1-generic"),
)


@pytest.mark.parametrize("texts", IN_ORDER, ids=lambda texts: texts[0])
def test_kernels_are_ordered_as_a_boot_loader_orders_them(texts: tuple[str, ...]) -> None:
    kernels = [KernelRelease(text) for text in reversed(texts)]
    assert [kernel.text for kernel in sorted(kernels)] == list(texts)
    assert max(kernels) is kernels[0]


def test_kernels_are_equal_by_their_text_alone() -> None:
    assert KernelRelease("6.8.0-85-generic") == KernelRelease("6.8.0-85-generic")
    assert KernelRelease("6.8.0-85-generic") != KernelRelease("6.8.0-085-generic")
    assert KernelRelease("6.8.0") != "6.8.0"
    with pytest.raises(TypeError):
        assert KernelRelease("6.8.0") < DriverRelease.of("6.8.0")


@QUICK
@given(st.lists(st.text() | st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){2}-[0-9a-z._\-]{0,12}", fullmatch=True)))
def test_any_kernel_names_can_be_ordered(texts: list[str]) -> None:
    ordered = sorted(KernelRelease(text) for text in [*texts, "9" * 5000])
    assert all(one <= other for one, other in pairwise(ordered))


def test_unknowns_are_equal_by_kind_and_reason() -> None:
    assert Unknown("a") == Unknown("a")
    assert Unknown("a") != Unknown("b")
    assert Unknown("a") != NotApplicable("a")
    assert len({Unknown("a"), Unknown("a"), NotApplicable("a")}) == 2
