"""What is kept of this boot's kernel log, from the kernel's device and from the journal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nvdiag.host import NotRecorded, Refused, kernel_log
from nvdiag.host.base import DMESG, JOURNAL
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
