"""Frameworks in one environment that ask for each other's releases."""

from __future__ import annotations

import re
import shlex

import pytest

from nvdiag.engine import Facts
from nvdiag.facts.partners import Partners, parse_requirements
from nvdiag.host import Host
from nvdiag.model.finding import Confidence, Severity
from nvdiag.model.unknown import NotApplicable
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import machines
from tests.scenarios.pythons import VENV, jax, package, torch, torch_version, venv, wheel
from tests.scenarios.tree import Tree

NEW = "570.172.08"
WELL = machines.ubuntu_dkms(NEW, NEW, NEW)


def having(*packages: Tree) -> Tree:
    return machines.joined(WELL, venv(*packages))


def vision(wants: str) -> Tree:
    return package("torchvision", "0.23.0", requires=(wants, "numpy", "gdown>=4.7.3 ; extra == 'gdown'"))


@pytest.mark.parametrize(
    "wants",
    ["torch (==2.8.0)", "torch==2.8.0", "torch~=2.8.0", "torch<3,>=2.4", "torch==2.9.1; extra == 'ci'", "torch"],
)
def test_partners_that_fit_are_no_finding(wants: str) -> None:
    assert ids(having(torch(), vision(wants))) == []


@pytest.mark.parametrize("wants", ["torch (==2.9.1)", "torch==2.9.1", "torch>=2.9,<3"])
def test_a_partner_of_another_release_is_told(wants: str) -> None:
    found = first(having(torch(), vision(wants)))
    assert (found.id, found.subject, found.severity, found.confidence) == (
        "framework-cuda-mismatch", "torchvision", Severity.ERROR, Confidence.LIKELY,
    )  # fmt: skip
    assert found.title.endswith("and torch is 2.8.0")
    assert shlex.split(found.remedies[0].commands[0])[:5] == [
        f"{VENV}/bin/python", "-m", "pip", "install", f"torch{re.sub(r'torch|[ ()]', '', wants)}",
    ]  # fmt: skip


def test_a_triton_that_pytorch_does_not_ask_for_is_a_warning() -> None:
    pinned = package("torch", "2.14.1", requires=('triton~=3.8.0; platform_system == "Linux"',))
    found = first(having(torch("2.14.1+cu128"), pinned, package("triton", "3.9.0")))
    assert (found.subject, found.severity) == ("torch", Severity.WARNING)
    assert ids(having(torch("2.14.1+cu128"), pinned, package("triton", "3.8.1"))) == []


def test_the_two_parts_of_jaxs_plug_in_are_of_one_release() -> None:
    apart = machines.joined(jax(12), wheel("cuda_runtime")).without(f"{VENV}/lib/python3.12/site-packages/jax_plugins")
    old = apart.without(f"{VENV}/lib/python3.12/site-packages/jax_cuda12_pjrt")
    found = first(having(machines.joined(old, package("jax-cuda12-pjrt", "0.12.0"))))
    assert found.title == "jax-cuda12-plugin 0.10.2 asks for jax-cuda12-pjrt==0.10.2, and jax-cuda12-pjrt is 0.12.0"
    assert ids(having(apart)) == []


def test_jax_with_plug_ins_for_two_cuda_majors_is_a_warning() -> None:
    found = next(one.finding for one in diagnosed(having(jax(12, 13))).findings if one.finding.subject == "jaxlib")
    assert (found.id, found.severity, found.confidence) == (
        "framework-cuda-mismatch", Severity.WARNING, Confidence.CERTAIN,
    )  # fmt: skip
    assert found.remedies[0].commands == (f"{VENV}/bin/python -m pip uninstall jax-cuda12-plugin jax-cuda12-pjrt",)


def test_one_line_of_several_for_other_pythons_is_enough() -> None:
    asked = ("triton==3.1.0; python_version < '3.13'", "triton==3.2.0; python_version >= '3.13'")
    own = package("torch", "2.6.0", requires=asked)
    assert ids(having(torch("2.6.0+cu124", "12.4"), own, package("triton", "3.1.0"))) == []
    assert ids(having(torch("2.6.0+cu124", "12.4"), own, package("triton", "3.0.0"))) == ["framework-cuda-mismatch"]


def test_condas_number_of_a_build_is_no_other_release() -> None:
    assert ids(having(package("torch", "2.8.0.post303"), torch(), vision("torch==2.8.0"))) == []
    conda = package("torch", "2.8.0.post303", {"torch/version.py": torch_version("2.8.0.post303", "12.8")})
    assert ids(having(conda, vision("torch==2.8.0"))) == []
    assert ids(having(conda, vision("torch==2.9.0"))) == ["framework-cuda-mismatch"]


def test_without_partners_the_question_does_not_arise() -> None:
    assert isinstance(Facts({Host: having(torch()).host()})[Partners], NotApplicable)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Requires-Dist: torch (==2.8.0)", [("torch", "==2.8.0")]),
        ("Requires-Dist: torch==2.10.0.dev20250926", [("torch", "==2.10.0.dev20250926")]),
        ('Requires-Dist: triton ~=3.8.0 ; platform_system == "Linux"', [("triton", "~=3.8.0")]),
        ("Requires-Dist: jaxlib<=0.10.2,>=0.10.1", [("jaxlib", "<=0.10.2,>=0.10.1")]),
        ('Requires-Dist: jaxlib==0.10.1; extra == "ci"', []),
        ("Requires-Dist: numpy>=2.0", []),
        ("Requires-Dist: torch==2.8.0; sys_platform == 'darwin'", []),
        ("Requires-Dist: torch==2.8.0; platform_machine == 'aarch64'", []),
        ("Requires-Dist: triton==3.4.0; sys_platform == 'linux' and python_version < '3.14'", [("triton", "==3.4.0")]),
        ("Requires-Dist: triton==3.4.0; sys_platform == 'linux' or python_version < '3.14'", []),
        ("Requires-Dist: torch", []),
        ("Requires-Dist: torch @ https://example.org/torch.whl", []),
        ("Requires-Dist: " + "torch" * 99, []),
        ("Requires-Dist: torch==" + "1" * 500, []),
    ],
)
def test_requirements_are_read_as_metadata_writes_them(line: str, told: list[tuple[str, str]]) -> None:
    assert list(parse_requirements((line,))) == told


@pytest.mark.parametrize("wants", ["torch===odd~version", "torch==not.a.version.at.all", "torch<><>"])
def test_an_odd_requirement_claims_nothing(wants: str) -> None:
    assert "check-failed" not in ids(having(torch(), vision(wants)))
