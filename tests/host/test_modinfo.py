"""The fields of kernel modules, by our own reader, in each form that distributions install them in."""

from __future__ import annotations

import builtins
import gzip
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nvdiag.host import modinfo
from tests.facts.hostile import QUICK
from tests.host import elves

SECTION = (
    b"version=570.172.08\0license=Dual MIT/GPL\0srcversion=ABCDEF\0alias=pci:v000010DEd*sv*sd*bc03sc00i00*\0"
    b"\0depends=\0name=nvidia\0vermagic=6.8.0-85-generic SMP preempt mod_unload modversions \0parm=NVreg_X:int\0"
)
FIELDS = {
    "version": "570.172.08",
    "license": "Dual MIT/GPL",
    "srcversion": "ABCDEF",
    "name": "nvidia",
    "vermagic": "6.8.0-85-generic SMP preempt mod_unload modversions ",
}


def zstandard() -> Any:
    try:
        return modinfo._zstd()
    except modinfo.Unreadable:
        return None


PACKERS: dict[str, Callable[[Path], Any]] = {
    ".ko": lambda path: path.open("wb"),
    ".ko.gz": lambda path: gzip.open(path, "wb", compresslevel=1),  # noqa: SIM115
    ".ko.xz": lambda path: lzma.open(path, "wb", preset=0),  # noqa: SIM115
    ".ko.zst": lambda path: zstandard().open(path, "wb"),
}
SUFFIXES = [
    pytest.param(
        suffix,
        marks=pytest.mark.skipif(suffix == ".ko.zst" and zstandard() is None, reason="this Python reads no zstd"),
    )
    for suffix in PACKERS
]


def written(folder: Path, suffix: str, **options: Any) -> str:
    path = folder / f"nvidia{suffix}"
    with PACKERS[suffix](path) as file:
        elves.write(elves.module(options.pop("section", SECTION), **options), file.write)
    return str(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("signed", [True, False])
def test_fields_and_signature_are_read(tmp_path: Path, suffix: str, signed: bool) -> None:
    path = written(tmp_path, suffix, signed=signed, before=5000, after=70_000)
    assert modinfo.read_module(path) == {**FIELDS, "signed": "yes" if signed else "no"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_who_signed_is_read_from_the_signature(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path, suffix, signer="DKMS module signing key", after=70_000)
    assert modinfo.read_module(path) == {**FIELDS, "signed": "yes", "signer": "DKMS module signing key"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_module_without_the_section_says_so(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(modinfo.Unreadable, match=r"no \.modinfo section"):
        modinfo.read_module(written(tmp_path, suffix, section=None))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.97, 0.999])
def test_module_that_is_cut_short_is_damaged(tmp_path: Path, suffix: str, share: float) -> None:
    path = Path(written(tmp_path, suffix, before=30_000))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(modinfo.Unreadable, match="damaged"):
        modinfo.read_module(str(path))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_of_another_kind_is_damaged(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"nvidia{suffix}"
    path.write_bytes(b"not what its name says" * 100)
    with pytest.raises(modinfo.Unreadable, match="damaged"):
        modinfo.read_module(str(path))


def test_missing_file_is_an_oserror(tmp_path: Path) -> None:
    for suffix in (".ko", ".ko.gz", ".ko.xz"):
        with pytest.raises(FileNotFoundError):
            modinfo.read_module(str(tmp_path / f"nvidia{suffix}"))
    with pytest.raises(OSError, match="Invalid argument"):
        modinfo.read_module(str(tmp_path))


def test_where_python_reads_no_zstd_the_reason_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "nvidia.ko.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd")
    really = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] in ("compression", "backports"):
            raise ImportError(name)
        return really(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(modinfo.Unreadable, match=r"zstd.*nvdiag\[zstd\]"):
        modinfo.read_module(str(path))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_large_module_costs_little_memory(tmp_path: Path, suffix: str) -> None:
    """100 MB, and more section headers than a reader's usual window holds: each step back would unpack it again."""
    path = written(tmp_path, suffix, before=60 << 20, after=40 << 20, sections=300, signed=True)
    modinfo.read_module(written(tmp_path, ".ko"))  # imports
    path = written(tmp_path, suffix, before=60 << 20, after=40 << 20, sections=300, signed=True)
    tracemalloc.start()
    try:
        fields = modinfo.read_module(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert fields == {**FIELDS, "signed": "yes"}
    assert peak < 24 << 20


def test_compressed_module_is_unpacked_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, ".ko.gz", before=1 << 20, after=1 << 20, sections=400)
    rewinds = 0
    really = gzip._GzipReader._rewind  # type: ignore[attr-defined]

    def counted(reader: Any) -> None:
        nonlocal rewinds
        rewinds += 1
        really(reader)

    monkeypatch.setattr("gzip._GzipReader._rewind", counted)
    assert modinfo.read_module(path)["version"] == "570.172.08"
    assert rewinds <= 8


BYTES = b"".join(elves.module(SECTION, before=300, signed=True))


@QUICK
@given(
    st.lists(st.tuples(st.integers(0, len(BYTES) - 1), st.binary(max_size=9)), max_size=5),
    st.integers(0, len(BYTES)) | st.just(len(BYTES)),
)
@example([(1020, b"\x01")], 1240)  # a section table that points before the file
def test_damaged_module_is_read_or_unreadable(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]], end: int
) -> None:
    data = bytearray(BYTES)
    for start, piece in changes:
        data[start : start + len(piece)] = piece
    path = tmp_path_factory.getbasetemp() / "damaged.ko"
    path.write_bytes(data[:end])
    try:
        fields = modinfo.read_module(str(path))
    except modinfo.Unreadable:
        return
    assert set(fields) <= modinfo.KEPT


LISTING = """\
filename:       /lib/modules/6.8.0-85-generic/updates/dkms/nvidia.ko.zst
import_ns:      DMA_BUF
alias:          char-major-195-*
version:        570.172.08
supported:      external
license:        Dual MIT/GPL
firmware:       nvidia/570.172.08/gsp_tu10x.bin
srcversion:     ABCDEF
name:           nvidia
retpoline:      Y
vermagic:       6.8.0-85-generic SMP preempt mod_unload modversions 
sig_id:         PKCS#7
signer:         gpu-host Secure Boot Module Signature key
sig_key:        5B:11
sig_hashalgo:   sha512
signature:      7C:07:
		1C:5A:
parm:           NVreg_ResmanDebugLevel:int
"""  # noqa: W291


def test_listing_of_modinfo_is_read() -> None:
    assert modinfo.parse_listing(LISTING) == {
        **FIELDS,
        "vermagic": FIELDS["vermagic"].strip(),
        "sig_id": "PKCS#7",
        "signer": "gpu-host Secure Boot Module Signature key",
        "sig_key": "5B:11",
        "sig_hashalgo": "sha512",
    }


def test_first_of_several_fields_counts() -> None:
    assert modinfo.parse_section(b"version=1.1\0version=2.2\0version\0=\0\xff\xfe=x") == {"version": "1.1"}
