"""Pasted outputs of the driver's own, put together: what one of them alone does not decide."""

from __future__ import annotations

import pytest

from nvdiag.host.paste import hosts_of
from nvdiag.model.finding import Confidence
from nvdiag.report.asks import question
from tests.checks.diagnosing import diagnosed, first, ids

SILENT = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA"
    " driver is installed and running."
)
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 560.35"
TABLE = """\
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 560.28.03              Driver Version: 560.28.03      CUDA Version: 12.6     |
|-----------------------------------------+------------------------+----------------------+"""


def judged(text: str) -> tuple[str, Confidence]:
    found = first(hosts_of(text.encode(), "text")[0])
    return found.id, found.confidence


@pytest.mark.parametrize(
    "status",
    [
        "nvidia, 545.29.06, 6.5.0-14-generic, x86_64: installed",
        "nvidia/545.29.06, 6.5.0-14-generic, x86_64: installed\nnvidia/545.29.06, 6.5.0-15-generic, x86_64: installed",
        "nvidia-current/545.29.06, 6.5.0-14-generic, x86_64: installed (Original modules exist)",
        "nvidia/545.29.06: added",
        "nvidia/545.29.06, 6.8.0-31-generic, x86_64: built",
        "nvidia-fs/2.22.3, 6.8.0-31-generic, x86_64: installed\nnvidia/545.29.06, 6.5.0-14-generic, x86_64: installed",
    ],
)
def test_dkms_without_a_module_for_the_kernel_that_runs_tells_why_no_driver_answers(status: str) -> None:
    text = f"$ nvidia-smi\n{SILENT}\n$ uname -r\n6.8.0-31-generic\n$ dkms status\n{status}\n"
    assert judged(text) == ("driver-not-built", Confidence.LIKELY)


@pytest.mark.parametrize(
    "text",
    [
        f"$ nvidia-smi\n{SILENT}\n$ uname -r\n6.8.0-31-generic\n$ dkms status\n"
        "nvidia/545.29.06, 6.8.0-31-generic, x86_64: installed\n",
        f"$ nvidia-smi\n{SILENT}\n$ dkms status\nnvidia/545.29.06, 6.8.0-31-generic, x86_64: installed\n",
        "$ uname -r\n6.8.0-31-generic\n$ dkms status\nnvidia/545.29.06, 6.5.0-14-generic, x86_64: installed\n",
        f"$ nvidia-smi\n{SILENT}\n$ uname -r\n6.8.0-31-generic\n$ dkms status\n"
        "nvidia-fs/2.22.3, 6.5.0-14-generic, x86_64: installed\n",
    ],
)
def test_dkms_alone_decides_nothing_where_its_word_fits_or_nothing_is_wrong(text: str) -> None:
    assert "driver-not-built" not in ids(hosts_of(text.encode(), "text")[0])


@pytest.mark.parametrize(
    "more",
    [
        "$ modinfo nvidia | grep ^version\nversion:        560.28.03\n",
        "$ modinfo -F version nvidia\n560.28.03\n",
        "$ uname -r\n6.8.0-31-generic\n$ modinfo nvidia | grep version\nversion:        560.28.03\n",
    ],
)
def test_a_module_on_disk_that_is_not_the_libraries_makes_it_a_matter_of_the_disk(more: str) -> None:
    assert judged(f"$ nvidia-smi\n{MISMATCH}\n{more}") == ("driver-disk-mismatch", Confidence.CERTAIN)


@pytest.mark.parametrize(
    ("note", "told"),
    [
        (" (WARNING! Diff between built and installed module!)", True),
        (" (Original modules exist) (Differences between built and installed modules)", True),
        (" (Original modules exist)", False),
        ("", False),
    ],
)
def test_a_module_that_dkms_does_not_know_as_its_own_is_to_be_seen_before_a_reboot(note: str, told: bool) -> None:
    text = (
        f"$ nvidia-smi\n{MISMATCH}\n$ dkms status\n"
        f"nvidia/560.35.03, 6.8.0-31-generic, x86_64: installed{note}\n$ uname -r\n6.8.0-31-generic\n"
    )
    found = first(hosts_of(text.encode(), "text")[0])
    assert found.id == "driver-library-mismatch"
    assert ("modinfo -k 6.8.0-31-generic -F version nvidia" in found.detail) is told
    assert ("dkms status" in [one.source for one in found.evidence]) is told


