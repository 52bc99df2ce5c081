"""Inside a container: where the driver's libraries come from, and what follows where they do not fit or are missing."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from nvdiag.facts.container_view import ContainerLibraries, ContainerStart, Origin
from nvdiag.facts.libraries import DriverLibraries
from nvdiag.facts.search_path import SearchPath
from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.diagnosis import Status
from nvdiag.model.finding import Finding, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import containers, machines
from tests.scenarios.containers import CUDA_IMAGE, NEW, OLD
from tests.scenarios.machines import MULTIARCH
from tests.scenarios.tree import Tree

GONE = {"dlopen_error": "cannot open shared object file: No such file or directory"}
SHORT = {"dlopen_error": "libcuda.so.1: file too short"}
NEWER = "575.57.08"


def origins(machine: Tree) -> tuple[Origin | None, Origin | None]:
    host = machine.host()
    libraries = DriverLibraries.collect(host, SearchPath.collect(host))
    found = ContainerLibraries.collect(host, Surroundings.collect(host), libraries)
    return found.nvml, found.libcuda


def commands(finding: Finding) -> str:
    return "\n".join(command for remedy in finding.remedies for command in remedy.commands)


@pytest.mark.parametrize("name", [name for name in containers.HEALTHY if name not in ("Proxmox", "gVisor")])
def test_what_the_engine_brings_in_is_known_to_be_the_hosts(name: str) -> None:
    assert origins(containers.HEALTHY[name]) == (Origin.HOST, Origin.HOST)


def test_what_was_installed_in_the_guest_is_known_to_be_its_own() -> None:
    assert origins(containers.proxmox()) == (Origin.IMAGE, Origin.IMAGE)


def test_without_a_mount_table_nothing_is_said_of_the_origin() -> None:
    machine = containers.docker_legacy()
    bare = replace(machine, files={path: text for path, text in machine.files.items() if "mountinfo" not in path})
    assert origins(bare) == (None, None)


# libraries of another release


def baked() -> Tree:
    """An image with driver packages of its own, started without the engine's files."""
    return containers.docker_legacy(NEW, None, libraries=OLD, nodes=containers.HAS_GPU)


def test_libraries_of_the_image_that_are_not_the_hosts_release_are_named_with_their_files() -> None:
    finding = first(baked())
    assert (finding.id, finding.severity) == ("container-library-mismatch", Severity.ERROR)
    assert f"{MULTIARCH}/libcuda.so.{OLD}" in finding.detail
    assert f"dpkg -S {MULTIARCH}/libnvidia-ml.so.{OLD}" in commands(finding)
    assert "docker run --gpus all" in commands(finding)


def test_an_image_whose_own_copy_hides_the_hosts_is_told_which_files_to_remove() -> None:
    machine = containers.docker_legacy(NEW, NEW, libraries=NEWER)
    finding = first(machine)
    assert finding.id == "container-library-mismatch"
    assert "the loader takes the other copy" in finding.detail
    assert f"rm {MULTIARCH}/libnvidia-ml.so.{NEWER} {MULTIARCH}/libcuda.so.{NEWER}" in commands(finding)


def test_a_mismatch_of_the_hosts_own_files_is_laid_on_the_host() -> None:
    finding = first(containers.docker_cdi(OLD, NEW))
    assert (finding.id, finding.subject) == ("driver-library-mismatch", "host")
    assert [remedy.commands for remedy in finding.remedies] == [("nvdiag",)]
    assert "container-library-mismatch" not in ids(containers.docker_cdi(OLD, NEW))


def test_apptainers_files_tell_their_release_by_what_was_mounted() -> None:
    finding = first(containers.apptainer(OLD, NEW))
    assert (finding.id, finding.subject) == ("driver-library-mismatch", "host")


def test_a_container_that_outlived_the_hosts_upgrade_is_restarted() -> None:
    machine = containers.docker_legacy(NEW, OLD)
    mounts = machine.files["/proc/self/mountinfo"].replace(f"so.{OLD} /", f"so.{OLD}//deleted /")
    finding = first(machine.but(files={"/proc/self/mountinfo": mounts}))
    assert finding.id == "container-library-mismatch"
    assert finding.remedies[0].commands == (f"docker restart {containers.ID[:12]}",)
    assert len([one for one in ids(machine.but(files={"/proc/self/mountinfo": mounts})) if "mismatch" in one]) == 1


