"""The probes' children: whatever becomes of one, its last words are kept and nothing of it reaches the terminal."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nvdiag.host import children
from nvdiag.host.probe import Probing
from nvdiag.probes import child, confine
from nvdiag.probes.child import Json, Say

Probe = Callable[[list[str], Say], dict[str, Json]]


@pytest.fixture(autouse=True)
def _nothing_here_waits_for_ever() -> Iterator[None]:
    signal.alarm(120)
    yield
    signal.alarm(0)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Json]]:
    """Ask a probe made of a function."""

    def ask(probe: Probe, name: str = "odd", seconds: float = 60.0) -> dict[str, Json]:
        module = ModuleType("odd_probe")
        module.run = probe  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "odd_probe", module)
        monkeypatch.setitem(child.PROBES, "odd", "odd_probe")
        probing = Probing(name)
        document = probing.answer(time.monotonic() + seconds)
        assert probing.answer(0.0) is document
        return document

    return ask


def half(say: Say) -> None:
    """What a probe says before it meets its end; pytest's own report of a crash would only disturb."""
    faulthandler.disable()
    say("one", {"init": 0})
    say("two", {"init": 0, "count": 2})


def test_a_probe_that_hangs_does_not_outlive_nvdiag(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(arguments: list[str], say: Say) -> dict[str, Json]:
        time.sleep(300)
        return {}

    module = ModuleType("odd_probe")
    module.run = hang  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "odd_probe", module)
    monkeypatch.setitem(child.PROBES, "odd", "odd_probe")
    reading, writing = os.pipe()
    parent = os.fork()
    if not parent:
        os.write(writing, str(Probing("odd").pid).encode())
        time.sleep(300)
    probe = int(os.read(reading, 20))
    time.sleep(0.5)
    os.kill(parent, signal.SIGTERM)
    os.waitpid(parent, 0)
    until = time.monotonic() + 10
    while children.process_state(probe) not in ("", "Z", "X") and time.monotonic() < until:
        time.sleep(0.01)
    assert children.process_state(probe) in ("", "Z", "X")


def test_answer_is_the_document(answer: Callable[..., Any]) -> None:
    assert answer(lambda arguments, say: {"arguments": arguments}, "odd 'a b' c") == {"arguments": ["a b", "c"]}


def test_a_probe_leaves_no_half_made_bytecode(answer: Callable[..., Any]) -> None:
    """A confined child could make a temporary .pyc, and neither rename nor remove it."""
    assert answer(lambda arguments, say: {"writes": not sys.dont_write_bytecode})["writes"] is False


def test_probe_that_raises_keeps_what_it_knew(answer: Callable[..., Any]) -> None:
    def probe(arguments: list[str], say: Say) -> dict[str, Json]:
        half(say)
        raise AttributeError("no such function")

    assert answer(probe) == {
        "init": 0, "count": 2, "error": "failed", "exit": 72, "stage": "two: AttributeError: no such function",
    }  # fmt: skip


def test_probe_of_an_unknown_name_fails(answer: Callable[..., Any]) -> None:
    document = answer(lambda arguments, say: {}, "nobody")
    assert (document["error"], document["stage"]) == ("failed", "import: KeyError: 'nobody'")


def test_probe_without_memory_fails(answer: Callable[..., Any]) -> None:
    def probe(arguments: list[str], say: Say) -> dict[str, Json]:
        half(say)
        raise MemoryError

    assert answer(probe) == {"init": 0, "count": 2, "error": "failed", "exit": 71, "stage": "two"}


@pytest.mark.parametrize("end", [lambda: os._exit(3), lambda: sys.exit(3)])
def test_probe_that_ends_its_process_keeps_what_it_knew(answer: Callable[..., Any], end: Callable[[], Any]) -> None:
    def probe(arguments: list[str], say: Say) -> dict[str, Json]:
        half(say)
        end()
        return {}

    document = answer(probe)
    assert document.pop("exit") in (3, 70)
    assert document == {"init": 0, "count": 2, "error": "failed", "stage": "two"}


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGTERM, signal.SIGPIPE])
def test_probe_that_crashes_keeps_what_it_knew(answer: Callable[..., Any], number: signal.Signals) -> None:
    def probe(arguments: list[str], say: Say) -> dict[str, Json]:
        half(say)
        os.kill(os.getpid(), number)
        time.sleep(1000)
        return {}

    expected = {"init": 0, "count": 2, "error": "crashed", "stage": "two", "signal": number.name}
    assert answer(probe) == expected


