"""The table of PTX versions, against the ptxas that is installed here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from nvdiag.facts.toolkits import parse_nvcc
from nvdiag.knowledge import cuda
from nvdiag.knowledge._tables import MalformedTable, Table
from nvdiag.knowledge.ptx_versions import cuda_of_ptx, ptx_versions, ptx_versions_of
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion

PTXAS = sorted(Path("/usr/local").glob("cuda-*/bin/ptxas"))
ROW = '[[ptx]]\nversion = "{}"\ncuda = "{}"\nsource = ["s"]\n'


@pytest.mark.parametrize(("version", "made_by"), [("7.8", "11.8"), ("8.4", "12.4"), ("8.6", "12.7"), ("9.0", "13.0")])
def test_a_version_of_ptx_came_with_a_cuda_version(version: str, made_by: str) -> None:
    row = cuda_of_ptx(version)
    assert row is not None
    assert row.cuda == CudaVersion.of(made_by)


def test_a_newer_one_is_unknown_and_an_older_one_or_another_text_has_no_row() -> None:
    with pytest.raises(Unknown, match=r"PTX 9\.8 is newer than nvdiag's table, which ends at 9\.5"):
        cuda_of_ptx("9.8")
    assert cuda_of_ptx("3.2") is None
    assert cuda_of_ptx("x") is None


def test_the_table_ends_with_the_table_of_toolkits() -> None:
    assert ptx_versions()[-1].cuda == cuda.toolkits()[-1].cuda


@pytest.mark.skipif(not PTXAS, reason="no ptxas is installed below /usr/local")
@pytest.mark.parametrize("ptxas", PTXAS, ids=str)
def test_the_table_says_what_the_installed_ptxas_itself_says(ptxas: Path, tmp_path: Path) -> None:
    source = tmp_path / "x.ptx"
    source.write_text(".version 99.9\n.target sm_90\n")
    argv = [str(ptxas), str(source), "-o", str(tmp_path / "x.o")]
    said = subprocess.run(argv, capture_output=True, text=True, check=False).stderr
    own = re.search(r"current version is '([\d.]+)'", said)
    assert own is not None
    row = cuda_of_ptx(own[1])
    asked = subprocess.run([str(ptxas), "--version"], capture_output=True, text=True, check=True).stdout
    assert row is not None
    assert row.cuda == parse_nvcc(asked).short


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("8.4", "12.4"), ("8.6", "12.7")], r"PTX \(8, 6\) stands after \(8, 4\)"),
        ([("8.4", "12.4"), ("8.4", "12.5")], r"PTX \(8, 4\) stands after \(8, 4\)"),
        ([("8.4", "12.4"), ("8.5", "12.4")], r"PTX \(8, 5\) stands after \(8, 4\)"),
        ([("8", "12.4")], "no version of PTX"),
    ],
)
def test_a_wrong_table_is_refused(rows: list[tuple[str, str]], message: str) -> None:
    text = '[sources]\ns = "a source"\n' + "".join(ROW.format(*row) for row in rows)
    with pytest.raises(MalformedTable, match=message):
        ptx_versions_of(Table("ptx.toml", text, ("ptx",)))
