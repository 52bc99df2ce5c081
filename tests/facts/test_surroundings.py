"""Which side of a container, a sandbox or a virtual machine nvdiag is on, by what each really leaves to be seen."""

from __future__ import annotations

import pytest

from nvdiag.facts.surroundings import Surroundings
from tests.scenarios import containers, machines
from tests.scenarios.tree import Tree

DISK = "21 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"


def around(machine: Tree) -> Surroundings:
    return Surroundings.collect(machine.host())


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("docker, legacy", "docker"),
        ("docker, CDI", "docker"),
        ("podman, CDI, rootless", "podman"),
        ("kubernetes", "kubernetes"),
        ("GKE", "kubernetes"),
        ("LXD", "lxd"),
        ("Proxmox", "lxc"),
        ("apptainer", "apptainer"),
        ("enroot", "enroot"),
        ("systemd-nspawn", "systemd-nspawn"),
        ("gVisor", "docker"),
    ],
)
def test_each_engine_is_known_from_inside(name: str, engine: str) -> None:
    found = around(containers.HEALTHY[name])
    assert found.container == engine
    assert found.evidence
    assert found.described


@pytest.mark.parametrize(
    ("machine", "engine"),
    [
        (containers.docker_legacy().without("/.dockerenv"), "docker"),
        (containers.podman_cdi().without("/run/.containerenv").but(env={"container": "oci"}), "podman"),
        (containers.proxmox().without("/run/systemd/container"), "lxc"),
        (containers.lxd().without("/run/systemd/container"), "lxd"),
    ],
    ids=["docker", "podman", "proxmox", "lxd"],
)
def test_mounts_alone_show_the_engine(machine: Tree, engine: str) -> None:
    assert around(machine).container == engine


@pytest.mark.parametrize("name", ["docker, legacy", "podman, CDI, root"])
def test_the_engines_own_id_of_the_container_is_known_by_its_mounts(name: str) -> None:
    assert around(containers.HEALTHY[name]).container_id == containers.ID[:12]


def test_a_pod_is_known_without_its_variables() -> None:
    assert around(containers.kubernetes(env={})).container == "kubernetes"


def test_a_host_that_serves_containers_is_none() -> None:
    served = (
        "50 21 0:44 / /var/lib/lxcfs rw,nosuid,nodev,relatime - fuse.lxcfs lxcfs rw,user_id=0\n"
        "51 21 0:45 / /var/lib/docker/overlay2/a/merged rw,relatime - overlay overlay rw\n"
    )
    machine = machines.ubuntu_dkms().but(files={"/proc/self/mountinfo": DISK + served, "/.dockerenv": ""})
    found = around(machine)
    assert (found.container, found.described) == (None, "")


def test_what_systemd_writes_under_wsl_is_no_engine() -> None:
    found = around(machines.wsl().but(files={"/run/systemd/container": "wsl\n"}))
    assert (found.container, found.wsl, found.described, found.host) == (None, True, "WSL", "Windows")


def test_a_confined_snap_is_told_from_a_shell_that_a_snap_started() -> None:
    shell = machines.ubuntu_dkms().but(env={"SNAP": "/snap/code/200"})
    confined = shell.but(files={"/proc/self/mountinfo": "21 1 7:9 / / ro,relatime - squashfs /dev/loop9 ro\n"})
    assert around(shell).container is None
    assert around(confined).container == "snap"


def test_a_flatpak_is_known() -> None:
    machine = machines.docker().without("/.dockerenv").but(files={"/.flatpak-info": "[Application]\n"})
    assert around(machine).described == "a Flatpak sandbox"


def test_a_container_that_kata_has_in_a_machine_of_its_own_is_known() -> None:
    mounts = "100 90 0:41 /4f9c/rootfs / rw,relatime - virtiofs none rw\n"
    found = around(containers.kubernetes().but(files={"/proc/self/mountinfo": mounts}))
    assert found.described == "a Kubernetes pod in a virtual machine (kata)"


def test_a_machine_of_firecracker_is_known_by_its_command_line() -> None:
    line = "console=ttyS0 reboot=k panic=1 pci=off root=/dev/vda rw virtio_mmio.device=4K@0xd0000000:5\n"
    found = around(machines.ubuntu_dkms().but(files={"/proc/cmdline": line}))
    assert (found.container, found.virtual_machine, found.has_own_kernel_modules) == (None, "firecracker", True)


def test_a_guest_with_its_own_gpu_has_its_own_modules() -> None:
    guest = {"/sys/class/dmi/id/sys_vendor": "QEMU\n", "/sys/class/dmi/id/product_name": "Standard PC (Q35)\n"}
    found = around(machines.ubuntu_dkms().but(files=guest))
    assert (found.described, found.has_own_kernel_modules) == ("a virtual machine (kvm)", True)


def test_a_container_in_a_guest_is_told_from_the_inside_out() -> None:
    guest = {"/sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "/sys/class/dmi/id/product_name": "g5.xlarge\n"}
    found = around(containers.docker_legacy().but(files=guest))
    assert found.described == "a Docker container in a virtual machine (ec2)"
    assert found.host == "the host"
