"""The table of host compilers, against the toolkit that is installed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvdiag.facts.host_compiler import limit_in
from nvdiag.facts.toolkits import parse_cuda_header
from nvdiag.knowledge._tables import MalformedTable, Table
from nvdiag.knowledge.host_compilers import first_that_takes, host_compilers, hosts_of
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion

INSTALLED = sorted(Path("/usr/local").glob("cuda-*/include/crt/host_config.h"))
RELEASED = [CudaVersion.of(text) for text in ("12.3", "12.4")]
ROW = '[[host]]\ncuda = "{}"\ngcc = {}\nclang = {}\nsource = ["header"]\n'


def table(*rows: tuple[str, int, int]) -> Table:
    text = '[sources]\nheader = "host_config.h"\n' + "".join(ROW.format(*row) for row in rows)
    return Table("hosts.toml", text, ("host",))


@pytest.mark.parametrize(("cuda", "gcc", "clang"), [("11.8", 11, 14), ("12.4", 13, 17), ("13.0.88", 15, 20)])
def test_a_toolkit_takes_compilers_up_to_a_version(cuda: str, gcc: int, clang: int) -> None:
    row = host_compilers(CudaVersion.of(cuda))
    assert row is not None
    assert (row.highest("gcc"), row.highest("clang")) == (gcc, clang)
    assert row.source


def test_a_toolkit_newer_than_the_table_is_unknown_and_an_older_one_has_no_row() -> None:
    with pytest.raises(Unknown, match=r"CUDA 13\.6 is newer than nvdiag's table of compilers, which ends at 13\.5"):
        host_compilers(CudaVersion.of("13.6"))
    assert host_compilers(CudaVersion.of("7.5")) is None


def test_the_first_toolkit_that_takes_a_compiler_is_named() -> None:
    first = first_that_takes("gcc", 13)
    assert first is not None
    assert first.cuda == CudaVersion.of("12.4")
    assert first_that_takes("gcc", 99) is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("12.3", 12, 16)], r"CUDA 12\.4 is missing"),
        ([("12.3", 12, 16), ("12.4", 13, 17), ("12.5", 13, 17)], r"CUDA 12\.5 is missing, or there is no such toolkit"),
        ([("12.3", 12, 16), ("12.3", 12, 16)], "is there twice"),
        ([("12.4", 13, 17), ("12.3", 12, 16)], r"CUDA 12\.3 stands after 12\.4"),
        ([("12.3", 13, 17), ("12.4", 12, 17)], r"CUDA 12\.4 stands after 12\.3"),
    ],
)
def test_a_table_with_a_gap_or_a_row_too_many_is_refused(rows: list[tuple[str, int, int]], message: str) -> None:
    with pytest.raises(MalformedTable, match=message):
        hosts_of(table(*rows), RELEASED)


@pytest.mark.skipif(not INSTALLED, reason="no CUDA toolkit with nvcc's headers is installed below /usr/local")
@pytest.mark.parametrize("header", INSTALLED, ids=str)
def test_the_table_says_what_the_installed_toolkits_own_header_says(header: Path) -> None:
    row = host_compilers(parse_cuda_header((header.parents[1] / "cuda.h").read_text()))
    assert row is not None
    lines = tuple(header.read_text().splitlines())
    assert (limit_in(lines, "gcc"), limit_in(lines, "clang")) == (row.gcc, row.clang)