def test_a_guest_of_proxmox_gets_the_hosts_release_without_a_kernel_module() -> None:
    finding = first(containers.proxmox(NEW, OLD))
    assert finding.id == "container-library-mismatch"
    assert f"NVIDIA-Linux-x86_64-{NEW}.run --no-kernel-modules" in commands(finding)


# libraries that are not there


def test_an_image_that_asks_for_gpus_and_was_started_without_them_is_told_so() -> None:
    diagnosis = diagnosed(containers.docker_legacy(NEW, None))
    finding = diagnosis.findings[0].finding
    assert finding.id == "container-driver-libraries-missing"
    assert "NVIDIA_VISIBLE_DEVICES=all" in finding.detail
    assert "docker run --gpus all" in commands(finding)
    assert all(ranked.caused_by for ranked in diagnosis.findings[1:])


def test_a_container_that_asks_for_nothing_was_simply_given_no_gpu() -> None:
    machine = containers.docker_legacy(NEW, None, env={})
    finding = first(machine)
    assert ids(machine) == ["no-nvidia-gpu"]
    assert "given to this container, though its host has one" in finding.title


def test_void_is_said_to_ask_for_none() -> None:
    machine = containers.docker_legacy(
        NEW, None, env={"NVIDIA_VISIBLE_DEVICES": "void", "NVIDIA_REQUIRE_CUDA": "cuda>=12.4"}
    )
    assert "is void" in first(machine).detail


def test_nodes_without_libraries_come_of_a_plain_device_option() -> None:
    machine = containers.docker_legacy(NEW, None, nodes=containers.HAS_GPU, env={})
    assert "nodes were given" in first(machine).detail


def test_the_capability_that_is_left_out_is_named() -> None:
    env = {**CUDA_IMAGE, "NVIDIA_DRIVER_CAPABILITIES": "utility"}
    nodes = ("nvidiactl", "nvidia0")
    machine = containers.docker_legacy(env=env, nodes=nodes).without(f"{MULTIARCH}/libcuda").but(probes={"cuda": GONE})
    finding = first(machine)
    assert (finding.id, finding.subject, finding.severity) == (
        "container-driver-libraries-missing",
        "libcuda.so.1",
        Severity.INFO,
    )
    assert "NVIDIA_DRIVER_CAPABILITIES=utility leaves out compute" in finding.detail
    assert ids(machine) == ["container-driver-libraries-missing"]


def emptied() -> Tree:
    """An image saved from a running container: the mount points of the host's files of that time stayed."""
    machine = containers.docker_legacy(NEW, None, libraries=OLD, nodes=containers.HAS_GPU)
    files = {f"{MULTIARCH}/{stem}.so.{OLD}": 0 for stem in ("libcuda", "libnvidia-ml")}
    return replace(machine, cached=()).but(libraries=files, probes={"nvml": SHORT, "cuda": SHORT})


def test_empty_files_in_the_libraries_places_are_told_apart_from_libraries() -> None:
    finding = first(emptied())
    assert finding.id == "container-driver-libraries-missing"
    assert "empty files" in finding.title
    assert f"rm {MULTIARCH}/libnvidia-ml.so.{OLD}" in commands(finding)
    assert origins(emptied()) == (Origin.PLACEHOLDER, Origin.PLACEHOLDER)


def test_a_gvisor_container_with_nodes_and_no_libraries_is_judged() -> None:
    machine = containers.gvisor(None)
    nodes = {f"/dev/{name}": (machines.MODE, "195:0") for name in ("nvidiactl", "nvidia0")}
    finding = first(machine.but(nodes=nodes, probes={"nvml": GONE, "cuda": GONE}))
    assert finding.id == "container-driver-libraries-missing"
    assert "--nvproxy" in commands(finding)


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        (containers.kubernetes(NEW, None), "nvidia.com/gpu: 1"),
        (containers.apptainer(NEW, None).but(env={"NVIDIA_VISIBLE_DEVICES": "all"}), "apptainer exec --nv"),
    ],
    ids=["kubernetes", "apptainer"],
)
def test_each_engine_is_told_its_own_way(machine: Tree, says: str) -> None:
    finding = first(machine)
    assert finding.id == "container-driver-libraries-missing"
    assert says in commands(finding) + " ".join(remedy.summary for remedy in finding.remedies)


