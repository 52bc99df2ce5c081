"""Pasted outputs of the driver's own, put together: what one of them alone does not decide."""

from __future__ import annotations

import pytest

from nvdiag.host.paste import hosts_of
from nvdiag.model.finding import Confidence
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
