"""Snapshots, pastes and reports are untrusted: any bytes give a report or one clear line, and open nothing here."""

from __future__ import annotations

import builtins
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nvdiag.host import handed, snapshot
from nvdiag.host.paste.document import Part
from nvdiag.knowledge.messages import messages
from tests.cli.calling import call, one_line, process
from tests.report.reporting import MACHINES
from tests.scenarios import machines, reports
from tests.test_snapshot_is_whole import PASTES, recorded

SNAPSHOT = json.dumps(machines.ubuntu_dkms("570.169").snapshot().document).encode()
REPORT = reports.text(*reports.HEALTHY)
PASTE = "\n".join(PASTES.values()).encode()


def assert_answered(data: bytes, *arguments: str) -> None:
    """Any answer that nvdiag has for an input: a report with its exit code, or one line and 2."""
    for command in (("check", "--format", "json"), ("check",), ("snapshot", "--show")):
        result = call(*command, *arguments, "--from", "-", standard_input=data)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert result.exit_code in ((0, 2) if command[0] == "snapshot" else (0, 1, 2, 3))
        if result.exit_code == 2:
            assert result.stdout == ""
            one_line(result.stderr)
        else:
            assert result.stdout
            assert "nvdiag's own " not in result.stdout.replace("nvdiag's own probe", "")


# Any bytes


def mutations(*originals: bytes) -> st.SearchStrategy[bytes]:
    """Real inputs with some places cut out, doubled, or overwritten."""
    odd = st.binary(max_size=8) | st.sampled_from(
        [
            b"\x00",
            b"\xff",
            b"\xed\xa0\x80",
            b"\x1b[",
            b"\r",
            b"\n\n",
            b"{",
            b"[",
            b'"',
            b"\\u0000",
            b"\\ud800",
            b"1e999",
            b"NaN",
        ]
    )

    @st.composite
    def mutated(draw: st.DrawFn) -> bytes:
        data = draw(st.sampled_from(originals))
        for _ in range(draw(st.integers(0, 5))):
            start = draw(st.integers(0, len(data)))
            end = min(len(data), start + draw(st.integers(0, 40)))
            data = data[:start] + draw(odd | st.just(data[start:end] * 2)) + data[end:]
        return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data

    return mutated()


LINES = [line for text in PASTES.values() for line in text.split("\n")] + [
    one for message in messages()[::7] for one in message.example.split("\n")
]
FOUND = (
    b"", b"\n", b"\x00", b"\xff\xfe", b"\xfe\xff\x00", b"\xef\xbb\xbf", b"\x1f\x8b", b"\x1f\x8b\x08", b"{",
    b'{"nvdiag_snapshot"',
    b'{"nvdiag_snapshot": 1, "messages": [null, 7, {}, {"text": 7}, {"source": 7, "text": "x"}]}',
    b'{"nvdiag_snapshot": 1, "kind": "paste", "parts": [{"kind": "paste", "label": "\\ud800"}]}',
    b'{"nvdiag_snapshot": 1, "captured_at": 1e999, "files": {"": "", "\\u0000": "x", "/etc/os-release": "\\u0000"}}',
    b'{"nvdiag_snapshot": 1, "commands": {"nvidia-smi \'": {"exit": 0}, "": {"exit": 0}, "nvidia-smi": {"exit": 1e3}}}',
    b'{"nvdiag_snapshot": 1, "env": {"CUDA_VISIBLE_DEVICES": "\\ud800"}, "probes": {"nvml": {"init": NaN}}}',
    b"$ \\\n" * 40, b"$ ' \" \\\n", b"```\n~~~\n", b"> " * 300, b"\x1b]8;;\x07" * 9, b"%PDF-1.7\n1 0 obj",
    b"#!/bin/sh\n",
    b"____________________________________________\n\nStart of NVIDIA bug report log file", "ÿ\u0130İ".encode() * 30,
)  # fmt: skip
"""What was found, or thought of, that none of the above would come upon."""


@pytest.mark.parametrize("data", FOUND, ids=range(len(FOUND)))
def test_what_was_found_is_answered(data: bytes) -> None:
    for form in (data, gzip.compress(data), gzip.compress(data)[:-3]):
        assert_answered(form)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")))
@example(b"\xff\xfe" + "nvidia-smi\n".encode("utf-16-le"))
def test_any_bytes_are_answered(data: bytes) -> None:
    assert_answered(data)
    assert_answered(gzip.compress(data, 1))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=mutations(SNAPSHOT, REPORT, PASTE, reports.zipped(REPORT[:900], REPORT[900:]), gzip.compress(SNAPSHOT)))
def test_real_inputs_with_damage_are_answered(data: bytes) -> None:
    assert_answered(data)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(LINES) | st.text(max_size=30), max_size=30).map("\n".join))
