"""WSL2 as it is set up: whether Windows' driver is here, and is what the loader takes."""

from __future__ import annotations

import subprocess

import pytest

from nvdiag.facts.wsl import parse_settings
from nvdiag.model.diagnosis import Status
from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.checks.pasting import pasted
from tests.scenarios import machines, wsl
from tests.scenarios.tree import Tree

BROKEN = {
    "no driver in Windows": wsl.without_driver(),
    "gpu switched off": wsl.with_gpu_switched_off(),
    "loader not told": wsl.untold(),
    "no device": wsl.without_device(),
    "WSL 1": wsl.first_generation(),
    "Windows' driver replaced": wsl.windows_replaced(),
    "Linux driver first": wsl.with_linux_driver(first=True),
    "Linux driver by .run": wsl.with_linux_driver(first=True, packages=False),
}


@pytest.mark.parametrize(
    "machine",
    [wsl.wsl2(), wsl.wsl2(configuration=""), wsl.in_docker()],
    ids=["systemd", "plain", "container"],
)
def test_wsl_with_windows_driver_has_no_finding(machine: Tree) -> None:
    assert ids(machine) == []
    assert ids(machine.snapshot()) == []


@pytest.mark.parametrize("machine", BROKEN.values(), ids=BROKEN)
def test_each_way_to_miss_windows_driver_is_the_one_cause(machine: Tree) -> None:
    found = diagnosed(machine).findings
    assert (found[0].finding.id, found[0].finding.severity) == ("wsl-driver-misinstalled", Severity.ERROR)
    assert {one.caused_by for one in found[1:]} <= {"wsl-driver-misinstalled"}
    assert ids(machine.snapshot()) == [one.finding.id for one in found]
    for remedy in found[0].finding.remedies:
        for command in remedy.commands:
            assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0, command


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no driver in Windows", "handed over no library"),
        ("gpu switched off", "[gpu] enabled is false"),
        ("loader not told", "the loader does not find libcuda.so.1 and libnvidia-ml.so.1"),
        ("no device", "/dev/dxg"),
        ("WSL 1", "WSL 1, which has no GPU"),
        ("Windows' driver replaced", "does not answer"),
        ("Linux driver first", "a Linux driver 570.172.08 is installed in WSL"),
    ],
)
def test_the_title_says_which_way_it_is(name: str, words: str) -> None:
    assert words in first(BROKEN[name]).title


def test_exactly_the_installed_driver_packages_are_taken_away() -> None:
    commands = first(BROKEN["Linux driver first"]).remedies[0].commands
    assert commands[0] == "sudo apt-get remove --purge nvidia-utils-570 libnvidia-compute-570 nvidia-dkms-570"


def test_a_driver_that_no_package_brought_is_taken_away_by_its_own_uninstaller() -> None:
    assert "sudo nvidia-uninstall" in first(BROKEN["Linux driver by .run"]).remedies[0].commands


def test_a_linux_driver_that_nobody_uses_is_information() -> None:
    found = diagnosed(wsl.with_linux_driver(first=False))
    assert [(one.finding.id, one.finding.severity) for one in found.findings] == [
        ("wsl-driver-misinstalled", Severity.INFO)
    ]
    assert found.exit_code() == 0


def test_a_driver_of_an_old_branch_is_said_to_be_too_old() -> None:
    old = wsl.windows_replaced().but(
        probes={"nvml": {"library": f"{wsl.FOLDER}/libnvidia-ml.so.1", "nvml_version": "11.470.14", "init": 999}}
    )
    assert "older than WSL2 needs" in first(old).title


def test_a_gpu_that_windows_does_not_offer_is_evidence() -> None:
    shown = [one.excerpt for one in first(wsl.without_device()).evidence]
    assert "no GPU of Windows' (1414:008e)" in shown


@pytest.mark.parametrize(("stored", "words"), [(True, "There is one in"), (False, "There is none in")])
def test_a_driver_that_windows_has_and_wsl_has_not_yet_is_told_apart(stored: bool, words: str) -> None:
    assert words in first(wsl.without_driver(stored=stored)).detail