def test_dkms_that_has_only_another_release_makes_it_likely_a_matter_of_the_disk() -> None:
    text = (
        f"$ nvidia-smi\n{MISMATCH}\n$ uname -r\n6.8.0-31-generic\n$ dkms status\n"
        "nvidia/560.28.03, 6.8.0-31-generic, x86_64: installed\nnvidia/560.35.03: added\n"
    )
    assert judged(text) == ("driver-disk-mismatch", Confidence.LIKELY)


@pytest.mark.parametrize(
    "more",
    [
        "$ modinfo nvidia | grep ^version\nversion:        560.35.03\n",
        "$ dkms status\nnvidia/560.35.03, 6.8.0-31-generic, x86_64: installed\n",
        "$ uname -r\n6.8.0-31-generic\n$ dkms status\nnvidia/560.28.03, 6.8.0-31-generic, x86_64: installed\n"
        "nvidia/560.35.03, 6.8.0-35-generic, x86_64: installed\n",
    ],
)
def test_a_module_of_the_libraries_release_that_waits_for_a_boot_leaves_it_a_matter_of_memory(more: str) -> None:
    assert judged(f"$ nvidia-smi\n{MISMATCH}\n{more}") == ("driver-library-mismatch", Confidence.CERTAIN)


@pytest.mark.parametrize(
    "text",
    [
        f"$ docker run --rm --gpus all trainer:3 nvidia-smi\n{MISMATCH}\n",
        f"$ docker container run --rm --gpus all trainer:3 nvidia-smi\n{MISMATCH}\n",
        f"$ docker exec -it trainer nvidia-smi\n{MISMATCH}\n$ nvidia-smi\n{TABLE}\n",
        f"root@5c1f0b9ad2e7:/workspace# nvidia-smi\n{MISMATCH}\n",
        f"root@pve1:~# nvidia-smi\n{TABLE}\nroot@pve1:~# pct enter 131\nroot@media:~# nvidia-smi\n{MISMATCH}\n",
        f"$ lxc exec c1 -- nvidia-smi\n{MISMATCH}\n",
        f"$ kubectl exec -it trainer-0 -- bash\nroot@trainer-0:/# nvidia-smi\n{MISMATCH}\n",
        f"root@media:~# nvidia-smi\n{MISMATCH}\nroot@media:~# ls -l /dev/nvidia0\n"
        "crw-rw-rw- 1 nobody nogroup 195, 0 Apr 12 18:02 /dev/nvidia0\n",
    ],
)
def test_a_mismatch_inside_a_container_is_one_of_the_containers_own_libraries(text: str) -> None:
    assert judged(text) == ("container-library-mismatch", Confidence.LIKELY)


@pytest.mark.parametrize(
    "text",
    [
        f"$ docker run --rm --gpus all trainer:3 nvidia-smi\n{MISMATCH}\n$ nvidia-smi\n{MISMATCH}\n",
        "$ docker run --rm --gpus all trainer:3 nvidia-smi\ndocker: Error response from daemon: nvidia-container-cli:"
        " initialization error: nvml error: driver/library version mismatch: unknown.\n",
        f"me@one:~$ docker run --rm hello-world\nme@two:~$ nvidia-smi\n{MISMATCH}\n",
    ],
)
def test_a_mismatch_of_the_host_stays_the_hosts(text: str) -> None:
    assert judged(text) == ("driver-library-mismatch", Confidence.CERTAIN)


