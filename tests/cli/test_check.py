"""`nvdiag check`: exit codes, selection, streams and files."""

from __future__ import annotations

import errno
import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cli.calling import ROOT, call, one_line, process, surroundings, written
from tests.scenarios import machines
from tests.scenarios.tree import Tree

WELL = "570.172.08"
WARNING = {"loaded": WELL, "disk": "570.169", "libraries": WELL}


def mismatch() -> Tree:
    return machines.ubuntu_dkms("570.169", WELL, WELL)


def slow() -> Tree:
    """NVML has not answered yet: no more than a possible error."""
    answer = {"error": "hung", "stage": "nvmlInit", "state": "S", "silent_seconds": 1.0}
    return machines.ubuntu_dkms(WELL).but(probes={"nvml": answer})


@pytest.fixture
def broken(tmp_path: Path) -> str:
    return written(tmp_path, mismatch(), "broken.json")


@pytest.fixture
def healthy(tmp_path: Path) -> str:
    return written(tmp_path, machines.ubuntu_dkms(WELL), "healthy.json")


def document(result: Result) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def ids(result: Result) -> list[str]:
    return [finding["id"] for finding in document(result)["findings"]]


# Exit codes


def test_exit_0_where_nothing_is_wrong(healthy: str) -> None:
    result = call("check", "--from", healthy)
    assert (result.exit_code, result.stderr) == (0, "")


def test_exit_1_where_something_is(broken: str) -> None:
    result = call("check", "--from", broken)
    assert (result.exit_code, result.stderr) == (1, "")


def test_exit_2_where_the_call_is_wrong(healthy: str) -> None:
    result = call("check", "--from", healthy, "--format", "yaml")
    assert (result.exit_code, result.stdout) == (2, "")


def test_exit_3_where_a_problem_is_merely_possible(tmp_path: Path) -> None:
    assert call("check", "--from", written(tmp_path, slow())).exit_code == 3


def test_exit_3_where_nothing_could_be_judged(tmp_path: Path) -> None:
    file = tmp_path / "empty.json"
    file.write_text('{"nvdiag_snapshot": 1}')
    assert call("check", "--from", str(file)).exit_code == 3


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--fail-on", "error"), 0), (("--fail-on", "warning"), 1)])
def test_a_warning_fails_only_where_that_is_asked_for(tmp_path: Path, options: tuple[str, ...], code: int) -> None:
    file = written(tmp_path, machines.ubuntu_dkms(WELL, "570.169", WELL))
    result = call("check", "--from", file, "--format", "json", *options)
    assert [one["severity"] for one in document(result)["findings"]] == ["warning"]
    assert result.exit_code == document(result)["exit_code"] == code


def test_strict_exits_with_3_where_a_check_could_not_judge(tmp_path: Path) -> None:
    machine = machines.ubuntu_dkms(WELL).snapshot().document
    machine["files"]["/sys/bus/pci/devices/0000:01:00.0/vendor"] = "0x10de\n"
    del machine["folders"]["/sys/bus/pci/devices"]
    file = tmp_path / "part.json"
    file.write_text(json.dumps(machine))
    assert call("check", "--from", str(file)).exit_code == 0
    strict = call("check", "--from", str(file), "--strict", "--format", "json")
    assert (strict.exit_code, document(strict)["verdict"]) == (3, "inconclusive")


def test_strict_changes_nothing_where_all_was_judged(healthy: str, broken: str) -> None:
    assert call("check", "--from", healthy, "--strict").exit_code == 0
    assert call("check", "--from", broken, "--strict").exit_code == 1


def test_the_formats_agree_on_the_exit_code(tmp_path: Path, broken: str, healthy: str) -> None:
    for file in (broken, healthy, written(tmp_path, slow())):
        codes = {call("check", "--from", file, "--format", form).exit_code for form in ("terminal", "json")}
        assert len(codes) == 1


# Which checks


