"""What the Xids and SXids of a kernel log, and nvidia-smi -q, come to."""

from __future__ import annotations

import pytest

from nvdiag.knowledge.xid import Xid, xids
from nvdiag.model.diagnosis import Status
from nvdiag.model.finding import Confidence, Finding, FindingClass, Risk, Severity
from tests.checks.diagnosing import diagnosed, first
from tests.checks.pasting import saying

A, B = "0000:3b:00.0", "0000:5e:00.0"
NONE_ = "GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)"
RESET_ = "GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)"
REBOOT_ = "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)"


def line(number: int, rest: str = "", gpu: str = A, at: float | None = None) -> str:
    clock = f"[{at:12.6f}] " if at is not None else ""
    return f"{clock}NVRM: Xid (PCI:{gpu.removesuffix('.0')}): {number}, {rest}"


def found(*lines: str) -> list[Finding]:
    """The findings of a log, without those that other checks make of the words beside an Xid."""
    every = (ranked.finding for ranked in diagnosed(saying("\n".join(lines))).findings)
    return [one for one in every if one.id not in ("gpu-fallen-off-bus", "gpu-init-failed")]


def only(*lines: str) -> Finding:
    findings = found(*lines)
    assert len(findings) == 1, [one.key for one in findings]
    return findings[0]


@pytest.mark.parametrize("row", xids(), ids=lambda row: str(row.number))
def test_every_number_alone_is_judged_by_its_row(row: Xid) -> None:
    findings = found(line(row.number, "pid=4711, name=python3, Ch 00000008"))
    if row.finding == "gpu-fallen-off-bus":
        assert findings == []
        return
    (one,) = findings
    assert one.subject == A
    assert f"Xid {row.number} on {A}" in one.title
    assert one.evidence
    assert one.id == row.finding or (row.immediate.kind == "link" and one.id == "xid-reported")


@pytest.mark.parametrize("number", [46, 62, 95, 109, 119, 120])
def test_a_reset_is_asked_for_on_the_gpu_of_the_line(number: int) -> None:
    one = only(line(number, "pid=1, name=x"))
    assert (one.id, one.severity, one.confidence) == ("gpu-reset-required", Severity.ERROR, Confidence.CERTAIN)
    assert f"sudo nvidia-smi --gpu-reset -i {A}" in one.remedies[0].commands
    assert one.remedies[0].risk is Risk.DISRUPTIVE


def test_a_reset_that_the_gpu_does_not_survive_is_likely_a_fault() -> None:
    init = f"NVRM: GPU {A}: RmInitAdapter failed! (0x26:0x1a:1227)"
    one = only(line(62, "pid=2763, 0c83(1870) 00000000 00000000"), init)
    assert (one.id, one.confidence) == ("gpu-hardware-fault", Confidence.LIKELY)
    assert any("RmInitAdapter" in evidence.excerpt for evidence in one.evidence)


@pytest.mark.parametrize(
    "lines",
    [
        (f"NVRM: GPU {A}: RmInitAdapter failed! (0x26:0x1a:1227)", line(62)),
        (line(62, at=900.0), f"[   12.000000] NVRM: GPU {A}: RmInitAdapter failed! (0x26:0x1a:1227)"),
        (line(62), f"NVRM: GPU {B}: RmInitAdapter failed! (0x26:0x1a:1227)"),
        (line(62), line(31, "pid=1, name=x", B), "NVRM: RmInitAdapter failed! (0x26:0x1a:1227)"),
    ],
    ids=["before it", "in another boot", "of another GPU", "of one of two GPUs"],
)
def test_a_failed_start_that_is_not_of_this_gpu_after_it_changes_nothing(lines: tuple[str, ...]) -> None:
    assert found(*lines)[0].id == "gpu-reset-required"


def test_a_failed_start_in_another_text_may_be_of_another_boot() -> None:
    machine = saying(line(62), f"NVRM: GPU {A}: RmInitAdapter failed! (0x26:0x1a:1227)")
    assert first(machine).id == "gpu-reset-required"


def test_a_start_that_names_no_gpu_counts_where_there_is_one() -> None:
    assert only(line(62), "NVRM: RmInitAdapter failed! (0x26:0x1a:1227)").id == "gpu-hardware-fault"


@pytest.mark.parametrize("number", [13, 31, 43, 45, 68, 69])
def test_a_programs_fault_is_a_warning_that_names_the_program(number: int) -> None:
    one = only(line(number, "pid=4711, name=python3, Ch 00000008"))
    assert (one.id, one.severity, one.kind) == ("xid-reported", Severity.WARNING, FindingClass.APPLICATION)
    assert "python3 (4711)" in one.title
    assert not any(remedy.risk is not Risk.SAFE for remedy in one.remedies)


def test_what_follows_from_another_xid_does_not_lead() -> None:
    one = only(line(45, "pid=1, name=x, Ch 1"), line(45, "pid=1, name=x, Ch 2"), line(31, "pid=1, name=x, Ch 1"))
    assert one.title.startswith("Xid 31 ")
    assert [evidence.excerpt.partition("): ")[2][:3] for evidence in one.evidence] == ["31,", "45,"]
    assert one.evidence[1].excerpt.endswith("[2 such lines]")


