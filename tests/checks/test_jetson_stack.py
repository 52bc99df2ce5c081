"""Jetson as it is set up: boards and containers whose parts are of one L4T release, and those whose are not."""

from __future__ import annotations

import subprocess

import pytest

from nvdiag.facts.jetson import LIBRARIES, NVMAP, parse_release, release_of
from nvdiag.knowledge.jetson import lines_of_kernel
from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.checks.pasting import pasted
from tests.scenarios import jetson, machines
from tests.scenarios.jetson import R35, R36, R38
from tests.scenarios.tree import Tree

HEALTHY = {
    "R35": jetson.board(R35),
    "R36": jetson.board(R36),
    "R38": jetson.board(R38),
    "R35 container": jetson.container(R35, image="tegra"),
    "R36 container": jetson.container(R36, image="nvidia", release=R36.text),
    "R38 container": jetson.container(R38, image="nvidia"),
}

DESKTOP = "535.183.01"


def with_desktop_driver(*, taken: bool) -> Tree:
    """Ubuntu's driver packages on an Orin, whose libcuda the loader takes or passes over."""
    version = f"{DESKTOP}-0ubuntu0.22.04.1"
    names = {"nvidia_driver_535": version, "libnvidia_compute_535": version, "nvidia_dkms_535": version}
    machine = jetson.board(R36).but(commands=jetson.packages(R36, **names))
    if not taken:
        return machine
    theirs = machines.library_files(DESKTOP, LIBRARIES)
    both = machines.joined(machine, theirs).but(machine="aarch64", cached=theirs.cached)
    libcuda = {"library": f"{LIBRARIES}/libcuda.so.{DESKTOP}", "driver_version": 12020, "init": 100}
    nvml = {"library": f"{LIBRARIES}/libnvidia-ml.so.{DESKTOP}", "nvml_version": f"12.{DESKTOP}", "init": 18}
    return both.but(probes={"nvml": nvml, "cuda": libcuda | {"init_name": "CUDA_ERROR_NO_DEVICE"}})


def half_upgraded() -> Tree:
    """The libraries of R36.4 beside a core of R36.3."""
    older = jetson.packages(R36, nvidia_l4t_core="36.3.0-20240719161631")
    return jetson.board(R36).but(commands=older, probes={"cuda": jetson.failing(R36)})


def with_other_kernel() -> Tree:
    """Another kernel than L4T's, without its modules."""
    kernel = "5.15.0-1033-generic"
    return (
        jetson.board(R36)
        .without("/sys/module/nvgpu", "/sys/module/nvidia", NVMAP, "/dev/nvidia", "/proc/driver")
        .but(files={"/proc/sys/kernel/osrelease": f"{kernel}\n"}, probes={"cuda": jetson.failing(R36)})
    )


BROKEN = {
    "desktop libcuda": with_desktop_driver(taken=True),
    "packages differ": half_upgraded(),
    "other kernel": with_other_kernel(),
    "image of R35 on R36": jetson.container(R36, image="tegra"),
    "image of R35 on R36, told": jetson.container(R36, image="tegra", release=R35.text),
    "image of R36 on R35": jetson.container(R35, image="nvidia", release=R36.text),
    "without runtime": jetson.container(R36, image="nvidia", runtime=False),
}


@pytest.mark.parametrize("machine", HEALTHY.values(), ids=HEALTHY)
def test_a_jetson_of_one_release_has_no_finding(machine: Tree) -> None:
    assert ids(machine) == []
    assert ids(machine.snapshot()) == []


@pytest.mark.parametrize("machine", BROKEN.values(), ids=BROKEN)
def test_what_does_not_fit_on_a_jetson_stands_first(machine: Tree) -> None:
    found = diagnosed(machine).findings
    assert (found[0].finding.id, found[0].finding.severity) == ("jetson-stack-mismatch", Severity.ERROR)
    assert None not in {one.caused_by for one in found[1:]}
    assert ids(machine.snapshot()) == [one.finding.id for one in found]
    for remedy in found[0].finding.remedies:
        for command in remedy.commands:
            assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0, command


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("desktop libcuda", "libcuda of a driver for graphics cards"),
        ("packages differ", "nvidia-l4t-core 36.3.0, nvidia-l4t-cuda 36.4.3"),
        ("other kernel", "the kernel 5.15.0-1033-generic runs, and L4T's GPU modules are those of 5.15.148-tegra"),
        ("image of R35 on R36", "/usr/lib/aarch64-linux-gnu/nvidia, where this image's loader does not look"),
        ("image of R36 on R35", "made for L4T R36, and the board runs L4T R35"),
        ("without runtime", "no /dev/nvmap"),
    ],
)
def test_the_title_names_the_parts_that_do_not_fit(name: str, words: str) -> None:
    assert words in first(BROKEN[name]).title