def two_findings(tmp_path: Path) -> str:
    tree = machines.ubuntu_dkms(WELL, libraries=None).but(files={"/sys/module/nvidia_uvm/version": "570.158.01\n"})
    return written(tmp_path, tree, "two.json")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), {"driver-submodule-mismatch", "nvml-library-missing", "libcuda-missing"}),
        (("--select", "nvml-library-missing"), {"nvml-library-missing"}),
        (("--select", "libraries"), {"nvml-library-missing", "libcuda-missing"}),
        (("--select", "driver,libcuda-missing"), {"driver-submodule-mismatch", "libcuda-missing"}),
        (("--select", "driver", "--select", "libcuda-missing"), {"driver-submodule-mismatch", "libcuda-missing"}),
        (("--ignore", "libraries"), {"driver-submodule-mismatch"}),
        (("--ignore", "driver, libcuda-missing"), {"nvml-library-missing"}),
        (("--select", "libraries", "--ignore", "libcuda-missing"), {"nvml-library-missing"}),
    ],
)
def test_select_and_ignore_by_id_and_by_area(tmp_path: Path, options: tuple[str, ...], found: set[str]) -> None:
    assert set(ids(call("check", "--from", two_findings(tmp_path), "--format", "json", *options))) == found


def test_what_is_ignored_does_not_fail(broken: str) -> None:
    assert call("check", "--from", broken, "--ignore", "driver-library-mismatch").exit_code == 0


def test_nothing_left_to_check_is_no_health(healthy: str) -> None:
    assert call("check", "--from", healthy, "--select", "driver", "--ignore", "driver").exit_code == 3


def test_a_consequence_whose_cause_is_left_out_stands_alone(tmp_path: Path) -> None:
    tree = mismatch().but(files={"/sys/module/nvidia_uvm/version": "570.158.01\n"})
    result = call("check", "--from", written(tmp_path, tree), "--format", "json", "--ignore", "driver-library-mismatch")
    assert [(one["id"], one["caused_by"]) for one in document(result)["findings"]] == [
        ("driver-submodule-mismatch", None)
    ]


