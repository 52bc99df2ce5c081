"""cuda-compat's libcuda on a module of an older branch: on a GPU and a branch that it is for, and on others."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from nvdiag.facts.cuda_compat import parse_compat_note
from nvdiag.host.elf import read_dynamic
from nvdiag.model.finding import Confidence, Finding
from nvdiag.model.unknown import ParseError
from nvdiag.model.versions import CudaVersion
from tests.checks.diagnosing import diagnosed, ids
from tests.host import elves
from tests.report.reporting import as_document
from tests.scenarios import machines
from tests.scenarios.tree import Tree, TreeHost

FOLDER = "/usr/local/cuda-13.0/compat"
COMPAT = "580.95.05"
A100 = "NVIDIA A100-SXM4-40GB"
GEFORCE = "NVIDIA GeForce RTX 4090"
NOTE = '{"Format": 1, "CUDA Version": "13.0", "Driver": [535, 550, 570], "Device": [1, 2, 7, 8]}'


def machine(base: str = "570.172.08", gpus: tuple[str, ...] = (A100,), cuda: dict[str, Any] | None = None) -> Tree:
    """Ubuntu whose LD_LIBRARY_PATH leads to a cuda-compat libcuda; cuInit is not asked unless `cuda` tells it."""
    healthy = machines.ubuntu_dkms(
        base, base, base, gpus=tuple(f"0000:0{index + 1}:00.0" for index in range(len(gpus)))
    )
    nvml = machines.nvml_healthy(base, tuple(f"0000:0{index + 1}:00.0" for index in range(len(gpus))))
    for device, name in zip(nvml["devices"], gpus, strict=True):
        device["name"] = name
    answer = {"library": f"{FOLDER}/libcuda.so.{COMPAT}", "driver_version": 13000, **(cuda or {})}
    return healthy.but(
        env={"LD_LIBRARY_PATH": f"/opt/app/lib:{FOLDER}"},
        links={f"{FOLDER}/libcuda.so.1": f"libcuda.so.{COMPAT}"},
        libraries={f"{FOLDER}/libcuda.so.{COMPAT}": 90_000_000},
        probes={"nvml": nvml, "cuda": answer},
    )


class WithNote(TreeHost):
    """A machine whose compat library has a note."""

    def __init__(self, tree: Tree, note: str | None) -> None:
        super().__init__(tree)
        self.note = note

    def _elf(self, key: str) -> object:
        if self.note is not None and key == f"{FOLDER}/libcuda.so.{COMPAT} dynamic":
            return {"soname": "libcuda.so.1", "fwd_compatibility": self.note}
        return super()._elf(key)


def found(tree: Tree, note: str | None = NOTE) -> Finding:
    findings = diagnosed(WithNote(tree, note)).findings
    return findings[0].finding


@pytest.mark.parametrize("note", [NOTE, None], ids=["by its note", "by the table"])
def test_a_library_made_for_this_branch_is_well_on_a_data_centre_gpu(note: str | None) -> None:
    assert ids(WithNote(machine(), note)) == []


def test_what_is_known_of_it_is_in_the_report() -> None:
    told = as_document(diagnosed(WithNote(machine(), None)))["facts"]["cuda_compat"]
    assert (told["path"], told["release"], told["module"], told["made_for_module"]) == (
        f"{FOLDER}/libcuda.so.1", COMPAT, "570.172.08", True,
    )  # fmt: skip
    assert told["told"] == "cuda-compat-13-0: modules of 535, 570"
    assert told["source"].startswith("nvdiag's table: docs.nvidia.com, CUDA compatibility")
    assert told["chosen_by"] == [{"source": "LD_LIBRARY_PATH", "excerpt": FOLDER}]
    none = as_document(diagnosed(machines.ubuntu_dkms("570.172.08")))["facts"]["cuda_compat"]
    assert none == {"not_applicable": "the loader takes no cuda-compat library"}


def test_the_table_says_when_a_library_without_a_note_is_not_for_this_branch() -> None:
    finding = found(machine(base="590.48.01"), None)
    assert (finding.id, finding.confidence) == ("libcuda-mismatch", Confidence.CERTAIN)
    assert any("cuda-compat-13-0: modules of 535, 570" in one.excerpt for one in finding.evidence)


def test_the_librarys_own_note_comes_before_the_table() -> None:
    assert ids(WithNote(machine(base="550.163.01"), NOTE)) == []
    finding = found(machine(), NOTE.replace(", 570", ""))
    assert (finding.id, finding.confidence) == ("libcuda-mismatch", Confidence.CERTAIN)
    assert finding.remedies[0].commands == ("export LD_LIBRARY_PATH=/opt/app/lib",)
    assert not finding.remedies[0].needs_root


def test_a_branch_that_neither_note_nor_table_has_is_merely_possible() -> None:
    finding = found(machine(base="550.163.01"), None)
    assert (finding.id, finding.confidence) == ("libcuda-mismatch", Confidence.POSSIBLE)
    assert "does not have driver branch 550 as a base" in finding.detail


def test_a_geforce_cannot_use_it_and_cuinit_makes_that_certain() -> None:
    likely = found(machine(gpus=(GEFORCE,)))
    assert (likely.id, likely.confidence) == ("cuda-compat-unsupported", Confidence.LIKELY)
    assert any("GeForce and TITAN boards: none of them" in one.excerpt for one in likely.evidence)
    certain = found(
        machine(gpus=(GEFORCE,), cuda={"init": 804, "init_name": "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"})
    )
    assert (certain.id, certain.confidence) == ("cuda-compat-unsupported", Confidence.CERTAIN)
    assert "then use builds for CUDA 12.8 or older" in certain.remedies[1].summary


def test_one_geforce_among_others_is_merely_possible() -> None:
    finding = found(machine(gpus=(A100, GEFORCE)))
    assert (finding.id, finding.confidence) == ("cuda-compat-unsupported", Confidence.POSSIBLE)


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        ("NVIDIA RTX A6000", "NVIDIA allows selected ones, and names none"),
        ("NVIDIA Something 1", "nvdiag's table has no such GPU"),
    ],
)
def test_of_a_board_that_the_table_does_not_decide_about_nothing_is_claimed(gpu: str, words: str) -> None:
    host = WithNote(machine(gpus=(gpu,)), NOTE)
    assert ids(host) == []
    outcome = next(one for one in diagnosed(host).checks if one.name == "cuda_compat_is_on_gpus_that_it_is_made_for")
    assert (outcome.status.value, words in outcome.reason) == ("unknown", True)
    asked = machine(gpus=(gpu,), cuda={"init": 0, "count": 1})
    assert ids(WithNote(asked, NOTE)) == []


def test_cuinit_has_the_last_word() -> None:
    assert ids(WithNote(machine(gpus=(GEFORCE,), cuda={"init": 0, "count": 1}), None)) == []
    refused = {"init": 804, "init_name": "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"}
    host = WithNote(machine(base="550.163.01", cuda=refused), None)
    assert ids(host) == ["cuda-compat-unsupported", "no-cuda-device"]


def test_a_newer_libcuda_with_a_note_is_cuda_compat_wherever_it_lies() -> None:
    elsewhere = (
        machine()
        .without(FOLDER)
        .but(
            env={"LD_LIBRARY_PATH": "/opt/newer"},
            links={"/opt/newer/libcuda.so.1": f"libcuda.so.{COMPAT}"},
            libraries={f"/opt/newer/libcuda.so.{COMPAT}": 90_000_000},
            probes={"cuda": {"library": f"/opt/newer/libcuda.so.{COMPAT}", "driver_version": 13000}},
        )
    )

    class Noted(TreeHost):
        def _elf(self, key: str) -> object:
            own = key == f"/opt/newer/libcuda.so.{COMPAT} dynamic"
            return {"fwd_compatibility": NOTE} if own else super()._elf(key)

    assert ids(Noted(elsewhere)) == []
    assert ids(elsewhere) == ["libcuda-mismatch"]


def test_in_a_container_by_the_loaders_cache_the_way_without_root_stands_first() -> None:
    tree = machine(gpus=(GEFORCE,)).but(env={"LD_LIBRARY_PATH": ""}, cached=(f"{FOLDER}/libcuda.so.1",))
    real = machines.library_files("570.172.08", machines.MULTIARCH)
    finding = found(machines.joined(tree, real))
    assert finding.id == "cuda-compat-unsupported"
    assert finding.remedies[0].commands == (f"export LD_LIBRARY_PATH={machines.MULTIARCH}:$LD_LIBRARY_PATH",)
    assert [remedy.needs_root for remedy in finding.remedies] == [False, True, False, True]


def test_the_note_of_an_elf_file_is_read(tmp_path: Path) -> None:
    words = b"NVIDIA Corporation\0"
    note = struct.pack("<III", len(words), len(NOTE), 1) + words.ljust(20, b"\0") + NOTE.encode()
    path = tmp_path / f"libcuda.so.{COMPAT}"
    with path.open("wb") as file:
        elves.write(elves.module(note, called=".note.cuda.fwd_compatibility"), file.write)
    text = read_dynamic(str(path))["fwd_compatibility"]
    assert parse_compat_note(text) == (CudaVersion.of("13.0"), (535, 550, 570))


def test_a_note_that_names_no_branches_says_nothing_of_them() -> None:
    with pytest.raises(ParseError):
        parse_compat_note('{"Format": 1, "CUDA Version": "13.2"}')


@pytest.mark.parametrize("gpu", [A100, GEFORCE])
@pytest.mark.parametrize("note", [NOTE, NOTE.replace(", 570", ""), None])
def test_a_snapshot_gives_the_same(gpu: str, note: str | None) -> None:
    from nvdiag.cli import running
    from nvdiag.host.record import RecordingHost
    from nvdiag.host.snapshot import SnapshotHost

    recording = RecordingHost(WithNote(machine(gpus=(gpu,)), note))
    live = running.diagnosed(running.begun(recording), running.chosen((), ()))
    replay = diagnosed(SnapshotHost(recording.document, "recorded"))
    assert [one.finding for one in replay.findings] == [one.finding for one in live.findings]
