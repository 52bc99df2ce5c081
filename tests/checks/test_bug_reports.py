"""What is concluded from bug reports, which have less than a machine: no sysfs, no library, perhaps no os-release."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nvdiag.cli import delivering, running
from nvdiag.facts.module_files import ModuleInstallation, RunningKernelModule
from nvdiag.facts.modules import KernelModules
from nvdiag.facts.smi_report import SmiReport
from nvdiag.facts.system import Distribution, Family
from nvdiag.facts.traces import DriverTraces
from nvdiag.host import Host
from nvdiag.host.snapshot import SnapshotHost
from nvdiag.model.diagnosis import Verdict
from nvdiag.model.finding import Confidence
from nvdiag.model.unknown import Unknown
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import machines, reports
from tests.scenarios.reports import but

NOTHING_LOADED = but(
    reports.MODULES,
    reports.NO_MODULES,
    but(reports.VERSION, reports.NO_VERSION, but(reports.HEALTHY[-1], reports.smi(reports.COULD_NOT))),
)
"""The module is on disk, and not loaded."""
NO_MODULE = but(
    reports.MODINFO,
    reports.NO_MODINFO,
    but(reports.lspci(), reports.lspci(driver=None, modules="nvidiafb, nouveau"), NOTHING_LOADED),
)
"""Nor is there one for this kernel; DKMS built one, and the libraries left their profiles."""
NO_SIGN = but(reports.MAKE_LOG, "", but(reports.PROFILES, "", NO_MODULE))


def fact(host: Host, kind: type[Any]) -> Any:
    return running.begun(host)[kind]


def test_a_healthy_machines_report_is_healthy() -> None:
    diagnosis = diagnosed(reports.host(*reports.HEALTHY))
    assert [one.finding.id for one in diagnosis.findings] == []
    assert diagnosis.verdict() is Verdict.HEALTHY
    assert diagnosis.exit_code() == 0


def test_the_json_report_has_the_facts_of_a_bug_report() -> None:
    host = reports.host(*reports.HEALTHY)
    choice = running.chosen((), ())
    text = delivering.rendered(diagnosed(host), choice, delivering.Wanted(form="json"), to_file=True)
    document = json.loads(text)
    driver = document["facts"]["driver"]
    assert document["source"]["kind"] == "bug-report"
    assert document["facts"]["kernel"]["release"] == reports.KERNEL
    assert driver["modules"]["nvidia"]["release"] == reports.RELEASE
    assert set(driver["modules"]) == {"nvidia", "nvidia_uvm", "nvidia_drm", "nvidia_modeset"}
    assert driver["dkms"] == [f"{reports.RELEASE} for {reports.KERNEL}"]
    assert document["facts"]["nvidia_smi"]["driver"] == reports.RELEASE
    assert driver["module_of_running_kernel"]["built_for"] == reports.KERNEL
    assert [gpu["address"] for gpu in document["facts"]["gpus"]] == [reports.GPU]


def test_a_head_alone_proves_nothing() -> None:
    diagnosis = diagnosed(reports.host(end=""))
    assert [one.finding.id for one in diagnosis.findings] == []
    assert diagnosis.verdict() is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("kept", range(len(reports.HEALTHY)))
def test_no_cut_of_a_healthy_report_makes_a_sure_finding(kept: int) -> None:
    found = diagnosed(reports.host(*reports.HEALTHY[:kept], end="")).findings
    assert [one.finding.id for one in found if one.finding.confidence is not Confidence.POSSIBLE] == []


def test_a_driver_that_has_no_module_for_the_running_kernel_is_not_built() -> None:
    finding = first(reports.host(*NO_MODULE))
    assert finding.id == "driver-not-built"
    assert finding.evidence[0].source == "modinfo nvidia, lspci -k"


def test_profiles_or_an_installers_log_are_signs_of_a_driver() -> None:
    for sign in (but(reports.MAKE_LOG, "", NO_MODULE), but(reports.NO_INSTALLER_LOG, reports.INSTALLER_LOG, NO_SIGN)):
        assert first(reports.host(*sign)).id == "driver-not-built"


def test_no_sign_of_a_driver_where_signs_were_looked_for_is_no_driver() -> None:
    finding = first(reports.host(*NO_SIGN))
    assert (finding.id, finding.confidence) == ("driver-not-installed", Confidence.LIKELY)


def test_where_signs_were_not_looked_for_nothing_is_claimed() -> None:
    found = ids(reports.host(*but(reports.NO_INSTALLER_LOG, "", NO_SIGN)))
    assert not {"driver-not-installed", "driver-not-built"} & set(found)


def test_an_empty_modinfo_alone_is_no_absence() -> None:
    silent = but(
        reports.lspci(driver=None, modules="nvidiafb, nouveau"), reports.lspci(driver=None, modules=""), NO_MODULE
    )
    for sections in (silent, but(reports.MODINFO, reports.NO_MODINFO)):
        assert not {"driver-not-installed", "driver-not-built"} & set(ids(reports.host(*sections)))


def test_a_module_that_is_there_and_not_loaded_is_not_loaded() -> None:
    assert first(reports.host(*NOTHING_LOADED)).id == "driver-not-loaded"


def test_nouveau_on_the_gpu_is_said_beside_the_missing_driver() -> None:
    held = but(
        reports.lspci(driver=None, modules="nvidiafb, nouveau"),
        reports.lspci(driver="nouveau", modules="nouveau"),
        NO_SIGN,
    )
    assert ids(reports.host(*held))[0] == "driver-not-installed"


@pytest.mark.parametrize(
    "output",
    ["Unable to determine the device handle for GPU0000:01:00.0: Unknown Error\n", "No devices were found\n"],
)
def test_a_gpu_that_nvidia_smi_cannot_reach_did_not_initialise(output: str) -> None:
    finding = first(reports.host(*but(reports.HEALTHY[-1], reports.smi(output, reports.UNIT))))
    assert finding.id == "gpu-init-failed"


def test_the_kernels_list_of_modules_stands_in_for_sysfs() -> None:
    modules = fact(reports.host(reports.MODULES), KernelModules)
    assert (modules.nvidia.release, modules.nvidia.refcount, modules.nvidia.source) == (None, 68, "/proc/modules")
    assert set(modules.others) == {"nvidia_uvm", "nvidia_drm", "nvidia_modeset"}
    assert fact(reports.host(reports.NO_MODULES), KernelModules).nvidia is None
    assert isinstance(fact(reports.host(), KernelModules), Unknown)


def test_a_module_list_does_not_overrule_what_sysfs_says() -> None:
    machine = machines.ubuntu_dkms().but(files={"/proc/modules": "nvidia_peermem 16384 0 - Live 0x0\n"})
    assert "nvidia_peermem" not in fact(machine.host(), KernelModules).others


def test_modinfos_vermagic_is_the_module_of_the_running_kernel() -> None:
    disk = fact(reports.host(reports.MODINFO), RunningKernelModule)
    assert (disk.file.built_for, disk.file.release, disk.file.how) == (reports.KERNEL, None, "modinfo nvidia")
    built = fact(reports.host(reports.MODINFO, reports.MAKE_LOG), RunningKernelModule)
    assert built.file.release.text == reports.RELEASE


def test_dkms_builds_of_several_releases_leave_the_release_open() -> None:
    other = reports.MAKE_LOG.replace(reports.RELEASE, "535.183.01")
    host = reports.host(reports.MODINFO, reports.MAKE_LOG, other)
    assert fact(host, RunningKernelModule).file.release is None
    assert [str(release) for release, _ in fact(host, ModuleInstallation).builds] == [reports.RELEASE, "535.183.01"]


@pytest.mark.parametrize(
    ("path", "text", "identifier", "family"),
    [
        ("/etc/issue", "Ubuntu 18.04.6 LTS \\n \\l\n\n", "ubuntu", Family.UBUNTU),
        ("/etc/issue", "Debian GNU/Linux 7 \\n \\l\n", "debian", Family.DEBIAN),
        ("/etc/issue", "Kali GNU/Linux Rolling \\n \\l\n", "kali", Family.DEBIAN),
        ("/etc/issue", "Arch Linux \\r (\\l)\n", "arch", Family.ARCH),
        ("/etc/issue", "Manjaro Linux \\r  (\\n) (\\l)\n", "manjaro", Family.ARCH),
        ("/etc/redhat-release", "Fedora release 36 (Thirty Six)\n", "fedora", Family.FEDORA),
        ("/etc/redhat-release", "CentOS Linux release 7.9.2009 (Core)\n", "centos", Family.RHEL),
        ("/etc/issue", "Welcome to openSUSE 13.2 - Kernel \\r (\\l).\n", "opensuse", Family.SUSE),
    ],
)
def test_a_distribution_without_os_release_is_known_by_older_files(
    path: str, text: str, identifier: str, family: Family
) -> None:
    found = fact(reports.host(reports.file(path, text)), Distribution)
    assert (found.id, found.family) == (identifier, family)


def test_no_distribution_is_guessed() -> None:
    assert isinstance(fact(reports.host(reports.file("/etc/issue", "Hello\n")), Distribution), Unknown)
    assert isinstance(fact(SnapshotHost({"files": {"/etc/os-release": None}}, "s"), Distribution), Unknown)


def test_an_installation_that_was_taken_back_leaves_no_trace() -> None:
    uninstalled = "nvidia-installer log file '/var/log/nvidia-uninstall.log'\ncreation time: {} 2023\n"
    for when, release in (("Sat Jun 10 10:00:00", None), ("Fri Jun  9 17:50:00", "525.116.04")):
        log = reports.file("/var/log/nvidia-uninstall.log", uninstalled.format(when))
        installer = fact(reports.host(reports.INSTALLER_LOG, log), DriverTraces).installer
        assert (installer.text if installer else None) == release


def test_a_failed_installation_is_no_trace() -> None:
    log = reports.INSTALLER_LOG.replace("is now complete", "has failed")
    assert fact(reports.host(log), DriverTraces).evidence == ()


@pytest.mark.parametrize(
    ("sections", "driver", "failure"),
    [
        ((reports.smi(reports.QUERY),), reports.RELEASE, ""),
        ((reports.smi("No devices were found\n", reports.UNIT),), reports.RELEASE, "No devices were found"),
        ((reports.smi(reports.COULD_NOT),), None, reports.COULD_NOT.strip()),
    ],
)
def test_nvidia_smis_words_are_a_fact(sections: tuple[str, ...], driver: str | None, failure: str) -> None:
    told = fact(reports.host(*sections), SmiReport)
    assert (told.header.driver.text if told.header else None, told.failure) == (driver, failure)
