"""The loaded module, the module of the next boot and the libraries: which two differ, and what a reboot does."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import machines
from tests.scenarios.tree import Tree, TreeHost

OLD, NEW = "570.169", "570.172.08"


def predictions(machine: Tree) -> str:
    return " / ".join(remedy.prediction for remedy in first(machine).remedies)


@pytest.mark.parametrize(
    "machine",
    [
        machines.ubuntu_dkms(OLD, NEW, NEW),
        machines.ubuntu_prebuilt(OLD, NEW, NEW),
        machines.debian_current("535.216.03", "535.261.03", "535.261.03"),
        machines.rpm_machine("rocky", OLD, NEW, NEW),
        machines.rpm_machine("fedora", OLD, NEW, NEW),
        machines.rpm_machine("suse", OLD, NEW, NEW),
        machines.arch("580.76.05", "580.82.07", "580.82.07"),
    ],
    ids=["ubuntu-dkms", "ubuntu-prebuilt", "debian", "rocky", "fedora", "suse", "arch"],
)
def test_a_reboot_fixes_a_mismatch_when_the_next_boot_loads_the_libraries_release(machine: Tree) -> None:
    finding = first(machine)
    assert (finding.id, finding.severity, finding.confidence) == (
        "driver-library-mismatch",
        Severity.ERROR,
        Confidence.CERTAIN,
    )
    assert "a reboot will fix it: the module on disk for" in predictions(machine)
    assert diagnosed(machine).exit_code() == 1


def test_both_full_releases_stand_in_the_title_and_in_the_evidence() -> None:
    finding = first(machines.ubuntu_dkms(OLD, NEW, NEW))
    seen = " ".join(evidence.excerpt for evidence in finding.evidence)
    for release in (OLD, NEW):
        assert release in finding.title
        assert release in seen


def test_the_least_disruptive_remedy_stands_first() -> None:
    reload, reboot, prevention = first(machines.ubuntu_dkms(OLD, NEW, NEW)).remedies
    assert "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia" in reload.commands
    assert not reload.reboots
    assert reboot.reboots
    assert "does not happen again" in prevention.summary


def test_a_reload_says_who_holds_the_modules() -> None:
    busy = machines.ubuntu_dkms(OLD, NEW, NEW).but(
        files={"/sys/module/nvidia_uvm/refcnt": "4\n", "/sys/module/nvidia_drm/refcnt": "7\n"}
    )
    assert "nvidia_uvm has 4 users and nvidia_drm has 7 users" in first(busy).remedies[0].prediction
    assert "nothing holds the modules now" in first(machines.ubuntu_dkms(OLD, NEW, NEW)).remedies[0].prediction


@pytest.mark.parametrize(
    "machine",
    [
        machines.ubuntu_dkms(OLD, OLD, NEW),
        machines.debian_current("535.216.03", "535.216.03", "535.261.03"),
        machines.rpm_machine("rocky", OLD, OLD, NEW),
        machines.rpm_machine("fedora", OLD, OLD, NEW),
        machines.rpm_machine("suse", OLD, OLD, NEW),
        machines.arch("580.76.05", "580.76.05", "580.82.07"),
    ],
    ids=["ubuntu", "debian", "rocky", "fedora", "suse", "arch"],
)
def test_a_reboot_is_not_advised_when_the_disk_module_is_not_the_libraries_release(machine: Tree) -> None:
    finding = first(machine)
    assert finding.id == "driver-disk-mismatch"
    assert finding.severity is Severity.ERROR
    assert "a reboot will NOT fix it" in finding.detail
    assert not any(remedy.reboots for remedy in finding.remedies)
    assert any(remedy.commands for remedy in finding.remedies)


def test_a_module_built_for_another_kernel_is_not_taken_for_a_fix() -> None:
    path = f"/usr/lib/modules/{machines.UBUNTU_KERNEL}/updates/dkms/nvidia.ko.zst"
    machine = machines.ubuntu_dkms(OLD, NEW, NEW).but(modules={path: machines.module_fields(NEW, "6.8.0-84-generic")})
    assert "a reboot will NOT fix it" in predictions(machine)
    assert "was built for 6.8.0-84-generic" in predictions(machine)


def test_it_works_now_and_breaks_at_the_next_boot_is_a_warning() -> None:
    finding = first(machines.ubuntu_dkms(OLD, NEW, OLD))
    assert (finding.id, finding.severity) == ("driver-disk-mismatch", Severity.WARNING)
    assert "breaks at the next boot" in finding.title


def test_with_two_kernels_grubs_default_decides_what_boots_next() -> None:
    newer = "6.8.0-90-generic"
    machine = machines.ubuntu_dkms(OLD, NEW, NEW, kernels=(machines.UBUNTU_KERNEL, newer))
    assert f"{newer}, which boots next (the newest of 2 kernels, which GRUB_DEFAULT=0 takes)" in predictions(machine)
    saved = machine.but(
        files={
            "/etc/default/grub": "GRUB_DEFAULT=saved\n",
            "/boot/grub/grubenv": f"saved_entry=gnulinux-advanced-1>gnulinux-{machines.UBUNTU_KERNEL}-advanced-1\n",
        }
    )
    assert f"{machines.UBUNTU_KERNEL}, which boots next (grubenv's saved_entry)" in predictions(saved)


def test_what_cannot_be_told_of_the_next_boot_is_said_so() -> None:
    machine = machines.ubuntu_dkms(OLD, NEW, NEW, kernels=(machines.UBUNTU_KERNEL, "6.8.0-90-generic")).without(
        "/etc/default/grub", "/boot/grub"
    )
    assert first(machine).id == "driver-library-mismatch"
    assert "cannot tell whether a reboot will fix it: no GRUB default is set" in predictions(machine)
    root_only = machines.ubuntu_dkms(OLD, NEW, NEW, kernels=(machines.UBUNTU_KERNEL, "6.8.0-90-generic")).but(
        refused={"/boot/grub/grubenv": "EACCES"}
    )
    assert "permission denied" in predictions(root_only)


def test_the_module_as_the_newer_side_is_told_apart() -> None:
    finding = first(machines.ubuntu_dkms(NEW, NEW, OLD))
    assert finding.id == "driver-disk-mismatch"
    unsure = machines.ubuntu_dkms(NEW, OLD, OLD)
    assert "the libraries were taken back" in first(unsure).detail


def test_nvml_alone_is_enough_when_no_library_names_its_release() -> None:
    machine = machines.ubuntu_dkms(OLD, NEW, NEW)
    blind = machine.without("/usr/lib/x86_64-linux-gnu/lib").but(
        cached=(), probes={"nvml": {"library": "/opt/libnvidia-ml.so.1", "init": 18, "init_text": "mismatch"}}
    )
    finding = first(blind)
    assert (finding.id, finding.confidence) == ("driver-library-mismatch", Confidence.LIKELY)


def test_releases_that_agree_while_nvml_says_mismatch_are_not_health() -> None:
    machine = machines.ubuntu_dkms(NEW, NEW, NEW)
    odd = machine.but(probes={"nvml": {"nvml_version": f"12.{NEW}", "init": 18, "init_text": "mismatch"}})
    assert ids(odd) == ["gpu-init-failed"]
    assert diagnosed(odd).exit_code() == 3


def test_a_container_with_libraries_of_its_own_is_not_a_matter_of_rebooting() -> None:
    finding = first(machines.docker(OLD, NEW))
    assert finding.id == "container-library-mismatch"
    assert not any(remedy.reboots for remedy in finding.remedies)
    assert "docker run --gpus all" in finding.remedies[0].commands[0]


def test_a_submodule_of_another_release_is_found() -> None:
    machine = machines.ubuntu_dkms(NEW, NEW, NEW).but(files={"/sys/module/nvidia_uvm/version": f"{OLD}\n"})
    finding = first(machine)
    assert (finding.id, finding.subject) == ("driver-submodule-mismatch", "nvidia_uvm")


def test_a_copied_libcuda_that_shadows_the_drivers_is_found() -> None:
    machine = machines.ubuntu_dkms(NEW, NEW, NEW).but(
        env={"LD_LIBRARY_PATH": "/opt/app/lib"},
        links={"/opt/app/lib/libcuda.so.1": f"libcuda.so.{OLD}"},
        libraries={f"/opt/app/lib/libcuda.so.{OLD}": 88_000_000},
    )
    finding = first(machine)
    assert finding.id == "libcuda-mismatch"
    assert "take /opt/app/lib out of LD_LIBRARY_PATH" in finding.remedies[0].summary
    assert NEW in finding.remedies[0].prediction


def test_a_library_of_another_machine_is_passed_over_as_the_loader_does() -> None:
    class OtherMachine(TreeHost):
        def _elf(self, key: str) -> object:
            return {"class": 32, "machine": "i386", "size": 1} if "i386" in key else super()._elf(key)

    tree = machines.ubuntu_dkms(NEW, NEW, NEW).but(
        env={"LD_LIBRARY_PATH": "/usr/lib/i386-linux-gnu"},
        links={"/usr/lib/i386-linux-gnu/libcuda.so.1": f"libcuda.so.{OLD}"},
        libraries={f"/usr/lib/i386-linux-gnu/libcuda.so.{OLD}": 1},
    )
    assert ids(OtherMachine(tree)) == []


def test_packages_are_asked_for_only_where_a_remedy_needs_their_names() -> None:
    for machine, asked in ((machines.ubuntu_dkms(NEW, NEW, NEW), False), (machines.ubuntu_dkms(OLD, NEW, NEW), True)):
        host = machine.host()
        diagnosed(host)
        assert any("dpkg-query" in question for question in host.asked) is asked
