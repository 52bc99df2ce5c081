"""Inside real namespaces: nvdiag in a container's view names the cause, with libraries that the loader really takes."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import cgroups, rig
from tests.rigs.asking import check, found

pytestmark = [pytest.mark.rig, pytest.mark.usefixtures("container")]

FOLDER = f"/usr/lib/{platform.machine()}-linux-gnu"
ASKS = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
OTHER = "570.169"


def files(folder: Path, release: str) -> dict[str, Path]:
    """The two libraries of one release, by the paths at which a driver's package has them."""
    return {f"{FOLDER}/{stem}.so.{release}": folder / f"{stem}.so.{release}" for stem in ("libcuda", "libnvidia-ml")}


def inside(report: dict[str, Any]) -> Any:
    return report["facts"]["container"]


def fakes(folder: Path, *lines: str) -> rig.Machine:
    """R3's machine with a GPU and CUDA's variables, whose libraries are where a container has them, if anywhere."""
    folder.chmod(0o755)
    machine = rig.healthy(folder, 1, lines)
    return dataclasses.replace(machine, libraries=None, preload=False, env={**machine.env, **ASKS})


def test_the_container_has_a_root_a_mount_table_and_processes_of_its_own() -> None:
    machine = rig.Machine(module=OTHER, container=rig.Container(empty=(f"{FOLDER}/libcuda.so.{OTHER}",)))
    script = f"""
        echo $$; grep -c ' / / ' /proc/self/mountinfo; grep -o 'containers/[0-9a-f]*/hosts' /proc/self/mountinfo
        stat -c %s {FOLDER}/libcuda.so.{OTHER}; cat /sys/module/nvidia/version
    """
    told = rig.run(machine, "sh", "-c", script)
    assert told.stdout.split()[1:] == ["1", f"containers/{rig.CONTAINER}/hosts", "0", OTHER]
    assert int(told.stdout.split()[0]) < 20
    assert not Path(f"{FOLDER}/libcuda.so.{OTHER}").exists()


def test_a_container_with_the_hosts_libraries_is_well(tmp_path: Path) -> None:
    dressed = rig.contained(fakes(tmp_path), rig.Container(injected=files(tmp_path, rig.RELEASE)))
    report, result = check(dressed)
    assert (report["findings"], result.exit) == ([], 0)
    assert inside(report)["engine"] == "docker"
    assert inside(report)["libraries"]["libcuda"] == "mounted from the host"


def test_libraries_of_nvidia_that_lie_in_the_image_are_named(real550: tuple[Path, str]) -> None:
    folder, release = real550
    machine = rig.Machine(module=OTHER, submodules=("nvidia_uvm",), env=ASKS)
    report, _ = check(rig.contained(machine, rig.Container(baked=files(folder, release))))
    assert found(report) == ["container-library-mismatch"]
    assert f"{FOLDER}/libnvidia-ml.so.{release}" in report["findings"][0]["detail"]
    assert report["facts"]["driver"]["nvml"]["init"] == 18
    assert inside(report)["libraries"]["libnvidia-ml"] == "in the image"


def test_libraries_of_nvidia_that_the_host_mounts_are_laid_on_the_host(real550: tuple[Path, str]) -> None:
    folder, release = real550
    machine = rig.Machine(module=OTHER, submodules=("nvidia_uvm",), env=ASKS)
    report, _ = check(rig.contained(machine, rig.Container(injected=files(folder, release))))
    assert [(one["id"], one["subject"]) for one in report["findings"][:1]] == [("driver-library-mismatch", "host")]
    assert "container-library-mismatch" not in found(report)


def test_files_that_the_host_has_removed_since_ask_for_a_restart(real550: tuple[Path, str]) -> None:
    """The kernel marks the mount of an unlinked file; the container's processes go on with it."""
    folder, release = real550
    machine = rig.Machine(module=OTHER, submodules=("nvidia_uvm",), env=ASKS)
    report, _ = check(rig.contained(machine, rig.Container(replaced=files(folder, release))))
    assert found(report) == ["container-library-mismatch"]
    assert report["findings"][0]["remedies"][0]["commands"] == [f"docker restart {rig.CONTAINER[:12]}"]


def test_the_images_newer_copy_hides_the_hosts_as_ldconfig_has_it(tmp_path: Path) -> None:
    """ldconfig gives the soname to the highest release, whichever of them is mounted."""
    machine = fakes(tmp_path, "nvml=12.575.57.08", "init=18")
    newer = tmp_path / "newer"
    newer.mkdir(mode=0o755)
    rig.fake(newer, "575.57.08")
    container = rig.Container(injected=files(tmp_path, rig.RELEASE), baked=files(newer, "575.57.08"))
    report, _ = check(rig.contained(machine, container))
    assert "container-library-mismatch" in found(report)
    assert "the loader takes the other copy" in report["findings"][0]["detail"]


def test_empty_files_are_told_apart_from_libraries() -> None:
    empty = tuple(f"{FOLDER}/{stem}.so.{end}" for stem in ("libcuda", "libnvidia-ml") for end in (OTHER, "1"))
    machine = rig.Machine(module=rig.RELEASE, submodules=("nvidia_uvm",), preload=False, env=ASKS)
    report, _ = check(rig.contained(machine, rig.Container(empty=empty)))
    assert found(report)[0] == "container-driver-libraries-missing"
    assert "empty files" in report["findings"][0]["title"]


def test_a_container_without_libraries_that_asks_for_gpus_is_told_so() -> None:
    machine = rig.Machine(module=rig.RELEASE, nodes={}, preload=False, env=ASKS)
    report, result = check(rig.contained(machine, rig.Container()))
    assert (found(report)[0], result.exit) == ("container-driver-libraries-missing", 1)


def test_a_device_cgroup_of_the_kernel_that_refuses_is_told_from_a_mode(device_cgroup: None, tmp_path: Path) -> None:
    machine = fakes(tmp_path, "init=999", "cuinit=100")
    with cgroups.denied(195, 510) as group:
        dressed = rig.contained(machine, rig.Container(injected=files(tmp_path, rig.RELEASE)), cgroup=group)
        report, _ = check(dressed)
    assert found(report)[0] == "container-devices-revoked"
    assert set(report["facts"]["driver"]["opens"].values()) == {"EPERM"}
    assert all(one["caused_by"] for one in report["findings"][1:])


def test_nvidias_own_library_says_unknown_error_where_opening_is_not_permitted(real550: tuple[Path, str]) -> None:
    folder, release = real550
    machine = rig.Machine(module=release, mode="EPERM", env=ASKS)
    report, _ = check(rig.contained(machine, rig.Container(injected=files(folder, release))))
    assert found(report)[0] == "container-devices-revoked"
    assert report["facts"]["driver"]["nvml"]["init"] == 999