def test_exactly_the_installed_desktop_packages_are_taken_away() -> None:
    commands = first(BROKEN["desktop libcuda"]).remedies[0].commands
    assert commands[0] == "sudo apt-get remove --purge nvidia-driver-535 libnvidia-compute-535 nvidia-dkms-535"


def test_desktop_packages_that_nobody_uses_are_information() -> None:
    found = diagnosed(with_desktop_driver(taken=False))
    assert [(one.finding.id, one.finding.severity) for one in found.findings] == [
        ("jetson-stack-mismatch", Severity.INFO)
    ]


def test_a_board_with_a_graphics_card_of_its_own_may_have_its_driver() -> None:
    card = "/sys/bus/pci/devices/0005:01:00.0"
    files = {f"{card}/vendor": "0x10de\n", f"{card}/device": "0x2230\n", f"{card}/class": "0x030000\n"}
    machine = with_desktop_driver(taken=False).but(files=files)
    assert "jetson-stack-mismatch" not in ids(machine)


def test_csv_files_of_another_line_are_told_before_a_container_starts() -> None:
    machine = jetson.board(R36).without("/etc/nvidia-container-runtime").but(files=jetson.mounts("tegra"))
    finding = first(machine)
    assert (finding.id, finding.severity) == ("jetson-stack-mismatch", Severity.WARNING)
    assert f"{LIBRARIES}/tegra/libcuda.so.1.1" in finding.title


def test_a_kernel_of_ones_own_that_works_is_no_finding() -> None:
    machine = jetson.board(R36).but(files={"/proc/sys/kernel/osrelease": "5.15.148-tegra-rt\n"})
    assert "jetson-stack-mismatch" not in ids(machine)


LISTED = (
    "$ cat /etc/nv_tegra_release\n" + R36.text + "$ dpkg -l | grep nvidia\n"
    "ii  nvidia-l4t-core          36.4.3-20250107174145   arm64  NVIDIA Core Package\n"
    "ii  nvidia-l4t-cuda          36.4.3-20250107174145   arm64  NVIDIA CUDA Package\n"
)


def test_a_pasted_board_of_one_release_proves_nothing() -> None:
    assert ids(pasted(LISTED)) == []


def test_a_desktop_driver_in_a_pasted_list_is_told() -> None:
    finding = first(pasted(f"{LISTED}ii  nvidia-driver-535     535.183.01-0ubuntu0.22.04.1  arm64  NVIDIA driver\n"))
    assert (finding.id, finding.confidence) == ("jetson-stack-mismatch", Confidence.LIKELY)


def test_packages_of_two_releases_in_a_pasted_list_are_told() -> None:
    finding = first(pasted(f"{LISTED}ii  nvidia-l4t-3d-core   36.3.0-20240719161631   arm64  NVIDIA GL EGL Package\n"))
    assert "nvidia-l4t-3d-core 36.3.0" in finding.title


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("36.4.3-20250107174145", "36.4.3"), ("5.15.148-tegra-36.4.3-20250107174145", "36.4.3"),
        ("35.4.1-20230801124926", "35.4.1"), ("6.2+b77", None), ("535.183.01-0ubuntu0.22.04.1", None),
    ],
)  # fmt: skip
def test_the_release_stands_at_the_end_of_a_packages_version(version: str, release: str | None) -> None:
    found = release_of(version)
    assert (found.text if found else None) == release


def test_the_release_file_is_read_in_the_form_of_each_line() -> None:
    assert [str(parse_release(one.text)) for one in (R35, R36, R38)] == ["35.4.1", "36.4.3", "38.2.0"]
    assert parse_release("# none\n") is None


def test_only_l4ts_own_kernels_tell_a_line() -> None:
    assert [one.l4t for one in lines_of_kernel("5.10.120-tegra")] == [34, 35]
    assert lines_of_kernel("5.15.0-1033-generic") == ()