def test_a_mismatch_that_is_over_is_no_more_than_possible() -> None:
    text = f"$ nvidia-smi\n{MISMATCH}\n$ sudo reboot\n$ nvidia-smi\n{TABLE}\n"
    found = diagnosed(hosts_of(text.encode(), "text")[0]).findings
    assert all(one.finding.confidence is Confidence.POSSIBLE for one in found)


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        (
            "pynvml.NVMLError_LibRmVersionMismatch: RM has detected an NVML/RM version mismatch.",
            "driver-library-mismatch",
        ),
        ("DKMS module 'nvidia-515.76' failed to build, please check /var/lib/dkms", "driver-not-built"),
        (
            "'make' -j4 NV_EXCLUDE_BUILD_MODULES='' KERNEL_UNAME=6.1.9 modules.....(bad exit status: 2)",
            "driver-not-built",
        ),
        ("Resolving Linux kernel version...\nCould not resolve Linux kernel version", "driver-not-built"),
        (
            "nvidia-docker | 2017/02/03 Error: Could not load UVM kernel module. Is nvidia-modprobe installed?",
            "uvm-not-loaded",
        ),
        (
            "could not insert 'nvidia_352_uvm': Function not implemented",
            "uvm-not-loaded",
        ),
        (
            f"modprobe: FATAL: Module nvidia not found.\nError: Could not load UVM kernel module\n{SILENT}",
            "driver-not-built",
        ),
        ("nvidia-gridd[99]: Licensing not supported for GPUs in the system", "vgpu-misconfigured"),
        ('could not select device driver "cdi" with capabilities: []', "container-runtime-not-configured"),
        (f"nouveau              2334720  34\ndrm_ttm_helper  16384  1 nouveau\n{SILENT}", "gpu-bound-to-other-driver"),
        (
            "inside the container:\nFailed to initialize NVML: Unknown Error\non the host: it works",
            "container-devices-revoked",
        ),
    ],
)
def test_words_of_more_programs_are_known(text: str, identifier: str) -> None:
    found = judged(text)
    assert found[0] == identifier
    assert found[1] is not Confidence.POSSIBLE


@pytest.mark.parametrize(
    "text",
    [
        "nouveau              2334720  34\ndrm_ttm_helper  16384  1 nouveau",
        f"nouveau              2334720  0\n{SILENT}",
        "'make' -j4 KERNELRELEASE=6.1.9 (bad exit status: 2)",
        "DKMS module 'zfs-2.1.9' failed to build, please check /var/lib/dkms",
    ],
)
def test_look_alikes_are_none(text: str) -> None:
    assert not {"gpu-bound-to-other-driver", "driver-not-built"} & set(ids(hosts_of(text.encode(), "text")[0]))


PROPRIETARY = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {0}  Tue Feb 25 03:31:36 UTC 2025"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {0}  Release Build  (dvs-builder@U16)  Tue Feb 25 2025"


@pytest.mark.parametrize(
    ("gpu", "version", "identifier"),
    [
        ("GB203 [GeForce RTX 5070 Ti]", PROPRIETARY.format("575.64.03"), "gpu-needs-open-module"),
        ("GP104 [GeForce GTX 1080]", OPEN.format("575.64.03"), "gpu-needs-proprietary-module"),
        ("GM206 [GeForce GTX 960]", PROPRIETARY.format("590.48.01"), "gpu-needs-legacy-driver"),
        ("AD104 [GeForce RTX 4070]", PROPRIETARY.format("470.256.02"), "gpu-needs-newer-driver"),
        ("GA104 [GeForce RTX 3070]", PROPRIETARY.format("575.64.03"), "gpu-init-failed"),
        ("GB203 [GeForce RTX 5070 Ti]", OPEN.format("575.64.03"), "gpu-init-failed"),
    ],
)
def test_a_driver_that_finds_no_gpu_is_held_against_the_gpus_that_are_named(
    gpu: str, version: str, identifier: str
) -> None:
    bus = f"01:00.0 VGA compatible controller: NVIDIA Corporation {gpu} (rev a1)"
    text = f"$ nvidia-smi\nNo devices were found\n$ lspci | grep -i nvidia\n{bus}\n$ cat /proc/driver/nvidia/version\n"
    assert judged(f"{text}{version}\n") == (identifier, Confidence.LIKELY)