@pytest.mark.parametrize("option", ["--select", "--ignore"])
@pytest.mark.parametrize(
    ("name", "near"), [("driver-libary-mismatch", "driver-library-mismatch"), ("librarys", "libraries")]
)
def test_an_unknown_name_is_answered_with_the_nearest(healthy: str, option: str, name: str, near: str) -> None:
    result = call("check", "--from", healthy, option, name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert name in one_line(result.stderr)
    assert f"did you mean {near}?" in result.stderr


def test_an_unknown_name_near_to_none_is_said_to_be_unknown(healthy: str) -> None:
    assert "nvdiag list" in one_line(call("check", "--from", healthy, "--select", "zzzzzz").stderr)


@pytest.mark.parametrize("nothing", ["", " , "])
def test_a_selection_of_nothing_is_wrong_usage(healthy: str, nothing: str) -> None:
    result = call("check", "--from", healthy, "--select", nothing)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--select names no finding" in one_line(result.stderr)


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-1", "3601", "soon", ""])
def test_a_deadline_is_a_number_of_seconds_within_reason(healthy: str, seconds: str) -> None:
    result = call("check", "--from", healthy, "--deadline", seconds)
    assert result.exit_code == 2
    assert "is not a number of seconds from 0.1 to 3600" in result.stderr


# Streams


def test_the_bare_command_is_check(broken: str) -> None:
    bare = process("--format", "json", "--from", broken)
    named = process("check", "--format", "json", "--from", broken)
    assert bare.returncode == named.returncode == 1
    documents = [json.loads(one.stdout) for one in (bare, named)]
    for one in documents:
        del one["seconds"]
        for check in one["checks"]:
            del check["seconds"]
    assert documents[0] == documents[1]


def test_standard_output_has_the_report_and_nothing_else(broken: str) -> None:
    result = process("check", "--from", broken, "--format", "json")
    json.loads(result.stdout)
    assert (result.returncode, result.stderr) == (1, "")


def test_wrong_usage_goes_to_stderr_alone(broken: str) -> None:
    for arguments in (
        ["--no-such"],
        ["check", "--from"],
        ["no-such"],
        ["--deadline", "x"],
        ["check", "--from", broken, "x"],
    ):
        result = process(*arguments)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", [["check", "--from"], ["explain"], ["list"], ["--help"], ["check", "--help"]])
def test_a_reader_that_went_away_is_no_error_and_no_finding(broken: str, command: list[str]) -> None:
    arguments = [*command, broken] if command[-1] == "--from" else command
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = process(*arguments, capture_output=False, stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)
    assert (result.returncode, result.stderr) == (141, "")


def redirected(arguments: str, redirection: str) -> subprocess.CompletedProcess[str]:
    """`nvdiag ARGUMENTS` by a shell, which can close a stream."""
    line = f'"{sys.executable}" -m nvdiag {arguments} {redirection}'
    return subprocess.run(["sh", "-c", line], env=surroundings(), capture_output=True, text=True, check=False)


@pytest.mark.parametrize("form", ["terminal", "json"])
def test_a_closed_standard_output_changes_no_exit_code(broken: str, form: str) -> None:
    result = redirected(f'check --format {form} --from "{broken}"', ">&-")
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.parametrize("arguments", ["nosuch", "check --from nosuch", "check --fail-on nothing"])
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_a_stderr_that_takes_nothing_changes_no_exit_code(arguments: str, redirection: str) -> None:
    result = redirected(arguments, redirection)
    assert (result.returncode, result.stdout) == (2, "")


@pytest.mark.parametrize("arguments", ["demo", "list", "explain"])
def test_a_full_standard_output_is_one_clear_line(arguments: str) -> None:
    result = redirected(arguments, ">/dev/full")
    assert result.returncode == 4
    assert one_line(result.stderr) == "nvdiag: cannot write to standard output: No space left on device"


def test_the_c_locale_asked_for_by_name_gets_ascii(broken: str) -> None:
    assert process("check", "--from", broken, environment={"LC_ALL": "C"}).stdout.isascii()


def test_a_stream_of_ascii_gets_ascii(broken: str, healthy: str) -> None:
    for file in (broken, healthy):
        result = process("check", "--from", file, environment={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
        assert result.returncode in (0, 1)
        assert result.stdout.isascii()


# On a terminal


def on_a_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "nvdiag", *arguments], stdout=theirs, stdin=theirs, env=surroundings() | environment
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # EIO: the terminal's other side is closed
        pass
    finally:
        os.close(ours)
        child.wait(30)
    return shown.decode()


def test_a_terminal_gets_colour(broken: str) -> None:
    assert "\x1b[" in on_a_terminal(["--from", broken], {"TERM": "xterm-256color"})


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_colour_gets_none(broken: str, environment: dict[str, str]) -> None:
    shown = on_a_terminal(["--from", broken], environment)
    assert "driver-library-mismatch" in shown
    assert "\x1b" not in shown


def test_an_empty_no_color_says_nothing(broken: str) -> None:
    assert "\x1b[" in on_a_terminal(["--from", broken], {"NO_COLOR": "", "TERM": "xterm"})


def test_json_on_a_terminal_has_no_colour(broken: str) -> None:
    assert "\x1b" not in on_a_terminal(["--from", broken, "--format", "json"], {"TERM": "xterm"})


# Files


@pytest.fixture
def umask() -> Any:
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_output_writes_the_report_there_and_nothing_on_standard_output(tmp_path: Path, broken: str) -> None:
    target = tmp_path / "reports" / "report.json"
    target.parent.mkdir()
    result = call("check", "--from", broken, "--format", "json", "--output", str(target))
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "")
    assert json.loads(target.read_text(encoding="utf-8"))["exit_code"] == 1
    assert [one.name for one in target.parent.iterdir()] == ["report.json"]


def test_output_has_the_mode_that_the_umask_leaves(tmp_path: Path, healthy: str, umask: int) -> None:
    target = tmp_path / "report.txt"
    call("check", "--from", healthy, "--output", str(target))
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask
    assert os.umask(umask) == umask


def test_output_replaces_an_old_report_in_one_step(tmp_path: Path, healthy: str) -> None:
    target = tmp_path / "report.txt"
    target.write_text("old")
    with target.open() as reader:
        call("check", "--from", healthy, "--output", str(target))
        assert reader.read() == "old"  # who has the old report open reads it to its end
    assert target.read_text(encoding="utf-8").startswith("nvdiag ")


def test_output_to_a_link_keeps_the_link(tmp_path: Path, healthy: str) -> None:
    (tmp_path / "real.txt").write_text("old")
    link = tmp_path / "link.txt"
    link.symlink_to("real.txt")
    call("check", "--from", healthy, "--output", str(link))
    assert link.is_symlink()
    assert (tmp_path / "real.txt").read_text(encoding="utf-8").startswith("nvdiag ")


def test_output_to_a_pipe_writes_into_it(tmp_path: Path, healthy: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        call("check", "--from", healthy, "--format", "json", "--select", "driver", "--output", str(pipe))
        assert json.loads(os.read(reader, 65536))["exit_code"] == 0
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_output_to_standard_output_by_its_name_goes_through_a_pipe(healthy: str) -> None:
    result = process("check", "--from", healthy, "--format", "json", "--output", "/dev/stdout")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["exit_code"] == 0


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EROFS])
def test_output_to_a_file_that_is_mounted_or_alone_writable_is_written_in_place(
    tmp_path: Path, healthy: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    target = tmp_path / "termination-log"
    target.write_text("old")

    def refused(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refused)
    assert call("check", "--from", healthy, "--output", str(target)).exit_code == 0
    assert target.read_text(encoding="utf-8").startswith("nvdiag ")
    assert list(tmp_path.glob(".termination-log*")) == []


def test_output_to_a_device_does_not_replace_it(healthy: str) -> None:
    assert call("check", "--from", healthy, "--output", os.devnull).exit_code == 0
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_output_that_cannot_be_written_is_wrong_usage(tmp_path: Path, healthy: str) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "none" / "report", tmp_path / "file" / "report"):
        result = call("check", "--from", healthy, "--output", str(target))
        assert (result.exit_code, result.stdout) == (2, "")
        assert str(target) in one_line(result.stderr)
    assert call("check", "--from", healthy, "--output", str(tmp_path)).exit_code == 2


