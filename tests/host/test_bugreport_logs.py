"""Which lines of a report's logs belong to this boot, each event once."""

from __future__ import annotations

import pytest

from nvdiag.host.bugreport import BugReportHost, logs
from tests.scenarios import reports

XID = "NVRM: Xid (PCI:0000:01:00): 79, pid=1234, GPU has fallen off the bus."
OLD_XID = "NVRM: Xid (PCI:0000:01:00): 62, 0000(0000) 00000000 00000000"
LOADING = f"NVRM: loading NVIDIA UNIX x86_64 Kernel Module  {reports.RELEASE}  Fri Jan  3 17:27:14 UTC 2025"
TAIL_OF_RING = "[ 7827.191123] usb 1-1: new device\n"

BOOTED = reports.file("/proc/modules", "", time="2025-09-13 09:44:11.9 +0000")
"""An entry of /proc that was made at 09:44, so this boot began no later."""


def said(machine: BugReportHost) -> dict[str, str]:
    return {source: text for source, text in machine.texts() if source != "lspci"}


def all_said(machine: BugReportHost) -> str:
    return "".join(said(machine).values())


def dmesg(text: str) -> str:
    return reports.command("dmesg:", text)


def test_an_event_that_stands_in_four_logs_is_told_once() -> None:
    machine = reports.host(
        reports.scan(
            kern=f"Sep 13 09:44:40 myhost kernel: [   22.123456] {XID}\n",
            dmesg_file=f"[   22.123456] kernel: {XID}\n",
            now=f"Sep 13 09:44:40 myhost kernel: {XID}\n",
        ),
        dmesg(f"{reports.DMESG}[   22.123456] {XID}\n"),
    )
    assert all_said(machine).count("Xid") == 1
    assert machine.earlier_texts() == ()


def test_earlier_boots_are_history() -> None:
    machine = reports.host(
        reports.scan(
            kern=f"Aug  1 09:44:40 myhost kernel: [   99.1] {OLD_XID}\n",
            now="",
            before=f"Sep 12 09:44:40 myhost kernel: {XID}\n",
            before_that=f"Sep 11 09:44:40 myhost kernel: {OLD_XID} of another kind\n",
        ),
        dmesg(reports.DMESG),
    )
    assert "Xid" not in all_said(machine)
    assert [source for source, _ in machine.earlier_texts()] == [
        "/var/log/kern.log",
        "journalctl -b -1",
        "journalctl -b -2",
    ]


def test_what_the_ring_lost_is_in_the_journal() -> None:
    machine = reports.host(
        reports.scan(now=f"Sep 13 09:44:20 myhost kernel: {OLD_XID}\nSep 13 09:50:40 myhost kernel: {XID}\n"),
        dmesg(f"{TAIL_OF_RING}[ 7830.1] {XID}\n"),
    )
    assert list(said(machine)) == ["journalctl -b -0", "dmesg"]
    assert said(machine)["journalctl -b -0"].count("Xid") == 1
    assert OLD_XID in said(machine)["journalctl -b -0"]


def test_the_forms_of_one_line_are_one_line() -> None:
    machine = reports.host(
        reports.scan(
            dmesg_file=f"[ 7830.1] kernel: {XID}\n",
            now=f"Sep 13 09:50:40 myhost kernel: {XID}\n2025-09-13T09:50:40.1+00:00 myhost kernel: [ 7830.1] {XID}\n",
        ),
        dmesg(f"{TAIL_OF_RING}[ 7830.1] [   T4321] {XID}\n"),
    )
    assert list(said(machine)) == ["dmesg"]


def test_what_the_ring_lost_is_in_the_dmesg_file_unless_that_is_of_another_release() -> None:
    boot = reports.scan(dmesg_file=f"[    3.394734] kernel: {LOADING}\n")
    assert "loading" in said(reports.host(boot, dmesg(TAIL_OF_RING), reports.VERSION))["/var/log/dmesg"]
    stale = boot.replace(reports.RELEASE, "470.199.02")
    assert "/var/log/dmesg" not in said(reports.host(stale, dmesg(TAIL_OF_RING), reports.VERSION))
    assert "/var/log/dmesg" not in said(reports.host(boot, dmesg(reports.DMESG), reports.VERSION))


KERN_OF_TWO_BOOTS = (
    f"Sep 12 09:44:40 myhost kernel: [    5.1] {LOADING}\nSep 12 10:44:40 myhost kernel: [ 3605.1] {OLD_XID}\n"
    f"Sep 13 09:44:21 myhost kernel: [    5.2] {LOADING}\nSep 13 09:44:40 myhost kernel: [   22.1] {XID}\n"
)


@pytest.mark.parametrize("ring", ["", TAIL_OF_RING], ids=["no dmesg", "dmesg without its start"])
def test_without_a_journal_the_kernels_clock_cuts_kern_log(ring: str) -> None:
    sections = [reports.scan(kern=KERN_OF_TWO_BOOTS)] + ([dmesg(ring)] if ring else [])
    machine = reports.host(*sections)
    assert XID in all_said(machine)
    assert OLD_XID not in all_said(machine)
    assert OLD_XID in machine.earlier_texts()[0][1]


