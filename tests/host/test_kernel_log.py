"""What is kept of this boot's kernel log, from the kernel's device and from the journal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nvdiag.facts.kernel_log import why_none
from nvdiag.host import NotRecorded, Refused, children, kernel_log
from nvdiag.host.base import DMESG, JOURNAL, SYSLOG
from nvdiag.host.live import LiveHost
from nvdiag.host.record import RecordingHost
from nvdiag.host.snapshot import SnapshotHost

BOOT = b"5,0,0,-;Linux version 6.8.0-85-generic (buildd@host) #85-Ubuntu SMP\n"
ENUMERATED = (
    b"6,700,400123,-;pci 0000:41:00.0: [10de:2684] type 00 class 0x030000 PCIe Legacy Endpoint\n"
    b" SUBSYSTEM=pci\n DEVICE=+pci:0000:41:00.0\n"
)
NOISE = b"6,701,400200,-;usb 1-1: new high-speed USB device number 2 using xhci_hcd\n"
AER = b"3,702,90000001,-;pcieport 0000:40:01.0: AER: Uncorrected (Fatal) error message received from 0000:41:00.0\n"
OTHERS_AER = b"3,703,90000002,-;pcieport 0000:00:01.0: AER: Corrected error message received from 0000:02:00.0\n"
MISMATCH = (
    b"4,704,91500000,-;NVRM: API mismatch: the client has the version 570.172.08, but\\x0a"
    b"NVRM: this kernel module has the version 570.169.\n"
)


def packets(*records: bytes) -> int:
    """A descriptor that gives one record a read, as /dev/kmsg does."""
    reading, writing = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
    for record in records:
        os.write(writing, record)
    os.set_blocking(writing, True)
    return reading


def kept_of(*records: bytes) -> list[str]:
    return kernel_log.kept(list(kernel_log.records(packets(*records)))).splitlines()


def test_lines_of_gpus_and_of_their_pci_addresses_are_kept_with_their_times() -> None:
    assert kept_of(BOOT, NOISE, ENUMERATED, AER, OTHERS_AER) == [
        "[    0.000000] Linux version 6.8.0-85-generic (buildd@host) #85-Ubuntu SMP",
        "[    0.400123] pci 0000:41:00.0: [10de:2684] type 00 class 0x030000 PCIe Legacy Endpoint",
        "[   90.000001] pcieport 0000:40:01.0: AER: Uncorrected (Fatal) error message received from 0000:41:00.0",
    ]


def test_a_message_of_several_lines_keeps_them() -> None:
    first, second = kept_of(MISMATCH)
    assert first.startswith("[   91.500000] NVRM: API mismatch")
    assert second == "               NVRM: this kernel module has the version 570.169."


def test_a_flood_leaves_room_for_what_came_before_and_after_it() -> None:
    flood = [b"[   %2d.000000] NVRM: Xid (PCI:0000:41:00): 13, pid=%d" % (n % 60, n) for n in range(5000)]
    text = kernel_log.kept([b"[    1.000000] NVRM: first", *flood, b"[   99.000000] NVRM: last"])
    lines = text.splitlines()
    assert ("first" in lines[0], "last" in lines[-1]) == (True, True)
    assert "messages left out" in text
    assert len(lines) < 2000


def test_the_journals_lines_are_brought_to_the_same_form() -> None:
    printed = (
        b"[    0.000000] node7 kernel: Linux version 6.8.0\n"
        b"[   91.500000] node7 kernel: NVRM: API mismatch: the client has the version 570.172.08, but\n"
        b"                             NVRM: this kernel module has the version 570.169.\n"
        b"[   92.000000] node7 kernel: usb 1-1: new device\n"
    )
    assert kernel_log.of_listing(printed).splitlines() == [
        "[    0.000000] Linux version 6.8.0",
        "[   91.500000] NVRM: API mismatch: the client has the version 570.172.08, but",
        "                             NVRM: this kernel module has the version 570.169.",
    ]


@pytest.mark.live
def test_a_device_that_may_not_be_opened_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(kernel_log, "of_device", refuse)
    with pytest.raises(Refused) as raised:
        LiveHost(60.0).run(*DMESG)
    assert raised.value.error == "EPERM"


@pytest.mark.live
def test_without_the_device_there_is_no_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernel_log, "KMSG", str(tmp_path / "kmsg"))
    assert LiveHost(60.0).look("commands", "dmesg") is None


def snapshot(**commands: object) -> SnapshotHost:
    return SnapshotHost({"nvdiag_snapshot": 1, "captured_at": "", "commands": commands}, "a snapshot")


def told(text: str) -> dict[str, object]:
    return {"exit": 0, "stdout": text, "stderr": ""}


def test_the_journal_answers_where_the_device_is_refused() -> None:
    document = {"dmesg": {"error": "EPERM"}, " ".join(JOURNAL): told("[    1.0] NVRM: x\n")}
    assert snapshot(**document).texts() == (("journalctl -k -b", "[    1.0] NVRM: x\n"),)


@pytest.mark.parametrize("journal", [None, {"error": "timeout"}, told("")])
def test_a_log_that_nobody_lets_read_is_a_refusal_and_no_text(journal: object) -> None:
    host = snapshot(**{"dmesg": {"error": "EPERM"}, " ".join(JOURNAL): journal})
    assert host.texts() == ()
    with pytest.raises(Refused):
        host.kernel_log()


def test_a_recording_keeps_the_log_and_replays_it() -> None:
    recording = RecordingHost(snapshot(dmesg=told("[    1.0] NVRM: x\n")))
    live = recording.texts()
    assert SnapshotHost(recording.document, "again").texts() == live
    assert recording.document["messages"] == []


def test_a_recording_without_the_log_says_nothing_of_it() -> None:
    with pytest.raises(NotRecorded):
        snapshot().kernel_log()


def refused(restricted: str | None, said: object) -> SnapshotHost:
    """A machine whose device and journal tell this user nothing."""
    commands = {"dmesg": {"error": "EPERM"}, " ".join(JOURNAL): told(""), " ".join(SYSLOG): said}
    files = {"/proc/sys/kernel/dmesg_restrict": restricted}
    return SnapshotHost({"nvdiag_snapshot": 1, "captured_at": "", "commands": commands, "files": files}, "a snapshot")


def test_dmesg_answers_where_device_and_journal_do_not() -> None:
    assert refused("0\n", told("[    1.0] NVRM: x\n")).kernel_log() == ("dmesg", "[    1.0] NVRM: x\n")
    assert refused("0\n", told("")).kernel_log() == ("dmesg", "")


@pytest.mark.parametrize(
    ("restricted", "said"),
    [
        ("1\n", told("[    1.0] NVRM: x\n")),
        (None, told("[    1.0] NVRM: x\n")),
        ("0\n", {"exit": 1, "stdout": "", "stderr": "dmesg: read kernel buffer failed: Operation not permitted"}),
        ("0\n", None),
    ],
)
def test_dmesg_is_not_asked_in_vain_and_a_failure_of_it_is_the_refusal(restricted: str | None, said: object) -> None:
    host = refused(restricted, said)
    with pytest.raises(Refused):
        host.kernel_log()
    assert "`sudo dmesg` shows it" in str(why_none(host))


@pytest.mark.live
def test_what_dmesg_prints_is_cut_down_as_the_device_is(monkeypatch: pytest.MonkeyPatch) -> None:

    printed = (
        b"[    0.000000] Linux version 6.8.0\n[    0.100000] usb 1-1: new\n[    4.300000] NVRM: loading NVIDIA UNIX\n"
    )

    class Program:
        def finish(self, until: float) -> tuple[children.Ended, bytes, bytes]:
            return children.Ended(0), printed, b""

    monkeypatch.setattr(children, "Running", Program)
    monkeypatch.setattr(LiveHost, "_start", lambda *_: Program())
    assert LiveHost(60.0).run(*SYSLOG).stdout.splitlines() == [
        "[    0.000000] Linux version 6.8.0",
        "[    4.300000] NVRM: loading NVIDIA UNIX",
    ]
