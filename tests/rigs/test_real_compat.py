"""cuda-compat with NVIDIA's own libcuda: a newer branch's, to which the note of NVIDIA's packages is added."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
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
    text = json.dumps({"Format": 1, "CUDA Version": "12.4", "Driver": [535], "Device": [1, 2]}).encode()
    owner = b"NVIDIA Corporation\0"
    note = plain.parent / "note"
    note.write_bytes(struct.pack("<III", len(owner), len(text), 1) + owner.ljust(20, b"\0") + text)
    library = next(plain.glob("libcuda.so.5*"))
    subprocess.run(["objcopy", "--add-section", f"{SECTION}={note}", str(library)], check=True)
    return plain


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
