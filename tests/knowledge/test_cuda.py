"""The tables of toolkits and driver branches: complete, in order, sourced, and in agreement with each other."""

import pytest

from nvdiag.knowledge import cuda
from nvdiag.knowledge._tables import MalformedTable, Table
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion, DriverRelease

SOURCES = '[sources]\nnotes = "release notes"\n'
TOOLKITS = (
    SOURCES
    + """
[[toolkit]]
cuda = "11.0"
release = "11.0 GA"
driver = "450.51.05"
source = ["notes"]

[[toolkit]]
cuda = "11.1"
release = "11.1 GA"
driver = "455.23"
source = ["notes"]

[[unreleased]]
cuda = "11.2"
note = "never came"
source = ["notes"]

[[toolkit]]
cuda = "11.3"
release = "11.3 GA"
branch = 465
source = ["notes"]

[[family]]
major = 11
lowest = "450.80.02"
source = ["notes"]
"""
)
BRANCHES = (
    SOURCES
    + """
[[branch]]
branch = 450
cuda = "11.0"
source = ["notes"]

[[branch]]
branch = 455
source = ["notes"]

[[branch]]
branch = 460
cuda = "11.2"
source = ["notes"]
"""
)


def toolkit_table(text: str) -> Table:
    return Table("toolkits.toml", text, ("toolkit", "family", "unreleased"))


def branch_table(text: str) -> Table:
    return Table("branches.toml", text, ("branch",))


@pytest.mark.parametrize(
    ("version", "branch", "driver"),
    [("12.8", 570, "570.26"), ("11.8", 520, "520.61.05"), ("13.0", 580, "580.65.06"), ("10.2", 440, "440.33")],
)
def test_a_cuda_version_has_the_driver_of_its_first_release(version: str, branch: int, driver: str) -> None:
    row = cuda.toolkit(CudaVersion.of(version))
    assert row is not None
    assert (row.branch, row.driver) == (branch, DriverRelease.of(driver))


def test_a_toolkits_full_version_is_looked_up_by_major_and_minor() -> None:
    assert cuda.toolkit(CudaVersion.of("12.8.93")) == cuda.toolkit(CudaVersion.of("12.8"))


def test_where_nvidia_names_only_a_branch_the_row_has_no_release() -> None:
    row = cuda.toolkit(CudaVersion.of("13.4"))
    assert row is not None
    assert (row.driver, row.branch, row.lowest) == (None, 615, 580)


@pytest.mark.parametrize("version", ["12.7", "7.5", "11.9"])
def test_a_cuda_version_without_a_toolkit_has_no_row(version: str) -> None:
    assert cuda.toolkit(CudaVersion.of(version)) is None


def test_what_is_newer_than_the_tables_is_unknown_not_absent() -> None:
    with pytest.raises(Unknown, match=r"CUDA 13\.6 is newer than nvdiag's table, which ends at 13\.5"):
        cuda.toolkit(CudaVersion.of("13.6.1"))
    with pytest.raises(Unknown, match="CUDA 14 is newer"):
        cuda.lowest_driver(14)
    with pytest.raises(Unknown, match="driver branch 700 is newer than nvdiag's table, which ends at 620"):
        cuda.cuda_of_branch(700)


def test_the_lowest_driver_of_a_major() -> None:
    assert cuda.lowest_driver(11) == DriverRelease.of("450.80.02")
    assert cuda.lowest_driver(12) == DriverRelease.of("525.60.13")
    assert cuda.lowest_driver(13) == 580
    assert cuda.lowest_driver(10) is None


def test_before_cuda_11_a_toolkit_needs_its_own_driver() -> None:
    assert all(row.lowest == row.driver for row in cuda.toolkits() if row.cuda.major < 11)


def test_no_toolkit_asks_for_more_than_the_driver_that_it_was_released_with() -> None:
    for row in cuda.toolkits():
        if row.driver is not None and isinstance(row.lowest, DriverRelease):
            assert row.lowest <= row.driver
        elif isinstance(row.lowest, int):
            assert row.lowest <= row.branch


@pytest.mark.parametrize(
    ("branch", "version"),
    [(340, "6.5"), (470, "11.4"), (535, "12.2"), (550, "12.4"), (565, "12.7"), (570, "12.8"), (580, "13.0")],
)
def test_a_driver_branch_supports_cuda_up_to_a_version(branch: int, version: str) -> None:
    assert cuda.cuda_of_branch(branch) == CudaVersion.of(version)


@pytest.mark.parametrize("branch", [304, 300, 400])
def test_a_branch_whose_cuda_version_nobody_told_has_none(branch: int) -> None:
    assert cuda.cuda_of_branch(branch) is None


