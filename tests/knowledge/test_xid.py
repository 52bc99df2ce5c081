"""The tables of Xids, SXids and nvidia-smi's exit codes: complete, sourced, and of one mind with NVIDIA's actions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nvdiag.knowledge._tables import MalformedTable, Table
from nvdiag.knowledge.pages import page_ids
from nvdiag.knowledge.smi_exit_codes import SmiExitCode, smi_exit_codes, smi_exit_codes_of
from nvdiag.knowledge.sxid import Sxid, sxid, sxids, sxids_of
from nvdiag.knowledge.xid import CAUSES, FAULTS, Xid, xid, xids, xids_of
from nvdiag.model.finding import Confidence, Severity

ROOT = Path(__file__).resolve().parents[2]
REPORTED, RESET, FAULT = "xid-reported", "gpu-reset-required", "gpu-hardware-fault"
WITHOUT_PAGE = {"gpu-fallen-off-bus"}
"""Findings of other checks that the tables name; a page of theirs may come later."""


def there(number: int) -> Xid:
    found = xid(number)
    assert found is not None
    return found


def test_every_xid_from_1_to_176_is_there() -> None:
    assert [row.number for row in xids()] == [*range(1, 177)]
    assert xid(177) is None
    assert xid(0) is None


@pytest.mark.parametrize("row", xids(), ids=lambda row: str(row.number))
def test_an_xid_explains_itself(row: Xid) -> None:
    assert row.meaning.endswith(".")
    assert row.meaning[0].isupper()
    assert not row.title.endswith(".")
    assert len(row.title) <= 80
    assert not row.note or row.note.endswith(".")
    assert row.fault in FAULTS
    assert set(row.causes) <= set(CAUSES)
    assert row.source
    assert row.finding in {*page_ids(), *WITHOUT_PAGE}
    assert all(name == name.upper() and " " not in name for name in row.names)


@pytest.mark.parametrize("number", [46, 48, 62, 64, 95, 109, 110, 119, 120, 136, 140, 143, 155, 156, 158])
def test_what_nvidia_says_to_reset_is_a_reset(number: int) -> None:
    row = there(number)
    assert (row.finding, row.severity, row.confidence) == (RESET, Severity.ERROR, Confidence.CERTAIN)
    assert row.immediate.kind == "reset"


@pytest.mark.parametrize("number", [8, 11, 13, 25, 31, 43, 45, 68, 69, 137])
def test_what_points_at_a_program_is_a_warning(number: int) -> None:
    row = there(number)
    assert (row.finding, row.severity, row.fault) == (REPORTED, Severity.WARNING, "application")


@pytest.mark.parametrize("number", [14, 63, 92, 106, 107, 121])
def test_what_nvidia_says_to_ignore_is_an_information(number: int) -> None:
    assert (there(number).finding, there(number).severity) == (REPORTED, Severity.INFO)


def test_a_missing_power_cable_is_for_repair_and_a_lost_gpu_has_its_own_finding() -> None:
    assert (there(54).finding, there(54).confidence) == (FAULT, Confidence.CERTAIN)
    assert there(79).finding == "gpu-fallen-off-bus"


def test_every_reset_action_is_a_reset_and_no_support_action_is() -> None:
    for row in xids():
        if row.immediate.kind == "reset":
            assert row.finding == RESET, row.number
        if row.finding == RESET:
            assert row.immediate.kind in ("reset", "link", "unlisted"), row.number
        if row.finding == FAULT:
            assert row.immediate.kind in ("support", "link", "unlisted"), row.number


def test_an_investigatory_action_alone_is_no_hardware_fault() -> None:
    for row in xids():
        if row.immediate.kind == "application" and row.investigatory.kind == "support":
            assert row.finding == REPORTED, row.number


def test_a_number_that_the_catalogue_calls_unused_is_no_sure_fault() -> None:
    unused = [row for row in xids() if row.unused]
    assert 61 in {row.number for row in unused}
    assert all(row.confidence is Confidence.LIKELY for row in unused if row.finding == FAULT)


XID = """
[sources]
catalogue = "a catalogue"

[[action]]
token = "RESET_GPU"
kind = "reset"
says = "Reset it."
source = ["catalogue"]

