"""Logs are read as text, rotated ones too, and from their end where they are long."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import time
from pathlib import Path

import pytest

from nvdiag.host import live, logs, modinfo, unpacking
from nvdiag.host.live import LiveHost
from nvdiag.host.record import RecordingHost
from nvdiag.host.snapshot import SnapshotHost

LINES = "".join(
    f"2025-11-25 06:12:04 upgrade libnvidia-compute-570:amd64 1.{number} 2 \u2713\n" for number in range(500)
)


def read(path: Path, most: int, seconds: float = 60.0) -> str:
    return logs.read_log(str(path), most, time.monotonic() + seconds, shutil.which)


def zstd(data: bytes) -> bytes:
    return bytes(modinfo._zstd().compress(data))


PACKINGS = {"plain": bytes, "gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "zst": zstd}


@pytest.mark.parametrize("pack", PACKINGS.values(), ids=PACKINGS)
def test_a_log_is_text_however_it_is_packed(tmp_path: Path, pack: object) -> None:
    path = tmp_path / "dpkg.log"
    path.write_bytes(pack(LINES.encode()))  # type: ignore[operator]
    assert read(path, 1 << 20) == LINES
    assert LINES.endswith(read(path, 1000))
    assert len(read(path, 1000).encode()) <= 1000
    assert read(path, 1000).startswith("2025-")


def test_what_came_before_the_damage_of_an_archive_counts(tmp_path: Path) -> None:
    for pack in (gzip.compress, lzma.compress):
        (tmp_path / "a").write_bytes(pack(os.urandom(300_000).hex().encode())[:-1000])
        read(tmp_path / "a", 1 << 20)
    (tmp_path / "b").write_bytes(b"\x1f\x8b and no more")
    assert read(tmp_path / "b", 1000) == ""


def test_an_archive_that_unpacks_to_very_much_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_UNPACKED", 1 << 20)
    (tmp_path / "bomb").write_bytes(gzip.compress(b"x\n" * (8 << 20)))
    assert len(read(tmp_path / "bomb", 1000)) <= 1000


def test_an_archive_that_takes_too_long_is_read_in_part(tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(gzip.compress(b"x\n" * (8 << 20)))
    assert 0 < len(read(tmp_path / "bomb", 100 << 20, seconds=-1.0)) <= 1 << 20


def test_an_archive_that_nothing_here_unpacks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_module() -> None:
        raise modinfo.Unreadable("no module")

    (tmp_path / "log.zst").write_bytes(zstd(LINES.encode()))
    monkeypatch.setattr(modinfo, "_zstd", without_module)
    if program := shutil.which("zstd"):
        assert read(tmp_path / "log.zst", 1 << 20) == LINES, program
    with pytest.raises(unpacking.CannotUnpack, match="zstd"):
        logs.read_log(str(tmp_path / "log.zst"), 1000, time.monotonic() + 60, lambda _: None)


def test_a_fifo_in_a_logs_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="Invalid"):
        read(tmp_path / "fifo", 1000)


@pytest.mark.live
def test_a_rotated_log_is_recorded_as_text_under_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FOLDER", f"{tmp_path}/")
    monkeypatch.setattr(live, "MAX_FILE", 2000)
    path = tmp_path / "dpkg.log.2.gz"
    path.write_bytes(gzip.compress(LINES.encode()))
    recording = RecordingHost(LiveHost(60.0))
    text = recording.read(str(path))
    assert LINES.endswith(text)
    assert len(text) > 500
    assert SnapshotHost(recording.document, "recorded").read(str(path)) == text


@pytest.mark.parametrize("longest", [16, 4096])
@pytest.mark.parametrize("packed", [False, True])
def test_the_lines_that_hold_a_text_are_the_same_however_a_file_is_read(
    tmp_path: Path, longest: int, *, packed: bool
) -> None:
    text = b"no\na yes\rhere\nno\n\nyes at the end"
    file = tmp_path / "log"
    file.write_bytes(gzip.compress(text) if packed else text)
    assert list(logs.lines_with(b"yes", str(file), longest)) == [b"a yes\rhere\n", b"yes at the end"]
    assert list(logs.lines_with(b"maybe", str(file), longest)) == []