def test_the_two_tables_agree() -> None:
    """A toolkit's own driver supports it, and each CUDA version that a branch supports was heard of."""
    for row in cuda.toolkits():
        assert cuda.cuda_of_branch(row.branch) == row.cuda, row.release
    heard = {row.cuda for row in cuda.toolkits()} | {CudaVersion.of("12.7")}
    oldest = cuda.toolkits()[0].cuda
    assert all(row.cuda in heard for row in cuda.branches() if row.cuda and row.cuda >= oldest)


def test_both_tables_end_at_the_same_cuda_version() -> None:
    assert cuda.branches()[-1].cuda == cuda.toolkits()[-1].cuda
    assert cuda.families()[-1].major == cuda.toolkits()[-1].cuda.major


def test_every_row_has_sources_and_no_release_is_there_twice() -> None:
    rows: tuple[cuda.ToolkitRow | cuda.Family | cuda.BranchRow, ...] = (
        *cuda.toolkits(),
        *cuda.families(),
        *cuda.branches(),
    )
    assert all(row.source for row in rows)
    releases = [row.release for row in cuda.toolkits()]
    assert len(set(releases)) == len(releases)


def test_a_well_formed_table_is_read() -> None:
    rows = cuda.toolkits_of(toolkit_table(TOOLKITS))
    assert [(row.release, row.lowest) for row in rows] == [
        ("11.0 GA", DriverRelease.of("450.51.05")),
        ("11.1 GA", DriverRelease.of("450.80.02")),
        ("11.3 GA", DriverRelease.of("450.80.02")),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('cuda = "11.2"', 'cuda = "11.4"', r"CUDA 11\.2 is missing"),
        ('cuda = "11.2"', 'cuda = "11.1"', r"CUDA 11\.1 is there twice"),
        ("11.1 GA", "11.0 GA", r"11\.0 GA is no release of CUDA 11\.1"),
        ('cuda = "11.1"\nrelease = "11.1 GA"', 'cuda = "11.0"\nrelease = "11.0 GA"', r"11\.0 GA is there twice"),
        ('driver = "455.23"', 'driver = "449.1"', r"11\.1 GA stands after 11\.0 GA"),
        ('driver = "455.23"', 'driver = "455"', "a branch, not a release: 455"),
        ('driver = "455.23"', 'driver = "new"', "not a version of dotted numbers"),
        ('driver = "455.23"', "", "needs one of driver and branch"),
        ("branch = 465", 'branch = "465"', "branch is no whole number"),
        ("branch = 465", "branch = 465\ncolour = 1", "unknown column colour"),
        ('cuda = "11.3"\n', 'cuda = "11.3.1"\n', r"is not major\.minor"),
        ('cuda = "11.3"\n', "", "cuda is missing"),
        ("major = 11", "major = true", "major is no whole number"),
        ('note = "never came"', 'note = " "', "note is no text"),
        ("[[family]]", "[[families]]", "toolkits.toml: has"),
        ("branch = 465", "branch = ", "toolkits.toml: "),
    ],
)
def test_a_malformed_table_is_refused_with_a_clear_message(old: str, new: str, message: str) -> None:
    assert TOOLKITS.count(old) >= 1
    with pytest.raises(MalformedTable, match=message):
        cuda.toolkits_of(toolkit_table(TOOLKITS.replace(old, new, 1)))


def test_a_missing_major_is_refused() -> None:
    text = TOOLKITS.replace('cuda = "11.3"\nrelease = "11.3 GA"', 'cuda = "13.0"\nrelease = "13.0 GA"')
    with pytest.raises(MalformedTable, match="CUDA 12 is missing"):
        cuda.toolkits_of(toolkit_table(text))


def test_families_have_no_gap() -> None:
    text = TOOLKITS + '[[family]]\nmajor = 13\nlowest_branch = 580\nsource = ["notes"]\n'
    with pytest.raises(MalformedTable, match="have a gap"):
        cuda.families_of(toolkit_table(text))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("branch = 455", "branch = 450", "branch 450 is there twice"),
        ("branch = 455", "branch = 465", "out of order"),
        ('cuda = "11.2"', 'cuda = "10.2"', "out of order"),
    ],
)
def test_malformed_branches_are_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(MalformedTable, match=message):
        cuda.branches_of(branch_table(BRANCHES.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('source = ["notes"]', "", "source is missing"),
        ('source = ["notes"]', "source = []", "source is empty"),
        ('source = ["notes"]', 'source = "notes"', "source is no list of texts"),
        ('source = ["notes"]', 'source = ["notes", "notes"]', "source says something twice"),
        ('source = ["notes"]', 'source = ["rumour"]', "no such source: rumour"),
        (SOURCES, SOURCES + 'idle = "a document"\n', "no row cites the source idle"),
    ],
)
def test_each_row_needs_a_source_that_exists(old: str, new: str, message: str) -> None:
    with pytest.raises(MalformedTable, match=message):
        cuda.branches_of(branch_table(BRANCHES.replace(old, new, 1)))