def test_windows_driver_store_is_left_alone_where_nothing_is_missing() -> None:
    host = wsl.wsl2().host()
    diagnosed(host)
    assert not [question for question in host.asked if "/usr/lib/wsl/drivers" in question]


def test_a_container_under_wsl_without_gpus_is_told_as_any_other() -> None:
    assert ids(wsl.in_docker(gpus=False)) == ["container-driver-libraries-missing"]


def test_containers_under_wsl_are_the_containers_checks_matter() -> None:
    inside = wsl.without_driver().but(files={"/.dockerenv": "", "/proc/self/mountinfo": machines.OVERLAY_ROOT})
    assert "wsl-driver-misinstalled" not in ids(inside)


def test_a_silent_recording_of_wsl_proves_nothing() -> None:
    machine = pasted("$ uname -r\n6.6.87.2-microsoft-standard-WSL2\n")
    outcome = next(one for one in diagnosed(machine).checks if one.name == "the_loader_takes_what_windows_brings")
    assert outcome.status is Status.UNKNOWN


LISTING = "".join(f"-r-xr-xr-x 1 root root {size:9} Oct  4  2024 {name}\n" for name, size in wsl.OF_WINDOWS.items())
UNAME = (
    "$ uname -a\nLinux desk 6.6.87.2-microsoft-standard-WSL2 #1 SMP PREEMPT_DYNAMIC x86_64 x86_64 x86_64 GNU/Linux\n"
)


def test_a_pasted_listing_without_nvidias_libraries_shows_that_windows_has_no_driver() -> None:
    finding = first(pasted(f"{UNAME}$ ls -l /usr/lib/wsl/lib\ntotal 8300\n{LISTING}$ ls -l /dev/dxg\n"
                           "crw-rw-rw- 1 root root 10, 125 Nov  2 09:00 /dev/dxg\n"))  # fmt: skip
    assert (finding.id, finding.confidence) == ("wsl-driver-misinstalled", Confidence.CERTAIN)
    assert "handed over no library" in finding.title


def test_a_pasted_listing_with_nvidias_libraries_proves_nothing() -> None:
    whole = "".join(f"-r-xr-xr-x 1 root root {size:9} Oct  4  2024 {name}\n" for name, size in wsl.OF_NVIDIA.items())
    assert ids(pasted(f"{UNAME}$ ls -l /usr/lib/wsl/lib\ntotal 8300\n{LISTING}{whole}")) == []


def test_a_paste_without_the_device_is_told_so() -> None:
    missing = "$ ls -l /dev/dxg\nls: cannot access '/dev/dxg': No such file or directory\n"
    assert first(pasted(UNAME + missing)).id == "wsl-driver-misinstalled"


def test_settings_are_read_as_wsl_reads_them() -> None:
    text = '# of WSL\n[GPU]\nEnabled = False # off\n[automount]\nldconfig=false\noptions = "metadata"\n=\n'
    assert parse_settings(text) == {"gpu.enabled": "false", "automount.ldconfig": "false"}


def test_what_wsl_runs_at_boot_is_not_even_read_where_all_is_well() -> None:
    machine = wsl.wsl2(configuration="[boot]\ncommand=mount //server -o password=swordfish\n[user]\ndefault=alice\n")
    assert "swordfish" not in str(machine.snapshot().document)


@pytest.mark.parametrize(
    ("release", "found"), [("13.0.48", []), ("12.6.20", []), ("14.0.10", ["driver-too-old-for-cuda"])]
)
def test_a_toolkit_is_held_against_windows_driver(release: str, found: list[str]) -> None:
    root = "/usr/local/cuda"
    version = f'{{"cuda": {{"version": "{release}"}}, "cuda_nvcc": {{"version": "{release}"}}}}'
    machine = wsl.wsl2().but(
        files={f"{root}/version.json": version, f"{root}/bin/nvcc": ""}, env={"PATH": f"{root}/bin:/usr/bin"}
    )
    assert ids(machine) == found