@pytest.mark.parametrize(
    ("number", "identifier"), [(119, "gpu-reset-required"), (31, "xid-reported"), (149, "xid-reported")]
)
def test_a_clean_up_that_names_its_cause_is_judged_by_it_with_less_certainty(number: int, identifier: str) -> None:
    one = only(line(45, f"pid=1, name=python3, Ch 00000001 caused by previous Xid {number}"))
    assert (one.id, one.confidence) == (identifier, Confidence.LIKELY)
    assert f"it follows from Xid {number}" in one.title


def test_the_words_of_154_decide() -> None:
    one = only(line(31, "pid=1, name=x"), line(154, RESET_))
    assert (one.id, one.severity) == ("gpu-reset-required", Severity.ERROR)
    assert "GPU Reset Required" in one.title
    reboot = only(line(154, REBOOT_))
    assert reboot.id == "gpu-reset-required"
    assert reboot.remedies[0].reboots
    assert not any("--gpu-reset" in command for remedy in reboot.remedies for command in remedy.commands)
    drain = only(line(154, "GPU recovery action changed from 0x0 (None) to 0x3 (Drain P2P)"))
    assert (drain.id, drain.severity) == ("xid-reported", Severity.WARNING)


def test_the_cause_leads_where_154_sums_it_up() -> None:
    assert only(line(119, "Timeout"), line(154, RESET_)).title.startswith("Xid 119 ")


def test_a_gpu_that_recovered_asks_for_nothing() -> None:
    one = only(line(119, "Timeout"), line(154, RESET_), line(154, NONE_))
    assert (one.id, one.severity) == ("xid-reported", Severity.WARNING)
    assert "recovered since" in one.title
    again = only(line(119, "Timeout"), line(154, NONE_), line(109, "pid=1"))
    assert again.id == "gpu-reset-required"
    assert again.title.startswith("Xid 109 ")


def test_a_lost_gpu_is_left_to_its_own_finding_with_all_that_came_after() -> None:
    assert found(line(79, "GPU has fallen off the bus."), line(154, RESET_), line(45, "pid=1, name=x")) == []
    lost = f"NVRM: GPU {A}: GPU has fallen off the bus."
    assert found(lost, line(119, "Timeout")) == []


def test_what_came_before_the_loss_is_no_more_than_a_warning() -> None:
    one = only(line(119, "Timeout"), line(79, "GPU has fallen off the bus."), line(154, RESET_))
    assert (one.id, one.severity, one.confidence) == ("gpu-reset-required", Severity.WARNING, Confidence.LIKELY)
    assert "before the GPU was lost" in one.detail


def test_a_link_error_beside_a_lost_gpu_is_its_echo() -> None:
    one = only(
        line(79, "GPU has fallen off the bus.", B), line(74, "NVLink: fatal error detected on link 6(0x10000, 0x0)")
    )
    assert (one.id, one.subject) == ("xid-reported", A)
    alone = only(line(74, "NVLink: fatal error detected on link 6(0x10000, 0x0)"))
    assert (alone.id, alone.confidence) == ("gpu-hardware-fault", Confidence.LIKELY)


def test_nvlink_5_says_itself_whether_it_is_fatal() -> None:
    assert only(line(149, "NETIR_BER_EVENT Nonfatal XC0 i0 Link 01 (0x00082226)")).id == "xid-reported"
    fatal = only(line(149, "NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6)"))
    assert (fatal.id, fatal.confidence) == ("gpu-reset-required", Confidence.LIKELY)


def test_a_row_that_waits_for_the_reset_is_a_warning() -> None:
    text = "pid='<unknown>', name=<unknown>, Row Remapper: New row marked for remapping, reset gpu to activate."
    one = only(line(94, "pid=1, name=x, Contained: SM (0x1). RST: No"), line(63, text))
    assert (one.id, one.severity) == ("gpu-reset-required", Severity.WARNING)
    assert only(line(63, "recorded")).severity is Severity.INFO
    assert only(line(94, "pid=1, name=x")).severity is Severity.WARNING


def test_a_repair_beats_a_reset_and_a_reset_beats_a_program() -> None:
    assert only(line(31, "pid=1"), line(119, "Timeout"), line(54, "")).id == "gpu-hardware-fault"
    assert only(line(31, "pid=1"), line(62, "")).id == "gpu-reset-required"


def test_an_unknown_number_says_so() -> None:
    one = only(line(205, "something new"))
    assert (one.id, one.severity, one.confidence) == ("xid-reported", Severity.WARNING, Confidence.LIKELY)
    assert "newer than what nvdiag knows" in one.title


def test_each_gpu_has_its_own_finding() -> None:
    keys = [one.key for one in found(line(31, "pid=1", A), line(119, "Timeout", B), line(31, "pid=2", A))]
    assert keys == [f"gpu-reset-required:{B}", f"xid-reported:{A}"]


def test_a_fault_that_several_programs_have_on_one_gpu_says_so() -> None:
    one = only(line(31, "pid=1, name=python3, Ch 1"), line(31, "pid=2, name=blender, Ch 1"))
    assert "2 different programs" in one.detail


