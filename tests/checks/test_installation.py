"""No GPU, no driver, no module for this kernel, a module that is not loaded, another driver on the GPU."""

from __future__ import annotations

import subprocess

import pytest

from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import machines
from tests.scenarios.tree import Tree

NEW = "570.172.08"


def bare(release: str = machines.UBUNTU_RELEASE, **options: object) -> Tree:
    """A machine of a distribution with a GPU and no trace of NVIDIA's driver."""
    kernel = machines.UBUNTU_KERNEL
    files = {
        "/etc/os-release": release,
        f"/boot/vmlinuz-{kernel}": "",
        **machines.modules_dep(f"/lib/modules/{kernel}"),
    }
    return machines.joined(machines.kernel_side(None, **options), Tree(files=files))  # type: ignore[arg-type]


def test_no_gpu_is_an_error_and_the_cause_of_all_else() -> None:
    machine = machines.ubuntu_dkms(None, NEW, NEW, gpus=())
    diagnosis = diagnosed(machine)
    assert diagnosis.findings[0].finding.id == "no-nvidia-gpu"
    assert all(ranked.caused_by == "no-nvidia-gpu" for ranked in diagnosis.findings[1:])
    assert diagnosis.exit_code() == 1


def test_no_gpu_in_a_container_says_how_to_give_it_one() -> None:
    machine = machines.joined(
        machines.kernel_side(None, gpus=()),
        Tree(files={"/.dockerenv": "", "/proc/self/mountinfo": machines.OVERLAY_ROOT}),
    )
    finding = first(machine)
    assert finding.id == "no-nvidia-gpu"
    assert "Docker" in finding.detail
    assert "--gpus all" in finding.remedies[0].commands[0]


def test_a_dockerenv_left_in_a_virtual_machine_makes_no_container() -> None:
    machine = machines.ubuntu_dkms("570.169", NEW, NEW).but(files={"/.dockerenv": ""})
    assert ids(machine)[0] == "driver-library-mismatch"


@pytest.mark.parametrize(
    ("release", "command"),
    [
        (machines.UBUNTU_RELEASE, "sudo ubuntu-drivers install"),
        (machines.DEBIAN_RELEASE, "nvidia-driver"),
        (machines.FEDORA_RELEASE, "akmod-nvidia"),
        (machines.ROCKY_RELEASE, "sudo dnf install nvidia-open"),
        (machines.SUSE_RELEASE, "nvidia-open-driver-G06-signed-kmp-default"),
        (machines.ARCH_RELEASE, "sudo pacman -S nvidia-open"),
    ],
    ids=["ubuntu", "debian", "fedora", "rocky", "suse", "arch"],
)
def test_a_gpu_without_any_driver_gets_the_distributions_own_way(release: str, command: str) -> None:
    finding = first(bare(release))
    assert finding.id == "driver-not-installed"
    assert command in " ".join(finding.remedies[0].commands)


def test_an_old_gpu_is_not_offered_the_open_modules() -> None:
    finding = first(bare(machines.ARCH_RELEASE, device="0x1b06"))
    assert "nvidia-open" not in " ".join(finding.remedies[0].commands)
    assert "580" in finding.remedies[0].prediction


def test_nouveau_on_a_machine_without_a_driver_is_a_consequence() -> None:
    diagnosis = diagnosed(bare(held_by="nouveau"))
    assert [(one.finding.id, one.caused_by) for one in diagnosis.findings] == [
        ("driver-not-installed", None),
        ("gpu-bound-to-other-driver:0000:01:00.0".partition(":")[0], "driver-not-installed"),
    ]


def test_nouveau_on_a_machine_with_the_driver_is_the_cause() -> None:
    diagnosis = diagnosed(machines.ubuntu_dkms(None, NEW, NEW, held_by="nouveau"))
    causes = {one.finding.id: one.caused_by for one in diagnosis.findings}
    assert diagnosis.findings[0].finding.id == "gpu-bound-to-other-driver"
    assert causes["driver-not-loaded"] == "gpu-bound-to-other-driver:0000:01:00.0"


