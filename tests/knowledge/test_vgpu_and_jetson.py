"""The tables of virtual GPUs and of L4T lines."""

from __future__ import annotations

import pytest

from nvdiag.knowledge import jetson, vgpu
from nvdiag.knowledge._tables import MalformedTable, Table

SOURCES = '[sources]\na = "A"\n'


def test_no_id_stands_for_two_types() -> None:
    for name, types in vgpu.table().devices.values():
        ids = [number for ids in types for number in ids]
        assert len(set(ids)) == len(ids), name


def test_each_branch_of_vgpu_is_one_that_the_driver_has() -> None:
    from nvdiag.knowledge.cuda import branches

    assert {branch for branch, _, _ in vgpu.table().branches} <= {row.branch for row in branches()}


@pytest.mark.parametrize("types", ["130f-1309", "12", "1309-1315 1310", "130g"])
def test_ids_that_are_none_or_do_not_rise_are_refused(types: str) -> None:
    row = f'[[device]]\nid = "1eb8"\nname = "T4"\ntypes = "{types}"\nsource = ["a"]\n'
    with pytest.raises(MalformedTable):
        vgpu.table_of(Table("t", f"{SOURCES}{row}", ("device",), ("branch",)))


def test_every_line_has_a_kernel_and_one_of_l4ts_folders() -> None:
    from nvdiag.facts.jetson import FOLDERS

    for line in jetson.lines():
        assert jetson.line(line.l4t) == line
        assert line in jetson.lines_of_kernel(f"{line.kernel}.1-tegra")
        assert line.folder in FOLDERS


def test_lines_that_do_not_rise_are_refused() -> None:
    row = '[[line]]\nl4t = 36\njetpack = 6\nkernel = "5.15"\nfolder = "nvidia"\nsource = ["a"]\n'
    with pytest.raises(MalformedTable):
        jetson.lines_of(Table("t", f"{SOURCES}{row}{row}", ("line",)))
