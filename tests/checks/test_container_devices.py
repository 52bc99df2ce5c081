"""Inside a container: nodes that the device cgroup does not allow, of which there are fewer, or with old numbers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from nvdiag.model.finding import Confidence
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import containers, machines
from tests.scenarios.tree import Tree

ALL = dict.fromkeys(("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia-uvm"), "EPERM")
UNKNOWN = {"init": 999, "init_text": "Unknown Error", "library": "x", "nvml_version": f"12.{containers.NEW}"}
NO_DEVICE = {"library": "x", "driver_version": 12080, "init": 100, "init_name": "CUDA_ERROR_NO_DEVICE"}


def shut(machine: Tree, opens: Mapping[str, str] = ALL) -> Tree:
    """What NVML and CUDA say where nothing opens, as measured with NVIDIA's own libraries."""
    return machine.but(opens=dict(opens), probes={"nvml": UNKNOWN, "cuda": NO_DEVICE})


@pytest.mark.parametrize("name", ["docker, legacy", "docker, CDI", "kubernetes", "podman, CDI, root"])
def test_a_container_that_lost_its_devices_is_told_so_and_nothing_else(name: str) -> None:
    diagnosis = diagnosed(shut(containers.HEALTHY[name]))
    finding = diagnosis.findings[0].finding
    assert (finding.id, finding.confidence) == ("container-devices-revoked", Confidence.LIKELY)
    assert "EPERM" in finding.evidence[0].excerpt
    assert any(one.excerpt.startswith("999") for one in finding.evidence)
    assert all(ranked.caused_by == finding.key for ranked in diagnosis.findings[1:])


def test_a_restart_of_the_engine_at_hand_comes_first() -> None:
    assert first(shut(containers.docker_legacy())).remedies[0].commands == (f"docker restart {containers.ID[:12]}",)
    assert "kubectl delete pod POD" in first(shut(containers.kubernetes())).remedies[0].commands[0]


@pytest.mark.parametrize("name", ["LXD", "Proxmox", "systemd-nspawn", "podman, CDI, rootless"])
def test_where_the_engine_may_not_allow_devices_they_were_never_allowed(name: str) -> None:
    finding = first(shut(containers.HEALTHY[name]))
    assert finding.id == "container-cgroup-forbidden"


def test_a_guest_of_proxmox_gets_the_rule_with_the_nodes_own_number() -> None:
    finding = first(containers.proxmox().but(opens={"/dev/nvidia-uvm": "EPERM"}))
    assert finding.id == "container-cgroup-forbidden"
    assert "lxc.cgroup2.devices.allow: c 510:* rwm" in finding.remedies[0].commands[0]
    assert "195" not in finding.remedies[0].commands[0]


TWO = ("0000:01:00.0", "0000:41:00.0")


def test_a_job_that_was_given_some_of_the_gpus_is_well() -> None:
    """Slurm, and with it Enroot and Apptainer, leaves all nodes in /dev and allows those of the job."""
    machine = machines.ubuntu_dkms(containers.NEW, containers.NEW, containers.NEW, gpus=TWO)
    seen = machines.nvml_healthy(containers.NEW, TWO[:1])
    mine = machine.but(opens={"/dev/nvidia1": "EPERM"}, probes={"nvml": seen})
    assert "device-nodes-forbidden" not in ids(mine)
    job = containers.enroot().but(nodes={"/dev/nvidia1": (machines.MODE, "195:1")}, opens={"/dev/nvidia1": "EPERM"})
    assert ids(job) == []


DENIED = dict.fromkeys(ALL, "EACCES")


def test_a_refusal_in_spite_of_the_mode_is_selinux_in_a_container() -> None:
    finding = first(shut(containers.podman_cdi(), DENIED))
    assert (finding.id, finding.confidence) == ("device-nodes-forbidden", Confidence.LIKELY)
    assert "SELinux" in finding.detail
    assert "setsebool -P container_use_devices on" in finding.remedies[1].commands[0]
    assert finding.remedies[2].commands[0].startswith("podman run --security-opt=label=disable")


def test_a_mode_that_forbids_is_told_apart_from_a_cgroup_and_from_selinux() -> None:
    machine = containers.podman_cdi().but(
        nodes={"/dev/nvidiactl": ("crw-rw----", "195:255"), "/dev/nvidia0": ("crw-rw----", "195:0")},
        node_owner=(0, 27),
    )
    finding = first(shut(machine, {path: "EACCES" for path in DENIED if "uvm" not in path}))
    assert (finding.id, finding.confidence) == ("device-nodes-forbidden", Confidence.CERTAIN)
    assert "--group-add keep-groups" in finding.remedies[0].commands[0]


def test_a_node_of_the_time_before_the_host_loaded_its_modules_anew_is_stale() -> None:
    old = {"/dev/nvidia-uvm": (machines.MODE, "234:0")}
    diagnosis = diagnosed(shut(containers.docker_legacy().but(nodes=old), {"/dev/nvidia-uvm": "EPERM"}))
    assert diagnosis.findings[0].finding.key == "device-nodes-stale:/dev/nvidia-uvm"
    assert diagnosis.findings[0].finding.remedies[0].commands == (f"docker restart {containers.ID[:12]}",)
    assert all(ranked.caused_by for ranked in diagnosis.findings[1:])


def test_a_container_for_nvidia_smi_alone_wants_no_unified_memory() -> None:
    env = {**containers.CUDA_IMAGE, "NVIDIA_DRIVER_CAPABILITIES": "utility"}
    machine = (
        containers.docker_legacy(env=env, nodes=("nvidiactl", "nvidia0"))
        .without(f"{machines.MULTIARCH}/libcuda")
        .but(probes={"cuda": {"dlopen_error": "libcuda.so.1: cannot open shared object file"}})
    )
    assert "device-nodes-missing" not in ids(machine)


def test_none_is_said_to_bring_libraries_and_no_gpu() -> None:
    env = {**containers.CUDA_IMAGE, "NVIDIA_VISIBLE_DEVICES": "none"}
    machine = containers.docker_legacy(env=env, nodes=("nvidiactl", "nvidia-uvm"))
    finding = first(machine)
    assert finding.id == "device-nodes-missing"
    assert "NVIDIA_VISIBLE_DEVICES is none" in finding.detail
