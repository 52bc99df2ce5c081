"""Since when the driver is as it is and who made it so: in the finding, the timeline and the JSON report."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nvdiag.engine import Facts
from nvdiag.facts.history import DriverHistory
from nvdiag.host import Host
from nvdiag.host.redact import redacted
from nvdiag.host.snapshot import SnapshotHost
from nvdiag.model.unknown import NotApplicable, Unknown
from tests.checks.diagnosing import diagnosed, first
from tests.checks.pasting import pasted
from tests.facts import package_log_texts as texts
from tests.report.reporting import as_document, as_lines
from tests.scenarios import machines, reports
from tests.scenarios.tree import Tree, TreeHost

OLD, NEW = "570.169", "570.172.08"
BOOT = 1763971200
"""2025-11-24 08:00 UTC: a day before what the logs tell of."""

APT, DPKG = "/var/log/apt/history.log", "/var/log/dpkg.log"
UTC = {"/etc/localtime": "/usr/share/zoneinfo/Etc/UTC"}


def with_logs(machine: Tree, files: dict[str, str], *, booted: int = BOOT, zone: str = "Etc/UTC") -> Tree:
    """A machine that booted then, with these logs."""
    stat = f"cpu  1 2 3 4\nbtime {booted}\nprocesses 9\n"
    return machine.but(
        files={**files, "/proc/stat": stat}, links={"/etc/localtime": f"../usr/share/zoneinfo/{zone}"} if zone else {}
    )


def history(machine: Tree | Host) -> DriverHistory:
    host = machine.host() if isinstance(machine, Tree) else machine
    found = Facts({Host: host})[DriverHistory]
    assert isinstance(found, DriverHistory), found
    return found


def timeline(machine: Tree | Host) -> list[str]:
    lines = as_lines(diagnosed(machine), width=200)
    start = next((number for number, line in enumerate(lines) if "since: " in line), len(lines))
    rows = [lines[start].replace("since:", "      ")] if start < len(lines) else []
    for line in lines[start + 1 :]:
        if not line.startswith("         "):
            break
        rows.append(line)
    return [row.strip() for row in rows]


UBUNTU = machines.ubuntu_dkms(OLD, NEW, NEW)

MACHINES: dict[str, tuple[Tree, dict[str, str], str, str]] = {
    "Ubuntu": (UBUNTU, {APT: texts.APT_HISTORY}, "unattended-upgrades", "libnvidia-compute-570 570.169 -> 570.172.08"),
    "Rocky": (
        machines.rpm_machine("rocky", OLD, NEW, NEW),
        {"/var/log/dnf.rpm.log": texts.DNF_RPM, "/var/log/dnf.log": texts.DNF},
        "`dnf upgrade -y`",
        "nvidia-driver-cuda-libs 570.169 -> 570.172.08",
    ),
    "Fedora": (
        machines.rpm_machine("fedora", OLD, NEW, NEW),
        {"/var/log/dnf5.log": texts.DNF5},
        "`dnf upgrade --refresh`",
        "xorg-x11-drv-nvidia-cuda-libs 570.169 -> 570.172.08",
    ),
    "openSUSE": (
        machines.rpm_machine("suse", OLD, NEW, NEW),
        {"/var/log/zypp/history": texts.ZYPP},
        "carol, with `zypper -n up`",
        "nvidia-compute-G06 570.169 -> 570.172.08",
    ),
    "Arch": (
        machines.arch("580.76.05", "580.82.07", "580.82.07"),
        {"/var/log/pacman.log": texts.PACMAN},
        "`pacman -Syu`",
        "nvidia-utils 580.76.05 -> 580.82.07",
    ),
    "a .run over packages": (
        UBUNTU,
        {"/var/log/nvidia-installer.log": texts.INSTALLER},
        "NVIDIA's installer (`./nvidia-installer --silent --dkms`)",
        "NVIDIA's installer (.run) 570.169 -> 570.172.08",
    ),
    "CentOS 7": (
        machines.rpm_machine("rocky", "418.67", "418.87.00", "418.87.00"),
        {"/var/log/yum.log": texts.YUM.replace("Nov 25", "Sep 15").replace("Dec", "Jan")},
        "yum; the log does not say who asked",
        "",
    ),
}


@pytest.mark.parametrize("name", MACHINES)
def test_a_mismatch_says_since_when_and_by_whom(name: str) -> None:
    machine, files, by, change = MACHINES[name]
    finding = first(with_logs(machine, files))
    assert finding.id == "driver-library-mismatch"
    day = "2025-09-15" if name == "CentOS 7" else "2025-11-25"
    hour = "05:12" if name == "Fedora" else "06:12"
    assert f"since {day} {hour}, by {by}." in finding.detail
    source = next(iter(files))
    told = [one.excerpt for one in finding.evidence if one.source == source]
    assert len(told) == 1
    assert told[0].startswith(f"{day} {hour} {change}")


@pytest.mark.parametrize("name", MACHINES)
def test_a_run_on_the_snapshot_tells_the_same(name: str) -> None:
    machine = with_logs(*MACHINES[name][:2])
    assert history(machine.snapshot()) == history(machine)
    redacted_host = SnapshotHost(redacted(machine.snapshot().document, "node7"), "redacted")
    assert [one.when for one in history(redacted_host).transactions] == [
        one.when for one in history(machine).transactions
    ]


@pytest.mark.parametrize(
    "machine",
    [
        machines.ubuntu_dkms(NEW),
        machines.debian_current("535.261.03"),
        machines.rpm_machine("rocky", NEW, NEW, NEW),
        machines.arch(),
        machines.docker(),
        machines.wsl(),
    ],
    ids=["ubuntu", "debian", "rocky", "arch", "docker", "wsl"],
)
def test_a_machine_that_is_well_reads_no_log(machine: Tree) -> None:
    host = with_logs(machine, {APT: texts.APT_HISTORY, "/var/log/pacman.log": texts.PACMAN}).host()
    diagnosis = diagnosed(host)
    assert isinstance(diagnosis.facts[DriverHistory], NotApplicable)
    assert not [question for question in host.asked if "/var/log/" in question and "nvidia-installer" not in question]


def test_a_machine_that_is_well_does_not_even_load_the_parsers() -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom tests.checks.diagnosing import diagnosed\nfrom tests.scenarios import machines\n"
        "sys.modules.pop('lzma', None)\n"  # the machines' own module files are packed with it
        "diagnosed(machines.ubuntu_dkms('570.172.08'))\n"
        "print([name for name in sys.modules if 'package_logs' in name or name in ('zoneinfo', 'lzma')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_timeline_stands_under_the_finding_in_the_order_of_time() -> None:
    assert timeline(with_logs(UBUNTU, {APT: texts.APT_HISTORY})) == [
        "2025-11-24 06:40  linux-image-6.8.0-90-generic 6.8.0-90.91 installed, by unattended-upgrades",
        "2025-11-24 08:00  this boot",
        "2025-11-25 06:12  libnvidia-compute-570 570.169 -> 570.172.08 and 1 more, by unattended-upgrades",
    ]


def test_the_boot_is_shown_in_the_machines_own_zone() -> None:
    machine = with_logs(UBUNTU, {APT: texts.APT_HISTORY}, zone="Asia/Tokyo")
    assert "2025-11-24 17:00  this boot" in timeline(machine)
    assert history(machine).transactions[-1].when.iso == "2025-11-25T06:12:04+09:00"


def test_without_a_zone_what_lies_close_to_the_boot_stays_open() -> None:
    close = with_logs(UBUNTU, {APT: texts.APT_HISTORY}, booted=1764050400, zone="").but(
        links={"/etc/localtime": "/some/copy"}
    )
    found = as_document(diagnosed(close))["facts"]["history"]
    assert found["transactions"][-1]["at"] == "2025-11-25T06:12:04"
    assert found["transactions"][-1]["after_boot"] is None
    assert any("of a zone that is not known" in line for line in timeline(close))
    assert "It has been so since 2025-11-25 06:12" in first(close).detail


def test_no_localtime_is_utc_as_the_c_library_has_it() -> None:
    assert history(with_logs(UBUNTU, {APT: texts.APT_HISTORY}, zone="")).zone == "UTC"


def test_a_boot_after_the_upgrade_is_told_as_what_it_is() -> None:
    later = with_logs(UBUNTU, {APT: texts.APT_HISTORY}, booted=BOOT + 2 * 86400)
    detail = first(later).detail
    assert "This boot came after the change" in detail
    assert "stayed in memory" not in detail


@pytest.mark.parametrize("packed", ["gz", "xz", "bz2", "zst"])
def test_rotated_logs_are_read_until_one_explains_the_state(packed: str) -> None:
    machine = with_logs(
        UBUNTU,
        {
            APT: texts.APT_HISTORY[: texts.APT_HISTORY.index("Start-Date: 2025-11-24")],
            f"{APT}.1.{packed}": texts.APT_HISTORY,
            f"{APT}.2.{packed}": "Start-Date: 2025-09-01  06:12:04\nCommandline: apt upgrade\n",
        },
    )
    host = machine.host()
    assert first(host).detail.count("by unattended-upgrades") == 1
    assert f"files {APT}.1.{packed}" in host.asked
    assert f"files {APT}.2.{packed}" not in host.asked


def test_logs_rotated_by_date_are_read_newest_first() -> None:
    machine = with_logs(
        machines.rpm_machine("rocky", OLD, NEW, NEW),
        {
            "/var/log/dnf.rpm.log": "",
            "/var/log/dnf.rpm.log-20251101": "",
            "/var/log/dnf.rpm.log-20251130": texts.DNF_RPM,
        },
    )
    host = machine.host()
    assert "since 2025-11-25 06:12" in first(host).detail
    assert "files /var/log/dnf.rpm.log-20251101" not in host.asked


def test_apts_and_dpkgs_logs_tell_of_one_run() -> None:
    found = history(with_logs(UBUNTU, {APT: texts.APT_HISTORY, DPKG: texts.DPKG}))
    assert [one.tool for one in found.transactions] == ["apt", "apt"]


def test_a_package_installed_by_dpkg_alone_is_seen_beside_apts_history() -> None:
    alone = "2025-11-26 10:00:00 upgrade libnvidia-compute-570:amd64 570.169-0ubuntu0.24.04.1 570.172.08-0ubuntu1\n"
    cut = texts.APT_HISTORY[: texts.APT_HISTORY.index("Start-Date: 2025-11-25")]
    finding = first(with_logs(UBUNTU, {APT: cut, DPKG: alone}))
    assert "since 2025-11-26 10:00, by dpkg; the log does not say who asked." in finding.detail


def test_where_only_dpkgs_log_is_there_the_log_of_unattended_upgrades_tells_who() -> None:
    machine = with_logs(
        UBUNTU, {DPKG: texts.DPKG, "/var/log/unattended-upgrades/unattended-upgrades.log": texts.UNATTENDED}
    )
    assert "by unattended-upgrades." in first(machine).detail


def test_where_the_history_is_gone_the_terminal_log_tells_when() -> None:
    assert (
        "since 2025-11-25 06:12, by apt; the log does not say who asked."
        in first(with_logs(UBUNTU, {"/var/log/apt/term.log": texts.APT_TERM})).detail
    )


def test_logs_that_may_not_be_read_are_why_it_is_not_known() -> None:
    machine = with_logs(UBUNTU, {"/var/log/nvidia": ""}).but(
        refused={"/var/log/apt/history.log": "EACCES", "/var/log/dpkg.log": "EACCES"}
    )
    why = diagnosed(machine).facts[DriverHistory]
    assert isinstance(why, Unknown)
    assert "permission denied" in str(why)
    assert "since" not in first(machine).detail


def test_no_log_at_all_is_said_so() -> None:
    why = diagnosed(UBUNTU).facts[DriverHistory]
    assert isinstance(why, Unknown)
    assert "no log of a package manager is here" in str(why)


def test_logs_without_the_driver_say_nothing() -> None:
    machine = with_logs(UBUNTU, {APT: texts.APT_HISTORY.replace("nvidia", "other")})
    assert "since" not in first(machine).detail


def test_a_kernel_without_a_module_says_when_that_kernel_came() -> None:
    machine = machines.ubuntu_prebuilt(next_kernel="6.8.0-90-generic")
    finding = first(with_logs(machine, {APT: texts.APT_HISTORY}))
    assert finding.id == "driver-not-built"
    assert "Kernel 6.8.0-90-generic has been there since 2025-11-24 06:40, by unattended-upgrades." in finding.detail


def test_an_upgrade_that_did_not_end_is_told() -> None:
    cut = texts.DPKG.rpartition("2025-11-25 06:13:55")[0]
    assert "did not come to its end" in first(with_logs(UBUNTU, {DPKG: cut})).detail


def test_the_json_report_holds_all_of_it() -> None:
    report = as_document(diagnosed(with_logs(UBUNTU, {APT: texts.APT_HISTORY})))["facts"]["history"]
    assert report["booted_at"] == "2025-11-24T08:00:00+00:00"
    assert report["logs"] == [APT]
    cause: dict[str, Any] = report["transactions"][report["cause"]]
    assert cause["at"] == "2025-11-25T06:12:04+00:00"
    assert (cause["after_boot"], cause["asked_by"], cause["failed"]) == (True, "unattended-upgrades", False)
    assert cause["changes"][0] == {
        "name": "libnvidia-compute-570",
        "old": "570.169-0ubuntu0.24.04.1",
        "new": "570.172.08-0ubuntu0.24.04.1",
        "role": "library",
    }


def test_a_snapshot_does_not_name_who_asked() -> None:
    named = texts.APT_HISTORY.replace(
        "Commandline: /usr/bin/unattended-upgrade\nUpgrade",
        ("Commandline: apt upgrade\nRequested-By: mallory (1001)\nUpgrade"),
    )
    for machine in (
        with_logs(UBUNTU, {APT: named}),
        with_logs(*MACHINES["openSUSE"][:2]),
    ):
        text = json.dumps(redacted(machine.snapshot().document, "node7"))
        assert "mallory" not in text
        assert "carol" not in text
        assert "node7" not in text


def test_what_was_changed_again_since_is_no_cause() -> None:
    back = (
        "\nStart-Date: 2025-11-26  10:00:00\nCommandline: apt install libnvidia-compute-570=570.169-0ubuntu0.24.04.1\n"
        "Downgrade: libnvidia-compute-570:amd64 (570.172.08-0ubuntu0.24.04.1, 570.169-0ubuntu0.24.04.1),"
        " nvidia-dkms-570-open:amd64 (570.172.08-0ubuntu0.24.04.1, 570.169-0ubuntu0.24.04.1)\n"
    )
    machine = with_logs(UBUNTU, {APT: texts.APT_HISTORY + back})
    assert history(machine).cause is None
    assert "since" not in first(machine).detail
    taken_back = with_logs(machines.ubuntu_dkms(NEW, OLD, OLD), {APT: texts.APT_HISTORY + back})
    assert "It has been so since 2025-11-26 10:00, by `apt install" in first(taken_back).detail


def test_the_load_of_the_module_is_in_the_timeline_where_the_kernel_log_tells_it() -> None:
    class Logged(TreeHost):
        def texts(self) -> tuple[tuple[str, str], ...]:
            line = "[   61.500000] NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.169  Release Build\n"
            return (("dmesg", line),)

    host = Logged(with_logs(UBUNTU, {APT: texts.APT_HISTORY}))
    assert timeline(host)[1:3] == ["2025-11-24 08:00  this boot", "2025-11-24 08:01  the nvidia module was loaded"]
    assert as_document(diagnosed(host))["facts"]["history"]["module_loaded_at"] == "2025-11-24T08:01:01+00:00"


def test_an_ostree_systems_deployment_is_a_transaction_where_it_is_recorded() -> None:
    text = f"{texts.OSTREE_STATUS}{texts.OSTREE_UPGRADE}"
    detail = first(pasted(f"{MISMATCH}$ rpm-ostree status -v\n{text}")).detail
    assert "It has been so since 2025-11-25 05:12, by rpm-ostree" in detail


MISMATCH = (
    "$ nvidia-smi\nFailed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.172\n"
    "$ cat /proc/driver/nvidia/version\n"
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.169  Release Build  (dvs-builder@U22)\n"
)


@pytest.mark.parametrize(
    ("shown", "by"),
    [
        (f"$ cat /var/log/apt/history.log\n{texts.APT_HISTORY}", "unattended-upgrades"),
        (f"```\n{texts.APT_HISTORY}```\n", "unattended-upgrades"),
        (f"$ zcat /var/log/apt/history.log.1.gz\n{texts.APT_HISTORY}", "unattended-upgrades"),
        (f"$ grep nvidia /var/log/dpkg.log\n{texts.DPKG}", "dpkg; the log does not say who asked"),
        (
            "$ zgrep nvidia /var/log/dpkg.log*\n"
            + "".join(f"/var/log/dpkg.log.1:{line}\n" for line in texts.DPKG.splitlines()),
            "dpkg; the log does not say who asked",
        ),
        (f"$ sudo cat /var/log/dpkg.log\n{texts.DPKG}\n{texts.UNATTENDED}", "unattended-upgrades"),
        (f"$ tail -50 /var/log/dnf.rpm.log\n{texts.DNF_RPM}{texts.DNF}", "`dnf upgrade -y`"),
        (f"$ cat /var/log/dnf5.log\n{texts.DNF5}", "`dnf upgrade --refresh`"),
        (f"$ sudo dnf history info 42\n{texts.DNF_HISTORY_INFO}", "alice, with `dnf upgrade -y`"),
        (f"here is the history:\n{texts.DNF5_HISTORY_INFO}", "alice, with `dnf upgrade`"),
        (f"# cat /var/log/zypp/history\n{texts.ZYPP}", "carol, with `zypper -n up`"),
        (f"$ cat /var/log/nvidia-installer.log\n{texts.INSTALLER}", "NVIDIA's installer"),
    ],
)  # fmt: skip
def test_pasted_logs_tell_the_same(shown: str, by: str) -> None:
    detail = first(pasted(f"{MISMATCH}{shown}")).detail
    assert "It has been so since 2025-11-25 0" in detail
    assert f", by {by}" in detail


def test_logs_alone_are_no_finding() -> None:
    assert diagnosed(pasted(f"$ cat /var/log/apt/history.log\n{texts.APT_HISTORY}")).findings == ()


def test_a_bug_report_tells_of_nvidias_installer() -> None:
    log = reports.INSTALLER_LOG.replace("525.116.04", "535.247.01").replace(
        "\n\n-> Inst", "\n\nnvidia-installer command line:\n    ./nvidia-installer\n    --silent\n\n-> Inst", 1
    )
    mismatch = reports.smi("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.247")
    report = reports.host(*reports.but(reports.NO_INSTALLER_LOG, log, reports.but(reports.HEALTHY[-1], mismatch)))
    finding = first(report)
    assert finding.id == "driver-disk-mismatch"  # DKMS has built the old release alone
    assert "since 2023-06-09 17:58, by NVIDIA's installer (`./nvidia-installer --silent`)." in finding.detail
    assert not isinstance(diagnosed(reports.host(*reports.HEALTHY)).facts[DriverHistory], DriverHistory)
