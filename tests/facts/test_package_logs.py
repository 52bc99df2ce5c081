"""Each package manager's log is read as that program writes it: what changed, when, and who asked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given

from nvdiag.facts.clock import Moment, moment_in
from nvdiag.facts.package_logs import Change, Role, Transaction, apt, others, release_of, role_of, rpm
from nvdiag.facts.package_logs.asking import Asker, asked_for
from nvdiag.model.unknown import ParseError
from tests.facts import package_log_texts as texts
from tests.facts.hostile import QUICK, any_text

Parser = Callable[[str], object]
NOW = Moment.at(1764100000, 0)

PARSERS: dict[str, tuple[Parser, str]] = {
    "apt history": (apt.parse_history, texts.APT_HISTORY),
    "apt term": (apt.parse_term, texts.APT_TERM),
    "dpkg": (apt.parse_dpkg_log, texts.DPKG),
    "unattended": (apt.parse_unattended, texts.UNATTENDED),
    "dnf.rpm": (rpm.parse_dnf_rpm_log, texts.DNF_RPM),
    "dnf": (rpm.parse_dnf_log, texts.DNF),
    "dnf5": (rpm.parse_dnf5_log, texts.DNF5),
    "yum": (lambda text: rpm.parse_yum_log(text, NOW), texts.YUM),
    "dnf history": (rpm.parse_history_info, texts.DNF_HISTORY_INFO),
    "dnf5 history": (rpm.parse_history_info, texts.DNF5_HISTORY_INFO),
    "zypp": (others.parse_zypp_history, texts.ZYPP),
    "pacman": (others.parse_pacman_log, texts.PACMAN),
    "rpm-ostree": (lambda text: others.parse_ostree_difference(text, NOW, "rpm-ostree upgrade"), texts.OSTREE_UPGRADE),
    "rpm-ostree status": (others.parse_deployments, texts.OSTREE_STATUS),
    "installer": (others.parse_installer_log, texts.INSTALLER),
}


@pytest.mark.parametrize("name", PARSERS)
def test_parser_raises_nothing_but_its_own_error(name: str) -> None:
    parse, original = PARSERS[name]

    @QUICK
    @given(any_text(original))
    def read(text: str) -> None:
        with contextlib.suppress(ParseError):
            parse(text)

    read()


@pytest.mark.parametrize("name", [name for name in PARSERS if name != "rpm-ostree"])
def test_a_text_of_another_form_is_no_log_of_this_one(name: str) -> None:
    with pytest.raises(ParseError):
        PARSERS[name][0]("Dear all,\nthe driver is broken since yesterday.\n")


@pytest.mark.parametrize("name", [name for name in PARSERS if name != "installer"])
def test_an_empty_log_holds_nothing_and_is_well(name: str) -> None:
    assert not PARSERS[name][0]("")


@pytest.mark.parametrize("name", PARSERS)
def test_a_long_log_takes_time_in_proportion_to_it(name: str) -> None:
    import time

    parse, original = PARSERS[name]
    started = time.process_time()
    for text in (original * 200, "\n" * 200_000, " " * 200_000, original[:40] * 5000):
        with contextlib.suppress(ParseError):
            parse(text)
    assert time.process_time() - started < 10


def changes(transaction: Transaction) -> set[tuple[str, str | None, str | None]]:
    return {(change.name, change.old, change.new) for change in transaction.changes}


def test_apts_history_tells_versions_and_who_asked() -> None:
    kernel, driver = apt.parse_history(texts.APT_HISTORY)
    assert changes(kernel) == {("linux-image-6.8.0-90-generic", None, "6.8.0-90.91")}
    old, new = "570.169-0ubuntu0.24.04.1", "570.172.08-0ubuntu0.24.04.1"
    assert changes(driver) == {("libnvidia-compute-570", old, new), ("nvidia-dkms-570-open", old, new)}
    assert (driver.when.text, driver.failed) == ("2025-11-25 06:12", False)
    assert asked_for(driver).kind is Asker.UNATTENDED_UPGRADES


def test_apts_history_tells_removals_downgrades_and_errors() -> None:
    (found,) = apt.parse_history(
        "Start-Date: 2025-11-25  06:12:04\nCommandline: apt install libcuda1=535.1.2-1\nRequested-By: bob (1001)\n"
        "Downgrade: libcuda1:amd64 (550.163.01-2, 535.261.03-1)\nPurge: nvidia-kernel-dkms:amd64 (550.163.01-2)\n"
        "Error: Sub-process /usr/bin/dpkg returned an error code (1)\nEnd-Date: 2025-11-25  06:14:31\n"
    )
    assert changes(found) == {
        ("libcuda1", "550.163.01-2", "535.261.03-1"),
        ("nvidia-kernel-dkms", "550.163.01-2", None),
    }
    assert found.failed
    assert asked_for(found).words == "bob, with `apt install libcuda1=535.1.2-1`"


def test_the_terminal_log_tells_versions_too() -> None:
    (found,) = apt.parse_term(texts.APT_TERM)
    assert [change.told for change in found.changes] == ["libnvidia-compute-570 570.169 -> 570.172.08"]


def test_dpkgs_log_is_cut_into_runs() -> None:
    (found,) = apt.parse_dpkg_log(texts.DPKG)
    assert {change.name for change in found.changes} == {"libnvidia-compute-570", "nvidia-dkms-570-open"}
    assert (found.when.text, found.failed) == ("2025-11-25 06:12", False)


def test_a_package_that_dpkg_did_not_finish_is_told() -> None:
    cut = texts.DPKG.rpartition("2025-11-25 06:13:55")[0]
    assert apt.parse_dpkg_log(cut)[0].failed


def test_packages_that_are_removed_and_purged_are_removed_once() -> None:
    (found,) = apt.parse_dpkg_log(
        "2025-11-25 06:12:31 remove libcuda1:amd64 550.163.01-2 <none>\n"
        "2025-11-25 06:12:32 purge libcuda1:amd64 550.163.01-2 <none>\n"
    )
    assert changes(found) == {("libcuda1", "550.163.01-2", None)}


def test_unattended_upgrades_says_what_it_set_out_to_upgrade() -> None:
    (run,) = apt.parse_unattended(texts.UNATTENDED)
    assert run.packages == {"libnvidia-compute-570", "nvidia-dkms-570-open"}


def test_dnf_4_names_the_new_package_and_then_the_old() -> None:
    kernel, driver = rpm.parse_dnf_rpm_log(texts.DNF_RPM)
    assert changes(kernel) == {("kernel-core", None, "5.14.0-570.42.2.el9_6")}
    assert [change.told for change in driver.of_driver] == [
        "nvidia-driver-cuda-libs 570.169 -> 570.172.08",
        "kmod-nvidia-open-dkms 570.169 -> 570.172.08",
    ]
    assert driver.when.iso == "2025-11-25T06:12:30+01:00"


def test_dnfs_commands_that_only_read_are_left_out() -> None:
    assert [one.command for one in rpm.parse_dnf_log(texts.DNF)] == ["dnf upgrade -y"]


def test_dnf_5_has_the_command_and_rpms_callbacks_in_one_log() -> None:
    (found,) = rpm.parse_dnf5_log(texts.DNF5)
    assert [change.told for change in found.changes] == ["xorg-x11-drv-nvidia-cuda-libs 570.169 -> 570.172.08"]
    assert asked_for(found).words == "`dnf upgrade --refresh`"


def test_yums_log_has_no_years_and_they_are_counted_back_from_the_last_line() -> None:
    first, last = rpm.parse_yum_log(texts.YUM, NOW)
    assert (first.when.text, last.when.text) == ("2024-12-30 23:10", "2025-11-25 06:12")
    assert ("nvidia-driver-cuda-libs", None, "3:418.87.00-1.el7") in changes(last)


@pytest.mark.parametrize("text", [texts.DNF_HISTORY_INFO, texts.DNF5_HISTORY_INFO], ids=["dnf4", "dnf5"])
def test_dnfs_database_tells_the_user(text: str) -> None:
    (found,) = rpm.parse_history_info(text)
    assert found.changes[0].told.endswith("570.169 -> 570.172.08")
    assert (found.user, found.when.text, found.failed) == ("alice", "2025-11-25 06:12", False)
    assert asked_for(found).words.startswith("alice, with `dnf upgrade")


def test_zypps_old_version_is_the_one_that_was_installed_before() -> None:
    first, second = others.parse_zypp_history(texts.ZYPP)
    assert [change.old for change in first.changes] == [None, None]
    assert [change.told for change in second.changes] == [
        "nvidia-compute-G06 570.169 -> 570.172.08",
        "nvidia-open-driver-G06-signed-kmp-default 570.169 removed",
    ]
    assert asked_for(second).words == "carol, with `zypper -n up`"


def test_pacmans_transaction_is_told_with_its_command() -> None:
    (found,) = others.parse_pacman_log(texts.PACMAN)
    assert [change.told for change in found.of_driver] == [
        "nvidia-utils 580.76.05 -> 580.82.07",
        "nvidia-open 580.76.05 -> 580.82.07",
    ]
    assert found.of_role(Role.KERNEL) == (Change("linux", "6.16.7.arch1-1", "6.16.8.arch1-1"),)
    assert asked_for(found).words == "`pacman -Syu`"


def test_old_pacman_wrote_minutes_and_no_parts_of_its_own() -> None:
    (found,) = others.parse_pacman_log("[2014-02-03 10:20] upgraded nvidia-utils (331.20-1 -> 331.38-1)\n")
    assert (found.when.text, found.changes[0].told) == ("2014-02-03 10:20", "nvidia-utils 331.20 -> 331.38")


def test_an_ostree_upgrade_lists_what_differs() -> None:
    (found,) = others.parse_ostree_difference(texts.OSTREE_UPGRADE, NOW, "rpm-ostree upgrade")
    assert [change.name for change in found.changes] == ["kernel-core", "xorg-x11-drv-nvidia-cuda-libs"]


def test_deployments_are_told_with_the_one_that_is_booted() -> None:
    pending, booted = others.parse_deployments(texts.OSTREE_STATUS)
    assert (pending[0], pending[2], booted[0], booted[2]) == ("42.20251125.0", False, "42.20251101.0", True)


def test_the_installers_run_is_a_transaction() -> None:
    (found,) = others.parse_installer_log(texts.INSTALLER)
    assert [change.told for change in found.of_driver] == ["NVIDIA's installer (.run) 570.169 -> 570.172.08"]
    assert (found.when.text, found.failed) == ("2025-11-25 06:12", False)
    assert asked_for(found).words == "NVIDIA's installer (`./nvidia-installer --silent --dkms`)"


def test_an_installation_that_did_not_end_is_told_as_such() -> None:
    (found,) = others.parse_installer_log(texts.INSTALLER.partition("-> Uninstallation")[0])
    assert found.failed


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("libnvidia-compute-570", Role.LIBRARY), ("libnvidia-compute-570-server", Role.LIBRARY),
        ("libcuda1", Role.LIBRARY), ("libnvidia-ml", Role.LIBRARY), ("nvidia-utils", Role.LIBRARY),
        ("nvidia-470xx-utils", Role.LIBRARY), ("nvidia-driver-cuda-libs", Role.LIBRARY),
        ("xorg-x11-drv-nvidia-470xx-cuda-libs", Role.LIBRARY), ("nvidia-compute-G06", Role.LIBRARY),
        ("nvidia-dkms-570-open", Role.MODULE), ("nvidia-open-kernel-dkms", Role.MODULE),
        ("linux-modules-nvidia-570-open-6.8.0-85-generic", Role.MODULE), ("kmod-nvidia-open-dkms", Role.MODULE),
        ("akmod-nvidia", Role.MODULE), ("nvidia-open-driver-G06-signed-kmp-default", Role.MODULE),
        ("nvidia", Role.MODULE), ("nvidia-open-lts", Role.MODULE), ("nvidia-tesla-470-kernel-dkms", Role.MODULE),
        ("firmware-nvidia-gsp", Role.FIRMWARE), ("nvidia-firmware-570-570.172.08", Role.FIRMWARE),
        ("nvidia-kmod-common", Role.FIRMWARE), ("nvidia-driver-570-open", Role.DRIVER), ("cuda-drivers", Role.DRIVER),
        ("linux-image-6.8.0-85-generic", Role.KERNEL), ("linux-image-6.8.0-1010-nvidia", Role.KERNEL),
        ("kernel-core", Role.KERNEL), ("kernel-default", Role.KERNEL), ("linux", Role.KERNEL),
        ("nvidia-container-toolkit", None), ("libnvidia-container1", None), ("nvidia-cuda-toolkit", None),
        ("nvidia-settings", None), ("nvidia-prime", None), ("python3-nvidia-ml-py", None), ("libcudart12", None),
        ("linux-nvidia", None), ("linux-headers-6.8.0-1010-nvidia", None), ("libcudnn8", None), ("bash", None),
        ("nvidia-docker2", None), ("cuda-toolkit-12-8", None), ("linux-firmware", None),
    ],
)  # fmt: skip
def test_packages_are_told_apart_by_what_they_are_to_the_driver(name: str, role: Role | None) -> None:
    assert role_of(name) is role


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("570.172.08-0ubuntu0.24.04.1", "570.172.08"), ("3:570.169-1.el9", "570.169"), ("390.157-0ubuntu8", "390.157"),
        ("570.172.08_k6.4.0_150600.21-150600.3.20.1", "570.172.08"), ("6.8.0-85.85+1", None), ("1:2.3", None),
        (None, None), ("580.82.07", "580.82.07"),
    ],
)  # fmt: skip
def test_the_drivers_release_is_read_from_a_packages_version(version: str | None, release: str | None) -> None:
    found = release_of(version)
    assert (found.text if found else None) == release


@pytest.mark.parametrize(
    ("command", "user", "kind"),
    [
        ("/usr/bin/unattended-upgrade", "", Asker.UNATTENDED_UPGRADES),
        ("aptdaemon role='role-commit-packages' sender=':1.83'", "", Asker.DESKTOP),
        ("packagekit role='update-packages'", "jim", Asker.DESKTOP),
        ("/usr/bin/ruby.ruby3.3 --encoding=utf-8 /usr/lib/YaST2/bin/y2start sw_single qt", "root", Asker.DESKTOP),
        ("/usr/bin/dnf-automatic --timer", "", Asker.DNF_AUTOMATIC),
        (
            "/usr/bin/apt-get -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install x",
            "deploy",
            Asker.ANSIBLE,
        ),
        ("apt-get install x", "ansible", Asker.ANSIBLE),
        ("/usr/bin/apt-get -q -y -o DPkg::Options::=--force-confold install x", "", Asker.PUPPET),
        ("/usr/bin/python3 /tmp/ubuntu-release-upgrader-3x1/noble --mode=server", "", Asker.RELEASE_UPGRADE),
        ("apt-get -y -o Dpkg::Options::=--force-confold install x", "eve", Asker.PERSON),
        ("", "", Asker.UNKNOWN),
    ],
)
def test_who_asked_is_told_as_far_as_the_log_says(command: str, user: str, kind: Asker) -> None:
    told = Transaction(when=NOW, changes=(), tool="apt", command=command, user=user)
    assert asked_for(told).kind is kind


def test_a_time_without_a_zone_is_a_span_and_a_zone_narrows_it() -> None:
    moment = moment_in("2025-11-25  06:12:04")
    assert moment is not None
    noon = 1764072000  # 2025-11-25 12:00 UTC
    assert moment.is_after(noon) is None
    assert moment.is_after(noon - 30 * 3600) is True
    assert moment.is_after(noon + 30 * 3600) is False
    assert moment.within("Asia/Tokyo").iso == "2025-11-25T06:12:04+09:00"
    assert moment.within("America/St_Johns").iso == "2025-11-25T06:12:04-03:30"
    assert moment.within("Mars/Olympus").iso == "2025-11-25T06:12:04"
    assert moment.within("../../etc/passwd").iso == "2025-11-25T06:12:04"


def test_the_hour_that_an_autumn_has_twice_stays_open() -> None:
    twice = moment_in("2025-10-26 02:30:00")
    assert twice is not None
    assert twice.within("Europe/Berlin").latest - twice.within("Europe/Berlin").earliest == 3600


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2025-11-25T06:12:04+0100", "2025-11-25T06:12:04+01:00"),
        ("2025-11-25T06:12:04Z", "2025-11-25T06:12:04+00:00"),
        ("Tue Nov 25 06:12:04 2025", "2025-11-25T06:12:04"), ("Tue 25 Nov 2025 06:12:04 PM IST", "2025-11-25T18:12:04"),
        ("Tue 25 Nov 2025 12:12:04 AM UTC", "2025-11-25T00:12:04+00:00"), ("2025-11-25 06:12", "2025-11-25T06:12:00"),
        ("2022-03-28T14:27:24+00 SUBDEBUG", "2022-03-28T14:27:24+00:00"),
    ],
)  # fmt: skip
def test_times_are_read_in_the_forms_that_logs_have(text: str, iso: str) -> None:
    moment = moment_in(text)
    assert moment is not None
    assert moment.iso == iso


@pytest.mark.parametrize("text", ["", "2025-13-01 00:00:00", "yesterday", "9999-99-99 99:99:99", "06:12:04"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert moment_in(text) is None
