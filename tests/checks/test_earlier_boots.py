"""GPUs that fail boot after boot: history that speaks of the hardware, and history that does not."""

from __future__ import annotations

import pytest

from nvdiag.host.bugreport import BugReportHost
from nvdiag.model.diagnosis import Verdict
from nvdiag.model.finding import Confidence, Finding, Severity
from tests.checks.diagnosing import diagnosed
from tests.scenarios import reports
from tests.scenarios.reports import but

HALTED = "NVRM: Xid (PCI:0000:01:00): 62, pid=3074, 0cb5(2d50) 00000000 00000000"
OTHER_GPU = HALTED.replace("01:00", "02:00")
PROGRAM = "NVRM: Xid (PCI:0000:01:00): 31, pid=3074, Ch 00000010, intr 00000000."
NO_START = "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x25:0xffff:1470)"


def kernel(words: str, clock: str = "526.77", day: int = 11) -> str:
    return f"Sep {day} 14:05:01 myhost kernel: [{clock:>12}] {words}\n"


def report(now: str = "", **logs: str) -> BugReportHost:
    dmesg = reports.command("dmesg:", reports.DMESG + (f"[  900.000001] {now}\n" if now else ""))
    return reports.host(*but(reports.scan(), reports.scan(**logs)), dmesg)


def found(host: BugReportHost) -> list[Finding]:
    return [one.finding for one in diagnosed(host).findings if one.finding.id == "gpu-hardware-fault"]


def test_the_same_fault_in_two_earlier_boots_is_a_warning_while_all_is_well() -> None:
    host = report(before=f"Sep 12 14:05:01 myhost kernel: {HALTED}\n", before_that=kernel(HALTED))
    (finding,) = found(host)
    assert (finding.subject, finding.severity, finding.confidence) == (
        reports.GPU,
        Severity.WARNING,
        Confidence.LIKELY,
    )
    assert "2 earlier boots" in finding.title
    assert diagnosed(host).verdict() is Verdict.PROBLEMS


def test_a_fault_now_and_one_before_is_an_error_and_comes_first() -> None:
    host = report(HALTED, before=kernel(HALTED))
    (finding,) = found(host)
    assert finding.severity is Severity.ERROR
    assert finding.evidence[0].source == "dmesg"
    assert diagnosed(host).findings[0].finding.id == "gpu-hardware-fault"


def test_failed_starts_count_beside_a_grave_fault() -> None:
    assert found(report(NO_START, before=kernel(HALTED)))
    assert not found(report(NO_START, before=kernel(NO_START), before_that=kernel(NO_START)))


@pytest.mark.parametrize(
    "logs",
    [
        {"before": kernel(HALTED)},
        {"before": kernel(HALTED), "kern": kernel(HALTED)},
        {"before": kernel(HALTED), "before_that": kernel(OTHER_GPU)},
        {"before": kernel(PROGRAM), "before_that": kernel(PROGRAM), "kern": kernel(PROGRAM)},
        {"before": ""},
    ],
    ids=["once", "once in two logs", "two GPUs", "a program's faults", "nothing"],
)
def test_what_is_no_repetition_of_a_grave_fault_is_none(logs: dict[str, str]) -> None:
    assert found(report(**logs)) == []


def test_boots_in_one_file_are_counted_by_the_kernels_clock() -> None:
    three = "".join(kernel(HALTED, clock, day) for day, clock in ((10, "700.5"), (11, "526.77"), (12, "90.1")))
    (finding,) = found(report(kern=three))
    assert "3 earlier boots" in finding.title
