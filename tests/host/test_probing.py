"""The probes' children: whatever becomes of one, its last words are kept and nothing of it reaches the terminal."""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nvdiag.host import children
from nvdiag.host.probe import Probing, signal_name
from nvdiag.probes import child, confine
from nvdiag.probes import starter as starter_module
from nvdiag.probes.child import Say
from nvdiag.probes.memory import Json, last_words, memory_file
from nvdiag.probes.starter import MOST, Starter

ROOT = Path(__file__).resolve().parents[2]
Probe = Callable[[list[str], Say], dict[str, Json]]


@pytest.fixture(autouse=True)
def _nothing_here_waits_for_ever() -> Iterator[None]:
    signal.alarm(120)
    yield
    signal.alarm(0)


@pytest.fixture(params=[False, True], ids=["forked here", "forked by the starter"])
def answer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Json]]:
    """Ask a probe made of a function."""

    def ask(probe: Probe, name: str = "odd", seconds: float = 60.0) -> dict[str, Json]:
        make(probe, monkeypatch)
        with started() if request.param else nullcontext() as starter:
            probing = Probing(name, starter)
            document = probing.answer(time.monotonic() + seconds)
            assert probing.answer(0.0) is document
            assert (probing.pid == 0) == bool(request.param)
        return document

    return ask


def make(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a function be the probe `odd`, here and in whatever is forked from here."""
    module = ModuleType("odd_probe")
    module.run = probe  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "odd_probe", module)
    monkeypatch.setitem(child.PROBES, "odd", "odd_probe")


@contextmanager
def started() -> Iterator[Starter]:
    """A starter that is gone afterwards."""
    starter = Starter()
    yield starter
    os.kill(starter.process, signal.SIGKILL)
    os.waitpid(starter.process, 0)


def half(say: Say) -> None:
    """What a probe says before it meets its end; pytest's own report of a crash would only disturb."""
    faulthandler.disable()
    say("one", {"init": 0})
    say("two", {"init": 0, "count": 2})


def hang(arguments: list[str], say: Say) -> dict[str, Json]:
    say("its own doing", {"pid": os.getpid()})
    time.sleep(300)
    return {}


@pytest.mark.parametrize("by_starter", [False, True])
def test_a_probe_that_hangs_does_not_outlive_nvdiag(monkeypatch: pytest.MonkeyPatch, by_starter: bool) -> None:
    make(hang, monkeypatch)
    reading, writing = os.pipe()
    parent = os.fork()
    if not parent:
        starter = Starter() if by_starter else None
        probing = Probing("odd", starter)
        processes = [starter.process, starter.pid(0, time.monotonic() + 10)] if starter else [probing.pid]
        os.write(writing, json.dumps(processes).encode())
        time.sleep(300)
    processes = json.loads(os.read(reading, 40))
    time.sleep(0.5)
    os.kill(parent, signal.SIGTERM)
    os.waitpid(parent, 0)
    until = time.monotonic() + 10
    for process in processes:
        while children.process_state(process) not in ("", "Z", "X") and time.monotonic() < until:
            time.sleep(0.01)
        assert children.process_state(process) in ("", "Z", "X")


def test_more_probes_than_a_starter_has_room_for_are_forked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    make(lambda arguments, say: {"arguments": arguments}, monkeypatch)
    with started() as starter:
        probings = [Probing(f"odd {number}", starter) for number in range(MOST + 2)]
        answers = [probing.answer(time.monotonic() + 60) for probing in reversed(probings)]
    assert answers == [{"arguments": [str(number)]} for number in reversed(range(MOST + 2))]
    assert [probing.pid != 0 for probing in probings] == [False] * MOST + [True] * 2


@pytest.mark.parametrize("before", [True, False], ids=["gone before", "gone after"])
def test_a_starter_that_is_gone_costs_no_answer(monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    make(lambda arguments, say: {"a": 1}, monkeypatch)
    with started() as starter:
        os.kill(starter.process, signal.SIGSTOP)
        probing = None if before else Probing("odd", starter)
        os.kill(starter.process, signal.SIGKILL)
        while children.process_state(starter.process) != "Z":
            time.sleep(0.001)
        probing = probing or Probing("odd", starter)
        assert probing.answer(time.monotonic() + 60) == {"a": 1}


def test_a_starter_that_is_late_to_tell_of_an_end_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    make(lambda arguments, say: sys.exit(3), monkeypatch)
    with started() as starter:
        probing = Probing("odd", starter)
        pid = starter.pid(0, time.monotonic() + 60)
        os.kill(starter.process, signal.SIGSTOP)
        assert pid is not None
        while children.process_state(pid) != "Z":
            time.sleep(0.001)
        threading.Timer(2 * children.GRACE, os.kill, (starter.process, signal.SIGCONT)).start()
        assert probing.answer(time.monotonic() + 60)["exit"] == 70


def test_a_starter_that_can_fork_no_more_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, memory: int) -> int:
        raise BlockingIOError

    make(lambda arguments, say: {"a": 1}, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(child, "start", refuse)
        starter = Starter()
    try:
        assert Probing("odd", starter).answer(time.monotonic() + 60) == {"a": 1}
    finally:
        os.kill(starter.process, signal.SIGKILL)
        os.waitpid(starter.process, 0)


def test_a_starter_on_an_old_kernel_looks_at_its_children_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, "pidfd_open")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    make(lambda arguments, say: sys.exit(7), monkeypatch)
    with started() as starter:
        document = Probing("odd", starter).answer(time.monotonic() + 60)
    assert (document["error"], document["exit"]) == ("failed", 70)


def test_a_starter_whose_children_have_ended_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    make(lambda arguments, say: {}, monkeypatch)
    with started() as starter:
        for number in range(4):
            Probing(f"odd {number}", starter).answer(time.monotonic() + 60)
        until = time.monotonic() + 10
        while children.process_state(starter.process) != "S" and time.monotonic() < until:
            time.sleep(0.01)
        before = spent(starter.process)
        time.sleep(0.3)
        assert spent(starter.process) - before <= 2


def spent(pid: int) -> int:
    """The processor time of a process, in ticks of a hundredth of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize(
    ("load", "gives_way"),
    [("0.10 0.10 0.10 1/90 77\n", True), ("0.10 0.10 0.10 10000/90 77\n", False), ("?", False), (None, False)],
)
def test_a_starters_children_give_way_on_a_machine_that_is_not_busy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, load: str | None, gives_way: bool
) -> None:
    monkeypatch.setattr(starter_module, "LOAD", str(tmp_path / "loadavg"))
    if load is not None:
        (tmp_path / "loadavg").write_text(load)
    make(lambda arguments, say: {"nice": os.nice(0)}, monkeypatch)
    with started() as starter:
        assert (Probing("odd", starter).answer(time.monotonic() + 60)["nice"] > os.nice(0)) == gives_way


def test_a_starter_never_takes_a_standard_streams_place() -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); [os.close(number) for number in (0, 1, 2)]\n"
        "from nvdiag.host.probe import Probing\nfrom nvdiag.probes.starter import Starter\nimport time\n"
        "starter = Starter(); probing = Probing('dlopen libc.so.6', starter)\n"
        "told = probing.answer(time.monotonic() + 60)\n"
        "os._exit(0 if told.get('library') and not probing.pid else 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT)], check=False, capture_output=True)
    assert done.returncode == 0


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
    assert last_words(written) == words


def test_signals_are_named() -> None:
    assert (signal_name(11), signal_name(999)) == ("SIGSEGV", "signal 999")


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
    memory = memory_file("attempts")
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
