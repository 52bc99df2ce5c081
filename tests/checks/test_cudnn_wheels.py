"""cuDNN's and NCCL's wheels beside PyTorch: which are right, and which the remedy names."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence, Finding, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.checks.pasting import pasted


def listed(*packages: str) -> str:
    return "$ pip list\n" + "".join(f"{name}  {version}\n" for name, version in (one.split("==") for one in packages))


def commands(finding: Finding) -> list[str]:
    return [command for remedy in finding.remedies for command in remedy.commands]


@pytest.mark.parametrize(
    "packages",
    [
        ("torch==2.9.1+cu128", "nvidia-cudnn-cu12==9.10.2.21"),
        ("torch==2.9.1+cu128", "nvidia-cudnn-cu12==9.15.1.9"),
        ("torch==2.6.0+cu124", "nvidia-cudnn-cu12==9.1.0.70"),
        ("torch==2.9.1", "nvidia-cudnn-cu12==9.1.0.70"),
        ("nvidia-cudnn-cu12==9.1.0.70",),
        ("torch==2.9.1+cu128",),
    ],
    ids=" ".join,
)
def test_a_cudnn_of_the_builds_major_and_no_older_is_well(packages: tuple[str, ...]) -> None:
    assert ids(pasted(listed(*packages))) == []


@pytest.mark.parametrize("version", ["9.1.0.70", "8.9.7.29", "10.0.0.1"])
def test_an_older_cudnn_than_pytorch_is_made_with_is_named_with_its_own(version: str) -> None:
    finding = first(pasted(listed("torch==2.9.1+cu128", f"nvidia-cudnn-cu12=={version}")))
    assert (finding.id, finding.severity, finding.confidence) == ("cudnn-mismatch", Severity.ERROR, Confidence.LIKELY)
    assert finding.title == f"PyTorch 2.9.1+cu128 is released with cuDNN 9.10.2.21, and nvidia-cudnn-cu12 is {version}"
    assert finding.remedies[0].commands == ("python3 -m pip install nvidia-cudnn-cu12==9.10.2.21",)
    assert any("RELEASE.md" in one.source for one in finding.evidence)


def test_a_cudnn_little_older_than_the_released_one_may_be_what_pytorch_was_compiled_against() -> None:
    finding = first(pasted(listed("torch==2.9.1+cu128", "nvidia-cudnn-cu12==9.8.0.87")))
    assert (finding.id, finding.severity, finding.confidence) == (
        "cudnn-mismatch",
        Severity.WARNING,
        Confidence.POSSIBLE,
    )


def test_wheels_of_two_cuda_majors_lie_over_each_other() -> None:
    finding = first(pasted(listed("torch==2.9.1+cu130", "nvidia-cudnn-cu12==9.15.1.9", "nvidia-cudnn-cu13==9.13.0.50")))
    assert (finding.id, finding.severity) == ("cudnn-mismatch", Severity.WARNING)
    assert commands(finding) == [
        "python3 -m pip uninstall -y nvidia-cudnn-cu12 nvidia-cudnn-cu13",
        "python3 -m pip install nvidia-cudnn-cu13==9.13.0.50",
    ]


def test_a_wheel_of_another_cuda_major_than_pytorchs_is_named() -> None:
    finding = first(pasted(listed("torch==2.9.1+cu130", "nvidia-cudnn-cu12==9.15.1.9")))
    assert finding.id == "cudnn-mismatch"
    assert finding.title == "PyTorch is built for CUDA 13.0, and the cuDNN wheel is nvidia-cudnn-cu12 9.15.1.9"


def test_a_pytorch_newer_than_the_table_is_not_guessed_about() -> None:
    host = pasted(listed("torch==2.60.0+cu130", "nvidia-cudnn-cu13==9.1.0.70"))
    outcome = next(one for one in diagnosed(host).checks if one.name == "pytorchs_cudnn_is_no_older_than_its_own")
    assert "PyTorch 2.60.0+cu130 is newer than nvdiag's table" in outcome.reason


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (
            "ImportError: libcudnn.so.9: cannot open shared object file: No such file or directory\n"
            + listed("torch==2.8.0+cu126"),
            "python3 -m pip install nvidia-cudnn-cu12==9.10.2.21",
        ),
        (
            "ImportError: libcudnn.so.8: cannot open shared object file: No such file or directory\n"
            + listed("ctranslate2==4.4.0", "nvidia-cublas-cu12==12.4.5.8"),
            "python3 -m pip install --upgrade 'nvidia-cudnn-cu12==8.*'",
        ),
        (
            "rank 1 NCCL WARN Mismatched NCCL version detected : rank 1 version 22705 rank 0 version 22703\n"
            + listed("torch==2.11.0+cu130"),
            "python3 -m pip install nvidia-nccl-cu13==2.28.9",
        ),
    ],
    ids=["PyTorch's own", "another program's", "NCCL"],
)
def test_the_remedy_names_the_wheel_and_its_version(text: str, command: str) -> None:
    assert command in commands(first(pasted(text)))


def test_a_cudnn_that_was_never_made_for_this_cuda_is_not_advised() -> None:
    text = "ImportError: libcudnn.so.8: cannot open shared object file: No such file or directory\n"
    finding = first(pasted(text + listed("x==1.0", "nvidia-cublas==13.0.0.19")))
    assert any("there is no cuDNN 8 for CUDA 13" in remedy.summary for remedy in finding.remedies)
    assert not any("cudnn-cu13==8" in command for command in commands(finding))
