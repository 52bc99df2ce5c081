"""The stack's row of frameworks: what is built for which CUDA, in the environment that a run is about."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Layer
from nvdiag.report.stack import Row, rows
from tests.checks.diagnosing import diagnosed
from tests.scenarios import machines
from tests.scenarios.pythons import VENV, onnxruntime, package, torch_with_cuda, venv
from tests.scenarios.tree import Tree

WELL = machines.ubuntu_dkms("570.172.08", "570.172.08", "570.172.08")
ONNX = package("onnxruntime", "1.22.0", onnxruntime("onnxruntime", cuda=None))


def shown(*packages: Tree) -> list[Row]:
    machine = machines.joined(WELL, venv(*packages))
    return [row for row in rows(diagnosed(machine)) if row.layer is Layer.FRAMEWORKS]


def test_frameworks_stand_in_one_row_with_the_cuda_that_they_are_built_for() -> None:
    (row,) = shown(torch_with_cuda(), ONNX, package("triton", "3.4.0"))
    assert row.value == "onnxruntime 1.22.0 for the CPU alone, torch 2.8.0+cu128 for CUDA 12.8"
    assert (row.source, row.mark) == (VENV, "ok")


@pytest.mark.parametrize(
    ("packages", "mark"),
    [
        (torch_with_cuda(wheels={"nvjitlink": "12.1.105"}), "bad"),
        (torch_with_cuda(wheels={"nccl": "2.20.5"}), "warn"),
    ],
)
def test_a_finding_about_a_framework_marks_that_row(packages: Tree, mark: str) -> None:
    assert [row.mark for row in shown(packages)] == [mark]


def test_an_environment_without_frameworks_has_no_row() -> None:
    assert shown(package("requests", "2.32.3")) == []