def test_crash_leaves_no_core_file(answer: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def probe(arguments: list[str], say: Say) -> dict[str, Json]:
        faulthandler.disable()
        ctypes.string_at(0)
        return {}

    assert answer(probe)["signal"] == "SIGSEGV"
    assert list(tmp_path.iterdir()) == []


def test_probe_that_hangs_keeps_what_it_knew(answer: Callable[..., Any]) -> None:
    def probe(arguments: list[str], say: Say) -> dict[str, Json]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        half(say)
        time.sleep(1000)
        return {}

    document = answer(probe, seconds=0.5)
    assert document.pop("silent_seconds") >= 0
    expected = {"init": 0, "count": 2, "error": "hung", "stage": "two", "state": "S", "left_behind": False}
    assert document == expected


def test_nothing_of_a_probe_reaches_the_terminal(answer: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    def probe(arguments: list[str], say: Say) -> dict[str, Json]:
        print("on stdout", file=sys.__stdout__, flush=True)
        print("on stderr", file=sys.__stderr__, flush=True)
        os.write(1, b"by descriptor")
        os.system("echo from a program; echo and its errors >&2")
        return {"input": os.read(0, 10).decode()}

    assert answer(probe) == {"input": ""}
    assert capfd.readouterr() == ("", "")


def test_what_waits_in_our_buffers_is_written_once(
    answer: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    sys.stdout.write("before\n")
    answer(lambda arguments, say: {})
    sys.stdout.flush()
    assert capfd.readouterr().out == "before\n"


def test_probes_start_where_standard_streams_are_closed(
    answer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert answer(lambda arguments, say: {"a": 1}) == {"a": 1}


def test_last_word_counts_even_where_more_was_written_than_is_kept(
    answer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "MAX_OUTPUT", 4000)

    def probe(arguments: list[str], say: Say) -> dict[str, Json]:
        for index in range(100):
            say(f"call {index}", {"text": "x" * index})
        return {"last": True}

    assert answer(probe) == {"last": True}


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (b"", ({}, "start", 0.0)),
        (b'{"stage": "a", "sec', ({}, "start", 0.0)),
        (b'{"stage": "a", "seconds": 0.5, "document": {"b": 1}}\n', ({"b": 1}, "a", 0.5)),
        (b'{"stage": "a", "seconds": 0.5, "document": {}}\n{"stage": "b", "seconds"', ({}, "a", 0.5)),
        (b'conds": 0.1, "document": {}}\n', ({}, "start", 0.0)),
    ],
)
def test_last_words_are_the_last_whole_line(written: bytes, words: tuple[dict[str, Json], str, float]) -> None:
    assert child.last_words(written) == words


def test_signals_are_named() -> None:
    assert (child.signal_name(11), child.signal_name(999)) == ("SIGSEGV", "signal 999")


def confined(folder: Path, *spared: str) -> dict[str, Any]:
    """What a confined process may do, found out in a child; the calls `spared` are left to it."""
    target, fresh = folder / "file", folder / "fresh"
    target.write_text("text")
    target.chmod(0o600)
    attempts: dict[str, Callable[[], Any]] = {
        "chmod": lambda: os.chmod(target, 0o666),  # noqa: PTH101
        "fchmod": lambda: os.fchmod(os.open(target, os.O_RDONLY), 0o666),
        "chown": lambda: os.chown(target, 1, 1),
        "mknod": lambda: os.mknod(fresh, 0o600),
        "mkdir": fresh.mkdir,
        "rename": lambda: target.rename(fresh),
        "link": lambda: os.link(target, fresh),
        "symlink": lambda: fresh.symlink_to(target),
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "init_module": _delete_module,
        "read": target.read_text,
        "list": lambda: os.listdir(folder),  # noqa: PTH208
        "thread": lambda: os.waitpid(_forked(), 0)[1],
        "unlink": target.unlink,
    }
    memory = children.memory_file("attempts")
    pid = os.fork()
    if not pid:
        try:
            outcome: dict[str, Any] = {"confined": confine.confine(spared)}
            for name, attempt in attempts.items():
                try:
                    outcome[name] = attempt()
                except OSError as error:
                    outcome[name] = error.errno
            os.write(memory, json.dumps(outcome).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    text = children.written(memory)
    os.close(memory)
    found: dict[str, Any] = json.loads(text)
    return found


def _delete_module() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = confine._MACHINES[os.uname().machine][1]["delete_module"]
    if libc.syscall(number, b"nvdiag_no_such_module", 0) != 0:
        raise OSError(ctypes.get_errno(), "delete_module")


def _forked() -> int:
    pid = os.fork()
    if not pid:
        os._exit(0)
    return pid


@pytest.mark.skipif(os.uname().machine not in confine._MACHINES, reason="this machine's system calls are not known")
def test_confined_process_changes_nothing_and_reads_on(tmp_path: Path) -> None:
    found = confined(tmp_path)
    assert found.pop("confined") is True
    assert (found.pop("read"), found.pop("list"), found.pop("thread")) == ("text", ["file"], 0)
    assert found == dict.fromkeys(found, 1)
    assert len(found) == 12
    target = tmp_path / "file"
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.uname().machine not in confine._MACHINES, reason="this machine's system calls are not known")
def test_vendor_code_is_confined_before_it_runs(
    answer: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "VENDOR", frozenset({"odd"}))

    def probe(arguments: list[str], say: Say) -> dict[str, Json]:
        return {"status": Path("/proc/self/status").read_text(), "program": os.system("true")}

    document = answer(probe)
    fields = dict(line.split(":\t", 1) for line in document["status"].splitlines() if ":\t" in line)
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert not int(fields["CapBnd"], 16) & (1 << 16 | 1 << 27)
    assert document["program"] != 0


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)])
def test_filter_denies_what_it_lists_and_allows_the_rest(machine: str, architecture: int) -> None:
    program = confine.filter_program(machine)
    assert program is not None
    listed = set(confine._MACHINES[machine][1].values())
    for number in range(500):
        expected = 0x00050001 if number in listed else 0x7FFF0000
        assert evaluated(program, number, architecture) == expected
        assert evaluated(program, number, architecture + 1) == 0x7FFF0000


