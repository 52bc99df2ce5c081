"""The headers of device code in a library: every architecture once, and nothing of a file that is none."""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvdiag.host.elf import read_needs
from nvdiag.host.fatbin import read_fatbin
from nvdiag.knowledge.compute_capabilities import code_runs_on
from tests.facts.hostile import QUICK
from tests.host import elves
from tests.scenarios.pythons import container, fatbin

OLD = container(("sm", 70), ("sm", 80), ("compute", 80))


def read(path: Path, data: bytes, *, whole: bool = False) -> dict[str, object]:
    path.write_bytes(data)
    return read_fatbin(str(path), time.monotonic() + 9 if whole else None)


def test_each_architecture_of_a_library_is_told_once(tmp_path: Path) -> None:
    found = read(tmp_path / "l.so", fatbin(OLD, OLD))
    assert found == {"architectures": ["sm_80", "sm_70", "compute_80"], "whole": True}


def test_the_first_containers_stand_for_all_unless_the_whole_is_asked_for(tmp_path: Path) -> None:
    data = fatbin(*[OLD] * 20, container(("sm", 90)))
    assert read(tmp_path / "l.so", data) == {"architectures": ["sm_80", "sm_70", "compute_80"], "whole": False}
    assert read(tmp_path / "l.so", data, whole=True)["architectures"] == ["sm_90", "sm_80", "sm_70", "compute_80"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", {"error": "not-elf"}),
        (b"#!/bin/sh\n" * 99, {"error": "not-elf"}),
        (b"".join(elves.module(None)), {"architectures": [], "whole": True}),
        (fatbin(b"\x00" * 64), {"architectures": [], "whole": False}),
        (fatbin(OLD)[:200], {"error": "damaged"}),
        (fatbin(struct.pack("<IHHQ", 0xBA55ED50, 1, 16, 64) + bytes(64)), {"error": "damaged"}),
    ],
)
def test_another_file_tells_nothing(tmp_path: Path, data: bytes, expected: dict[str, object]) -> None:
    assert read(tmp_path / "l.so", data) == expected


def test_no_bytes_whatever_make_the_reader_raise(tmp_path: Path) -> None:
    good = fatbin(OLD, OLD)

    @QUICK
    @given(st.binary(max_size=200), st.integers(0, len(good)), st.booleans())
    def read_damaged(data: bytes, at: int, whole: bool) -> None:
        read(tmp_path / "odd.so", good[:at] + data + good[at + len(data) :], whole=whole)

    read_damaged()


def test_no_bytes_whatever_make_the_reader_of_needs_raise(tmp_path: Path) -> None:
    good = Path(sys.executable).resolve().read_bytes()[:20_000]

    @QUICK
    @given(st.binary(max_size=60), st.integers(0, 4_000))
    def read_damaged(data: bytes, at: int) -> None:
        (tmp_path / "odd.so").write_bytes(good[:at] + data + good[at + len(data) :])
        read_needs(str(tmp_path / "odd.so"))

    read_damaged()


def test_what_the_loader_goes_by_is_read_without_a_reader_of_sections() -> None:
    told = read_needs(str(Path(sys.executable).resolve()))
    assert "libc.so.6" in told["needed"]


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        (["sm_80", "sm_90"], "8.9", True),
        (["sm_80", "sm_90"], "12.0", False),
        (["sm_80", "compute_90"], "12.0", True),
        (["sm_86"], "8.0", False),
        (["sm_100"], "10.3", True),
        ([], "8.0", False),
    ],
)
def test_code_runs_on_its_own_major_and_ptx_on_newer_ones(
    architectures: Sequence[str], capability: str, *, runs: bool
) -> None:
    assert code_runs_on(architectures, capability) is runs