[[xid]]
number = 1
name = "ONE"
title = "one"
meaning = "One."
fault = "driver"
causes = ["driver"]
immediate = "RESET_GPU"
investigatory = "RESET_GPU"
finding = "gpu-reset-required"
severity = "error"
source = ["catalogue"]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("number = 1", "number = 2", "the numbers are not 1, 2, 3"),
        ('immediate = "RESET_GPU"', 'immediate = "PRAY"', "no such immediate: PRAY"),
        ('fault = "driver"', 'fault = "weather"', "no such fault: weather"),
        ('causes = ["driver"]', 'causes = ["moon"]', "no such causes: moon"),
        ('severity = "error"', 'severity = "bad"', "no such severity: bad"),
        ('severity = "error"', 'severity = "error"\nconfidence = "sure"', "no such confidence: sure"),
        ('name = "ONE"', 'name = "ONE"\nalso = ["ONE"]', "ONE is there twice"),
        ('token = "RESET_GPU"', 'token = "REST"', "no such immediate: RESET_GPU"),
        ('title = "one"\n', "", "title is missing"),
    ],
)
def test_a_malformed_table_of_xids_is_refused(old: str, new: str, message: str) -> None:
    assert len(xids_of(Table("xid.toml", XID, ("action", "xid")))) == 1
    with pytest.raises(MalformedTable, match=message):
        xids_of(Table("xid.toml", XID.replace(old, new, 1), ("action", "xid")))


def test_the_sxids_are_told_apart_and_in_order() -> None:
    numbers = [row.number for row in sxids()]
    assert len(numbers) == 399
    assert numbers == sorted(set(numbers))
    assert all(10000 < number < 31000 for number in numbers)
    assert sxid(1) is None


@pytest.mark.parametrize("row", sxids(), ids=lambda row: str(row.number))
def test_an_sxid_explains_itself(row: Sxid) -> None:
    assert row.name.startswith("HW_")
    assert row.title
    assert len(row.title) <= 110
    assert not row.title.endswith(".")
    assert "_" not in row.title
    assert row.source


def test_the_guides_classes_are_those_of_the_numbers_that_it_has() -> None:
    counts: dict[str, int] = {}
    for row in sxids():
        name = row.kind.name if row.kind else "not told"
        counts[name] = counts.get(name, 0) + 1
    assert counts == {
        "notable": 5,
        "not told": 306,
        "always-fatal": 21,
        "fatal": 41,
        "non-fatal": 25,
        "potentially-fatal": 1,
    }


SXID = """
sxid = [
  { number = 10001, name = "HW_ONE", title = "one", class = "fatal", source = ["header"] },
]

[sources]
header = "a header"

[[class]]
name = "fatal"
meaning = "Bad."
remedy = "Restart."
source = ["header"]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('class = "fatal"', 'class = "odd"', "no such class: odd"),
        ('class = "fatal", ', "", "no SXid is of the class fatal"),
        (
            "\n]\n",
            '\n  { number = 10001, name = "HW_TWO", title = "two", source = ["header"] },\n]\n',
            "number 10001 is there twice",
        ),
        (
            "\n]\n",
            '\n  { number = 9, name = "HW_TWO", title = "two", source = ["header"] },\n]\n',
            "the numbers are out of order",
        ),
    ],
)
def test_a_malformed_table_of_sxids_is_refused(old: str, new: str, message: str) -> None:
    assert len(sxids_of(Table("sxid.toml", SXID, ("class", "sxid")))) == 1
    with pytest.raises(MalformedTable, match=message):
        sxids_of(Table("sxid.toml", SXID.replace(old, new, 1), ("class", "sxid")))


def test_the_exit_codes_of_the_manual_page_are_all_there() -> None:
    named = [row.number for row in smi_exit_codes() if row.manual]
    assert named == [0, 2, 3, 4, 6, 8, 9, 10, 12, 13, 14, 15, 255]
    assert [row.number for row in smi_exit_codes() if not row.manual] == [17, 18]


@pytest.mark.parametrize("row", smi_exit_codes(), ids=lambda row: str(row.number))
def test_an_exit_code_explains_itself(row: SmiExitCode) -> None:
    assert row.meaning.endswith(".")
    assert row.remedy.endswith(".")
    assert not any(cause.endswith(".") for cause in row.causes)
    assert row.source
    assert set(row.findings) <= {*page_ids(), *WITHOUT_PAGE}


def test_a_malformed_table_of_exit_codes_is_refused() -> None:
    text = (
        '[sources]\nmanual = "a page"\n[[code]]\nnumber = 4\ntitle = "no"\nmanual = 1\nmeaning = "No."\n'
        'remedy = "Ask."\nsource = ["manual"]\n'
    )
    with pytest.raises(MalformedTable, match="manual is neither true nor false"):
        smi_exit_codes_of(Table("codes.toml", text, ("code",)))


def test_no_table_is_read_before_it_is_asked_for() -> None:
    program = (
        "import sys\n"
        "import nvdiag.checks.xids, nvdiag.facts.kernel_log\n"
        "from nvdiag.knowledge import smi_exit_codes, sxid, xid\n"
        "print(sorted({'tomllib', 'tomli'} & set(sys.modules)), xid.xids.cache_info().currsize)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.strip() == "[] 0"