def test_a_driver_without_a_module_for_this_kernel_is_not_built() -> None:
    machine = machines.ubuntu_prebuilt(None, None, NEW)
    finding = first(machine)
    assert finding.id == "driver-not-built"
    assert f"sudo apt install linux-modules-nvidia-570-open-{machines.UBUNTU_KERNEL}" in finding.remedies[0].commands


def test_dkms_machines_are_told_to_build() -> None:
    finding = first(machines.ubuntu_dkms(None, None, NEW))
    assert finding.id == "driver-not-built"
    assert f"sudo dkms autoinstall -k {machines.UBUNTU_KERNEL}" in finding.remedies[0].commands


def test_a_half_configured_prebuilt_package_leaves_the_next_boot_without_a_module() -> None:
    newer = "6.8.0-90-generic"
    finding = first(machines.ubuntu_prebuilt(NEW, NEW, NEW, next_kernel=newer, half_configured=True))
    assert (finding.id, finding.severity, finding.subject) == ("driver-not-built", Severity.WARNING, newer)
    assert finding.remedies[0].commands == (f"sudo apt install --reinstall linux-modules-nvidia-570-open-{newer}",)


def test_a_module_on_disk_that_is_not_loaded_is_said_to_be_so() -> None:
    finding = first(machines.ubuntu_dkms(None, NEW, NEW))
    assert (finding.id, finding.confidence) == ("driver-not-loaded", Confidence.CERTAIN)
    assert "sudo modprobe nvidia" in finding.remedies[0].commands


def test_without_a_module_nobody_calls_into_the_driver() -> None:
    host = machines.ubuntu_dkms(None, NEW, NEW).host()
    diagnosed(host)
    assert not [
        question for question in host.asked if question.startswith(("opens", "probes nvml", "probes cuda init"))
    ]


def test_without_uvm_nobody_calls_cuinit() -> None:
    host = machines.ubuntu_dkms(NEW, NEW, NEW, submodules=("nvidia_modeset",)).host()
    diagnosed(host)
    assert "probes cuda" in host.asked
    assert "probes cuda init" not in host.asked


def test_a_container_on_a_host_without_a_loaded_module_points_to_the_host() -> None:
    finding = first(machines.docker(None, NEW))
    assert finding.id == "driver-not-loaded"
    assert "host" in finding.title


def test_a_gpu_on_vfio_alone_is_no_error_where_nothing_of_nvidia_is_installed() -> None:
    diagnosis = diagnosed(bare(held_by="vfio-pci"))
    assert "gpu-bound-to-other-driver" in [one.finding.id for one in diagnosis.findings]


def test_a_prebuilt_package_that_left_no_module_is_installed_again() -> None:
    finding = first(machines.ubuntu_prebuilt(None, None, NEW, half_configured=True))
    package = f"linux-modules-nvidia-570-open-{machines.UBUNTU_KERNEL}"
    assert finding.remedies[0].commands == (f"sudo apt install --reinstall {package}",)


@pytest.mark.parametrize(
    ("release", "command"),
    [
        (machines.UBUNTU_RELEASE, "sudo update-initramfs -u"),
        (machines.FEDORA_RELEASE, "sudo dracut --force"),
        (machines.ARCH_RELEASE, "sudo mkinitcpio -P"),
    ],
    ids=["ubuntu", "fedora", "arch"],
)
def test_nouveau_is_kept_out_of_the_initramfs_in_the_distributions_way(release: str, command: str) -> None:
    machine = machines.ubuntu_dkms(None, NEW, NEW, held_by="nouveau").but(files={"/etc/os-release": release})
    assert command in first(machine).remedies[0].commands


def test_a_module_that_only_another_kernel_has_is_named() -> None:
    other = "6.8.0-84-generic"
    root = f"/usr/lib/modules/{other}"
    machine = machines.ubuntu_prebuilt(None, None, NEW).but(
        files={f"/boot/vmlinuz-{other}": "", **machines.modules_dep(root, "updates/dkms/nvidia.ko")},
        modules={f"{root}/updates/dkms/nvidia.ko": machines.module_fields(NEW, other)},
    )
    assert f"it is there for {other}" in first(machine).title


