"""Drivers that are not where a plain host has them: half-equipped containers, Tegra, WSL, driver containers."""

from __future__ import annotations

from nvdiag.host.snapshot import SnapshotHost
from nvdiag.model.diagnosis import Status
from nvdiag.model.finding import Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import machines
from tests.scenarios.tree import Tree

NEW = "570.172.08"
GONE = {"dlopen_error": "cannot open shared object file: No such file or directory"}
HALF = machines.docker(NEW, NEW).without(f"{machines.MULTIARCH}/libcuda").but(probes={"cuda": GONE})
TOOLKIT = {
    "/usr/local/cuda-12.8/version.json": '{"cuda": {"version": "12.8.1"}}',
    "/usr/local/cuda-12.8/bin/nvcc": "",
}


def jetson(**answers: object) -> Tree:
    return (
        machines.wsl(None)
        .without("/dev/dxg")
        .but(
            files={
                "/proc/sys/kernel/osrelease": "5.10.192-tegra\n",
                "/proc/version": "Linux version 5.10.192-tegra\n",
                "/etc/nv_tegra_release": "# R35 (release), REVISION: 5.0\n",
            },
            probes={"nvml": GONE, **answers},
        )
    )


def test_a_container_with_nvml_alone_is_told_as_information() -> None:
    finding = first(HALF)
    assert (finding.id, finding.severity) == ("container-driver-libraries-missing", Severity.INFO)
    assert "libcuda.so.1" in finding.title


def test_a_container_with_a_toolkit_and_without_libcuda_is_broken() -> None:
    assert first(HALF.but(files=TOOLKIT)).severity is Severity.ERROR
    assert diagnosed(HALF.but(files=TOOLKIT)).exit_code() == 1


def test_a_container_without_nvml_is_told_so() -> None:
    machine = machines.docker(NEW, NEW).without(f"{machines.MULTIARCH}/libnvidia-ml").but(probes={"nvml": GONE})
    assert "nvidia-smi" in first(machine).title


def test_a_link_that_was_refused_is_no_library() -> None:
    document = machines.docker(NEW, None).snapshot().document
    document["links"]["/usr/lib64/libnvidia-ml.so.1"] = {"error": "EACCES"}
    document["links"]["/usr/lib64/libcuda.so.1"] = {"error": "EACCES"}
    assert ids(SnapshotHost(document, "refused")) == ["container-driver-libraries-missing"]


def test_a_jetson_without_nvml_is_no_problem() -> None:
    machine = jetson(cuda={"library": "/usr/lib/aarch64-linux-gnu/tegra/libcuda.so.1.1", "init": 0, "count": 1})
    assert ids(machine) == []


def test_a_jetson_without_libcuda_is_broken_and_gets_no_desktop_package() -> None:
    finding = first(jetson(cuda=GONE))
    assert (finding.id, finding.severity) == ("libcuda-missing", Severity.ERROR)
    assert "nvidia-l4t-cuda" in finding.remedies[0].commands[0]


def test_wsl_without_windows_driver_is_not_said_to_have_one_loaded() -> None:
    found = diagnosed(machines.wsl(None).but(probes={"nvml": GONE, "cuda": GONE})).findings
    assert [one.finding.id for one in found] == ["wsl-driver-misinstalled", "nvml-library-missing", "libcuda-missing"]
    assert "loaded" not in found[1].finding.title


def test_a_host_with_a_driver_container_lacks_no_library_of_its_own() -> None:
    machine = machines.ubuntu_dkms(NEW, None, None).but(
        files={"/run/nvidia/driver/usr/lib/x86_64-linux-gnu/x": ""}, probes={"nvml": GONE, "cuda": GONE}
    )
    assert ids(machine) == []
    outcome = next(one for one in diagnosed(machine).checks if one.name == "nvml_is_found_by_the_loader")
    assert (outcome.status, "/run/nvidia/driver" in outcome.reason) == (Status.SKIPPED, True)


def test_a_garbled_release_in_sysfs_is_made_good_by_the_drivers_own_file() -> None:
    machine = machines.ubuntu_dkms("570.169", NEW, NEW).but(files={"/sys/module/nvidia/version": "?\n"})
    assert ids(machine) == ["driver-library-mismatch"]


def test_a_sandbox_without_a_gpu_claims_nothing_of_its_hosts_driver() -> None:
    version = {"/proc/version": "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n"}
    machine = machines.docker(None, None).without("/sys/").but(files=version, probes={"nvml": GONE, "cuda": GONE})
    assert ids(machine) == ["no-nvidia-gpu"]