def test_a_gpus_own_id_is_surer_than_its_chips_name() -> None:
    text = "$ nvidia-smi\nNo devices were found\n01:00.0 VGA compatible controller: NVIDIA Device [10de:2c05]\n"
    assert judged(f"{text}{PROPRIETARY.format('575.64.03')}\n") == ("gpu-needs-open-module", Confidence.CERTAIN)


def test_beside_a_gpu_that_the_driver_drives_its_flavour_is_no_reason() -> None:
    bus = "01:00.0 3D controller: NVIDIA Corporation GA104\n02:00.0 3D controller: NVIDIA Corporation GP104"
    assert judged(f"No devices were found\n{bus}\n{OPEN.format('575.64.03')}\n")[0] == "gpu-init-failed"


def test_the_kernel_log_tells_the_loaded_release_and_flavour() -> None:
    text = (
        "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  575.64.03  Wed Jun 25 18:29:39 UTC 2025\n"
        "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x24:0x72:1568)\n"
        "01:00.0 VGA compatible controller: NVIDIA Corporation GB202 [GeForce RTX 5090] (rev a1)\n"
    )
    assert judged(text) == ("gpu-needs-open-module", Confidence.LIKELY)


def test_a_gpu_that_vfio_holds_is_told_of_where_nvidia_smi_was_tried() -> None:
    bus = "01:00.0 3D controller [0302]: NVIDIA Corporation GA104 [10de:2484]\n\tKernel driver in use: vfio-pci\n"
    assert judged(f"$ lspci -nnk\n{bus}$ nvidia-smi\n{SILENT}\n") == ("gpu-bound-to-other-driver", Confidence.CERTAIN)


def test_a_failed_build_of_another_module_is_not_the_drivers() -> None:
    text = (
        "Consult /var/lib/dkms/openrazer/3.8.0/build/make.log for more information.\n"
        "gcc: error: unrecognized command-line option '-ftrivial-auto-var-init=zero'"
    )
    assert "driver-not-built" not in ids(hosts_of(text.encode(), "text")[0])


@pytest.mark.parametrize("prefix", ["2025-07-27T16:40:59+02:00: ==> ebs.noble: ", "2025-07-27T16:40:59.1234567Z "])
def test_what_builders_of_images_put_before_each_line_is_passed_over(prefix: str) -> None:
    lines = ("Errors were encountered while processing:", " nvidia-dkms-565-open", "E: Sub-process failed")
    assert judged("\n".join(prefix + line for line in lines))[0] == "driver-not-built"


def test_a_guest_of_lxc_is_told_to_take_the_hosts_release() -> None:
    text = f"$ lxc exec c1 -- nvidia-smi\n{MISMATCH}\n"
    commands = [command for remedy in first(hosts_of(text.encode(), "text")[0]).remedies for command in remedy.commands]
    assert any("--no-kernel-modules" in command for command in commands)
    assert not any("docker" in command for command in commands)


def test_after_a_healthy_table_the_program_is_asked_about_and_not_the_driver() -> None:
    asked = question(diagnosed(hosts_of(f"{TABLE}\nmy program runs on the CPU\n".encode(), "text")[0]))
    assert asked is not None
    assert asked.suspected == ()
    assert not any("dmesg" in one.command or one.command == "nvidia-smi" for one in asked.asks)


def test_what_healthy_machines_print_raises_no_suspicion() -> None:
    text = f"{SILENT}\n01:00.0 3D controller: NVIDIA Corporation GA104 (rev a1)\n"
    asked = question(diagnosed(hosts_of(text.encode(), "text")[0]))
    assert asked is not None
    assert "gpu-needs-open-module" not in asked.suspected


def test_a_release_that_is_loaded_was_built_whatever_failed_before() -> None:
    failed = (
        "Error! Bad return status for module build on kernel: 5.4.0-1-generic (x86_64)\n"
        "Consult /var/lib/dkms/nvidia/470.57.02/build/make.log for more information.\n"
    )
    mixed = "nvidia-modeset: Version mismatch: nvidia.ko(470.57.02) nvidia-modeset.ko(460.91.03)\n"
    assert judged(failed)[0] == "driver-not-built"
    assert judged(failed + mixed)[0] == "driver-submodule-mismatch"
