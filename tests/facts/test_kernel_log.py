"""Xids, SXids and their neighbours in whole logs, and the health that nvidia-smi -q prints."""

from __future__ import annotations

from typing import Any

import pytest

from nvdiag.facts.kernel_log import KernelLog, LoggedSxid, LoggedXid, xids_in
from nvdiag.facts.smi_query import GpuHealth, health_lines
from nvdiag.facts.xid import parse_sxid, parse_xid
from nvdiag.model.unknown import NotApplicable, ParseError
from tests.checks.pasting import saying
from tests.facts.sampled import samples


def numbers(text: str) -> list[tuple[int, str]]:
    return [(one.xid.number, one.gpu) for one in xids_in(text, "log") if isinstance(one, LoggedXid)]


@pytest.mark.parametrize("sample", samples("kernel_log"), ids=lambda sample: sample["text"].splitlines()[-1][:60])
def test_every_sample_gives_its_numbers_and_gpus(sample: dict[str, Any]) -> None:
    assert numbers(sample["text"]) == [(one["number"], one["address"]) for one in sample.get("xid", [])]


def test_all_samples_in_one_text_keep_their_order() -> None:
    text = "\n".join(sample["text"] for sample in samples("kernel_log"))
    expected = [(one["number"], one["address"]) for sample in samples("kernel_log") for one in sample.get("xid", [])]
    assert numbers(text) == expected


def test_the_kernels_clock_and_the_place_of_a_line_are_kept() -> None:
    log = KernelLog.collect(
        saying(
            "hello\n[ 4254.5] x\n[ 4254.197860] NVRM: Xid (PCI:0000:5d:00): 62, pid=1, x",
            "y\nNVRM: Xid (0000:03:00): 14, C",
        )
    )
    assert [(one.line.place, one.line.since_boot) for one in log.xids] == [((0, 2), 4254.19786), ((1, 1), None)]


def test_other_lines_of_a_gpu_are_told_apart() -> None:
    log = KernelLog.collect(
        saying(
            "NVRM: Xid (PCI:0000:01:00): 62, pid=2763, 0c83(1870) 00000000 00000000\n"
            "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x26:0x1a:1227)\n"
            "NVRM: RmInitAdapter failed! (0x26:0x38:1170)\n"
            "[ 1843.308145] NVRM: The NVIDIA GPU 0000:b3:00.0\n"
            "               NVRM: (PCI ID: 10de:26b5) installed in this system has\n"
            "               NVRM: fallen off the bus and is not responding to commands.\n"
        )
    )
    assert [one.address for one in log.failed_inits] == ["0000:01:00.0", None]
    assert [one.address for one in log.lost] == ["0000:b3:00.0"]


@pytest.mark.parametrize(
    "text", ["", "no such thing", "RmInitAdapter failed! (0x26:0x38:1170)", "xid of a DHCP packet 79"]
)
def test_a_text_without_xids_is_no_kernel_log(text: str) -> None:
    with pytest.raises(NotApplicable, match="no Xid is in the text"):
        KernelLog.collect(saying(text))
    with pytest.raises(NotApplicable, match="no text"):
        KernelLog.collect(saying())


def test_a_line_that_a_terminal_broke_is_joined() -> None:
    text = (
        "[168429.114550] NVRM: Xid (PCI:0000:65:00): 94, pid='<unknown>', name=<unknown>,\n"
        "                Contained: CE User Channel (0x9). RST: No, D-RST: No\n"
        "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None)\n"
        "      to 0x2 (Node Reboot Required)\n"
    )
    first, second = (one for one in xids_in(text, "log") if isinstance(one, LoggedXid))
    assert first.xid.rest == "Contained: CE User Channel (0x9). RST: No, D-RST: No"
    assert second.xid.recovery == "Node Reboot Required"


@pytest.mark.parametrize(
    ("line", "number", "gpu"),
    [
        ("XidCriticalError: Xid=48 on Device=GPU-d23d91a3; marking device as unhealthy.", 48, "GPU-d23d91a3"),
        ("XidCriticalError: Xid=79, All devices will go unhealthy.", 79, ""),
        ('DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="GPU-a8",pci_bus_id="00000000:00:02.0"} 31', 31, "0000:00:02.0"),
        ('DCGM_FI_DEV_XID_ERRORS{gpu="1",UUID="GPU-b",Hostname="node"} 62', 62, "1"),
        ("NVRM: Xid 31 ... MMU Fault: ENGINE CE2_PBDMA0 ...", 31, ""),
        ("nvidia: Xid (PCI:0000:03:00): 13, pid=2, name=x, Graphics Exception", 13, "0000:03:00.0"),
    ],
)
def test_what_other_programs_say_of_an_xid_is_read(line: str, number: int, gpu: str) -> None:
    assert numbers(line) == [(number, gpu)]