def test_a_full_disk_leaves_the_old_report_and_no_temporary_file(
    tmp_path: Path, healthy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    target = folder / "report.txt"
    target.write_text("old")

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    result = call("check", "--from", healthy, "--output", str(target))
    assert result.exit_code == 2
    assert "No space left on device" in one_line(result.stderr)
    assert [(one.name, one.read_text()) for one in folder.iterdir()] == [("report.txt", "old")]


# What is imported


@pytest.mark.parametrize(
    ("form", "own"), [("json", "as_json"), ("github", "github"), ("terminal", "terminal"), ("markdown", "markdown")]
)
def test_a_report_imports_nothing_dear(broken: str, tmp_path: Path, form: str, own: str) -> None:
    told = tmp_path / "modules.txt"
    program = (
        "import sys, pathlib\n"
        f"sys.argv = ['nvdiag', 'check', '--from', {broken!r}, '--format', {form!r}]\n"
        "from nvdiag.cli import run\ncode = run()\n"
        f"pathlib.Path({str(told)!r}).write_text(chr(10).join(sys.modules))\n"
        "sys.exit(code)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], env=surroundings(), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, result.stderr
    imported = told.read_text(encoding="utf-8").split()
    assert f"nvdiag.report.{own}" in imported
    dear = ("rich", "importlib.metadata", "pynvml", "elftools", "nvdiag.host.live", "asyncio", "ctypes")
    assert [name for name in imported if name.startswith(dear)] == []
    assert form != "json" or "nvdiag.report.terminal" not in imported