def test_any_lines_of_terminals_are_answered(text: str) -> None:
    assert_answered(text.encode("utf-8", "replace"))


@pytest.mark.parametrize(
    "data", [b"\xff" * 999, b"\x1f\x8b\x08\x00junk", b"[" * 9999, SNAPSHOT[:500], PASTE, b"\x1b[2J\n"]
)
def test_they_are_in_a_process_too(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_bytes(data)
    result = process("--from", str(file))
    assert result.returncode in (0, 1, 2, 3)
    assert "Traceback" not in result.stderr
    if result.returncode == 2:
        one_line(result.stderr)


# Sizes


def test_too_long_a_paste_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handed, "MAX_BYTES", 4096)
    result = call("check", "--from", "-", standard_input=b"x y z\n" * 1000)
    assert result.exit_code == 2
    assert "larger than 0 MiB: cut it down to the part that tells of the trouble" in one_line(result.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(
    "data", [b"x\n" * (33 * 2**20), gzip.compress(b"x\n" * (33 * 2**20), 1)], ids=["plain", "gzip"]
)
def test_the_limit_of_a_paste_is_64_mebibytes(data: bytes) -> None:
    result = call("check", "--from", "-", standard_input=data)
    assert result.exit_code == 2
    assert "larger than 64 MiB" in one_line(result.stderr)


def test_too_many_lines_are_refused_before_they_are_kept() -> None:
    lines = b"\n" * (snapshot.MAX_LINES + 1)
    result = call("check", "--from", "-", standard_input=b"x" + lines)
    assert result.exit_code == 2
    assert "more than 2000000 lines: cut it down" in one_line(result.stderr)
    for newline in (b"\\n", b"\\u000A"):
        text = newline * (snapshot.MAX_LINES + 1)
        result = call("check", "--from", "-", standard_input=b'{"nvdiag_snapshot": 1, "messages": ["' + text + b'"]}')
        assert result.exit_code == 2
        assert "more than 2000000 lines of text" in one_line(result.stderr)


def test_a_snapshot_that_would_be_too_long_is_not_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = b"CUDA error: out of memory\n" * 900
    monkeypatch.setattr(snapshot, "MAX_BYTES", 20_000)
    result = call("snapshot", "--from", "-", str(tmp_path / "s.json"), standard_input=data)
    assert result.exit_code == 2
    assert "the snapshot would be larger than" in one_line(result.stderr)
    assert not (tmp_path / "s.json").exists()


LONG: dict[str, Callable[[int], bytes]] = {
    "one line": lambda size: b"x" * size,
    "one line of messages": lambda size: b"NVRM: Xid (PCI:0000:01:00): 79, " * (size // 32),
    "one line of prompts": lambda size: b"ada@box:~$ nvidia-smi " * (size // 22),
    "prompts": lambda size: b"$ nvidia-smi\n" * (size // 13),
    "prompts of many machines": lambda size: b"".join(
        b"a@h%d:~$ nvidia-smi\nNVRM version: NVIDIA UNIX x86_64 Kernel Module  %d.1  F\n" % (n, n)
        for n in range(size // 70)
    ),
    "moments": lambda size: b"".join(
        b"$ cat /proc/driver/nvidia/version\nNVRM version: NVIDIA UNIX x86_64 Kernel Module  %d.11  F\n" % n
        for n in range(size // 90)
    ),
    "pieces of a listing": lambda size: b"".join(b"$ lsmod\nnvidia %d 0\n" % (1000 + n) for n in range(size // 24)),
    "pieces of packages": lambda size: b"".join(b"$ pip list\npkg%d  1.%d\n" % (n, n) for n in range(size // 28)),
    "a line that goes on and on": lambda size: b"$ nvidia-smi \\\n" * (size // 15),
    "quotes in quotes": lambda size: b">" * size,
    "fences": lambda size: b"```\nnvidia-smi\n```\n" * (size // 19),
    "objects": lambda size: b"x\n" + b'{"log":' * (size // 7),
    "escapes": lambda size: b"\x1b[" * (size // 2) + b"x",
    "titles": lambda size: b"\x1b]0;x" * (size // 5),
    "entities": lambda size: b"&lt;" * (size // 4),
    "tags": lambda size: b"<br" * (size // 3),
    "returns": lambda size: b"\r" * size + b"x",
    "blanks": lambda size: b" " * size + b"x",
    "variables": lambda size: b"$ env\n" + b"".join(b"VAR_%d=x\n" % n for n in range(size // 12)),
    "assignments": lambda size: b"$ " + b"A_B=1 " * (size // 6),
    "Xids": lambda size: b"".join(
        b"NVRM: Xid (PCI:0000:%02x:00): 79, pid=%d\n" % (n % 256, n) for n in range(size // 44)
    ),
    "secrets": lambda size: b"".join(
        b"A_TOKEN=t%dk --api-key %dx u%d@h%d:~$ x\n" % (n, n, n, n) for n in range(size // 50)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_a_long_paste_is_answered(name: str) -> None:
    assert_answered(LONG[name](60_000))


def work(data: bytes) -> int:
    """How many calls of functions, of Python and of C, an input costs."""
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        handed.host_of(data, "x")
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("name", LONG)
def test_reading_a_paste_takes_work_in_proportion_to_its_length(name: str) -> None:
    work(LONG[name](1000))
    assert work(LONG[name](80_000)) <= 5 * work(LONG[name](20_000)) + 1000


def test_a_listing_in_pieces_does_not_grow_without_end() -> None:
    part = Part()
    for number in range(30_000):
        part.more(("lsmod",), f"nvidia {number} 0 and more of it")
    assert len(part.document["commands"]["lsmod"]["stdout"]) < 300_000


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_a_megabyte_is_answered_too(name: str) -> None:
    result = call("check", "--from", "-", standard_input=LONG[name](1_000_000))
    assert result.exit_code in (0, 1, 2, 3), result.exception


# Paths in the data


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every path that this process asks the system about, and every program that it would start."""
    asked: list[str] = []

    def watch(module: Any, name: str) -> None:
        real = getattr(module, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            first = arguments[0] if arguments else options.get("path", options.get("file", "."))
            asked.append(os.fsdecode(first) if isinstance(first, (str, bytes, os.PathLike)) else str(first))
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, watched)

    for module, names in (
        (builtins, ("open",)),
        (io, ("open", "open_code")),
        (
            os,
            (
                "open",
                "stat",
                "lstat",
                "access",
                "readlink",
                "listdir",
                "scandir",
                "statvfs",
                "chdir",
                "mkdir",
                "unlink",
            ),
        ),
        (os, ("execv", "execve", "posix_spawn", "posix_spawnp", "system", "popen")),
        (os.path, ("exists", "isfile", "isdir", "realpath", "islink", "lexists")),
        (subprocess, ("Popen",)),
    ):
        for name in names:
            watch(module, name)
    for name in ("fork", "forkpty"):
        monkeypatch.setattr(os, name, lambda *_: pytest.fail("a child was started"))
    return asked


def trapped(trap: str) -> dict[str, bytes]:
    """Inputs that name a real folder, and files of this machine, wherever a path can stand."""
    document = recorded(MACHINES["a toolkit"]())
    document["env"] |= dict.fromkeys(
        ("LD_LIBRARY_PATH", "PATH", "CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV", "LD_PRELOAD"), trap
    )
    document["links"] |= {"/usr/local/cuda": trap, "/usr/lib/x86_64-linux-gnu/libcuda.so.1": f"{trap}/libcuda.so.1"}
    document["probes"]["nvml"]["library"] = f"{trap}/libnvidia-ml.so.1"
    document["messages"] = [f"ImportError: {trap}/x.so: cannot open shared object file", f"$ cat {trap}/x"]
    listing = f"$ ls -l {trap}\n-rwxr-xr-x 1 root root 9 Oct 16 22:58 {trap}/libcuda.so.1 -> {trap}/x\n"
    paste = f"{listing}$ cat {trap}/x\nx\n$ export LD_LIBRARY_PATH={trap}\n$ {trap}/nvcc --version\n$ source {trap}/x\n"
    return {
        "snapshot": json.dumps(document).encode(),
        "paste": paste.encode() + PASTE,
        "report": reports.text(
            *reports.HEALTHY, reports.file(f"{trap}/x", "x\n"), reports.command(f"{trap}/run -q", "x")
        ),
    }


@pytest.mark.parametrize("kind", ["snapshot", "paste", "report"])
@pytest.mark.parametrize("command", [("check",), ("check", "--format", "json"), ("snapshot", "--show")], ids=" ".join)
def test_no_path_in_the_data_is_asked_for_here(
    kind: str, command: tuple[str, ...], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    trap = tmp_path / "trap"
    trap.mkdir()
    data = trapped(str(trap))[kind]
    file = tmp_path / "input"
    file.write_bytes(data)
    call(*command, "--from", str(file))  # so that all is imported, and each table read
    opened: list[str] = request.getfixturevalue("opened")
    result = call(*command, "--from", str(file))
    assert result.exit_code in (0, 1, 3), result.exception
    touched = list(opened)
    assert str(file) in touched
    assert [path for path in touched if path.startswith(str(trap))] == []
    machine = handed.host_of(data, "x") if kind != "report" else handed.host_from(io.BytesIO(data), "x")
    named = {key for section in machine.document.values() if isinstance(section, dict) for key in section}  # type: ignore[attr-defined]
    assert named.intersection(touched) == set()