def test_a_line_without_a_gpu_is_judged_without_an_address() -> None:
    one = only("XidCriticalError: Xid=119, All devices will go unhealthy.")
    assert (one.id, one.subject) == ("gpu-reset-required", "")
    assert "sudo nvidia-smi --gpu-reset -i INDEX" in one.remedies[0].commands


def test_nothing_foreign_gets_into_a_command() -> None:
    for text in ("XidCriticalError: Xid=119 on Device=GPU-1; reboot", "NVRM: Xid (PCI:`reboot`;reboot): 119, x"):
        one = only(text)
        assert "sudo nvidia-smi --gpu-reset -i INDEX" in one.remedies[0].commands
        assert not any("`" in command for remedy in one.remedies for command in remedy.commands)


def switch(number: int, severity: str, words: str) -> str:
    return f"nvidia-nvswitch3: SXid (PCI:0000:cd:00.0): {number}, {severity}, {words}"


def test_a_fatal_sxid_is_a_fault_of_the_fabric() -> None:
    one = only(
        switch(12028, "Non-fatal", "Link 32 egress non-posted PRIV error (First)"),
        switch(20034, "Fatal", "Link 24 LTSSM Fault Up"),
        "nvidia-nvswitch3: SXid (PCI:0000:cd:00.0): 20034, Severity 1 Engine instance 24",
    )
    assert (one.key, one.confidence) == ("gpu-hardware-fault:0000:cd:00.0", Confidence.LIKELY)
    assert one.title.startswith("SXid 20034 on nvidia-nvswitch3, fatal")


def test_an_sxid_that_is_not_fatal_is_an_information() -> None:
    one = only(switch(22013, "Non-fatal", "Link 60 Minion Link DLREQ interrupt"))
    assert (one.id, one.severity) == ("xid-reported", Severity.INFO)
    assert only(switch(29999, "Non-fatal", "something")).id == "xid-reported"


def test_a_fatal_sxid_beside_a_lost_gpu_is_its_echo() -> None:
    one = only(line(79, "GPU has fallen off the bus."), switch(20034, "Fatal", "Link 24 LTSSM Fault Up"))
    assert (one.id, one.severity) == ("xid-reported", Severity.WARNING)


@pytest.mark.parametrize("text", ["", "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.172.08"])
def test_a_log_without_xids_is_not_judged(text: str) -> None:
    outcomes = {one.name: one for one in diagnosed(saying(text)).checks}
    for name in ("no_xid_asks_for_anything", "no_nvswitch_reports_an_error", "no_memory_waits_for_repair"):
        assert outcomes[name].status is Status.SKIPPED
        assert outcomes[name].reason


def query(*lines: str, gpu: str = "00000000:3B:00.0") -> str:
    return "\n".join((f"GPU {gpu}", *lines))


def test_a_remap_that_failed_is_a_fault() -> None:
    one = only(query("    Remapped Rows", "        Remapping Failure Occurred        : Yes"))
    assert (one.key, one.confidence) == (f"gpu-hardware-fault:{A}", Confidence.CERTAIN)
    sram = only(query("    ECC Errors", "        Aggregate", "            SRAM Threshold Exceeded       : Yes"))
    assert sram.id == "gpu-hardware-fault"


@pytest.mark.parametrize(
    ("lines", "severity"),
    [
        (("    Remapped Rows", "        Pending                           : Yes"), Severity.WARNING),
        (("    Retired Pages", "        Pending Page Blacklist            : Yes"), Severity.WARNING),
        (("    GPU Reset Status", "        Reset Required                    : Yes"), Severity.ERROR),
        (("    GPU Recovery Action                   : Reset",), Severity.ERROR),
        (("    GPU Recovery Action                   : Drain and Reset",), Severity.ERROR),
    ],
)
def test_memory_and_driver_ask_for_a_reset(lines: tuple[str, ...], severity: Severity) -> None:
    one = only(query(*lines))
    assert (one.key, one.severity) == (f"gpu-reset-required:{A}", severity)


def test_uncorrectable_errors_alone_are_merely_possible() -> None:
    one = only(query("    ECC Errors", "        Aggregate", "            DRAM Uncorrectable            : 10"))
    assert (one.id, one.confidence) == ("gpu-hardware-fault", Confidence.POSSIBLE)


def test_a_healthy_query_is_well() -> None:
    text = query(
        "    ECC Errors",
        "        Aggregate",
        "            DRAM Uncorrectable            : 0",
        "            SRAM Threshold Exceeded       : No",
        "    Retired Pages",
        "        Pending Page Blacklist            : N/A",
        "    Remapped Rows",
        "        Pending                           : No",
        "        Remapping Failure Occurred        : No",
        "    GPU Recovery Action                   : None",
    )
    assert found(text) == []
    outcomes = {one.name: one.status for one in diagnosed(saying(text)).checks}
    assert outcomes["no_memory_waits_for_repair"] is Status.PASSED


def test_the_reset_stands_before_what_it_explains() -> None:
    assert first(saying(line(119, "Timeout"))).explains >= {"gpu-init-failed", "no-cuda-device"}
