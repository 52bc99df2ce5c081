"""The table of PyTorch's builds."""

from __future__ import annotations

import pytest

from nvdiag.knowledge import cuda
from nvdiag.knowledge._tables import MalformedTable, Table
from nvdiag.knowledge.compute_capabilities import compute
from nvdiag.knowledge.pytorch_builds import build_of, builds, builds_for, builds_of, release_of
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion, DriverRelease

ROW = '[[build]]\nindex = "{}"\ncuda = "{}"\nfirst = "{}"\nlast = "{}"\ncapabilities = {}\nsource = ["s"]\n'


def table(*rows: tuple[str, str, str, str, list[str]]) -> Table:
    return Table("builds.toml", '[sources]\ns = "a source"\n' + "".join(ROW.format(*row) for row in rows), ("build",))


@pytest.mark.parametrize(
    ("text", "release"), [("2.9.1+cu130", (2, 9)), ("2.14.0", (2, 14)), ("2.9", (2, 9)), ("nightly", None), ("2", None)]
)
def test_a_release_is_its_first_two_numbers(text: str, release: tuple[int, int] | None) -> None:
    assert release_of(text) == release


def test_a_version_names_its_build() -> None:
    row = build_of("2.8.0+cu128")
    assert row is not None
    assert (row.index, row.first, row.last) == ("cu128", (2, 8), (2, 10))
    assert build_of("2.8.0") is None
    assert build_of("2.8.0+cu117") is None
    with pytest.raises(Unknown, match=r"PyTorch 2\.40\.0\+cu130 is newer than nvdiag's table, which ends at 2\.14"):
        build_of("2.40.0+cu130")


@pytest.mark.parametrize(
    ("version", "capability", "runs"),
    [
        ("2.9.1+cu126", (6, 1), True),
        ("2.9.1+cu128", (6, 1), False),
        ("2.9.1+cu128", (7, 0), True),
        ("2.11.0+cu128", (7, 0), False),
        ("2.9.1+cu130", (7, 0), False),
        ("2.6.0+cu126", (12, 0), False),
        ("2.7.0+cu128", (12, 1), True),
        ("2.7.0+cu118", (3, 7), True),
        ("2.7.0+cu118", (3, 5), False),
        ("2.6.0+cu124", (8, 9), True),
    ],
)
def test_a_build_runs_on_the_gpus_that_it_has_code_for(version: str, capability: tuple[int, int], runs: bool) -> None:
    row = build_of(version)
    assert row is not None
    assert row.runs_on(capability, row.cuda) is runs


def test_ptx_serves_a_newer_gpu_where_the_driver_can_compile_it() -> None:
    row = build_of("2.14.0+cu130")
    assert row is not None
    assert row.runs_on((13, 0), CudaVersion.of("13.5"))
    assert not row.runs_on((13, 0), CudaVersion.of("12.8"))


@pytest.mark.parametrize(
    ("release", "gpus", "wanted", "picked"),
    [
        ("470.256.02", [(8, 6)], (2, 9), ["cu118 2.7"]),
        ("535.161.07", [(8, 9)], (2, 9), ["cu126 2.9", "cu118 2.7"]),
        ("535.161.07", [(8, 9)], None, ["cu126 2.14", "cu118 2.7"]),
        ("550.54.15", [(6, 1), (8, 6)], (2, 9), ["cu126 2.9", "cu118 2.7"]),
        ("570.124.06", [(12, 0)], (2, 9), ["cu128 2.9"]),
        ("580.95.05", [(6, 1)], None, ["cu126 2.14"]),
        ("580.95.05", [(12, 1)], (2, 9), ["cu130 2.9"]),
        ("450.51.06", [(8, 0)], None, []),
        ("450.80.02", [(8, 0)], None, ["cu118 2.7"]),
        ("418.226.00", [], None, []),
        ("580.95.05", [(6, 1), (12, 0)], None, []),
    ],
)
def test_the_builds_for_a_driver_and_its_gpus(
    release: str, gpus: list[tuple[int, int]], wanted: tuple[int, int] | None, picked: list[str]
) -> None:
    driver = DriverRelease.of(release)
    supported = cuda.cuda_of_branch(driver.branch)
    assert supported is not None
    found = [(row, row.nearest(wanted)) for row in builds_for(supported, driver, gpus, wanted)]
    assert [f"{row.index} {major}.{minor}" for row, (major, minor) in found] == picked


def test_no_build_is_of_a_cuda_that_the_tables_do_not_have() -> None:
    assert {row.cuda for row in builds()} <= {row.cuda for row in cuda.toolkits()}
    assert all(cuda.lowest_driver(row.cuda.major) is not None for row in builds())


def test_no_build_holds_code_that_its_toolkit_does_not_make() -> None:
    for build in builds():
        for major, minor in (*build.capabilities, *((build.ptx,) if build.ptx else ())):
            row = compute(f"{major}.{minor}")
            assert row is not None
            assert row.is_made_by(build.cuda), (build.index, row.capability)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("cu128", "12.6", "2.7", "2.7", ["8.0"])], r"cu128 is no index of CUDA 12\.6"),
        ([("cu126", "12.6", "2.7", "2.6", ["8.0"])], "last release is older than its first"),
        ([("cu126", "12.6", "2", "2.7", ["8.0"])], "not major.minor: 2"),
        (
            [("cu126", "12.6", "2.6", "2.7", ["8.0"]), ("cu126", "12.6", "2.9", "2.9", ["8.0"])],
            r"cu126 has a gap or an overlap after \(2, 7\)",
        ),
        ([("cu126", "12.6", "2.6", "2.7", ["8.0"])] * 2, "is there twice"),
        ([("cu128", "12.8", "2.7", "2.7", ["8.0"]), ("cu126", "12.6", "2.6", "2.7", ["8.0"])], "out of order"),
    ],
)
def test_a_wrong_table_is_refused(rows: list[tuple[str, str, str, str, list[str]]], message: str) -> None:
    with pytest.raises(MalformedTable, match=message):
        builds_of(table(*rows))
