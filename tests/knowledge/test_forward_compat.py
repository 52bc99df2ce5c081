"""The table of forward compatibility."""

from __future__ import annotations

import pytest

from nvdiag.knowledge import cuda
from nvdiag.knowledge._tables import MalformedTable, Table
from nvdiag.knowledge.forward_compat import board, compat_of, never_on, package_for, package_of_branch, packages
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion

BASE = "[[base]]\nbranch = {}\nsource = ['s']\n"
PACKAGE = "[[package]]\ncuda = '{}'\nbranch = {}\nbases = {}\nsource = ['s']\n"
BOARD = "[[board]]\nkind = 'GeForce'\nnames = 'GeForce'\nmay = '{}'\nsource = ['s']\n"
RELEASED = [row for row in cuda.toolkits() if CudaVersion.of("12.2") <= row.cuda <= CudaVersion.of("12.4")]


def table(*packages: tuple[str, int, list[int]], bases: tuple[int, ...] = (535, 545), may: str = "none") -> Table:
    text = "[sources]\ns = 'a source'\n" + BOARD.format(may)
    text += "".join(BASE.format(one) for one in bases) + "".join(PACKAGE.format(*one) for one in packages)
    return Table("compat.toml", text, ("base", "package", "board"))


def test_a_package_carries_the_branch_of_its_toolkit_for_older_ones() -> None:
    row = package_of_branch(580)
    assert row is not None
    assert (row.name, row.bases) == ("cuda-compat-13-0", (535, 570))
    assert all(base < row.branch for row in packages() for base in row.bases)
    assert package_of_branch(530) is None


def test_it_runs_on_its_bases_and_neither_on_newer_modules_nor_on_those_left_out() -> None:
    row = package_of_branch(560)
    assert row is not None
    assert row.runs_on(535)
    assert not row.runs_on(570)
    assert not row.runs_on(560)
    with pytest.raises(Unknown, match="does not have driver branch 550 as a base"):
        row.runs_on(550)


def test_a_libcuda_newer_than_the_table_is_unknown() -> None:
    with pytest.raises(Unknown, match="a libcuda of branch 900 is newer than nvdiag's table, which ends at 615"):
        package_of_branch(900)


@pytest.mark.parametrize(
    ("version", "base", "name"),
    [("13.0", 535, "cuda-compat-13-0"), ("12.1", 535, "cuda-compat-12-3"), ("13.0", 550, None), ("11.8", 535, None)],
)
def test_the_oldest_package_for_a_program_on_a_branch(version: str, base: int, name: str | None) -> None:
    row = package_for(CudaVersion.of(version), base)
    assert (row.name if row else None) == name


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("NVIDIA GeForce RTX 4090", "none"),
        ("NVIDIA TITAN RTX", "none"),
        ("Quadro P4000", "none"),
        ("NVIDIA T1000 8GB", "none"),
        ("Quadro RTX 8000", "some"),
        ("NVIDIA RTX A6000", "some"),
        ("NVIDIA RTX 6000 Ada Generation", "some"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "some"),
        ("NVIDIA A100-SXM4-40GB", "all"),
        ("NVIDIA A10G", "all"),
        ("Tesla T4", "all"),
        ("NVIDIA L40S", "all"),
        ("NVIDIA H100 80GB HBM3", "all"),
        ("NVIDIA GH200 480GB", "all"),
        ("NVIDIA B200", "all"),
        ("NVIDIA GB300", "all"),
        ("NVIDIA Something 1", None),
    ],
)
def test_boards_are_told_by_their_names(name: str, may: str | None) -> None:
    row = board(name)
    assert (row.may if row else None) == may
    assert never_on(name) is (may == "none")
    assert row is None or row.source


def test_a_board_that_neither_all_nor_some_nor_none_may_is_refused() -> None:
    with pytest.raises(MalformedTable, match="may is none of all, some and none: perhaps"):
        compat_of(table(*WELL, may="perhaps"), RELEASED)


WELL: tuple[tuple[str, int, list[int]], ...] = (("12.2", 535, []), ("12.3", 545, [535]), ("12.4", 550, [535, 545]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((WELL[0], WELL[2]), r"CUDA 12\.3 is missing"),
        ((*WELL, WELL[1]), "is there twice"),
        ((*WELL[:2], ("12.4", 555, [535])), r"CUDA 12\.4 is missing, or not of its toolkit's branch"),
        (WELL[::-1], r"CUDA 12\.3 stands after 12\.4"),
        ((*WELL[:2], ("12.4", 550, [470])), r"CUDA 12\.4 has a base that is not listed"),
        ((WELL[0], ("12.3", 545, [545]), WELL[2]), r"CUDA 12\.3 has a base that is not listed, or not older than it"),
        ((*WELL[:2], ("12.4", 550, [545, 535])), "no list of rising numbers"),
    ],
)
def test_a_wrong_table_is_refused(rows: tuple[tuple[str, int, list[int]], ...], message: str) -> None:
    assert len(compat_of(table(*WELL), RELEASED).packages) == len(WELL)
    with pytest.raises(MalformedTable, match=message):
        compat_of(table(*rows), RELEASED)