COMMANDS_OF = {
    "mismatch": machines.ubuntu_dkms("570.169", NEW, NEW),
    "disk ubuntu": machines.ubuntu_dkms("570.169", "570.169", NEW),
    "disk debian": machines.debian_current("535.216.03", "535.216.03"),
    "disk rocky": machines.rpm_machine("rocky", "570.169", "570.169", NEW),
    "disk fedora": machines.rpm_machine("fedora", "570.169", "570.169", NEW),
    "disk suse": machines.rpm_machine("suse", "570.169", "570.169", NEW),
    "disk arch": machines.arch("580.76.05", "580.76.05"),
    "not built": machines.ubuntu_prebuilt(None, None, NEW),
    "nouveau": machines.ubuntu_dkms(None, NEW, NEW, held_by="nouveau"),
    "docker": machines.docker("570.169"),
    "nodes": machines.ubuntu_dkms(NEW, NEW, NEW).without("/dev/nvidia"),
    "no libraries": machines.ubuntu_dkms(NEW, NEW, None),
    "no gpu": machines.ubuntu_dkms(None, NEW, NEW, gpus=()),
    "bare": bare(),
}


@pytest.mark.parametrize("machine", COMMANDS_OF.values(), ids=COMMANDS_OF)
def test_every_command_is_one_that_a_shell_can_read(machine: Tree) -> None:
    commands = [
        command
        for ranked in diagnosed(machine).findings
        for remedy in ranked.finding.remedies
        for command in remedy.commands
    ]
    assert commands
    for command in commands:
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)


OSTREE = {"/run/ostree-booted": ""}


@pytest.mark.parametrize(
    "machine",
    [
        bare(machines.FEDORA_RELEASE).but(files=OSTREE),
        machines.rpm_machine("fedora", None, None, NEW).but(files=OSTREE),
        machines.rpm_machine("fedora", "570.169", "570.169", NEW).but(files=OSTREE),
        machines.rpm_machine("fedora", None, NEW, NEW).but(
            files=OSTREE, links={f"/sys/bus/pci/devices/{machines.GPU}/driver": "../../../../bus/pci/drivers/nouveau"}
        ),
    ],
    ids=["bare", "not built", "disk", "nouveau"],
)
def test_an_image_is_never_told_to_edit_its_usr(machine: Tree) -> None:
    found = diagnosed(machine).findings
    commands = [line for one in found for remedy in one.finding.remedies for line in remedy.commands]
    assert found
    assert not [line for line in commands if line.startswith(("sudo dnf", "sudo akmods", "sudo dracut", "sudo dkms"))]


def test_no_one_driver_serves_a_pascal_beside_a_blackwell() -> None:
    second = "/sys/bus/pci/devices/0000:41:00.0"
    machine = bare(machines.ARCH_RELEASE, gpus=(machines.GPU, "0000:41:00.0"), device="0x1b80")
    finding = first(machine.but(files={f"{second}/device": "0x2b85\n"}))
    assert "no one driver serves" in finding.remedies[0].prediction


def test_a_kepler_is_told_of_its_legacy_branch() -> None:
    assert "470" in first(bare(machines.DEBIAN_RELEASE, device="0x1180")).remedies[0].prediction


@pytest.mark.parametrize("release", [machines.FEDORA_RELEASE, machines.ROCKY_RELEASE], ids=["fedora", "rocky"])
def test_a_pascal_gets_the_last_branch_that_drives_it_and_not_the_newest(release: str) -> None:
    assert "580" in " ".join(first(bare(release, device="0x1b06")).remedies[0].commands)


def test_a_machine_without_nvidias_driver_is_not_told_to_lock_nouveau_out() -> None:
    found = [one.finding for one in diagnosed(bare(held_by="nouveau")).findings]
    commands = [line for one in found for remedy in one.remedies for line in remedy.commands]
    assert not [line for line in commands if "blacklist" in line]


@pytest.mark.parametrize("driver", ["pci-stub", "xen-pciback", "nvgrace_gpu_vfio_pci"])
def test_every_way_to_keep_a_gpu_for_a_virtual_machine_is_on_purpose(driver: str) -> None:
    found = diagnosed(machines.ubuntu_dkms(None, NEW, NEW, held_by=driver))
    assert [(one.finding.id, one.finding.severity) for one in found.findings] == [
        ("gpu-bound-to-other-driver", Severity.WARNING)
    ]
