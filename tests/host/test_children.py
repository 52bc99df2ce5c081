"""Children with a deadline: whatever a child does, the parent goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nvdiag.host import children
from nvdiag.host.children import Ended, Overdue
from nvdiag.probes.memory import memory_file
from tests.rigs import cgroups, rig

ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


@pytest.fixture(autouse=True)
def _nothing_here_waits_for_ever() -> Iterator[None]:
    signal.alarm(120)
    yield
    signal.alarm(0)


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


def forked(life: Callable[[], object]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        life()
    finally:
        os._exit(0)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def run(*argv: str, until: float | None = None) -> tuple[Ended | Overdue, bytes, bytes]:
    return children.run(argv, ENV, until or soon())


def test_output_and_exit_code_of_a_command() -> None:
    assert run("/bin/sh", "-c", "echo out; echo err >&2; exit 7") == (Ended(7), b"out\n", b"err\n")


def test_command_has_no_input_and_only_the_given_environment() -> None:
    assert run("/bin/sh", "-c", "cat; echo $LC_ALL $HOME") == (Ended(0), b"C.UTF-8\n", b"")


def test_command_gets_no_file_that_we_opened(tmp_path: Path) -> None:
    with (tmp_path / "ours").open("wb"):
        _, out, _ = run("/bin/sh", "-c", "ls -l /proc/$$/fd")
    assert b"/dev/null" in out
    assert b"ours" not in out


def test_sigpipe_is_not_ignored_in_a_command() -> None:
    ignored = int(run("/bin/sh", "-c", "grep SigIgn /proc/self/status")[1].split()[1], 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1))


def test_signal_is_a_negative_code() -> None:
    assert run("/bin/sh", "-c", "kill -SEGV $$")[0] == Ended(-signal.SIGSEGV)


@pytest.mark.parametrize("argv", [["/nowhere/program"], ["/etc/passwd"], ["/etc"]])
def test_program_that_cannot_start_is_an_oserror(argv: list[str]) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(OSError, match=r"No such file|Permission denied|Is a directory"):
        run(*argv)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_output_beyond_the_limit_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "MAX_OUTPUT", 1000)
    outcome, out, err = run("/bin/sh", "-c", "head -c 5000 /dev/zero; echo done >&2")
    assert (outcome, len(out), err) == (Ended(0), 1000, b"done\n")


def test_command_that_ignores_sigterm_is_ended() -> None:
    outcome, out, _ = run("/bin/sh", "-c", "trap '' TERM; echo started; sleep 1000; sleep 1000", until=soon(0.3))
    assert isinstance(outcome, Overdue)
    assert not outcome.survived_kill
    assert out == b"started\n"


def test_what_the_command_started_is_ended_with_it() -> None:
    outcome, out, _ = run("/bin/sh", "-c", "sleep 1000 & echo $!; wait", until=soon(0.3))
    assert isinstance(outcome, Overdue)
    deadline = soon(30)
    while not is_gone(int(out)) and children.process_state(int(out)) != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert children.process_state(int(out)) in ("", "Z")


def test_stopped_child_is_ended() -> None:
    pid = forked(lambda: os.kill(os.getpid(), signal.SIGSTOP))
    outcome = children.wait(pid, soon(0.3))
    assert outcome == Overdue("T", survived_kill=False)
    assert is_gone(pid)


def test_child_that_is_gone_already_is_reaped() -> None:
    pid = forked(lambda: os._exit(3))
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert children.wait(pid, time.monotonic() - 1) == Ended(3)
    assert is_gone(pid)


def test_deadline_of_years_is_no_overflow() -> None:
    assert children.wait(forked(lambda: None), soon(1e12)) == Ended(0)


def test_kernel_without_pidfd_is_asked_by_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    assert children.wait(forked(lambda: os._exit(5)), soon()) == Ended(5)
    overdue = children.wait(forked(lambda: time.sleep(1000)), soon(0.2))
    assert isinstance(overdue, Overdue)
    assert not overdue.survived_kill


@pytest.mark.skipif(cgroups.why_no_freezer() is not None, reason=str(cgroups.why_no_freezer()))
@pytest.mark.parametrize("by", ["pidfd", "polling"])
def test_child_that_cannot_be_killed_is_left_behind(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if by == "polling":
        monkeypatch.delattr(os, "pidfd_open")
    pid = forked(lambda: time.sleep(1000))
    with cgroups.frozen(pid):
        outcome = children.wait(pid, soon(0.2))
        assert isinstance(outcome, Overdue)
        assert outcome.survived_kill
        assert not is_gone(pid)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


def test_state_of_processes() -> None:
    assert children.process_state(os.getpid()) in ("R", "S")
    assert children.process_state(2**22 + 1) == ""


def test_memory_file_never_takes_a_standard_streams_place() -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); [os.close(number) for number in (0, 1, 2)]\n"
        "from nvdiag.probes.memory import memory_file\n"
        "made = memory_file('x'); os._exit(0 if made > 2 and not os.get_inheritable(made) else 9)"
    )
    root = str(rig.HERE.parents[1])
    done = subprocess.run([sys.executable, "-c", code, root], check=False, capture_output=True)
    assert done.returncode == 0


def test_last_of_what_was_written_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "MAX_OUTPUT", 4)
    descriptor = memory_file("x")
    with contextlib.closing(os.fdopen(descriptor, "wb")) as file:
        assert (children.written(descriptor), children.last_written(descriptor)) == (b"", b"")
        file.write(b"abcdefg")
        file.flush()
        assert (children.written(descriptor), children.last_written(descriptor)) == (b"abcd", b"defg")


def test_output_is_kept_where_the_kernel_has_no_memory_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: str) -> int:
        raise OSError("Function not implemented")

    monkeypatch.setattr(os, "memfd_create", refuse)
    descriptor = memory_file("out")
    try:
        os.write(descriptor, b"kept")
        assert children.written(descriptor) == b"kept"
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)
