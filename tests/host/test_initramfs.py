"""What of the driver is inside an initramfs, in each form that distributions write one."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvdiag.host import initramfs, initramfs_end, kernel_image, unpacking
from tests.facts.hostile import QUICK
from tests.host import elves
from tests.host.archives import cpio, unified
from tests.host.test_modinfo import zstandard

KERNEL = "6.8.0-85-generic"
FOLDER = f"usr/lib/modules/{KERNEL}"
MICROCODE = cpio({"kernel/x86/microcode/AuthenticAMD.bin": b"\x01" * 5000})


def module(release: str, suffix: str = "") -> bytes:
    data = b"".join(
        elves.module(f"license=NVIDIA\0version={release}\0vermagic={KERNEL} SMP \0".encode(), before=3000, after=90_000)
    )
    return {"": lambda: data, ".xz": lambda: lzma.compress(data), ".zst": lambda: bytes(zstandard().compress(data))}[
        suffix
    ]()


def contents(suffix: str = "") -> dict[str, bytes]:
    return {
        f"{FOLDER}/kernel/drivers/gpu/drm/nouveau/nouveau.ko": b"no module",
        f"{FOLDER}/updates/dkms/nvidia.ko{suffix}": module("570.169", suffix),
        f"{FOLDER}/updates/dkms/nvidia-uvm.ko{suffix}": module("570.169", suffix),
        "usr/lib/firmware/nvidia/570.169/gsp_ga10x.bin.zst": b"firmware",
        "etc/modprobe.d/x.conf": b"# of nvidia\nblacklist nouveau\noptions nvidia-drm modeset=1\n",
        "init": b"#!/bin/sh\n",
    }


PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": lambda data: gzip.compress(data, 1),
    "bzip2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32, preset=0),
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE, preset=0),
    "zstd": lambda data: bytes(zstandard().compress(data)),
}


def read(path: Path, data: bytes, seconds: float = 60, program: Callable[[str], str | None] = shutil.which) -> Any:
    path.write_bytes(data)
    return initramfs.read_initramfs(str(path), time.monotonic() + seconds, program)


@pytest.mark.parametrize("suffix", ["", ".xz", ".zst"])
@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("microcode", [True, False])
def test_the_driver_in_it_is_found_in_every_form(tmp_path: Path, packing: str, suffix: str, microcode: bool) -> None:
    data = (MICROCODE if microcode else b"") + PACK[packing](cpio(contents(suffix))) + b"\0" * 508
    found = read(tmp_path / "initrd", data)
    assert found["trouble"] == ""
    assert found["modules"] == {
        f"{FOLDER}/updates/dkms/nvidia.ko{suffix}": {"version": "570.169", "vermagic": f"{KERNEL} SMP "}
    }
    assert found["firmware"] == ["570.169/gsp_ga10x.bin.zst"]
    assert found["kernels"] == [KERNEL]
    assert found["modprobe"] == ["options nvidia-drm modeset=1"]
    assert found["others"] == ["nouveau.ko", f"nvidia-uvm.ko{suffix}"]


@pytest.mark.parametrize("name", ["lz4", "zstd"])
def test_a_program_unpacks_what_python_does_not(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    flags = ["-l"] if name == "lz4" else []
    packed = subprocess.run([name, *flags, "-c"], input=cpio(contents()), capture_output=True, check=True).stdout

    def silent(wanted: str) -> Any:
        raise unpacking.CannotUnpack(f"compressed with {wanted}, which this Python does not read")

    monkeypatch.setattr(unpacking, "decompressor", silent)
    found = read(tmp_path / "initrd", MICROCODE + packed)
    assert (found["trouble"], found["kernels"], found["firmware"]) == ("", [KERNEL], ["570.169/gsp_ga10x.bin.zst"])
    assert "no program" in read(tmp_path / "initrd", MICROCODE + packed, program=lambda _: None)["error"]


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_one_that_is_cut_short_is_said_to_be_so(tmp_path: Path, packing: str, share: float) -> None:
    whole = PACK[packing](cpio(contents()))
    assert read(tmp_path / "initrd", whole[: int(len(whole) * share)])["trouble"]


def test_one_without_the_driver_is_well(tmp_path: Path) -> None:
    found = read(tmp_path / "initrd", cpio({"init": b"", f"{FOLDER}/kernel/fs/ext4.ko": b"x"}))
    assert (found["modules"], found["trouble"], found["kernels"]) == ({}, "", [KERNEL])


def test_an_empty_file_is_no_initramfs(tmp_path: Path) -> None:
    assert read(tmp_path / "initrd", b"") == {"error": "empty"}


def test_reading_ends_when_the_time_is_over(tmp_path: Path) -> None:
    assert read(tmp_path / "initrd", gzip.compress(cpio(contents())), seconds=-1)["trouble"] == "late"


def test_a_unified_image_has_its_initramfs_release_and_command_line_inside(tmp_path: Path) -> None:
    image = unified("6.16.7-arch1-1", "root=/dev/sda1 quiet", gzip.compress(cpio(contents())))
    found = read(tmp_path / "arch-linux.efi", image)
    assert f"{FOLDER}/updates/dkms/nvidia.ko" in found["modules"]
    assert kernel_image.read_image(str(tmp_path / "arch-linux.efi")) == {
        "release": "6.16.7-arch1-1", "cmdline": "root=/dev/sda1 quiet", "unified": "yes",
    }  # fmt: skip


@QUICK
@given(st.binary(max_size=400), st.sampled_from(["", "zstd", "gzip"]))
def test_any_bytes_are_read_or_said_to_be_damaged(tmp_path_factory: Any, data: bytes, packing: str) -> None:
    path = tmp_path_factory.mktemp("any") / "initrd"
    found = read(path, PACK[packing](data) if packing else data)
    assert found.get("error") or found["trouble"] or found["entries"] >= 0


def legacy_lz4(data: bytes) -> bytes:
    """Blocks as `lz4 -l` makes them, of data that are taken for packed."""
    blocks = [data[start : start + 8000] for start in range(0, len(data), 8000)]
    return b"\x02\x21\x4c\x18" + b"".join(struct.pack("<I", len(one)) + one for one in blocks)


def framed(data: bytes) -> bytes:
    """Two frames of zstd, and a skippable one between them."""
    half = len(data) // 2
    return PACK["zstd"](data[:half]) + b"\x50\x2a\x4d\x18" + struct.pack("<I", 7) + bytes(7) + PACK["zstd"](data[half:])


TELLING: dict[str, Callable[[bytes], bytes]] = {
    "plain": PACK["plain"], "xz": PACK["xz"], "zstd": PACK["zstd"], "zstd, frames": framed, "lz4": legacy_lz4,
}  # fmt: skip


def end_of(path: Path, data: bytes, seconds: float = 60) -> Any:
    path.write_bytes(data)
    return initramfs_end.read_end(str(path), time.monotonic() + seconds)


@pytest.mark.parametrize("packing", TELLING)
@pytest.mark.parametrize("padding", [0, 508])
def test_the_end_is_seen_without_unpacking(tmp_path: Path, packing: str, padding: int) -> None:
    noise = {"usr/lib/modules/noise": random.Random(0).randbytes(400_000)}
    data = MICROCODE + TELLING[packing](cpio(contents() | noise))
    assert end_of(tmp_path / "initrd", data + bytes(padding)) == {"trouble": ""}
    for cut in range(1, len(data) - len(MICROCODE) - 600, 40_009):
        assert end_of(tmp_path / "initrd", data[: -600 - cut])["trouble"] == "it ends too soon", cut


@pytest.mark.parametrize("packing", ["gzip", "bzip2", "lzma"])
def test_a_form_that_tells_no_lengths_gives_no_judgement(tmp_path: Path, packing: str) -> None:
    data = MICROCODE + PACK[packing](cpio(contents()))
    assert end_of(tmp_path / "initrd", data[:-600]) == {"error": f"{packing} tells no lengths here"}


@pytest.mark.parametrize("packing", ["xz", "zstd", "lz4"])
def test_what_was_appended_is_no_cut(tmp_path: Path, packing: str) -> None:
    data = TELLING[packing](cpio(contents()))
    assert end_of(tmp_path / "initrd", data + cpio({"etc/x": b"1"})).get("trouble", "") == ""
    image = unified(KERNEL, "ro", data + bytes(7) + PACK["gzip"](cpio({"etc/x": b"1"})))
    assert end_of(tmp_path / "image.efi", image).get("trouble", "") == ""


def test_no_time_gives_no_judgement(tmp_path: Path) -> None:
    assert end_of(tmp_path / "initrd", MICROCODE[:4000], seconds=-1) == {"error": "late"}


@pytest.mark.parametrize("program", ["zstd -1 -q", "xz -1 --check=crc32", "lz4 -l -1 -q"])
def test_the_ends_that_the_programs_themselves_write(tmp_path: Path, program: str) -> None:
    if shutil.which(program.split(maxsplit=1)[0]) is None:
        pytest.skip(f"there is no {program.split(maxsplit=1)[0]} here")
    archive = cpio({"usr/noise": random.Random(0).randbytes(900_000)} | contents())
    packed = subprocess.run([*program.split(), "-c"], input=archive, capture_output=True, check=True).stdout
    assert end_of(tmp_path / "initrd", MICROCODE + packed) == {"trouble": ""}
    assert end_of(tmp_path / "initrd", MICROCODE + packed[:-9]) == {"trouble": "it ends too soon"}


HEADS = (b"", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18", b"070701", b"\xfd7zXZ\0")


@given(st.binary(max_size=300), st.sampled_from(HEADS))
@QUICK
def test_damage_at_the_end_is_never_an_exception(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, head: bytes
) -> None:
    said = end_of(tmp_path_factory.getbasetemp() / "initrd", head + noise)
    assert set(said) in ({"trouble"}, {"error"})