def test_each_boot_of_kern_log_is_a_text_of_its_own_and_this_boot_is_none_of_them() -> None:
    three = f"Sep 11 09:44:40 myhost kernel: [   99.1] {XID}\n{KERN_OF_TWO_BOOTS}"
    machine = reports.host(reports.scan(kern=three), dmesg(f"{reports.DMESG}[   22.1] {XID}\n"))
    assert [text.count("\n") for _, text in machine.earlier_texts()] == [1, 1]
    assert all_said(machine).count("Xid") == 1


def test_without_the_kernels_clock_a_load_of_the_module_begins_a_boot() -> None:
    log = "".join(
        f"2025-09-{day}T09:44:10.1+00:00 myhost kernel: {LOADING}\n"
        f"2025-09-{day}T09:44:40.1+00:00 myhost kernel: {line}\n"
        for day, line in ((11, OLD_XID), (12, XID), (13, f"{XID} again"))
    )
    machine = reports.host(reports.scan(kern=log), BOOTED, dmesg(reports.DMESG))
    assert [text.partition("T")[0] for _, text in machine.earlier_texts()] == ["2025-09-11", "2025-09-12"]


def test_kern_log_without_the_kernels_clock_cannot_be_cut() -> None:
    machine = reports.host(reports.scan(kern=f"2025-09-13T09:44:40.1+00:00 myhost kernel: {XID}\n"))
    assert "Xid" not in all_said(machine)
    assert XID in machine.earlier_texts()[0][1]


def test_lines_that_only_mention_nvidia_are_none_of_the_drivers() -> None:
    machine = reports.host(
        reports.scan(
            now="Sep 13 09:44:20 myhost sudo[1]: user : COMMAND=/usr/bin/apt install nvidia-driver-535\n"
            "Sep 13 09:44:21 myhost dockerd[2]: nvidia-container-cli: initialization error: Xid (\n"
            "Sep 13 09:44:22 myhost kernel: NVRM: API mismatch: the client has the version 535.230.02, but\n"
            "                                NVRM: this kernel module has the version 535.183.01.\n"
            "Sep 13 09:44:23 myhost nvidia-persistenced[3]: Failed to open libnvidia-cfg.so.1\n"
            "Sep 13 09:44:24 myhost CRON[4]: nvidia-smi\n"
        )
    )
    lines = said(machine)["journalctl -b -0"].splitlines()
    assert [line[:30].strip() for line in lines] == [
        "Sep 13 09:44:22 myhost kernel:",
        "",
        "Sep 13 09:44:23 myhost nvidia-",
    ]


def test_a_log_that_grep_took_for_binary_says_nothing() -> None:
    machine = reports.host(reports.scan(kern="Binary file /var/log/kern.log matches\n", now=""))
    assert all_said(machine) == ""


def test_of_a_huge_log_what_the_driver_says_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "WHOLE_LOG", 1000)
    monkeypatch.setattr(logs, "_TAIL", 1000)
    noise = "".join(f"[   10.{number:06}] usb 1-1: noise\n" for number in range(2000))
    machine = reports.host(dmesg(f"{reports.DMESG}{noise}[   22.1] {XID}\n{noise}[   30.1] {OLD_XID}\n"))
    text = said(machine)["dmesg"]
    assert XID in text
    assert OLD_XID in text
    assert len(text) < 3000


X_LOG = (
    "[    30.1] (II) Loading /usr/lib/xorg\n[    30.2] (EE) NVIDIA: Failed to initialize the NVIDIA kernel module.\n"
)


@pytest.mark.parametrize(
    ("path", "time", "kept"),
    [
        ("/var/log/Xorg.0.log", "2025-09-13 09:46:00.0 +0000", True),
        ("/var/log/Xorg.0.log", "2025-09-13 11:46:00.0 +0200", True),
        ("/var/log/Xorg.0.log", "2025-09-13 09:40:00.0 +0000", False),
        ("/var/log/Xorg.0.log.old", "2025-09-13 09:46:00.0 +0000", False),
    ],
)
def test_an_x_servers_log_counts_where_it_was_written_in_this_boot(path: str, time: str, kept: bool) -> None:
    machine = reports.host(reports.file(path, X_LOG, time=time), BOOTED, dmesg(reports.DMESG))
    assert ("(EE) NVIDIA" in all_said(machine)) is kept
    assert "Loading" not in all_said(machine)


def test_an_x_servers_journal_counts_for_this_boot_alone() -> None:
    for boot, kept in (("-0", True), ("-1", False)):
        machine = reports.host(reports.command(f"journalctl -b {boot} _COMM=Xorg", X_LOG))
        assert ("(EE) NVIDIA" in all_said(machine)) is kept


def test_an_x_servers_log_does_not_count_where_nothing_tells_when_this_boot_began() -> None:
    machine = reports.host(reports.file("/var/log/Xorg.0.log", X_LOG))
    assert all_said(machine) == ""
