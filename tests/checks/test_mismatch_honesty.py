"""What a mismatch hides behind, which side of it is the newer one, and who does not notice it yet."""

from __future__ import annotations

from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.checks.pasting import pasted, saying
from tests.scenarios import machines
from tests.scenarios.tree import Tree

OLD, NEW = "570.169", "570.172.08"
MULTIARCH = machines.MULTIARCH


def test_an_older_copy_in_front_is_taken_out_and_nothing_is_rebooted() -> None:
    machine = machines.ubuntu_dkms(NEW, NEW, NEW).but(
        env={"LD_LIBRARY_PATH": "/opt/app/lib"},
        links={"/opt/app/lib/libnvidia-ml.so.1": f"libnvidia-ml.so.{OLD}"},
        libraries={f"/opt/app/lib/libnvidia-ml.so.{OLD}": 2_000_000},
        probes={"nvml": {"library": "x", "nvml_version": f"12.{OLD}", "init": 18, "init_text": "mismatch"}},
    )
    finding = first(machine)
    assert finding.id == "driver-library-mismatch"
    assert "take /opt/app/lib out of LD_LIBRARY_PATH" in finding.remedies[0].summary
    assert not any(remedy.reboots for remedy in finding.remedies)
    assert "a reboot changes nothing" in finding.detail


def test_where_the_module_is_newer_a_reboot_is_said_to_go_back() -> None:
    finding = first(machines.ubuntu_dkms(NEW, OLD, OLD))
    assert finding.id == "driver-library-mismatch"
    assert "take the driver back to the older release" in finding.detail


def test_a_text_with_the_newer_module_looks_for_the_older_copy_first() -> None:
    text = (
        f"NVRM: API mismatch: the client has the version {OLD}, but\n"
        f"NVRM: this kernel module has the version {NEW}.  Please\n"
        "NVRM: make sure that this kernel module and all NVIDIA driver\nNVRM: components have the same version.\n"
    )
    finding = first(saying(text))
    assert "The module is the newer side" in finding.detail
    assert "echo $LD_LIBRARY_PATH" in finding.remedies[0].commands
    swapped = first(saying(text.replace(OLD, "X").replace(NEW, OLD).replace("X", NEW)))
    assert "newer side" not in swapped.detail


def test_a_cut_release_does_not_decide_which_side_is_newer() -> None:
    text = (
        f"$ cat /sys/module/nvidia/version\n{NEW}\n$ nvidia-smi\n"
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.172\n"
    )
    assert "newer side" not in first(pasted(text)).detail


def test_disguises_follow_from_the_mismatch() -> None:
    words = (
        "CUDA error 804: forward compatibility was attempted on non supported HW",
        f"nvidia 0000:01:00.0: Direct firmware load for nvidia/{OLD}/gsp_ga10x.bin failed with error -2",
    )
    document = dict(machines.ubuntu_dkms(OLD, NEW, NEW).snapshot().document)
    from nvdiag.host.snapshot import SnapshotHost

    diagnosis = diagnosed(SnapshotHost({**document, "messages": list(words)}, "told"))
    assert diagnosis.findings[0].finding.id == "driver-library-mismatch"
    causes = {one.finding.id: one.caused_by for one in diagnosis.findings[1:]}
    assert causes["cuda-compat-unsupported"] == "driver-library-mismatch"
    assert causes["gsp-firmware-missing"] == "driver-library-mismatch"


def test_firmware_of_the_loaded_release_that_an_upgrade_took_away_is_a_mismatch() -> None:
    text = (
        f"$ ls -l {MULTIARCH}/libnvidia-ml.so.1\nlrwxrwxrwx 1 root root 27 Sep 1 10:00 {MULTIARCH}/libnvidia-ml.so.1 ->"
        f" libnvidia-ml.so.{NEW}\n$ sudo dmesg | tail -n 1\n"
        f"[12.3] nvidia 0000:01:00.0: Direct firmware load for nvidia/{OLD}/gsp_ga10x.bin failed with error -2\n"
    )
    finding = first(pasted(text))
    assert (finding.id, finding.confidence) == ("driver-library-mismatch", Confidence.LIKELY)


def test_firmware_that_the_installed_release_lacks_is_no_mismatch() -> None:
    text = f"nvidia 0000:01:00.0: Direct firmware load for nvidia/{NEW}/gsp_ga10x.bin failed with error -2"
    assert first(pasted(text)).id == "gsp-firmware-missing"


def test_function_not_found_is_led_to_the_mismatch_and_claims_nothing() -> None:
    diagnosis = diagnosed(pasted("$ nvidia-smi\nFailed to initialize NVML: Function Not Found\n"))
    assert diagnosis.findings == ()
    from nvdiag.report.asks import question

    asked = question(diagnosis)
    assert asked is not None
    assert "driver-library-mismatch" in asked.suspected


def gone(*paths: str) -> str:
    lines = [
        f"700 612 259:2 {path}//deleted {path} ro,nosuid,nodev,relatime - ext4 /dev/nvme0n1p2 rw" for path in paths
    ]
    return machines.OVERLAY_ROOT + "\n".join(lines) + "\n"


def test_a_container_that_works_says_that_its_host_was_upgraded() -> None:
    path = f"{MULTIARCH}/libcuda.so.{NEW}"
    finding = first(machines.docker(NEW, NEW).but(files={"/proc/self/mountinfo": gone(path)}))
    assert (finding.id, finding.severity, finding.subject) == ("driver-library-mismatch", Severity.WARNING, "host")
    assert f"libcuda.so.{NEW}" in finding.title


def test_other_mounts_that_are_gone_say_nothing_of_the_driver() -> None:
    mounts = gone("/etc/resolv.conf", "/usr/lib/x86_64-linux-gnu/libfoo.so.1")
    machine: Tree = machines.docker(NEW, NEW).but(files={"/proc/self/mountinfo": mounts})
    assert ids(machine) == []
