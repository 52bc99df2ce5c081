"""`--from` a bug report: known by its content, told where it is damaged, and harmless whatever is in it."""

from __future__ import annotations

import builtins
import gzip
import io
import json
import re
import resource
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from nvdiag.host import bugreport, snapshot
from tests.cli.calling import call, one_line, process
from tests.scenarios import reports

MEBIBYTE = 2**20
REPORT = reports.text(*reports.HEALTHY)


@pytest.mark.parametrize("data", [REPORT, gzip.compress(REPORT), reports.zipped(REPORT[:1000], REPORT[1000:])])
def test_a_bug_report_is_known_by_its_content(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "from-a-customer.txt"
    file.write_bytes(data)
    result = call("check", "--from", str(file), "--format", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    source = json.loads(result.stdout)["source"]
    assert source == {"kind": "bug-report", "name": str(file), "captured_at": "2025-09-13T09:50:48+00:00"}


def test_a_bug_report_comes_through_a_pipe() -> None:
    result = process("--from", "-", "--format", "json", input=REPORT.decode())
    assert json.loads(result.stdout)["source"]["kind"] == "bug-report"


def test_a_report_that_was_cut_is_read_and_told(tmp_path: Path) -> None:
    file = tmp_path / "cut\x1b[31m.log.gz"
    file.write_bytes(gzip.compress(REPORT)[:-400])
    result = call("check", "--from", str(file), "--format", "json")
    assert result.exit_code in (0, 3)
    assert json.loads(result.stdout)["source"]["kind"] == "bug-report"
    assert "cut off in the middle" in result.stderr
    assert "\x1b" not in result.stderr


def test_a_report_without_its_end_is_told_in_one_line() -> None:
    result = call("check", "--from", "-", standard_input=reports.text(*reports.HEALTHY, end=""))
    assert "without its end: sections may be missing" in one_line(result.stderr)


LOUD = "\x1b]0;owned\x07\x1b[2J[bold"
HOSTILE = f"{LOUD} red]x[/] \u202eevil\u2066 ::error::no \x00\x08\x9b31m <b>&\r"


def hostile_report() -> bytes:
    """A report with escape sequences and markup in everything that is shown."""
    sections = (
        reports.file("/etc/issue", f"Ubuntu 22.04 {HOSTILE}\n"),
        reports.lspci(driver=f"nouveau{HOSTILE}", modules=f"nouveau {HOSTILE}"),
        reports.NO_MODINFO,
        reports.PROFILES,
        reports.command("dmesg:", f"{reports.DMESG}[ 22.1] NVRM: Xid (PCI:0000:01:00): 62, pid=1, name={HOSTILE}\n"),
        reports.NO_MODULES,
        reports.NO_VERSION,
        reports.smi(f"Failed to initialize NVML: {HOSTILE}\n"),
        reports.missing(f"/var/log/{HOSTILE}"),
    )
    uname = f"Linux {LOUD} 5.15.0-$(reboot){LOUD} #1 SMP x86_64 GNU/Linux"
    return reports.text(*sections, start=reports.head(date=HOSTILE, uname=uname))


@pytest.mark.parametrize("form", ["terminal", "json"])
def test_nothing_in_a_report_reaches_the_terminal_as_it_is(form: str) -> None:
    result = call("check", "--from", "-", "--format", form, standard_input=hostile_report())
    assert result.exit_code in (0, 1, 3), result.exception
    shown = result.stdout + result.stderr
    assert "owned" in shown
    for harmful in ("\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\x00", "\r"):
        assert harmful not in shown


def test_commands_quote_what_a_report_names() -> None:
    result = call("check", "--from", "-", "--format", "json", standard_input=hostile_report())
    remedies = [remedy for finding in json.loads(result.stdout)["findings"] for remedy in finding["remedies"]]
    commands = [command for remedy in remedies for command in remedy["commands"] if "$(reboot)" in command]
    assert commands
    for command in commands:
        assert "$(reboot)" not in re.sub(r"'[^']*'", "", command)


def test_no_path_of_a_report_is_opened_on_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "report.log"
    file.write_bytes(reports.text(*reports.HEALTHY, reports.file(str(tmp_path / "trap"), "x\n")))
    opened: list[str] = []
    real = builtins.open

    def watched(path: Any, *arguments: Any, **options: Any) -> Any:
        opened.append(str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", watched)
    call("check", "--from", str(file), "--format", "json")
    named = bugreport.read(io.BytesIO(file.read_bytes()), "r").document
    assert str(file) in opened
    assert not {key for section in named.values() if isinstance(section, dict) for key in section} & set(opened)


def bomb() -> bytes:
    """A report whose last gzip member unpacks to 2 GiB."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = squeeze.compress(b" " * MEBIBYTE) + squeeze.flush(zlib.Z_FULL_FLUSH)
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    return gzip.compress(REPORT[:-60]) + head + block * 2048 + b"\x03\x00" + struct.pack("<II", 0, 0)


@pytest.mark.slow
def test_a_bomb_in_a_report_costs_little_memory_and_an_end(tmp_path: Path) -> None:
    file = tmp_path / "bomb.log.gz"
    file.write_bytes(bomb())

    def little_memory() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (400 * MEBIBYTE, 400 * MEBIBYTE))

    result = process("--from", str(file), "--format", "json", preexec_fn=little_memory)
    assert json.loads(result.stdout)["source"]["kind"] == "bug-report"
    assert "what follows was not read" in result.stderr


@pytest.mark.parametrize("text", ["[" + "[]," * 3_000_000 + "[]]", "[" + "{}," * 3_000_000 + "{}]"])
def test_a_snapshot_of_too_many_values_is_refused_before_they_are_made(text: str) -> None:
    with pytest.raises(snapshot.NotASnapshot, match="values, which no snapshot has"):
        snapshot.parse(b'{"nvdiag_snapshot": 1, "messages": ' + text.encode() + b"}", "s")


@pytest.mark.parametrize(
    "data",
    [
        b'{"nvdiag_snapshot": 1, "files": {"/a": "\x80"}}',
        b'{"nvdiag_snapshot": 1, "files": {"/a": "\x00"}}',
        b'{"nvdiag_snapshot": 1, "files": ' + b'{"a":' * 100_000,
        b'{"nvdiag_snapshot": 1}' + b"\x00" * 10,
    ],
    ids=["no UTF-8", "a raw NUL", "deep", "NULs behind"],
)
def test_bytes_that_are_no_json_are_refused_in_one_line(data: bytes) -> None:
    result = call("check", "--from", "-", standard_input=data)
    assert result.exit_code == 2
    one_line(result.stderr)


def test_escapes_in_a_snapshot_are_harmless_too() -> None:
    escaped = json.dumps(HOSTILE)
    data = f'{{"nvdiag_snapshot": 1, "files": {{"/proc/sys/kernel/osrelease": {escaped}, "/a": "\\ud800\\u0000"}}}}'
    result = call("check", "--from", "-", standard_input=data.encode())
    assert result.exit_code in (0, 3), result.exception
    assert not any(harmful in result.stdout for harmful in ("\x1b", "\x07", "\u202e", "\x00"))