@pytest.mark.parametrize("name", containers.HEALTHY)
def test_an_image_without_a_package_manager_leaves_nothing_unknown(name: str) -> None:
    assert [one.name for one in diagnosed(containers.HEALTHY[name]).checks if one.status is Status.UNKNOWN] == []


# what it was started with


def test_the_start_is_read_whole() -> None:
    machine = containers.podman_cdi().but(
        env={
            "NVIDIA_VISIBLE_DEVICES": "0,1",
            "NVIDIA_DRIVER_CAPABILITIES": "compute, video",
            "NVIDIA_REQUIRE_CUDA": "cuda>=12.4",
            "NVIDIA_DISABLE_REQUIRE": "true",
        }
    )
    host = machine.host()
    start = ContainerStart.collect(host, Surroundings.collect(host))
    assert (start.visible, start.capabilities, start.maps_users) == ("0,1", ("compute", "video"), True)
    assert (start.requires, start.required) == ({"NVIDIA_REQUIRE_CUDA": "cuda>=12.4"}, False)
    assert (start.lacks("utility"), start.lacks("compute"), start.shared_memory) == (True, False, 64 * 2**20)


BRANDS = "brand=unknown,driver>=535,driver<536 brand=tesla,driver>=535,driver<536 brand=geforce,driver>=570"


def wanting(cuda: str, **variables: str) -> Tree:
    """A container that an engine started without looking at what its image asks for."""
    return containers.docker_cdi().but(env={**CUDA_IMAGE, "NVIDIA_REQUIRE_CUDA": f"cuda>={cuda} {BRANDS}", **variables})


def test_an_image_of_a_cuda_major_that_the_hosts_driver_lacks_is_told_so() -> None:
    finding = first(wanting("13.0"))
    assert finding.id == "driver-too-old-for-cuda"
    assert "CUDA 13.0 or newer" in finding.title
    assert "another engine" in finding.detail
    assert "NVIDIA_DISABLE_REQUIRE" in first(wanting("13.0", NVIDIA_DISABLE_REQUIRE="1")).detail


@pytest.mark.parametrize("cuda", ["12.4", "12.8", "12.9"])
def test_a_newer_minor_version_is_no_trouble(cuda: str) -> None:
    assert ids(wanting(cuda)) == []


def test_a_compat_library_that_the_toolkit_binds_over_the_loaders_folder_is_the_images() -> None:
    """The toolkit's mode legacy binds the image's compat files into the loader's folder, without their own path."""
    file = f"{MULTIARCH}/libcuda.so.580.82.07"
    bind = (
        f"740 601 0:51 /usr/local/cuda-13.0/compat/libcuda.so.580.82.07 {file} ro,nosuid,nodev,relatime"
        " - overlay overlay rw,lowerdir=/l"
    )
    probes = machines.probes(NEW, NEW)
    probes["nvml"]["devices"][0]["name"] = "NVIDIA H100 80GB HBM3"
    probes["cuda"] |= {"library": file, "driver_version": 13000}
    machine = containers.docker_legacy(NEW, NEW, mounts=(bind,)).but(
        links={f"{MULTIARCH}/libcuda.so.1": file}, libraries={file: 88_000_000}, probes=probes
    )
    assert origins(machine) == (Origin.HOST, Origin.COMPAT)
    assert ids(machine) == []


def test_every_command_that_is_advised_is_one() -> None:
    broken = [
        baked(),
        emptied(),
        containers.proxmox(NEW, OLD),
        containers.kubernetes(NEW, None),
        containers.gvisor(None),
        *(machine.but(opens={"/dev/nvidiactl": "EPERM"}) for machine in containers.HEALTHY.values()),
        *(machine.without("/dev/nvidia0") for machine in containers.HEALTHY.values()),
    ]
    for machine in broken:
        for ranked in diagnosed(machine).findings:
            for remedy in ranked.finding.remedies:
                for command in remedy.commands:
                    subprocess.run(["bash", "-n", "-c", command], check=True)