def test_a_counter_at_zero_is_no_xid() -> None:
    assert numbers('DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="GPU-a8"} 0') == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 28006, Non-fatal, Link 46 MC TS crumbstore MCTO (First)",
            (28006, False),
        ),
        (
            "[1.5] nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): 24007, Fatal, Link 28 sourcetrack timeout error",
            (24007, True),
        ),
        ("nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 28006, Severity 0 Engine instance 46", (28006, None)),
        ("nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 28006, Data {0x50610002, 0x10100030}", (28006, None)),
    ],
)
def test_an_sxid_tells_its_number_and_whether_it_is_fatal(line: str, expected: tuple[int, bool | None]) -> None:
    said = parse_sxid(line)
    assert (said.number, said.fatal) == expected
    assert said.address in ("0000:c1:00.0", "0000:c3:00.0")
    found = xids_in(line, "log")
    assert [type(one) for one in found] == [LoggedSxid]


def test_another_line_is_no_sxid() -> None:
    with pytest.raises(ParseError):
        parse_sxid("nvidia-nvswitch3: open (major=510)")


@pytest.mark.parametrize(
    ("rest", "action"),
    [
        ("GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)", "GPU Reset Required"),
        ("GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)", "None"),
        ("GPU recovery action changed from 0x0 (None) to 0x2 (OS Reboot)", "OS Reboot"),
        ("GPU recovery action changed from None to Node Reboot Required", "Node Reboot Required"),
        ("GPU recovery action changed from 0x0 (None)", None),
    ],
)
def test_the_action_of_an_xid_154_is_read(rest: str, action: str | None) -> None:
    assert parse_xid(f"NVRM: Xid (PCI:0000:01:00): 154, {rest}").recovery == action


def test_an_xid_that_names_its_cause_tells_it() -> None:
    said = parse_xid("NVRM: Xid (PCI:0000:dc:00): 45, pid=1, name=python3, Ch 00000001 caused by previous Xid 149")
    assert said.previous == 149


QUERY = """
GPU 00000000:07:00.0
    ECC Mode
        Current                           : Enabled
        Pending                           : Enabled
    GPU Reset Status
        Reset Required                    : No
        Drain and Reset Recommended       : Yes
    ECC Errors
        Volatile
            SRAM Correctable              : 0
            DRAM Uncorrectable            : 2
        Aggregate
            DRAM Uncorrectable            : 12
            SRAM Threshold Exceeded       : No
        Aggregate Uncorrectable SRAM Sources
            SRAM L2                       : 0
    Remapped Rows
        Correctable Error                 : 1
        Pending                           : Yes
        Remapping Failure Occurred        : No
GPU 00000000:0A:00.0
    GPU Recovery Action                   : None
"""


@pytest.mark.parametrize("flat", [False, True], ids=["as printed", "without indentation"])
def test_health_is_read_section_by_section_and_gpu_by_gpu(flat: bool) -> None:
    text = "\n".join(line.strip() for line in QUERY.splitlines()) if flat else QUERY
    found = [(one.address, one.section, one.name, one.value) for one in health_lines(text, "query")]
    assert found == [
        ("0000:07:00.0", "GPU Reset Status", "Reset Required", "No"),
        ("0000:07:00.0", "GPU Reset Status", "Drain and Reset Recommended", "Yes"),
        ("0000:07:00.0", "Volatile", "DRAM Uncorrectable", "2"),
        ("0000:07:00.0", "Aggregate", "DRAM Uncorrectable", "12"),
        ("0000:07:00.0", "Aggregate", "SRAM Threshold Exceeded", "No"),
        ("0000:07:00.0", "Remapped Rows", "Pending", "Yes"),
        ("0000:07:00.0", "Remapped Rows", "Remapping Failure Occurred", "No"),
        ("0000:0a:00.0", "", "GPU Recovery Action", "None"),
    ]


def test_another_text_tells_of_no_health() -> None:
    with pytest.raises(NotApplicable):
        GpuHealth.collect(saying("Pending : Yes\n    MIG Mode\n        Pending : Yes"))


def test_a_flood_of_one_xid_leaves_room_for_the_others() -> None:
    flood = "NVRM: Xid (PCI:0000:68:00): 45, pid=1, name=x, Ch 1\n" * 6000
    log = KernelLog.collect(saying(f"{flood}NVRM: Xid (PCI:0000:68:00): 62, x\n"))
    assert log.xids[-1].xid.number == 62
    assert len(log.xids) == 1001
