"""The picture of what a program gets of CUDA's libraries, as people see it."""

from __future__ import annotations

from nvdiag.model.finding import Severity
from nvdiag.report import cuda_picture, html, markdown
from tests.report.reporting import MACHINES, WELL, as_lines, diagnosed
from tests.scenarios.pythons import site

NAMED = diagnosed(MACHINES["an environment by its name"]())


def test_each_framework_has_a_row_in_the_stack() -> None:
    lines = [" ".join(line.split()) for line in as_lines(NAMED, width=200)]
    told = next(line for line in lines if "CUDA libraries" in line)
    assert "torch 2.8.0+cu128: cudart 12.8.90, cuBLAS 12.8.4.1, cuDNN 9.10.2.21, NCCL 2.27.3" in told
    assert any("onnxruntime 1.31.1: cuBLAS missing" in line for line in lines)


def test_an_environment_that_was_named_is_shown_library_by_library() -> None:
    shown = cuda_picture.in_full(NAMED)
    assert list(shown) == ["torch 2.8.0+cu128", "onnxruntime 1.31.1"]
    nccl = next(one for one in shown["torch 2.8.0+cu128"] if one.soname == "libnccl.so.2")
    assert (nccl.version, nccl.below) == (
        "2.27.3",
        (
            f"{site()}/nvidia/nccl/lib/libnccl.so.2",
            "loaded, it says 2.27.3",
            "passed over: /usr/local/cuda-12.1/lib64/libnccl.so.2 (2.17.1)",
        ),
    )
    assert (shown["torch 2.8.0+cu128"][0].soname, shown["torch 2.8.0+cu128"][0].version) == ("libcuda.so.1", WELL)
    cudnn = [one for one in shown["torch 2.8.0+cu128"] if one.soname.startswith("libcudnn")]
    assert [(one.soname, one.rule) for one in cudnn] == [("libcudnn.so.9", "DT_RPATH of libtorch_python.so")]
    assert "torch 2.8.0+cu128 gets of CUDA's libraries:" in as_lines(NAMED)
    assert all(len(line) <= 80 for line in as_lines(NAMED) if "pip install" not in line)


def test_it_is_in_the_pages_too_and_nowhere_where_nobody_asked() -> None:
    for form in (markdown.render, html.render):
        assert "What torch 2.8.0+cu128 gets" in form(NAMED, Severity.ERROR, False).replace("\\", "")
    assert cuda_picture.in_full(diagnosed(MACHINES["healthy"]())) == {}
