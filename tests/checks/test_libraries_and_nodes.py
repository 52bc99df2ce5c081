"""Missing libraries, stubs, device nodes, toolkits, and a driver that does not answer."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import machines
from tests.scenarios.tree import Tree

NEW = "570.172.08"
HEALTHY = machines.ubuntu_dkms(NEW, NEW, NEW)


def toolkit(version: str, *, env: dict[str, str]) -> Tree:
    root = f"/usr/local/cuda-{version}"
    files = {f"{root}/version.json": f'{{"cuda_nvcc": {{"version": "{version}.88"}}}}', f"{root}/bin/nvcc": ""}
    return HEALTHY.but(files=files, env=env)


@pytest.mark.parametrize(
    ("machine", "package"),
    [
        (machines.ubuntu_dkms(NEW, NEW, None), "libnvidia-compute-570"),
        (machines.rpm_machine("rocky", NEW, NEW, None), "libnvidia-ml"),
        (machines.rpm_machine("fedora", NEW, NEW, None), "xorg-x11-drv-nvidia-cuda-libs"),
        (machines.rpm_machine("suse", NEW, NEW, None), "nvidia-compute-G06"),
        (machines.arch("580.82.07", "580.82.07", None), "nvidia-utils"),
    ],
    ids=["ubuntu", "rocky", "fedora", "suse", "arch"],
)
def test_missing_libraries_name_the_distributions_package(machine: Tree, package: str) -> None:
    finding = first(machine)
    assert finding.id == "nvml-library-missing"
    assert package in finding.remedies[0].commands[0]
    assert "cannot open shared object file" in " ".join(one.excerpt for one in finding.evidence)


def test_a_missing_libcuda_is_an_error_only_where_cuda_is_wanted() -> None:
    lone = HEALTHY.without(f"{machines.MULTIARCH}/libcuda", "/usr/lib/x86_64-linux-gnu/libcuda").but(
        probes={"cuda": {"dlopen_error": "libcuda.so.1: cannot open shared object file: No such file or directory"}}
    )
    assert (first(lone).id, first(lone).severity) == ("libcuda-missing", Severity.INFO)
    wanting = lone.but(
        files={"/usr/local/cuda-12.8/bin/nvcc": "", "/usr/local/cuda-12.8/version.txt": "CUDA Version 12.8.93"}
    )
    assert (first(wanting).id, first(wanting).severity) == ("libcuda-missing", Severity.ERROR)


def test_a_library_beside_the_loaders_path_is_named() -> None:
    machine = machines.ubuntu_dkms(NEW, NEW, None)
    placed = machines.joined(machine, machines.library_files(NEW, "/usr/local/nvidia/lib64")).but(cached=())
    finding = first(placed)
    assert finding.id == "nvml-library-missing"
    assert "/usr/local/nvidia/lib64" in finding.remedies[0].commands[0]


@pytest.mark.parametrize(
    ("stem", "identifier"), [("libnvidia-ml", "nvml-stub-loaded"), ("libcuda", "libcuda-stub-loaded")]
)
def test_a_stub_in_front_of_the_drivers_library_is_found(stem: str, identifier: str) -> None:
    folder = "/usr/local/cuda-12.8/targets/x86_64-linux/lib/stubs"
    machine = HEALTHY.but(
        libraries={f"{folder}/{stem}.so": 60_000},
        links={f"{folder}/{stem}.so.1": f"{stem}.so"},
        env={"LD_LIBRARY_PATH": folder},
    )
    found = [one.finding for one in diagnosed(machine).findings if one.finding.id == identifier]
    assert found
    assert folder in found[0].remedies[0].summary


def test_a_small_unversioned_libcuda_is_a_stub_wherever_it_lies() -> None:
    machine = HEALTHY.but(libraries={"/opt/build/libcuda.so.1": 60_000}, env={"LD_LIBRARY_PATH": "/opt/build"})
    assert "libcuda-stub-loaded" in ids(machine)


def test_missing_nodes_are_an_error_unless_nvidia_modprobe_makes_them() -> None:
    machine = HEALTHY.without("/dev/nvidia")
    assert (first(machine).id, first(machine).severity) == ("device-nodes-missing", Severity.ERROR)
    helped = machine.but(files={"/usr/bin/nvidia-modprobe": ""})
    assert (first(helped).id, first(helped).severity) == ("device-nodes-missing", Severity.INFO)
    assert diagnosed(helped).exit_code() == 0


def test_a_missing_gpu_node_is_noticed() -> None:
    machine = machines.ubuntu_dkms(NEW, NEW, NEW, gpus=("0000:01:00.0", "0000:41:00.0")).without("/dev/nvidia1")
    assert "device-nodes-missing" in ids(machine)


def test_a_forbidden_node_says_which_group_may() -> None:
    machine = HEALTHY.but(
        nodes={"/dev/nvidiactl": ("crw-rw----", "195:255"), "/dev/nvidia0": ("crw-rw----", "195:0")},
        opens={"/dev/nvidiactl": "EACCES", "/dev/nvidia0": "EACCES"},
        node_owner=(0, 44),
        probes={"nvml": {"init": 4, "init_text": "Insufficient Permissions"}},
    )
    finding = first(machine)
    assert finding.id == "device-nodes-forbidden"
    assert "getent group 44" in finding.remedies[0].commands[0]


def test_eperm_points_to_the_device_cgroup_not_to_the_mode() -> None:
    machine = HEALTHY.but(
        opens={"/dev/nvidiactl": "EPERM", "/dev/nvidia0": "EPERM"},
        probes={"nvml": {"init": 999, "init_text": "Unknown Error"}},
    )
    diagnosis = diagnosed(machine)
    assert diagnosis.findings[0].finding.id == "device-nodes-forbidden"
    assert "cgroup" in diagnosis.findings[0].finding.detail
    assert [(one.finding.id, one.caused_by) for one in diagnosis.findings[1:]] == [
        ("gpu-init-failed", "device-nodes-forbidden")
    ]


@pytest.mark.parametrize(
    ("code", "text"), [(999, "Unknown Error"), (17, "blocked"), (9, "Driver Not Loaded"), (28, "")]
)
def test_an_nvml_that_does_not_initialise_is_never_silence(code: int, text: str) -> None:
    diagnosis = diagnosed(HEALTHY.but(probes={"nvml": {"init": code, "init_text": text}}))
    assert diagnosis.findings[0].finding.id == "gpu-init-failed"
    assert diagnosis.findings[0].finding.confidence is Confidence.POSSIBLE
    assert diagnosis.exit_code() == 3


def test_fewer_gpus_than_the_module_holds_are_noticed() -> None:
    two = machines.ubuntu_dkms(NEW, NEW, NEW, gpus=("0000:01:00.0", "0000:41:00.0"))
    machine = two.but(probes={"nvml": machines.nvml_healthy(NEW)})
    finding = first(machine)
    assert finding.id == "gpu-init-failed"
    assert "holds 2 GPUs on the bus, and NVML shows 1" in finding.title


def test_a_gpu_without_a_handle_is_noticed() -> None:
    answer = machines.nvml_healthy(NEW)
    answer["devices"] = [{"index": 0, "handle": 15, "handle_text": "GPU is lost"}]
    assert first(HEALTHY.but(probes={"nvml": answer})).id == "gpu-init-failed"


def test_a_toolkit_of_a_newer_major_version_is_a_warning_when_only_path_picks_it() -> None:
    finding = first(toolkit("13.0", env={"PATH": "/usr/local/cuda-13.0/bin:/usr/bin"}))
    assert (finding.id, finding.severity) == ("driver-too-old-for-cuda", Severity.WARNING)
    assert "580" in " ".join(remedy.summary for remedy in finding.remedies)


def test_a_toolkit_of_a_newer_major_version_is_an_error_when_a_variable_insists() -> None:
    finding = first(toolkit("13.0", env={"CUDA_HOME": "/usr/local/cuda-13.0"}))
    assert (finding.id, finding.severity) == ("driver-too-old-for-cuda", Severity.ERROR)


def test_a_newer_toolkit_that_nothing_picks_is_well() -> None:
    assert ids(toolkit("13.0", env={"PATH": "/usr/bin"})) == []


def test_a_variable_that_leads_to_no_toolkit_is_noticed() -> None:
    finding = first(HEALTHY.but(env={"CUDA_HOME": "/usr/local/cuda"}))
    assert (finding.id, finding.subject) == ("nvcc-not-found", "CUDA_HOME")
    dangling = first(HEALTHY.but(links={"/usr/local/cuda": "cuda-12.4"}))
    assert "it is a link to cuda-12.4, which is not there" in dangling.title


def test_a_wrapper_script_is_followed_to_its_toolkit() -> None:
    machine = toolkit("12.8", env={"PATH": "/usr/local/bin"}).but(
        files={"/usr/local/bin/nvcc": '#!/bin/sh\nexec /usr/local/cuda-12.8/bin/nvcc "$@"\n'}
    )
    from nvdiag.facts.toolkits import Toolkits

    found = diagnosed(machine).facts[Toolkits]
    assert isinstance(found, Toolkits)
    assert [(one.root, one.chosen_by) for one in found.found] == [("/usr/local/cuda-12.8", "PATH")]


@pytest.mark.parametrize(
    ("state", "silent", "confidence"),
    [("D", 2.0, Confidence.CERTAIN), ("S", 10.0, Confidence.LIKELY), ("S", 2.0, Confidence.POSSIBLE)],
)
def test_a_hang_is_certain_only_in_state_d_or_after_a_long_silence(
    state: str, silent: float, confidence: Confidence
) -> None:
    hung = {"error": "hung", "stage": "nvmlInit", "state": state, "silent_seconds": silent, "nvml_version": f"12.{NEW}"}
    diagnosis = diagnosed(HEALTHY.but(probes={"nvml": hung}))
    finding = diagnosis.findings[0].finding
    assert (finding.id, finding.subject, finding.confidence) == ("probe-hung", "nvml", confidence)
    assert diagnosis.exit_code() == (3 if confidence is Confidence.POSSIBLE else 1)


def test_a_crash_names_the_call_and_the_rest_still_answers() -> None:
    crashed = {"error": "crashed", "stage": "dlopen libnvidia-ml.so.1", "signal": "SIGBUS"}
    machine = machines.ubuntu_dkms("570.169", NEW, NEW).but(probes={"nvml": crashed})
    found = {one.finding.id for one in diagnosed(machine).findings}
    assert {"probe-crashed", "driver-library-mismatch"} <= found


def test_wsl_without_its_libraries_points_to_windows() -> None:
    missing = "cannot open shared object file: No such file or directory"
    bare = machines.wsl(None).but(
        probes={
            "nvml": {"dlopen_error": f"libnvidia-ml.so.1: {missing}"},
            "cuda init": {"dlopen_error": f"libcuda.so.1: {missing}"},
        }
    )
    finding = first(bare)
    assert finding.id == "wsl-driver-misinstalled"
    assert "wsl.exe --shutdown" in finding.remedies[0].commands


def test_wsl_libraries_beside_the_loaders_path_are_named() -> None:
    missing = "cannot open shared object file: No such file or directory"
    machine = machines.wsl().but(cached=(), probes={"nvml": {"dlopen_error": f"libnvidia-ml.so.1: {missing}"}})
    finding = first(machine)
    assert finding.id == "wsl-driver-misinstalled"
    assert "/usr/lib/wsl/lib" in finding.remedies[0].commands[0]


def test_an_nvml_that_fails_under_wsl_is_not_health() -> None:
    machine = machines.wsl().but(probes={"nvml": {"init": 999, "init_text": "Unknown Error"}})
    assert ids(machine) == ["gpu-init-failed"]


def test_a_container_without_its_nodes_is_no_health_either() -> None:
    finding = first(machines.docker().without("/dev/nvidia"))
    assert (finding.id, finding.severity) == ("device-nodes-missing", Severity.ERROR)
    assert "docker restart CONTAINER" in finding.remedies[0].commands


def test_the_table_tells_the_drivers_cuda_where_neither_library_does() -> None:
    from nvdiag.facts.answers import DriverCuda

    silent = HEALTHY.but(probes={"nvml": {"init": 999}, "cuda": {"dlopen_error": "no"}})
    found = diagnosed(silent).facts[DriverCuda]
    assert isinstance(found, DriverCuda)
    assert (str(found.version), found.source) == ("12.8", "nvdiag's table for branch 570")


def test_a_node_that_may_not_be_looked_at_is_not_missing() -> None:
    diagnosis = diagnosed(HEALTHY.but(refused={"/dev/nvidiactl": "EACCES"}))
    assert [one.finding.id for one in diagnosis.findings] == []
    reasons = {one.name: (one.status.value, one.reason) for one in diagnosis.checks}
    status, reason = reasons["device_nodes_exist"]
    assert status == "unknown"
    assert "/dev/nvidiactl is there and could not be looked at" in reason
