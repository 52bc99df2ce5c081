"""R1 in R2: nvdiag on NVIDIA's own libraries, in the states of a broken driver."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest

from tests.rigs import rig
from tests.rigs.asking import check, found

pytestmark = pytest.mark.rig

OTHER = "550.54.15"


def test_the_rig_makes_nvidia_smi_say_what_people_see(branch: str) -> None:
    folder, release = rig.real(branch)
    result = rig.run(rig.Machine(module=OTHER, libraries=folder), str(rig.CACHE / branch / "bin" / "nvidia-smi"))
    short = ".".join(release.split(".")[:2])
    assert result.exit == 18
    assert "Failed to initialize NVML: Driver/library version mismatch" in result.stdout
    assert f"NVML library version: {short}" in result.stdout


def test_a_mismatch_is_reported_with_both_full_releases(branch: str) -> None:
    folder, release = rig.real(branch)
    report, result = check(rig.Machine(module=OTHER, libraries=folder))
    assert result.exit == report["exit_code"] == 1
    finding = report["findings"][0]
    assert (finding["id"], finding["confidence"]) == ("driver-library-mismatch", "certain")
    excerpts = [evidence["excerpt"] for evidence in finding["evidence"]]
    assert OTHER in excerpts
    assert release in excerpts
    assert any(re.match(r"18 ", excerpt) for excerpt in excerpts)
    assert report["facts"]["driver"]["nvml"]["init"] == 18
    assert report["facts"]["libraries"]["libcuda"]["taken"]["release"] == release


def test_libraries_in_ld_library_path_are_found_as_the_loader_finds_them(real550: tuple[Path, str]) -> None:
    folder, _ = real550
    report, _ = check(rig.Machine(module=OTHER, libraries=folder, cached=False))
    assert found(report)[0] == "driver-library-mismatch"
    assert report["facts"]["libraries"]["libnvidia-ml"]["taken"]["found_by"] == "LD_LIBRARY_PATH"


def test_cuda_says_803_where_the_unified_memory_module_is_loaded(branch: str) -> None:
    folder, _ = rig.real(branch)
    report, _ = check(rig.Machine(module="570.169", libraries=folder, submodules=("nvidia_uvm",)))
    assert report["facts"]["driver"]["libcuda"]["init"] == 803
    assert found(report) == ["driver-library-mismatch"]


def test_the_module_on_disk_decides_what_a_reboot_does(real550: tuple[Path, str], tmp_path: Path) -> None:
    folder, release = real550
    kernel = Path("/proc/sys/kernel/osrelease").read_text(encoding="ascii").strip()
    for disk, prediction in ((release, "a reboot will fix it"), (OTHER, "a reboot will NOT fix it")):
        module = tmp_path / f"nvidia-{disk}.ko"
        module.write_bytes(rig.module_file(version=disk, license="NVIDIA", vermagic=f"{kernel} SMP "))
        dependencies = tmp_path / "modules.dep"
        dependencies.write_text("updates/dkms/nvidia.ko:\n", encoding="ascii")
        tree = {f"{kernel}/updates/dkms/nvidia.ko": str(module), f"{kernel}/modules.dep": str(dependencies)}
        report, _ = check(rig.Machine(module=OTHER, libraries=folder, kernel_modules=tree))
        texts = [report["findings"][0]["detail"], *(one["prediction"] for one in report["findings"][0]["remedies"])]
        assert any(prediction in text for text in texts), texts


def test_a_module_that_is_not_loaded_is_said_to_be_so(real550: tuple[Path, str], tmp_path: Path) -> None:
    folder, release = real550
    kernel = Path("/proc/sys/kernel/osrelease").read_text(encoding="ascii").strip()
    module, dependencies = tmp_path / "nvidia.ko", tmp_path / "modules.dep"
    module.write_bytes(rig.module_file(version=release, license="NVIDIA", vermagic=f"{kernel} SMP "))
    dependencies.write_text("updates/dkms/nvidia.ko:\n", encoding="ascii")
    tree = {f"{kernel}/updates/dkms/nvidia.ko": str(module), f"{kernel}/modules.dep": str(dependencies)}
    report, result = check(rig.Machine(module=None, libraries=folder, kernel_modules=tree))
    assert (found(report), result.exit) == (["driver-not-loaded"], 1)


def test_a_closed_node_is_forbidden_to_an_ordinary_user(branch: str) -> None:
    folder, release = rig.real(branch)
    nodes = {"nvidiactl": 0o600, "nvidia0": 0o600}
    report, result = check(rig.Machine(module=release, libraries=folder, nodes=nodes, user=65534))
    assert (found(report), result.exit) == (["device-nodes-forbidden"], 1)
    assert report["facts"]["driver"]["opens"]["/dev/nvidiactl"] == "EACCES"
    assert report["facts"]["driver"]["nvml"]["init"] == 4


def test_a_device_cgroup_is_told_apart_from_the_mode(branch: str) -> None:
    folder, release = rig.real(branch)
    report, result = check(rig.Machine(module=release, libraries=folder, mode="EPERM"))
    assert (found(report)[0], result.exit) == ("device-nodes-forbidden", 1)
    assert "cgroup" in report["findings"][0]["detail"]
    assert report["facts"]["driver"]["nvml"]["init"] == 999


def test_a_driver_that_refuses_without_a_reason_is_not_health(branch: str) -> None:
    folder, release = rig.real(branch)
    report, result = check(rig.Machine(module=release, libraries=folder, mode="EIO"))
    assert report["facts"]["driver"]["nvml"]["init"] == 17
    assert (found(report), result.exit) == (["gpu-init-failed"], 3)


@pytest.mark.parametrize("mode", ["hang-ioctl", "hang-open"])
def test_a_hang_ends_with_the_deadline(real550: tuple[Path, str], mode: str) -> None:
    folder, release = real550
    machine = rig.Machine(module=release, libraries=folder, mode=mode)
    started = time.monotonic()
    report, _ = check(machine, "--deadline", "2")
    took = time.monotonic() - started
    assert "probe-hung" in found(report)
    assert "nvmlInit" in report["findings"][0]["title"] or "nvmlInit" in report["findings"][1]["title"]
    assert report["seconds"] < 3, f"deadline 2 s, nvdiag took {report['seconds']} s, the whole process {took:.1f} s"
    assert [check for check in report["checks"] if check["status"] == "passed"], "everything else still answers"


def test_a_missing_library_is_said_in_the_loaders_words(namespace: None) -> None:
    report, result = check(rig.Machine(module="550.163.01"))
    assert (found(report)[0], result.exit) == ("nvml-library-missing", 1)
    assert "cannot open shared object file" in str(report["findings"][0]["evidence"])


def test_a_truncated_library_crashes_the_probe_and_not_nvdiag(real550: tuple[Path, str], tmp_path: Path) -> None:
    folder, release = real550
    tmp_path.chmod(0o755)
    whole = (folder / f"libnvidia-ml.so.{release}").read_bytes()
    (tmp_path / f"libnvidia-ml.so.{release}").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "libnvidia-ml.so.1").symlink_to(f"libnvidia-ml.so.{release}")
    report, result = check(rig.Machine(module=release, libraries=tmp_path, cached=False))
    assert "probe-crashed" in found(report)
    assert result.exit == 1
    crashed = next(finding for finding in report["findings"] if finding["id"] == "probe-crashed")
    assert "SIGBUS" in crashed["title"]


def test_a_live_run_and_a_run_on_its_own_snapshot_find_the_same(real550: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = real550
    tmp_path.chmod(0o777)
    file = tmp_path / "snapshot.json"
    script = (
        f"{sys.executable} -m nvdiag check --format json; {sys.executable} -m nvdiag snapshot {file} 2>/dev/null;"
        f" echo; echo ---; {sys.executable} -m nvdiag check --from {file} --format json"
    )
    env = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    result = rig.run(rig.Machine(module=OTHER, libraries=folder, env=env), "sh", "-c", script)
    import json

    live, replayed = (json.loads(text) for text in result.stdout.split("\n---\n"))
    assert live["findings"] == replayed["findings"] or _without_paths(live) == _without_paths(replayed)
    assert [(one["name"], one["status"]) for one in live["checks"]] == [
        (one["name"], one["status"]) for one in replayed["checks"]
    ]


def _without_paths(report: dict[str, object]) -> list[tuple[object, ...]]:
    findings = report["findings"]
    assert isinstance(findings, list)
    return [(one["key"], one["severity"], one["confidence"], one["title"], one["caused_by"]) for one in findings]