def evaluated(program: bytes, number: int, architecture: int) -> int:
    """What a filter returns for a system call: a machine for the three instructions that ours has."""
    steps = list(struct.iter_unpack("=HBBI", program))
    data, held, at = {0: number, 4: architecture}, 0, 0
    while True:
        code, if_equal, if_not, operand = steps[at]
        at += 1
        if code == 0x20:
            held = data[operand]
        elif code == 0x15:
            at += if_equal if held == operand else if_not
        else:
            assert code == 0x06
            return int(operand)


def test_machine_whose_numbers_are_not_known_gets_no_filter() -> None:
    assert confine.filter_program("riscv64") is None
    assert confine.filter_program("") is None


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_system_calls_have_numbers_of_their_own(machine: str) -> None:
    numbers = list(confine._MACHINES[machine][1].values())
    assert len(numbers) == len(set(numbers))
    assert len(numbers) < 200  # a jump has eight bits


@pytest.mark.skipif(os.uname().machine not in confine._MACHINES, reason="this machine's system calls are not known")
def test_a_client_of_mps_may_take_its_files_away_and_nothing_else(tmp_path: Path) -> None:
    found = confined(tmp_path, *confine.UNLINKING)
    assert found.pop("unlink") is None
    assert not (tmp_path / "file").exists()
    assert {found.pop(name) for name in ("confined", "read", "thread")} == {True, "text", 0}
    assert found == dict.fromkeys(found, 1) | {"list": ["file"]}
