"""The tables of NVML's and CUDA's errors: complete, sourced, and named as NVIDIA's own bindings name them."""

import pytest

from nvdiag.knowledge._tables import MalformedTable, Table
from nvdiag.knowledge.cuda_errors import CudaError, cuda_error, cuda_errors, cuda_errors_of
from nvdiag.knowledge.nvml import NvmlError, nvml_error, nvml_errors, nvml_errors_of
from nvdiag.knowledge.pages import page_ids

ALL: tuple[NvmlError | CudaError, ...] = (*nvml_errors(), *cuda_errors())

NVML = """
[sources]
header = "nvml.h"

[[error]]
number = 0
constant = "NVML_SUCCESS"
meaning = "It worked."
remedy = "Nothing."
source = ["header"]

[[error]]
number = 1
constant = "NVML_ERROR_UNINITIALIZED"
meaning = "It did not."
remedy = "Look."
source = ["header"]

[[error]]
number = 999
constant = "NVML_ERROR_UNKNOWN"
meaning = "Who knows."
remedy = "Look."
source = ["header"]
"""

CUDA = """
[sources]
header = "cuda.h"

[[error]]
number = 3
driver_name = "CUDA_ERROR_NOT_INITIALIZED"
title = "not initialised"
meaning = "It is not initialised."
remedy = "Look."
source = ["header"]

[[error]]
number = 35
runtime_name = "cudaErrorInsufficientDriver"
title = "too old"
meaning = "It is too old."
remedy = "Update."
source = ["header"]
"""


def test_nvml_18_is_the_mismatch() -> None:
    error = nvml_error(18)
    assert error is not None
    assert error.constant == "NVML_ERROR_LIB_RM_VERSION_MISMATCH"
    assert error.library_text == "Driver/library version mismatch"
    assert "driver-library-mismatch" in error.findings


@pytest.mark.parametrize(
    ("number", "name", "finding"),
    [
        (34, "cudaErrorStubLibrary", "libcuda-stub-loaded"),
        (35, "cudaErrorInsufficientDriver", "driver-too-old-for-cuda"),
        (803, "cudaErrorSystemDriverMismatch", "libcuda-mismatch"),
        (804, "cudaErrorCompatNotSupportedOnDevice", "libcuda-mismatch"),
    ],
)
def test_cuda_errors_that_point_at_the_driver(number: int, name: str, finding: str) -> None:
    error = cuda_error(number)
    assert error is not None
    assert error.runtime_name == name
    assert finding in error.findings


def test_35_is_the_runtimes_own_error() -> None:
    error = cuda_error(35)
    assert error is not None
    assert error.driver_name is None


def test_a_number_that_no_table_has_is_none() -> None:
    assert nvml_error(31) is None
    assert nvml_error(-1) is None
    assert cuda_error(0) is None


def test_nvml_constants_are_those_of_nvidias_bindings() -> None:
    pynvml = pytest.importorskip("pynvml")
    for error in nvml_errors():
        assert getattr(pynvml, error.constant, error.number) == error.number
    named = {value for name, value in vars(pynvml).items() if name.startswith("NVML_ERROR_")}
    assert named <= {error.number for error in nvml_errors()}


def test_names_have_the_form_of_their_header() -> None:
    for error in cuda_errors():
        assert error.driver_name is None or error.driver_name.startswith("CUDA_ERROR_")
        assert error.runtime_name is None or error.runtime_name.startswith("cudaError")


@pytest.mark.parametrize("error", ALL, ids=lambda error: f"{type(error).__name__}-{error.number}")
def test_each_error_explains_itself(error: NvmlError | CudaError) -> None:
    assert error.source
    for sentence in (error.meaning, error.remedy):
        assert sentence.startswith("lib") or sentence[0].isupper()
        assert sentence.endswith(".")
    assert not any(cause.endswith(".") for cause in error.causes)


def test_each_finding_that_an_error_names_has_a_page() -> None:
    named = {finding for error in ALL for finding in error.findings}
    assert named <= set(page_ids())


def test_the_runtimes_words_are_told_apart_except_where_nvidia_repeats_them() -> None:
    words = [error.library_text for error in cuda_errors() if error.library_text]
    assert {word for word in words if words.count(word) > 1} == {"device kernel image is invalid"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("number = 1\n", "number = 2\n", "the numbers are not 0, 1, 2"),
        ("number = 1\n", "number = 0\n", "the numbers are not 0, 1, 2"),
        ("NVML_ERROR_UNKNOWN", "NVML_SUCCESS", "constant NVML_SUCCESS is there twice"),
        ('constant = "NVML_SUCCESS"', "", "constant is missing"),
        ('constant = "NVML_SUCCESS"', 'constant = "NVML_SUCCESS"\nmood = "good"', "unknown column mood"),
        ('constant = "NVML_SUCCESS"', 'constant = "NVML_SUCCESS"\ncauses = [""]', "causes is no list of texts"),
    ],
)
def test_a_malformed_table_of_nvml_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(MalformedTable, match=message):
        nvml_errors_of(Table("nvml.toml", NVML.replace(old, new, 1), ("error",)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("number = 35", "number = 3", "number 3 is there twice"),
        ("number = 35", "number = 2", "out of order"),
        ('runtime_name = "cudaErrorInsufficientDriver"', "", "neither driver_name nor runtime_name"),
        ("cudaErrorInsufficientDriver", "CUDA_ERROR_NOT_INITIALIZED", "is there twice"),
        ('title = "too old"', "", "title is missing"),
    ],
)
def test_a_malformed_table_of_cuda_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(MalformedTable, match=message):
        cuda_errors_of(Table("cuda.toml", CUDA.replace(old, new, 1), ("error",)))
