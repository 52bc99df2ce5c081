"""The machine that the tests run on, looked at through trees of files made for it."""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import shlex
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nvdiag.host import Absent, FileStat, NotRecorded, Refused, children, live
from nvdiag.host.live import LiveHost
from nvdiag.host.record import RecordingHost
from nvdiag.host.snapshot import SnapshotHost
from nvdiag.probes import nodes
from nvdiag.probes.dlopen import library_path
from nvdiag.probes.memory import memory_file
from tests.host import elves

pytestmark = pytest.mark.live
NOBODY = 65534


@pytest.fixture
def machine() -> LiveHost:
    return LiveHost(60.0)


def error_of(ask: Callable[..., Any], *arguments: str) -> str:
    with pytest.raises(Refused) as raised:
        ask(*arguments)
    return raised.value.error


def as_nobody(ask: Callable[[], Any]) -> Any:
    """What a question gives an ordinary user; the answer is passed on as JSON."""
    memory = memory_file("answer")
    pid = os.fork()
    if not pid:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setuid(NOBODY)
            os.write(memory, json.dumps(ask()).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    text = children.written(memory)
    os.close(memory)
    return json.loads(text)


def script(folder: Path, text: str, mode: int = 0o755, name: str = "program") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return str(path)


def test_file_is_read_with_undecodable_bytes_replaced(machine: LiveHost, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"570.172.08 \xff\xfe\n")
    assert machine.read(str(path)) == "570.172.08 \ufffd\ufffd\n"


def test_missing_files_and_files_in_place_of_folders_are_absent(machine: LiveHost, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    for path in (tmp_path / "none", tmp_path / "a" / "below"):
        for ask in (machine.read, machine.folder, machine.stat, machine.link, machine.elf, machine.modinfo):
            with pytest.raises(Absent):
                ask(str(path))
        assert not machine.exists(str(path))


def test_file_that_is_too_large_is_refused(machine: LiveHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_FILE", 1000)
    (tmp_path / "most").write_bytes(b"x" * 1000)
    (tmp_path / "more").write_bytes(b"x" * 1001)
    assert len(machine.read(str(tmp_path / "most"))) == 1000
    assert error_of(machine.read, str(tmp_path / "more")) == "too-large"


def test_fifo_is_refused_and_not_waited_for(machine: LiveHost, tmp_path: Path) -> None:
    for suffix in ("", ".ko", ".ko.gz", ".ko.xz"):
        os.mkfifo(tmp_path / f"fifo{suffix}")
    path = str(tmp_path / "fifo")
    for ask in (machine.read, machine.elf, machine.elf_dynamic):
        assert error_of(ask, path) == "EINVAL"
    assert error_of(machine.lines_with, "x", path) == "EINVAL"


def test_module_in_form_of_a_fifo_is_not_waited_for(
    machine: LiveHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PROGRAM_FOLDERS", ())
    os.mkfifo(tmp_path / "nvidia.ko.xz")
    assert error_of(machine.modinfo, str(tmp_path / "nvidia.ko.xz")) == "EINVAL"


def test_folder_is_no_file_and_a_device_is_none(machine: LiveHost, tmp_path: Path) -> None:
    assert error_of(machine.read, str(tmp_path)) == "EINVAL"
    assert error_of(machine.read, "/dev/null") == "EINVAL"
    assert error_of(machine.elf, str(tmp_path)) in ("EINVAL", "EISDIR")


@pytest.mark.parametrize("ask", ["read", "folder", "stat", "elf", "modinfo", "exists"])
def test_path_with_a_nul_is_refused(machine: LiveHost, ask: str) -> None:
    assert error_of(getattr(machine, ask), "/etc/pass\0wd") == "EINVAL"


def test_path_that_is_too_long_and_links_in_a_circle_are_refused(machine: LiveHost, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("a")
    assert error_of(machine.read, str(tmp_path / "a")) == "ELOOP"
    assert error_of(machine.read, "/" + "x" * 5000) == "ENAMETOOLONG"
    assert machine.resolve(str(tmp_path / "a")) == str(tmp_path / "a")


def test_unreadable_file_is_refused_and_not_absent(machine: LiveHost, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "a").write_text("x")
    folder.chmod(0o000)
    try:
        answers = as_nobody(lambda: [machine.look(section, str(folder / "a")) for section in ("files", "stats", "elf")])
    finally:
        folder.chmod(0o700)
    assert answers == [{"error": "EACCES"}] * 3


def test_names_in_a_folder_are_sorted_and_decodable(machine: LiveHost, tmp_path: Path) -> None:
    for name in (b"b", b"a", b"\xff"):
        (tmp_path / os.fsdecode(name)).touch()
    names = machine.folder(str(tmp_path))
    assert names == ("a", "b", "\ufffd")
    assert json.dumps(names).isascii()


def test_links_are_told_as_they_are_written(machine: LiveHost, tmp_path: Path) -> None:
    (tmp_path / "libcuda.so.1").symlink_to("libcuda.so.570.172.08")
    (tmp_path / "libcuda.so.570.172.08").touch()
    assert machine.link(str(tmp_path / "libcuda.so.1")) == "libcuda.so.570.172.08"
    assert machine.link(str(tmp_path / "libcuda.so.570.172.08")) is None
    assert machine.resolve(str(tmp_path / "libcuda.so.1")) == str(tmp_path / "libcuda.so.570.172.08")


def test_stat_of_a_node_and_of_a_file(machine: LiveHost, tmp_path: Path) -> None:
    node = machine.stat("/dev/null")
    assert (node.mode[0], node.rdev, node.size) == ("c", (1, 3), None)
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "a").chmod(0o640)
    assert machine.stat(str(tmp_path / "a")) == FileStat(
        "-rw-r-----", os.geteuid(), os.getegid(), None, 5, int((tmp_path / "a").stat().st_mtime)
    )


def test_missing_program_is_absent(machine: LiveHost) -> None:
    with pytest.raises(Absent):
        machine.run("no-such-program-anywhere", "-v")
    with pytest.raises(Absent):
        machine.run("/nowhere/nvcc", "--version")


def test_command_without_an_end_is_given_up(machine: LiveHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "COMMAND_SECONDS", 0.2)
    assert error_of(machine.run, "sleep", "1000") == "timeout"


def test_command_is_given_up_when_the_run_is_over() -> None:
    assert error_of(LiveHost(0.2).run, "sleep", "1000") == "timeout"


def test_command_gets_a_clean_environment(machine: LiveHost, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "SECRET"):
        monkeypatch.setenv(name, "")
    said = dict(line.split("=", 1) for line in machine.run("env").stdout.splitlines())
    assert said == {"PATH": ":".join(live.PROGRAM_FOLDERS), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}


def test_callers_path_is_not_used(machine: LiveHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "echo theirs", name="env")
    script(tmp_path, "echo theirs", name="only-here")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert "theirs" not in machine.run("env").stdout
    with pytest.raises(Absent):
        machine.run("only-here")


def test_program_by_its_path_is_run_with_what_it_said(machine: LiveHost, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    program = script(tmp_path, "printf 'a\\377'; echo b >&2; exit 3")
    result = machine.run(program)
    assert (result.exit, result.stdout, result.stderr) == (3, "a\ufffd", "b\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is kept from running what others may write")
@pytest.mark.parametrize(("folder_mode", "mode"), [(0o755, 0o775), (0o755, 0o757), (0o775, 0o755), (0o777, 0o755)])
def test_root_runs_nothing_that_others_may_write(
    machine: LiveHost, tmp_path: Path, folder_mode: int, mode: int
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = script(folder, "touch ran", mode)
    (tmp_path / "link").symlink_to(program)
    folder.chmod(folder_mode)
    for path in (program, str(tmp_path / "link")):
        assert "others may write" in error_of(machine.run, path)


def test_program_that_cannot_start_is_refused(machine: LiveHost, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "program"
    path.write_bytes(b"neither a script nor a program")
    path.chmod(0o755)
    assert error_of(machine.run, str(path)) == "ENOEXEC"


def test_lines_of_a_long_file_are_found_in_little_memory(machine: LiveHost, tmp_path: Path) -> None:
    path = tmp_path / "modules.dep"
    with path.open("wb") as file:
        for index in range(200_000):
            file.write(b"kernel/fs/%06d.ko: %s\n" % (index, b"x" * 80))
            if index % 90_000 == 0:
                file.write(b"updates/dkms/nvidia.ko.zst: \xff\n")
    tracemalloc.start()
    try:
        lines = machine.lines_with("nvidia", str(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lines == ("updates/dkms/nvidia.ko.zst: \ufffd",) * 3
    assert peak < 4 << 20
    assert machine.lines_with("nowhere in it", str(path)) == ()
    with pytest.raises(Absent):
        machine.lines_with("nvidia", str(tmp_path / "none"))


@pytest.mark.parametrize(("cut", "hits"), [(None, 300), (-40_000, 100), (10, 0)])
def test_lines_of_a_compressed_file_are_those_before_its_damage(
    machine: LiveHost, tmp_path: Path, cut: int | None, hits: int
) -> None:
    noise = random.Random(0)
    text = "".join(
        f'  <location href="nvidia-{index}.rpm"/>\n  <checksum>{noise.randbytes(200).hex()}</checksum>\n'
        for index in range(300)
    )
    path = tmp_path / "primary.xml.gz"
    path.write_bytes(gzip.compress(text.encode())[:cut])
    lines = machine.lines_with("<location href=", str(path))
    assert len(lines) >= hits
    assert lines == tuple(f'  <location href="nvidia-{index}.rpm"/>' for index in range(len(lines)))


def test_line_without_an_end_costs_no_memory_without_end(
    machine: LiveHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MAX_FILE", 4096)
    (tmp_path / "a").write_bytes(b"x" * 2**20 + b"\nnvidia\n")
    assert machine.lines_with("nvidia", str(tmp_path / "a")) == ("nvidia",)


def real_elves() -> Iterator[str]:
    yield os.path.realpath(sys.executable)
    libc = library_path("libc.so.6")
    if libc:
        yield libc


def test_heads_of_real_elf_files(machine: LiveHost) -> None:
    name = {"x86_64": "x86-64"}.get(os.uname().machine, os.uname().machine)
    for path in real_elves():
        head = machine.elf(path)
        assert head == {"class": 64, "machine": name, "size": Path(path).stat().st_size}


def test_inside_of_a_real_library(machine: LiveHost) -> None:
    libc = library_path("libc.so.6")
    if libc is None:
        pytest.skip("this system's C library is not glibc")
    inside = machine.elf_dynamic(libc)
    assert inside["soname"] == "libc.so.6"
    assert inside["exports"] > 1000
    assert "fwd_compatibility" not in inside


def test_library_may_have_any_name(machine: LiveHost, tmp_path: Path) -> None:
    library = tmp_path / "a dynamic" / "of dynamic"
    library.parent.mkdir()
    library.write_bytes(Path(next(real_elves())).read_bytes())
    assert "exports" in machine.elf_dynamic(str(library))


def test_other_files_are_no_elf(machine: LiveHost, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("GROUP ( /lib/libcuda.so.1 )\n")
    libc = Path(next(real_elves())).read_bytes()
    (tmp_path / "cut").write_bytes(libc[:4000])
    assert error_of(machine.elf, str(tmp_path / "empty")) == "empty"
    assert error_of(machine.elf, str(tmp_path / "text")) == "not-elf"
    assert machine.elf(str(tmp_path / "cut"))["size"] == 4000
    assert error_of(machine.elf_dynamic, str(tmp_path / "cut")) == "damaged"
    assert error_of(machine.elf_dynamic, str(tmp_path / "text")) == "damaged"


@pytest.mark.parametrize("with_kmod", [True, False])
def test_module_is_read_by_modinfo_and_without_it(
    machine: LiveHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_kmod: bool
) -> None:
    path = tmp_path / "nvidia.ko"
    path.write_bytes(b"".join(elves.module(b"version=570.172.08\0license=NVIDIA\0vermagic=6.8.0 SMP \0")))
    if not with_kmod:
        monkeypatch.setattr(live, "PROGRAM_FOLDERS", ())
    fields = machine.modinfo(str(path))
    assert (fields["version"], fields["license"]) == ("570.172.08", "NVIDIA")
    assert fields["vermagic"].strip() == "6.8.0 SMP"


def test_damaged_module_is_refused_with_the_reason(
    machine: LiveHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PROGRAM_FOLDERS", ())
    for name in ("nvidia.ko", "nvidia.ko.gz", "nvidia.ko.xz"):
        (tmp_path / name).write_bytes(b"damaged" * 50)
        assert error_of(machine.modinfo, str(tmp_path / name)) == "the module file is damaged"


def test_variables_are_read_by_an_allow_list(machine: LiveHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", "/usr/local/cuda")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.delenv("CUDA_PATH", raising=False)
    assert machine.env("CUDA_HOME") == "/usr/local/cuda"
    assert machine.env("CUDA_PATH") is None
    with pytest.raises(LookupError):
        machine.env("HF_TOKEN")


def test_driver_files_are_absent_where_no_driver_is(machine: LiveHost) -> None:
    if Path(live.DRIVER_FILES).is_dir():
        pytest.skip("a driver is loaded here")
    with pytest.raises(Absent):
        machine.read("/proc/driver/nvidia/version")
    with pytest.raises(Absent):
        machine.folder("/proc/driver/nvidia/gpus")


def test_driver_files_are_read_in_a_child(machine: LiveHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nvdiag.probes import driver_files

    root = tmp_path / "nvidia"
    (root / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (root / "version").write_text("NVRM version: …\n")
    (root / "gpus" / "0000:01:00.0" / "information").write_text("Model: \t\t X\n")
    monkeypatch.setattr(live, "DRIVER_FILES", str(root))
    monkeypatch.setattr(driver_files, "ROOT", str(root))
    assert machine.read(f"{root}/version") == "NVRM version: …\n"
    assert machine.folder(f"{root}/gpus") == ("0000:01:00.0",)
    assert machine.read(f"{root}/gpus/0000:01:00.0/information") == "Model: \t\t X\n"
    with pytest.raises(Absent):
        machine.read(f"{root}/params")
    with pytest.raises(NotRecorded):
        machine.read(f"{root}/registry")


def test_nodes_are_opened_in_a_child(machine: LiveHost, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.touch()
    closed.chmod(0)
    machine.begin([shlex.join(["nodes", "/dev/null", str(tmp_path / "none"), str(tmp_path)])], 60)
    assert machine.open_error("/dev/null") == "ok"
    with pytest.raises(Absent):
        machine.open_error(str(tmp_path / "none"))
    assert {nodes, resource}  # imported here, for a user who may not read where Python is installed
    assert as_nobody(lambda: LiveHost(60.0).probe(shlex.join(["nodes", str(closed)]))) == {
        "opens": {str(closed): "EACCES"}
    }


def test_live_machine_and_its_recording_answer_alike(machine: LiveHost, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text \xff")
    (tmp_path / "l").symlink_to("a")
    recording = RecordingHost(machine)

    def ask(host: Any) -> list[Any]:
        return [
            host.read(str(tmp_path / "a")),
            host.folder(str(tmp_path)),
            host.resolve(str(tmp_path / "l")),
            host.stat(str(tmp_path / "a")),
            host.run("uname", "-m"),
            host.lines_with("text", str(tmp_path / "a")),
            host.exists(str(tmp_path / "none")),
            host.env("PATH"),
        ]

    answers = ask(recording)
    assert ask(SnapshotHost(json.loads(json.dumps(recording.document)), "replay")) == answers


def test_large_files_are_read_by_the_readers_of_their_kind(machine: LiveHost, tmp_path: Path) -> None:
    from tests.host.archives import cpio, kernel, signature_list

    files = {"initrd": cpio({"init": b""}), "vmlinuz": kernel("6.16.7-arch1-1"), "MokListRT": signature_list("a key")}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    recording = RecordingHost(machine)
    assert recording.contents("initramfs", str(tmp_path / "initrd"))["entries"] == 1
    assert recording.contents("kernel", str(tmp_path / "vmlinuz")) == {"release": "6.16.7-arch1-1"}
    assert recording.contents("certificates", str(tmp_path / "MokListRT")) == {"names": [["a key"]]}
    with pytest.raises(Absent):
        recording.contents("kernel", str(tmp_path / "none"))
    replay = SnapshotHost(json.loads(json.dumps(recording.document)), "replay")
    assert replay.contents("kernel", str(tmp_path / "vmlinuz")) == {"release": "6.16.7-arch1-1"}
    assert error_of(lambda path: machine.contents("kernel", path), str(tmp_path / "initrd"))


def test_a_file_of_the_home_is_recorded_without_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = tmp_path / ".config/docker/daemon.json"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"default-runtime": "nvidia"}')
    host = RecordingHost(LiveHost())
    assert host.exists("~/.config/docker/daemon.json")
    assert host.contents("settings:docker", "~/.config/docker/daemon.json") == {"default": "nvidia"}
    assert str(tmp_path) not in json.dumps(host.document)


def test_a_run_is_prolonged_unless_the_person_gave_a_deadline() -> None:
    asked, given = LiveHost(), LiveHost(0.5)
    for host in (RecordingHost(asked), given):
        host.begin((), 1.0)
        host.prolong(0.1)
        host.prolong(90.0)
        host.prolong(2.0)
    assert 80 < asked._until - asked._started <= 91
    assert given._until - given._started == pytest.approx(0.5)


def test_a_command_that_is_under_way_is_waited_for_and_not_started_again(
    machine: LiveHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    spawn = os.posix_spawn

    def counted(path: str, *arguments: Any, **options: Any) -> int:
        started.append(path)
        return spawn(path, *arguments, **options)

    monkeypatch.setattr(os, "posix_spawn", counted)
    machine.start_command("uname", "-r")
    machine.start_command("uname", "-r")
    machine.start_command("no-such-program")
    assert machine.run("uname", "-r").stdout.strip() == os.uname().release
    assert len(started) == 1
    with pytest.raises(Absent):
        machine.run("no-such-program")
