"""The tables of cuDNN's and NCCL's wheels, and of what PyTorch's builds are made with."""

from __future__ import annotations

import pytest

from nvdiag.knowledge._tables import MalformedTable, Table
from nvdiag.knowledge.cuda_wheels import wheel_of, wheels, wheels_of
from nvdiag.knowledge.pytorch_builds import builds_of, parts_in, parts_of
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import Numbered

NEWEST = '[[newest]]\nlibrary = "cudnn"\nversion = "9.28"\nsource = ["s"]\n'
ROW = '[[wheel]]\nlibrary = "{}"\nmajor = {}\nfirst = "{}"\n{}source = ["s"]\n'


def table(*rows: tuple[str, int, str, str]) -> Table:
    text = '[sources]\ns = "a source"\n' + NEWEST
    return Table("wheels.toml", text + "".join(ROW.format(*row) for row in rows), ("newest", "wheel"))


@pytest.mark.parametrize(
    ("library", "major", "version", "there"),
    [
        ("cudnn", 11, "8.9", True),
        ("cudnn", 11, "9.10.2.21", True),
        ("cudnn", 11, "9.11", False),
        ("cudnn", 12, "8", True),
        ("cudnn", 13, "8", False),
        ("cudnn", 13, "9", True),
        ("nccl", 11, "2.21.5", True),
        ("nccl", 11, "2.22", False),
        ("nccl", 13, "2.27.5", False),
    ],
)
def test_a_version_has_a_wheel_for_a_cuda_major_or_not(library: str, major: int, version: str, there: bool) -> None:
    row = wheel_of(library, major)
    assert row is not None
    assert row.name == f"nvidia-{library}-cu{major}"
    assert row.has(Numbered.of(version)) is there


def test_what_is_newer_than_the_table_is_unknown() -> None:
    row = wheel_of("cudnn", 12)
    assert row is not None
    for version in ("9.40", "10"):
        with pytest.raises(Unknown, match=rf"cudnn {version} is newer than nvdiag's table, which ends at 9\.28"):
            row.has(Numbered.of(version))
    with pytest.raises(Unknown, match="CUDA 14 is newer than nvdiag's table of nccl"):
        wheel_of("nccl", 14)
    assert wheel_of("cudnn", 10) is None


def test_each_row_is_within_what_the_newest_version_says() -> None:
    assert {row.library for row in wheels()} == {"cudnn", "nccl"}
    assert all(row.first <= row.last <= row.newest for row in wheels())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("cudnn", 11, "8.5", 'last = "9.10"\n'), ("cudnn", 13, "9.12", "")], "cudnn of CUDA 13 stands after CUDA 11"),
        ([("cudnn", 11, "8.5", 'last = "9.10"\n'), ("cudnn", 11, "8.5", "")], "is there twice"),
        ([("cudnn", 11, "8.5", ""), ("cudnn", 12, "8.4", "")], "cudnn of CUDA 12 stands after CUDA 11"),
        ([("cudnn", 11, "9.10", 'last = "8.5"\n')], "its versions are out of order"),
        ([("nccl", 11, "2.1", "")], "nccl has no newest version"),
    ],
)
def test_a_wrong_table_is_refused(rows: list[tuple[str, int, str, str]], message: str) -> None:
    with pytest.raises(MalformedTable, match=message):
        wheels_of(table(*rows))


@pytest.mark.parametrize(
    ("version", "cudnn", "nccl"),
    [
        ("2.9.1+cu130", "9.13.0.50", None),
        ("2.10.0+cu128", "9.10.2.21", "2.27.5"),
        ("2.7.1+cu118", "9.1.0.70", None),
        ("2.3.0+cu121", "8.9.2.26", None),
    ],
)
def test_pytorchs_builds_are_made_with_a_cudnn(version: str, cudnn: str, nccl: str | None) -> None:
    parts = parts_of(version)
    assert parts is not None
    assert (str(parts.cudnn), parts.nccl and str(parts.nccl)) == (cudnn, nccl)


BUILD = (
    '[[build]]\nindex = "cu126"\ncuda = "12.6"\nfirst = "2.6"\nlast = "2.9"\ncapabilities = ["8.0"]\nsource = ["s"]\n'
)
PARTS = '[[parts]]\nindex = "cu126"\nfirst = "{}"\nlast = "{}"\ncudnn = "9.5"\nsource = ["s"]\n'


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([("2.6", "2.8")], "parts and builds are not of the same releases"),
        ([("2.6", "2.7"), ("2.9", "2.9")], r"cu126 has a gap or an overlap after \(2, 7\)"),
    ],
)
def test_parts_are_of_the_releases_of_which_there_are_builds(spans: list[tuple[str, str]], message: str) -> None:
    text = '[sources]\ns = "a source"\n' + BUILD + "".join(PARTS.format(*span) for span in spans)
    wrong = Table("builds.toml", text, ("build", "parts"))
    with pytest.raises(MalformedTable, match=message):
        parts_in(wrong, builds_of(wrong))
