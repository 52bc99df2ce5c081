"""A recorded machine: absent, refused and not recorded are three answers; recording and replaying give the same."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from nvdiag.host import Absent, FileStat, Host, NotRecorded, Refused
from nvdiag.host import snapshot as snapshots
from nvdiag.host.base import SECTIONS
from nvdiag.host.record import RecordingHost
from nvdiag.host.snapshot import NotASnapshot, SnapshotHost
from tests.scenarios import machines


def host(**sections: Any) -> SnapshotHost:
    return SnapshotHost({"nvdiag_snapshot": 1, **sections}, "test")


ASK: dict[str, Any] = {
    "files": lambda machine: machine.read("/a"),
    "folders": lambda machine: machine.folder("/a"),
    "links": lambda machine: machine.link("/a"),
    "stats": lambda machine: machine.stat("/a"),
    "opens": lambda machine: machine.open_error("/a"),
    "modinfo": lambda machine: machine.modinfo("/a"),
    "elf": lambda machine: machine.elf("/a"),
    "commands": lambda machine: machine.run("/a"),
}


@pytest.mark.parametrize("section", ASK)
def test_null_is_absence(section: str) -> None:
    with pytest.raises(Absent, match="/a is not there"):
        ASK[section](host(**{section: {"/a": None}}))


@pytest.mark.parametrize("section", ASK)
def test_error_is_refusal_with_its_name(section: str) -> None:
    with pytest.raises(Refused, match="/a: permission denied") as raised:
        ASK[section](host(**{section: {"/a": {"error": "EACCES"}}}))
    assert raised.value.error == "EACCES"


@pytest.mark.parametrize("section", ASK)
@pytest.mark.parametrize("document", [{}, {"/b": "text"}, None, [], 7])
def test_silence_is_neither(section: str, document: Any) -> None:
    with pytest.raises(NotRecorded, match="does not say anything about /a"):
        ASK[section](host(**{section: document}))


WRONG: dict[str, tuple[Any, ...]] = {
    "files": (1, [], {}, {"error": 5}, True),
    "folders": ("a", {}, 3),
    "links": (1, []),
    "stats": ("a", [], {"uid": "0"}, {"gid": None}),
    "opens": (0, []),
    "modinfo": ("a", []),
    "elf": ("a", []),
    "commands": ("a", {}, {"exit": "0"}, {"stdout": ""}),
}


@pytest.mark.parametrize(("section", "value"), [(section, one) for section, values in WRONG.items() for one in values])
def test_entry_of_another_form_is_as_good_as_not_recorded(section: str, value: Any) -> None:
    with pytest.raises(NotRecorded, match="not of the form"):
        ASK[section](host(**{section: {"/a": value}}))


def test_values_are_given_with_their_types() -> None:
    machine = host(
        files={"/a": "text\n"},
        folders={"/a": ["b", "c"]},
        stats={
            "/dev/nvidia0": {"mode": "crw-rw-rw-", "uid": 0, "gid": 44, "rdev": "195:0"},
            "/a": {"size": 5, "mode": "-rw-r--r--"},
            "/odd": {"rdev": "²:x", "size": "5"},
        },
        commands={"echo 'a b'": {"exit": -9, "stdout": "x"}},
        env={"PATH": "/bin", "CUDA_HOME": None},
        modinfo={"/m.ko": {"version": 570}},
    )
    assert machine.read("/a") == "text\n"
    assert machine.folder("/a") == ("b", "c")
    assert machine.stat("/dev/nvidia0") == FileStat("crw-rw-rw-", 0, 44, (195, 0), None)
    assert machine.stat("/a") == FileStat("-rw-r--r--", 0, 0, None, 5)
    assert machine.stat("/odd") == FileStat("", 0, 0, None, None)
    assert machine.run("echo", "a b").exit == -9
    assert machine.run("echo", "a b").stderr == ""
    assert (machine.env("PATH"), machine.env("CUDA_HOME")) == ("/bin", None)
    assert machine.modinfo("/m.ko") == {"version": "570"}


def test_existence_follows_from_stat() -> None:
    machine = host(stats={"/a": {}, "/b": None, "/c": {"error": "EACCES"}})
    assert machine.exists("/a")
    assert not machine.exists("/b")
    with pytest.raises(Refused):
        machine.exists("/c")
    with pytest.raises(NotRecorded):
        machine.exists("/d")


def test_what_is_no_link_is_none_and_not_absent() -> None:
    machine = host(links={"/a": {"error": "EINVAL"}, "/b": "c"})
    assert machine.link("/a") is None
    assert machine.link("/b") == "c"


def test_probe_that_hung_keeps_what_it_had_answered() -> None:
    assert host(probes={"nvml": {"error": "hung", "init": 0}}).probe("nvml") == {"error": "hung", "init": 0}


def test_each_question_is_asked_once() -> None:
    recording = RecordingHost(host(files={"/a": "x"}))
    recording.read("/a")
    recording.document["files"].clear()
    assert recording.read("/a") == "x"
    assert recording.document["files"] == {}


LINKS = {
    "/lib": "usr/lib",
    "/usr/lib/libcuda.so.1": "libcuda.so.570.1",
    "/usr/lib/libcuda.so.570.1": {"error": "EINVAL"},
    "/x/libcuda.so.1": "/etc/alternatives/cuda",
    "/etc/alternatives/cuda": "../../lib/libcuda.so.1",
    "/loop/a": "b",
    "/loop/b": "a",
    "/self": "self",
    "/lib64": "/usr/lib",
    "/bin": {"error": "EINVAL"},
    "/bin/nvcc": "../opt/nvcc",
}


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("/usr/lib/libcuda.so.570.1", "/usr/lib/libcuda.so.570.1"),
        ("/usr/lib/libcuda.so.1", "/usr/lib/libcuda.so.570.1"),
        ("/lib/libcuda.so.1", "/usr/lib/libcuda.so.570.1"),
        ("/lib64/libcuda.so.1", "/usr/lib/libcuda.so.570.1"),
        ("/lib/../lib/./libcuda.so.1", "/usr/lib/libcuda.so.570.1"),
        ("/x/libcuda.so.1", "/usr/lib/libcuda.so.570.1"),
        ("/bin/nvcc", "/opt/nvcc"),
        ("/lib/unrecorded", "/usr/lib/unrecorded"),
        ("/nowhere", "/nowhere"),
        ("/lib", "/usr/lib"),
    ],
)
def test_links_are_followed_to_the_file(path: str, file: str) -> None:
    assert host(links=LINKS).resolve(path) == file


@pytest.mark.parametrize("path", ["/loop/a", "/self", "", ".", "relative/path", "/", "//", "/lib/\0"])
def test_links_in_a_circle_and_odd_paths_end_all_the_same(path: str) -> None:
    assert isinstance(host(links=LINKS).resolve(path), str)


def test_recording_and_replaying_are_one_machine() -> None:
    tree = machines.ubuntu_dkms().host()
    recording = RecordingHost(tree)
    asked: list[tuple[str, Any]] = []

    def ask(machine: Host) -> list[Any]:
        return [
            machine.read("/etc/os-release"),
            machine.folder("/sys/bus/pci/devices"),
            machine.resolve("/lib/x86_64-linux-gnu/libcuda.so.1"),
            machine.stat("/dev/nvidiactl"),
            machine.open_error("/dev/nvidiactl"),
            machine.lines_with("btime", "/proc/stat"),
            machine.run("ldconfig", "-p"),
            machine.env("PATH"),
            machine.probe("nvml"),
            machine.exists("/nowhere"),
        ]

    asked = ask(recording)
    text = json.dumps(recording.document)
    replayed = snapshots.parse(text.encode(), "replay")
    assert ask(replayed) == asked
    assert set(recording.document) == {"nvdiag_snapshot", "captured_at", "tool", "messages", *SECTIONS}
    assert replayed.source.captured_at == tree.source.captured_at
    with pytest.raises(NotRecorded):
        replayed.read("/etc/hostname")
    assert "/etc/os-release" in replayed.recorded("files")


@pytest.mark.parametrize("packed", [False, True])
def test_snapshot_is_read_plain_and_packed(packed: bool) -> None:
    data = json.dumps({"nvdiag_snapshot": 1, "files": {"/a": "x"}}).encode()
    assert snapshots.parse(gzip.compress(data) if packed else data, "s").read("/a") == "x"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"NVRM: Xid", "not JSON"),
        (b"[1]", "no number at nvdiag_snapshot"),
        (b"{}", "no number at nvdiag_snapshot"),
        (b'{"nvdiag_snapshot": true}', "no number at nvdiag_snapshot"),
        (b'{"nvdiag_snapshot": "1"}', "no number at nvdiag_snapshot"),
        (b'{"nvdiag_snapshot": 2}', "a newer one is needed"),
        (b'{"nvdiag_snapshot": 1, "files": []}', "files is not an object"),
        (b'{"nvdiag_snapshot": 1, "probes": null}', "probes is not an object"),
        (b"\x1f\x8bnot gzip at all", "damaged gzip"),
        (b"[" * 200_000, "not JSON"),
    ],
)
def test_other_input_is_one_clear_line(data: bytes, words: str) -> None:
    with pytest.raises(NotASnapshot, match=words) as raised:
        snapshots.parse(data, "input")
    assert "\n" not in str(raised.value)


def test_absurd_sizes_are_refused_before_they_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MAX_BYTES", 2**20)
    bomb = gzip.compress(b'{"nvdiag_snapshot": 1, "tool": "' + b" " * 2**22 + b'"}')
    for data in (bomb, gzip.decompress(bomb)):
        with pytest.raises(NotASnapshot, match="larger than 1 MiB"):
            snapshots.parse(data, "input")
