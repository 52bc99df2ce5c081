"""What `--from` is given: a snapshot in its forms, and all that is none."""

from __future__ import annotations

import gzip
import json
import resource
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.calling import call, one_line, process, written
from tests.scenarios import machines

MEBIBYTE = 2**20
SNAPSHOT = json.dumps(machines.ubuntu_dkms("570.169").snapshot().document).encode()


def test_a_gzip_snapshot_is_a_snapshot(tmp_path: Path) -> None:
    file = tmp_path / "machine.json.gz"
    file.write_bytes(gzip.compress(SNAPSHOT))
    result = call("check", "--from", str(file), "--format", "json")
    assert (result.exit_code, result.stderr) == (1, "")
    source = json.loads(result.stdout)["source"]
    assert source == {"kind": "snapshot", "name": str(file), "captured_at": "2025-09-16T08:11:02+00:00"}


@pytest.mark.parametrize("data", [SNAPSHOT, gzip.compress(SNAPSHOT)], ids=["plain", "gzip"])
def test_a_dash_is_standard_input(data: bytes) -> None:
    result = call("check", "--from", "-", "--format", "json", standard_input=data)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["source"]["name"] == "standard input"


def test_nothing_on_standard_input_is_no_snapshot() -> None:
    result = call("check", "--from", "-", standard_input=b"")
    assert result.exit_code == 2
    assert "standard input" in one_line(result.stderr)


def deep(depth: int) -> bytes:
    return b'{"nvdiag_snapshot": 1, "files": ' + b"[" * depth + b"]" * depth + b"}"


NOT_SNAPSHOTS = {
    "empty": b"",
    "binary": bytes(range(256)),
    "half": SNAPSHOT[: len(SNAPSHOT) // 2],
    "a list": b"[]",
    "another object": b'{"name": "x"}',
    "no number": b'{"nvdiag_snapshot": "1"}',
    "a truth": b'{"nvdiag_snapshot": true}',
    "newer": b'{"nvdiag_snapshot": 2}',
    "much newer": b'{"nvdiag_snapshot": ' + b"9" * 4000 + b"}",
    "a number too long": b'{"nvdiag_snapshot": ' + b"9" * 5000 + b"}",
    "section no object": b'{"nvdiag_snapshot": 1, "files": []}',
    "deep": deep(100_000),
    "deep object": b'{"a":' * 100_000,
    "gzip head alone": b"\x1f\x8b",
    "gzip damaged": gzip.compress(SNAPSHOT)[:20] + b"\xff" * 100,
    "gzip cut": gzip.compress(SNAPSHOT)[:-2000],
    "gzip of gzip": gzip.compress(gzip.compress(SNAPSHOT)),
}


@pytest.mark.parametrize("form", ["terminal", "json"])
@pytest.mark.parametrize("name", NOT_SNAPSHOTS)
def test_what_is_no_snapshot_is_refused_in_one_line(tmp_path: Path, name: str, form: str) -> None:
    file = tmp_path / "input"
    file.write_bytes(NOT_SNAPSHOTS[name])
    result = call("check", "--from", str(file), "--format", form)
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(file) in one_line(result.stderr)


def test_a_newer_form_says_that_a_newer_nvdiag_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_bytes(b'{"nvdiag_snapshot": 2, "files": {}}')
    assert "newer" in one_line(call("check", "--from", str(file)).stderr)


def test_a_file_that_is_not_there_and_a_folder(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none.json", "No such file or directory"), (tmp_path, "Is a directory")):
        result = call("check", "--from", str(path))
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"{path}: {why}" in one_line(result.stderr)


def test_a_name_with_escape_sequences_is_shown_harmless(tmp_path: Path) -> None:
    result = call("check", "--from", str(tmp_path / "\x1b]0;x\x07\n.json"))
    assert result.exit_code == 2
    assert "\x1b" not in one_line(result.stderr)


def bomb(mebibytes: int) -> bytes:
    """A gzip file of so many MiB of spaces, in a few KiB for each."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = squeeze.compress(b" " * MEBIBYTE) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + block * mebibytes + b"\x03\x00" + struct.pack("<II", 0, 0)


def test_a_gzip_bomb_costs_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "bomb.gz"
    file.write_bytes(bomb(4096))

    def little_memory() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (400 * MEBIBYTE, 400 * MEBIBYTE))

    result = process("check", "--from", str(file), preexec_fn=little_memory)
    assert (result.returncode, result.stdout) == (2, "")
    assert "MiB" in one_line(result.stderr)


def test_endless_input_ends(tmp_path: Path) -> None:
    result = call("check", "--from", "/dev/zero")
    assert result.exit_code == 2
    assert "MiB" in one_line(result.stderr)


def test_bad_input_is_no_traceback_in_a_process_either(tmp_path: Path) -> None:
    for name in ("deep", "binary"):
        file = tmp_path / "input"
        file.write_bytes(NOT_SNAPSHOTS[name])
        result = process("--from", str(file))
        assert (result.returncode, result.stdout) == (2, "")
        one_line(result.stderr)


ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_snapshot_with_odd_values_is_judged_without_a_fault(data: st.DataObject) -> None:
    document: dict[str, Any] = json.loads(SNAPSHOT)
    for section in data.draw(st.lists(st.sampled_from(sorted(document)), max_size=3, unique=True)):
        if section == "nvdiag_snapshot" or not isinstance(document[section], dict) or not document[section]:
            continue
        for key in data.draw(st.lists(st.sampled_from(sorted(document[section])), max_size=4, unique=True)):
            entry = document[section][key]
            if isinstance(entry, dict) and entry and data.draw(st.booleans()):
                entry[data.draw(st.sampled_from(sorted(entry)))] = data.draw(ODD)
            else:
                document[section][key] = data.draw(ODD)
    for form in ("json", "terminal"):
        result = call("check", "--from", "-", "--format", form, standard_input=json.dumps(document).encode())
        assert result.exit_code in (0, 1, 3), result.exception
        assert "check-failed" not in result.stdout


def test_the_snapshot_of_a_run_gives_the_same_findings_as_the_run(tmp_path: Path) -> None:
    from nvdiag.cli import running

    tree = machines.ubuntu_dkms("570.169")
    live = running.diagnosed(running.begun(tree.host()), running.chosen((), ()))
    result = call("check", "--from", written(tmp_path, tree), "--format", "json")
    assert [one["key"] for one in json.loads(result.stdout)["findings"]] == [one.finding.key for one in live.findings]
