"""cuda-compat with NVIDIA's own libcuda: a newer branch's, to which the note of NVIDIA's packages is added."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rigs import rig
from tests.rigs.asking import check, found

pytestmark = pytest.mark.rig

SECTION = ".note.cuda.fwd_compatibility"


@pytest.fixture
def plain(real550: tuple[Path, str], tmp_path: Path) -> Path:
    """The folder of a libcuda of branch 550 for a driver of 535, without a note, as Debian's package has it."""
    folder, release = real550
    target = tmp_path / "compat"
    target.mkdir()
    shutil.copy2(folder / f"libcuda.so.{release}", target)
    (target / "libcuda.so.1").symlink_to(f"libcuda.so.{release}")
    return target


@pytest.fixture
def noted(plain: Path) -> Path:
    """The same with a note that names branch 535 as a base."""
    add_note(next(plain.glob("libcuda.so.5*")), "12.4", 535)
    return plain


def add_note(library: Path, cuda: str, *branches: int) -> None:
    """Add the note of NVIDIA's packages to a library: for modules of these branches."""
    text = json.dumps({"Format": 1, "CUDA Version": cuda, "Driver": branches, "Device": [1, 2]}).encode()
    owner = b"NVIDIA Corporation\0"
    note = library.with_name("note")
    note.write_bytes(struct.pack("<III", len(owner), len(text), 1) + owner.ljust(20, b"\0") + text)
    subprocess.run(["objcopy", "--add-section", f"{SECTION}={note}", str(library)], check=True)
    note.unlink()


def machine(compat: Path) -> rig.Machine:
    """A driver of branch 535 whose programs get the compat folder's libcuda."""
    folder, release = rig.real("535")
    return rig.Machine(module=release, libraries=folder, env={"LD_LIBRARY_PATH": str(compat)})


def test_the_note_of_a_real_libcuda_says_that_it_is_for_this_module(noted: Path) -> None:
    report, _ = check(machine(noted))
    taken = report["facts"]["libraries"]["libcuda"]["taken"]
    assert (taken["kind"], taken["found_by"]) == ("cuda-compat", "LD_LIBRARY_PATH")
    assert "libcuda-mismatch" not in found(report)


def test_without_a_note_nvidias_table_says_it(plain: Path) -> None:
    report, _ = check(machine(plain))
    assert "libcuda-mismatch" not in found(report)


@pytest.mark.parametrize(("name", "answer"), [("NVIDIA GeForce RTX 4090", 804), ("NVIDIA H100 80GB HBM3", 0)])
def test_what_its_cuinit_answers_on_a_board_decides(
    fake_gpus: Callable[..., rig.Machine], tmp_path: Path, name: str, answer: int
) -> None:
    """With our own libcuda, since NVIDIA's answers 804 on a GPU only."""
    healthy = fake_gpus(f"0.name={name}", f"cuinit={answer}", gpus=1)
    compat = tmp_path / "compat"
    compat.mkdir()
    library = compat / "libcuda.so.999.10.01"
    assert healthy.libraries is not None
    shutil.copy2(next(healthy.libraries.glob("libcuda.so.[1-9]*.*")), library)
    add_note(library, "14.0", int(rig.RELEASE.partition(".")[0]))
    (compat / "libcuda.so.1").symlink_to(library.name)
    for path in (compat, *compat.parents):
        if path.stat().st_uid == os.geteuid() and path.name.startswith(("test", "pytest", "compat")):
            path.chmod(0o755)
    report, _ = check(dataclasses.replace(healthy, env={**healthy.env, "LD_LIBRARY_PATH": str(compat)}))
    assert report["facts"]["driver"]["libcuda"]["init"] == answer
    assert report["facts"]["cuda_compat"]["made_for_module"] is True
    told = [one for one in report["findings"] if one["id"] == "cuda-compat-unsupported"]
    assert [one["confidence"] for one in told] == (["certain"] if answer else [])


def test_an_older_libcuda_in_a_compat_folder_is_a_mismatch_as_cuinit_itself_says(
    real550: tuple[Path, str], tmp_path: Path
) -> None:
    folder, release = real550
    old, older = rig.real("535")
    compat = tmp_path / "compat"
    compat.mkdir()
    shutil.copy2(old / f"libcuda.so.{older}", compat)
    (compat / "libcuda.so.1").symlink_to(f"libcuda.so.{older}")
    env = {"LD_LIBRARY_PATH": str(compat)}
    report, _ = check(rig.Machine(module=release, libraries=folder, submodules=("nvidia_uvm",), env=env))
    assert report["facts"]["driver"]["libcuda"]["init"] == 803
    finding = next(one for one in report["findings"] if one["id"] == "libcuda-mismatch")
    assert finding["confidence"] == "certain"
    assert finding["remedies"][0]["commands"] == ["unset LD_LIBRARY_PATH"]
