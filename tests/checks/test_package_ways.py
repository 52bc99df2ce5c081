"""The package manager's ways out of a mismatch: the libraries back to the module, and no next time."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any

import pytest

from nvdiag.facts.kept_packages import MADISON
from nvdiag.facts.packages import PACMAN, RPM
from nvdiag.model.finding import Remedy, Risk
from tests.checks.diagnosing import first
from tests.scenarios import machines
from tests.scenarios.processes import LOGIN, process
from tests.scenarios.tree import Tree

OLD, NEW = "570.169", "570.172.08"
UBUNTU = ("nvidia-driver-570-open", "nvidia-dkms-570-open", "libnvidia-compute-570")
APT = "/var/cache/apt/archives"
UNATTENDED = {
    "/etc/apt/apt.conf.d/20auto-upgrades": (
        'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
    ),
    "/etc/apt/apt.conf.d/50unattended-upgrades": (
        "// Automatically upgrade packages from these (origin:archive) pairs\n"
        'Unattended-Upgrade::Allowed-Origins {\n\t"${distro_id}:${distro_codename}-security";\n};\n'
        "// Python regular expressions, matching packages to exclude from upgrading\n"
        'Unattended-Upgrade::Package-Blacklist {\n//  "linux-";\n    // The following\n};\n'
        '//Unattended-Upgrade::Mail "";\n'
    ),
}


def remedy(machine: Tree, words: str) -> Remedy:
    found = [one for one in first(machine).remedies if words in one.summary]
    assert len(found) == 1, [one.summary for one in first(machine).remedies]
    for command in found[0].commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)
    return found[0]


def has(machine: Tree, words: str) -> bool:
    return any(words in one.summary for one in first(machine).remedies)


def command(key: tuple[str, ...], stdout: str) -> dict[str, Any]:
    return {shlex.join(key): {"exit": 0, "stdout": stdout, "stderr": ""}}


def debs(*names: str, release: str = OLD, architecture: str = "amd64") -> dict[str, str]:
    return {f"{APT}/{name}_{release}-0ubuntu0.24.04.1_{architecture}.deb": "" for name in names}


def test_the_libraries_go_back_by_the_packages_in_the_cache() -> None:
    machine = machines.ubuntu_dkms(OLD, NEW, NEW).but(files=debs(*UBUNTU))
    back = remedy(machine, f"take the libraries back to {OLD}")
    simulate, install = back.commands
    assert simulate.startswith("apt-get --simulate install --allow-downgrades /")
    for name in UBUNTU:
        assert f"{APT}/{name}_{OLD}-0ubuntu0.24.04.1_amd64.deb" in install
    assert (back.risk, back.reboots) == (Risk.SAFE, False)


def test_a_part_of_the_packages_is_not_enough() -> None:
    assert not has(machines.ubuntu_dkms(OLD, NEW, NEW).but(files=debs(*UBUNTU[:2])), "take the libraries back")


def test_packages_of_a_third_release_are_not_taken() -> None:
    assert not has(machines.ubuntu_dkms(OLD, NEW, NEW).but(files=debs(*UBUNTU, release="570.158.01")), "back")


def test_what_the_cache_lacks_is_looked_for_in_the_archive() -> None:
    rows = "".join(
        f" {UBUNTU[2]} | {version} | https://archive.example/ubuntu noble/restricted amd64 Packages\n"
        for version in (f"{NEW}-0ubuntu0.24.04.1", f"{OLD}-0ubuntu0.24.04.2", f"{OLD}-0ubuntu0.24.04.1")
    )
    machine = machines.ubuntu_dkms(OLD, NEW, NEW).but(
        files=debs(*UBUNTU[:2]), commands=command((*MADISON, UBUNTU[2]), rows)
    )
    back = remedy(machine, "take the libraries back")
    assert f"{UBUNTU[2]}={OLD}-0ubuntu0.24.04.2" in back.commands[1]
    assert "in cache and archive" in back.prediction


def test_while_jobs_run_the_way_that_disturbs_none_stands_first() -> None:
    machine = machines.ubuntu_dkms(OLD, NEW, NEW).but(files=debs(*UBUNTU))
    busy = machines.joined(machine, process(4000, "python3", LOGIN, "/dev/nvidia0"))
    assert "take the libraries back" in first(busy).remedies[0].summary
    assert "reload" in first(machine).remedies[0].summary


def test_a_debian_version_with_an_epoch_is_read_from_its_file_name() -> None:
    names = ("nvidia-driver", "nvidia-kernel-dkms", "libcuda1", "libnvidia-ml1")
    machine = machines.debian_current("535.216.03", "535.261.03", "535.261.03").but(
        files={f"{APT}/{name}_1%3a535.216.03-1_amd64.deb": "" for name in names}
    )
    assert "1%3a535.216.03-1" in remedy(machine, "take the libraries back to 535.216.03").commands[1]


@pytest.mark.parametrize(
    ("machine", "folder", "form", "line"),
    [
        (
            machines.rpm_machine("rocky", OLD, NEW, NEW),
            "/var/cache/dnf/cuda-rhel9-x86_64-0123456789abcdef/packages",
            "{}-570.169-1.el9.x86_64.rpm",
            "sudo dnf downgrade /",
        ),
        (
            machines.rpm_machine("fedora", OLD, NEW, NEW),
            "/var/cache/libdnf5/rpmfusion-nonfree-updates-0123456789abcdef/packages",
            "{}-570.169-1.fc42.x86_64.rpm",
            "sudo dnf downgrade /",
        ),
        (
            machines.rpm_machine("suse", OLD, NEW, NEW),
            "/var/cache/zypp/packages/cuda/x86_64",
            "{}-570.169_k6.4.0_150600.21-1.x86_64.rpm",
            "sudo zypper install --oldpackage /",
        ),
        (
            machines.arch(OLD, NEW, NEW),
            "/var/cache/pacman/pkg",
            "{}-570.169-1-x86_64.pkg.tar.zst",
            "sudo pacman -U /",
        ),
    ],
    ids=["rocky", "fedora", "suse", "arch"],
)
def test_each_package_managers_cache_and_line(machine: Tree, folder: str, form: str, line: str) -> None:
    listings = [machine.commands.get(shlex.join(key)) for key in (RPM, PACMAN)]
    rows = next(one for one in listings if one)["stdout"].splitlines()
    names = [row.removeprefix("ii ").split()[0] for row in rows if "nvidia" in row]
    kept = machine.but(files={f"{folder}/{form.format(name)}": "" for name in names})
    told = remedy(kept, f"take the libraries back to {OLD}").commands[1]
    assert told.startswith(line)
    assert all(f"{folder}/{form.format(name)}" in told for name in names)


def test_prebuilt_modules_that_stay_are_said_to_come_back_with_the_reboot() -> None:
    machine = machines.ubuntu_prebuilt(OLD, NEW, NEW)
    rows = machines.dpkg(
        f"nvidia-driver-570-open={NEW}-0ubuntu0.24.04.1",
        f"libnvidia-compute-570={NEW}-0ubuntu0.24.04.1",
        f"linux-modules-nvidia-570-open-{machines.UBUNTU_KERNEL}=6.8.0-85.85+1",
    )
    kept = machine.but(files=debs("nvidia-driver-570-open", "libnvidia-compute-570"), commands=rows)
    assert "right before the next reboot" in remedy(kept, "take the libraries back").prediction


def test_a_prebuilt_module_of_arch_is_said_to_fit_one_kernel_only() -> None:
    path = "/var/cache/pacman/pkg/nvidia-open-570.169-1-x86_64.pkg.tar.zst"
    back = remedy(machines.arch(OLD, NEW, NEW).but(files={path: ""}), "take the libraries back")
    assert "sudo pacman -Syu right before the next reboot" in back.prediction


def test_the_complete_set_is_held_and_nothing_else() -> None:
    keep = remedy(machines.ubuntu_dkms(OLD, NEW, NEW), "does not happen again")
    assert keep.commands == (f"sudo apt-mark hold {' '.join(UBUNTU)}",)


def test_with_unattended_upgrades_the_whole_names_go_on_its_blacklist() -> None:
    machine = machines.ubuntu_dkms(OLD, NEW, NEW).but(files=UNATTENDED)
    keep = remedy(machine, "does not happen again")
    text = subprocess.run(
        ["bash", "-c", keep.commands[0].partition(" | ")[0]], check=True, capture_output=True, text=True
    ).stdout
    assert text == (
        'Unattended-Upgrade::Package-Blacklist {\n  "nvidia-driver-570-open$";\n  "nvidia-dkms-570-open$";\n'
        '  "libnvidia-compute-570$";\n};\n'
    )
    assert '20auto-upgrades: APT::Periodic::Unattended-Upgrade "1"' in keep.prediction


def test_packages_that_are_kept_already_are_not_kept_again() -> None:
    blacklist = 'Unattended-Upgrade::Package-Blacklist {\n  "nvidia-";\n  "libnvidia-";\n};\n'
    files = UNATTENDED | {"/etc/apt/apt.conf.d/52mine": blacklist}
    assert not has(machines.ubuntu_dkms(OLD, NEW, NEW).but(files=files), "does not happen again")


def test_a_blacklist_is_matched_at_the_start_as_unattended_upgrades_does() -> None:
    files = UNATTENDED | {"/etc/apt/apt.conf.d/52mine": 'Unattended-Upgrade::Package-Blacklist { "nvidia"; };\n'}
    keep = remedy(machines.ubuntu_dkms(OLD, NEW, NEW).but(files=files), "does not happen again")
    assert "libnvidia-compute-570$" in keep.commands[0]
    assert "nvidia-driver-570" not in keep.commands[0]
    assert "2 of 3 packages are kept now (/etc/apt/apt.conf.d/52mine: nvidia)" in keep.prediction


def test_held_packages_are_known_by_dpkgs_own_state() -> None:
    rows = f"hi  {UBUNTU[0]} {NEW}-0ubuntu1\nii  {UBUNTU[2]} {NEW}-0ubuntu1\nrc  nvidia-utils-550 550.1.1-0ubuntu1\n"
    from nvdiag.facts.packages import DPKG

    keep = remedy(machines.ubuntu_dkms(OLD, NEW, NEW).but(commands=command(DPKG, rows)), "does not happen again")
    assert keep.commands == (f"sudo apt-mark hold {UBUNTU[2]}",)
    assert "1 of 2 packages are kept now (apt-mark hold)" in keep.prediction


def test_prebuilt_modules_are_held_with_the_kernels_that_they_are_built_for() -> None:
    rows = machines.dpkg(
        f"nvidia-driver-570-open={NEW}-0ubuntu0.24.04.1",
        f"libnvidia-compute-570={NEW}-0ubuntu0.24.04.1",
        "linux-modules-nvidia-570-open-generic=6.8.0-85.85",
        f"linux-modules-nvidia-570-open-{machines.UBUNTU_KERNEL}=6.8.0-85.85+1",
    )
    asked = ("dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\\n", "linux-generic", "linux-image-generic",
             "linux-headers-generic")  # fmt: skip
    machine = machines.ubuntu_prebuilt(OLD, NEW, NEW).but(
        commands=rows | command(asked, "ii  linux-image-generic\nii  linux-headers-generic\n")
    )
    words = remedy(machine, "does not happen again").commands[0].split()
    assert words[3:] == [
        "nvidia-driver-570-open", "libnvidia-compute-570", "linux-modules-nvidia-570-open-generic",
        f"linux-modules-nvidia-570-open-{machines.UBUNTU_KERNEL}", "linux-image-generic", "linux-headers-generic",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "lines"),
    [
        (
            machines.rpm_machine("rocky", OLD, NEW, NEW),
            (
                "sudo dnf install python3-dnf-plugin-versionlock",
                "sudo dnf versionlock add nvidia-driver kmod-nvidia-open-dkms libnvidia-ml",
            ),
        ),
        (
            machines.rpm_machine("fedora", OLD, NEW, NEW).but(files={"/usr/bin/dnf5": ""}),
            ("sudo dnf versionlock add akmod-nvidia xorg-x11-drv-nvidia-cuda-libs",),
        ),
        (
            machines.rpm_machine("suse", OLD, NEW, NEW),
            ("sudo zypper addlock nvidia-open-driver-G06-signed-kmp-default nvidia-compute-G06",),
        ),
        (
            machines.arch(OLD, NEW, NEW),
            ("sudo sed -i '/^\\[options\\]/a IgnorePkg = nvidia-open linux' /etc/pacman.conf",),
        ),
    ],
    ids=["rocky", "fedora", "suse", "arch"],
)
def test_each_package_managers_way_to_keep_packages(machine: Tree, lines: tuple[str, ...]) -> None:
    assert remedy(machine, "does not happen again").commands == lines


@pytest.mark.parametrize(
    ("family", "files"),
    [
        (
            "rocky",
            {
                "/etc/dnf/plugins/versionlock.list": "# Added lock on Tue Sep 16 08:11:02 2025\n"
                f"nvidia-driver-3:{NEW}-1.el9.*\nkmod-nvidia-open-dkms-3:{NEW}-1.el9.*\nlibnvidia-*\n"
            },
        ),
        (
            "fedora",
            {
                "/usr/bin/dnf5": "",
                "/etc/dnf/versionlock.toml": 'version = "1.0"\n\n[[packages]]\nname = "akmod-nvidia"\n'
                '[[packages.conditions]]\nkey = "evr"\ncomparator = "="\nvalue = "3:570.172.08-1.fc42"\n\n'
                '[[packages]]\nname = "xorg-x11-drv-nvidia*"\n',
            },
        ),
        ("rocky", {"/etc/dnf/dnf.conf": "[main]\ngpgcheck=1\nexcludepkgs=*nvidia*\nproxy_password=secret\n"}),
        (
            "suse",
            {
                "/etc/zypp/locks": "type: package\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: nvidia-*\n\n"
                "type: package\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: other\n"
            },
        ),
    ],
    ids=["versionlock-list", "versionlock-toml", "exclude", "zypper"],
)
def test_each_package_managers_locks_are_read(family: str, files: dict[str, str]) -> None:
    assert not has(machines.rpm_machine(family, OLD, NEW, NEW).but(files=files), "does not happen again")


def test_pacmans_ignored_packages_are_read() -> None:
    machine = machines.arch(OLD, NEW, NEW).but(files={"/etc/pacman.conf": "[options]\nIgnorePkg   = nvidia* linux\n"})
    assert not has(machine, "does not happen again")


def test_a_pin_to_one_release_keeps_it_and_a_pin_to_a_branch_does_not() -> None:
    path = "/etc/apt/preferences.d/nvidia"
    for version, kept in ((f"{NEW}*", True), ("570.*", False), ("570*", False)):
        pin = f"Package: *nvidia*\nPin: version {version}\nPin-Priority: 1001\n"
        machine = machines.ubuntu_dkms(OLD, NEW, NEW).but(files={path: pin})
        assert has(machine, "does not happen again") is not kept, version


def test_a_file_with_a_proxys_password_is_not_recorded() -> None:
    secret = 'Acquire::http::Proxy "http://me:secret@proxy.example:3128";\n'
    machine = machines.ubuntu_dkms(OLD, NEW, NEW).but(files=UNATTENDED | {"/etc/apt/apt.conf.d/80proxy": secret})
    assert "secret" not in str(machine.snapshot().document)
    rocky = machines.rpm_machine("rocky", OLD, NEW, NEW).but(files={"/etc/dnf/dnf.conf": "proxy_password=secret\n"})
    assert "secret" not in str(rocky.snapshot().document)


def listed(*packages: tuple[str, str]) -> str:
    """A repository's list as createrepo_c writes it, of which only the lines with the files' names count."""
    return "".join(
        f'<package type="rpm">\n  <name>{name}</name>\n  <arch>x86_64</arch>\n  <version epoch="3" ver="{version}"/>\n'
        f'  <location href="{name}-{version}.x86_64.rpm"/>\n  <format>\n  </format>\n</package>\n'
        for name, version in packages
    )


def installed(machine: Tree) -> list[str]:
    rows = next(one for one in (machine.commands.get(shlex.join(RPM)),) if one)["stdout"].splitlines()
    return [row.removeprefix("ii ").split()[0] for row in rows if "nvidia" in row]


@pytest.mark.parametrize(
    ("kind", "folder", "line"),
    [
        ("rocky", "/var/cache/dnf/cuda-rhel9-x86_64-0123456789abcdef", "sudo dnf downgrade {}-570.169-2.el9"),
        ("fedora", "/var/cache/libdnf5/cuda-fedora42-x86_64-0123456789abcdef", "sudo dnf downgrade {}-570.169-2.el9"),
        ("suse", "/var/cache/zypp/raw/cuda-sles15-x86_64", "sudo zypper install --oldpackage {}=570.169-2.el9"),
    ],
)
def test_what_the_cache_lacks_is_looked_for_in_the_repositories_lists(kind: str, folder: str, line: str) -> None:
    machine = machines.rpm_machine(kind, OLD, NEW, NEW)
    names = installed(machine)
    rows = [(name, f"{release}.el9") for name in names for release in ("570.169-1", "570.169-2", "570.158.01-1")]
    told = remedy(
        machine.but(files={f"{folder}/repodata/0ab1-primary.xml.gz": listed(*rows)}), "take the libraries back"
    )
    assert told.commands[1].startswith(line.format(names[0]))
    assert all(f"{name}{'=' if kind == 'suse' else '-'}570.169-2.el9" in told.commands[1] for name in names)
    assert "in the archive" in told.prediction


def test_a_repository_of_other_things_is_not_read() -> None:
    machine = machines.rpm_machine("rocky", OLD, NEW, NEW)
    rows = [(name, "570.169-1.el9") for name in installed(machine)]
    path = "/var/cache/dnf/baseos-0123456789abcdef/repodata/0ab1-primary.xml.gz"
    assert not has(machine.but(files={path: listed(*rows)}), "take the libraries back")
