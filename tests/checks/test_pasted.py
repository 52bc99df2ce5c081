"""Pasted texts from end to end: structured outputs and messages together, in one finding or in several machines'."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.checks.pasting import pasted

MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"
VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.169  Thu May 15 03:27:35 UTC 2025"


def head(driver: str, cuda: str, smi: str = "") -> str:
    return (
        "+-----------------------------------------------------------------------------------------+\n"
        f"| NVIDIA-SMI {smi or driver:<22} Driver Version: {driver:<14} CUDA Version: {cuda:<8} |\n"
        "|-----------------------------------------+------------------------+----------------------+\n"
    )


def row(name: str, used: int = 10, total: int = 24564) -> str:
    return (
        f"|   0  {name:<28}    Off |   00000000:01:00.0 Off |                  N/A |\n"
        f"|  0%   31C    P8             20W /  450W | {used:>7}MiB / {total:>6}MiB |      0%      Default |\n"
    )


def test_a_mismatch_with_both_releases_in_view_and_one_with_none_are_one_finding_of_one_id() -> None:
    bare = first(pasted(f"$ nvidia-smi\n{MISMATCH}\n"))
    full = first(
        pasted(
            f"$ nvidia-smi\n{MISMATCH}\nNVML library version: 570.172\n$ cat /proc/driver/nvidia/version\n{VERSION}\n"
        )
    )
    assert bare.id == full.id == "driver-library-mismatch"
    assert full.title == "the loaded kernel module is 570.169, the driver's libraries are 570.172"
    assert {one.source for one in full.evidence} == {"nvidia-smi", "/proc/driver/nvidia/version"}
    assert ids(pasted(f"{MISMATCH}\n{VERSION}\n")).count("driver-library-mismatch") == 1


def test_the_kernel_modules_own_words_tell_both_releases() -> None:
    found = first(
        pasted(
            "NVRM: API mismatch: the client has the version 550.90.07, but\n"
            "NVRM: this kernel module has the version 550.54.15.  Please\nNVRM: make sure that this kernel module\n"
        )
    )
    assert (found.id, found.confidence) == ("driver-library-mismatch", Confidence.CERTAIN)
    assert "550.54.15" in found.title
    assert "550.90.07" in found.title


def test_a_module_on_disk_that_is_the_old_one_makes_a_reboot_useless() -> None:
    found = first(
        pasted(
            "$ dmesg\nNVRM: API mismatch: the client has the version 595.84, but\n"
            "NVRM: this kernel module has the version 595.80.  Please\n$ modinfo nvidia\n"
            "filename:       /lib/modules/6.14.0-1-generic/updates/dkms/nvidia.ko.zst\nversion:        595.80\n"
        )
    )
    assert (found.id, found.confidence) == ("driver-disk-mismatch", Confidence.CERTAIN)
    assert "a reboot alone does not help" in found.title


@pytest.mark.parametrize(
    ("seconds", "identifier"), [("11.4", "driver-disk-mismatch"), ("99411.4", "driver-library-mismatch")]
)
def test_a_mismatch_seconds_after_the_boot_was_loaded_by_this_boot(seconds: str, identifier: str) -> None:
    log = (
        f"[{seconds:>12}] NVRM: API mismatch: the client has the version 550.90.07, but\n"
        "               NVRM: this kernel module has the version 550.54.15.  Please\n"
    )
    assert first(pasted(log)).id == identifier


def test_what_follows_from_a_mismatch_stands_under_it() -> None:
    text = f"$ nvidia-smi\n{MISMATCH}\n$ ./app\nforward compatibility was attempted on non supported HW\n"
    found = diagnosed(pasted(text)).findings
    assert found[0].finding.id == "driver-library-mismatch"
    assert all(one.caused_by for one in found[1:] if one.finding.severity is Severity.ERROR)


def test_a_head_without_cuda_version_is_a_container_without_the_compute_libraries() -> None:
    inside = f"$ docker run --rm --gpus all image nvidia-smi\n{head('550.54.15', 'N/A')}"
    assert first(pasted(inside)).id == "container-driver-libraries-missing"
    outside = first(pasted(f"$ nvidia-smi\n{head('550.54.15', 'N/A')}"))
    assert (outside.id, outside.severity) == ("libcuda-missing", Severity.WARNING)


def test_a_head_whose_cuda_is_newer_than_the_branch_met_another_libcuda() -> None:
    geforce = head("545.23.08", "12.5") + row("NVIDIA GeForce RTX 3060")
    assert first(pasted(f"$ nvidia-smi\n{geforce}")).id == "libcuda-mismatch"
    assert first(pasted(f"$ docker run --gpus all image nvidia-smi\n{geforce}")).id == "cuda-compat-unsupported"
    data_centre = head("535.129.03", "12.4") + row("NVIDIA H100 80GB HBM3")
    assert ids(pasted(f"$ docker run --gpus all image nvidia-smi\n{data_centre}")) == []


def test_an_error_in_the_cuda_field_is_a_stub() -> None:
    assert first(pasted(head("535.129.03", "ERR!"))).id == "libcuda-stub-loaded"


@pytest.mark.parametrize(
    ("smi", "driver", "found"), [("535.104.12", "537.42", []), ("560.35.03", "552.44", ["wsl-driver-misinstalled"])]
)
def test_under_wsl_nvidia_smi_is_no_newer_than_windows_driver(smi: str, driver: str, found: list[str]) -> None:
    assert ids(pasted(head(driver, "12.4", smi))) == found


def test_gpus_that_answer_at_one_moment_and_not_at_the_other_were_taken_from_a_container() -> None:
    text = f"$ nvidia-smi\nFailed to initialize NVML: Unknown Error\n$ nvidia-smi\n{head('570.133.20', '12.8')}"
    found = first(pasted(text))
    assert (found.id, found.confidence) == ("container-devices-revoked", Confidence.LIKELY)
    assert any("(later in the text)" in one.source or "nvidia-smi" in one.source for one in found.evidence)


def test_a_build_without_cuda_is_one_only_where_somebody_wants_cuda() -> None:
    wanted = f"$ pip list | grep torch\ntorch 2.9.1+cpu\n$ nvidia-smi\n{head('580.95.05', '13.0')}"
    assert first(pasted(wanted)).id == "framework-cpu-only"


def test_a_framework_of_a_newer_cuda_major_than_the_drivers_is_found_by_versions_alone() -> None:
    text = f"$ pip list\ntorch 2.9.1+cu130\n$ nvidia-smi\n{head('550.54.15', '12.4')}"
    assert first(pasted(text)).id == "driver-too-old-for-cuda"
    fits = f"$ pip list\ntorch 2.9.1+cu128\n$ nvidia-smi\n{head('550.54.15', '12.4')}"
    assert ids(pasted(fits)) == []


def test_jaxlib_names_the_cudnn_that_it_was_built_for() -> None:
    text = "$ pip list\njaxlib    0.4.23+cuda12.cudnn89\nnvidia-cudnn-cu12    9.1.0.70\n"
    assert first(pasted(text)).id == "cudnn-mismatch"
    assert ids(pasted(text.replace("9.1.0.70", "8.9.7.29"))) == []


def test_two_nccl_wheels_are_a_warning() -> None:
    found = first(pasted("$ pip list\nnvidia-nccl-cu11 2.14.3\nnvidia-nccl-cu12 2.20.5\n"))
    assert (found.id, found.severity) == ("nccl-mismatch", Severity.WARNING)


def test_the_environments_nccl_version_of_a_base_image_means_nothing() -> None:
    text = (
        '$ export | grep NCCL\ndeclare -x NCCL_VERSION="2.17.1-1"\n'
        '$ python -c "import torch;print(torch.cuda.nccl.version())"\n(2, 20, 5)\n'
    )
    assert ids(pasted(text)) == []


def test_findings_of_two_machines_say_which_is_which() -> None:
    text = f"root@a:~# nvidia-smi\n{MISMATCH}\nroot@b:~# nvidia-smi\n{head('550.54.15', '12.4')}"
    found = diagnosed(pasted(text))
    assert [ranked.finding.id for ranked in found.findings] == ["driver-library-mismatch"]
    assert found.findings[0].finding.evidence[0].source == "nvidia-smi (a)"
    assert [part.label for part in found.parts] == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA"
        " driver is installed and running.",
        ">>> torch.cuda.is_available()\nFalse",
        "it does not work, please help",
        head("550.54.15", "12.4") + row("NVIDIA GeForce RTX 4090", used=9000),
        "BLAS=0",
        "No CUDA runtime is found, using CUDA_HOME='/usr/local/cuda'",
    ],
)
def test_a_text_that_supports_no_cause_claims_none(text: str) -> None:
    found = [ranked.finding for ranked in diagnosed(pasted(text)).findings]
    assert [
        one.id for one in found if one.severity is Severity.ERROR and one.confidence is not Confidence.POSSIBLE
    ] == []


def test_a_text_that_nvdiag_knows_nothing_of_is_not_healthy() -> None:
    assert diagnosed(pasted("hello")).exit_code() == 3


SILENT = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"
DKMS = "nvidia/550.163.01, 6.8.0-85-generic, x86_64: installed\n"


def test_dkms_that_built_for_another_kernel_is_why_the_driver_is_silent() -> None:
    text = f"$ uname -r\n6.8.0-90-generic\n$ dkms status\n{DKMS}$ nvidia-smi\n{SILENT}"
    assert first(pasted(text)).id == "driver-not-built"
    assert ids(pasted(text.replace("90-generic", "85-generic"))) == []


def test_what_dkms_has_built_tells_which_kernel_ends_a_mismatch() -> None:
    text = f"{VERSION}\n$ nvidia-smi\n{MISMATCH}\n$ uname -r\n6.8.0-84-generic\n$ dkms status\n{DKMS}"
    predictions = [remedy.prediction for remedy in first(pasted(text)).remedies]
    assert any("if 6.8.0-85-generic boots" in one for one in predictions)


def test_the_words_cited_of_a_message_end_where_it_ends() -> None:
    found = first(pasted(f"{MISMATCH}\nroot@box:~# something else\n"))
    assert found.evidence[0].excerpt == MISMATCH
