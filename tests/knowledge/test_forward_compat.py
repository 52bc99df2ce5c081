"""The table of forward compatibility."""

from __future__ import annotations

import pytest

from nvdiag.knowledge import cuda
from nvdiag.knowledge._tables import MalformedTable, Table
from nvdiag.knowledge.forward_compat import compat_of, never_on, package_for, package_of_branch, packages
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion

BASE = "[[base]]\nbranch = {}\nsource = ['s']\n"
PACKAGE = "[[package]]\ncuda = '{}'\nbranch = {}\nbases = {}\nsource = ['s']\n"
NEVER = "[[never]]\nnames = 'GeForce'\nsource = ['s']\n"
RELEASED = [row for row in cuda.toolkits() if CudaVersion.of("12.2") <= row.cuda <= CudaVersion.of("12.4")]


def table(*packages: tuple[str, int, list[int]], bases: tuple[int, ...] = (535, 545)) -> Table:
    text = "[sources]\ns = 'a source'\n" + NEVER
    text += "".join(BASE.format(one) for one in bases) + "".join(PACKAGE.format(*one) for one in packages)
    return Table("compat.toml", text, ("base", "package", "never"))


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


def test_geforce_boards_are_left_out_and_boards_of_the_data_centre_are_not() -> None:
    assert never_on("NVIDIA GeForce RTX 4090")
    assert never_on("NVIDIA TITAN RTX")
    assert not any(never_on(name) for name in ("NVIDIA A100-SXM4-40GB", "NVIDIA RTX A6000", "Tesla T4", "NVIDIA L40S"))


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
