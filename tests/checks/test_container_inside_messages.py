"""What is said inside a container: nothing brought in, devices taken away, driver files in the image."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence
from tests.checks.diagnosing import first, ids
from tests.checks.pasting import pasted, saying

TORCH = (
    'Traceback (most recent call last):\n  File "/app/train.py", line 12, in <module>\n   '
    " model.cuda()\nRuntimeError: Found"
    " no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver from"
    " http://www.nvidia.com/Download/index.aspx"
)
SMI = "| NVIDIA-SMI 550.90.07              Driver Version: 550.90.07      CUDA Version: 12.4     |"
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.183"


@pytest.mark.parametrize(
    "text",
    [
        "=============\n== PyTorch ==\n=============\n\nWARNING: The NVIDIA Driver was not detected.  GPU"
        " functionality will"
        " not be available.\n   Use the NVIDIA Container Toolkit to start this container with GPU support; see\n",
        "WARNING: The NVIDIA Driver was not detected.  GPU functionality will not be available.\n   Use"
        " 'nvidia-docker run'"
        " to start this container; see\n   https://github.com/NVIDIA/nvidia-docker/wiki/nvidia-docker .",
        "/sbin/ldconfig.real: File /lib/x86_64-linux-gnu/libcuda.so.535.129.03 is empty, not checked.",
        "ImportError: libcuda.so.1: file too short",
        "OSError: /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1: file too short",
        'unable to start container process: exec: "nvidia-smi": executable file not found in $PATH: unknown.',
        "Error: crun: executable file `nvidia-smi` not found in $PATH: No such file or directory: OCI runtime"
        " attempted to"
        " invoke a command that was not found",
        "root@0f9e8d7c6b5a:/workspace# nvidia-smi\nbash: nvidia-smi: command not found",
        "root@0f9e8d7c6b5a:/# nvidia-smi\nsh: 1: nvidia-smi: not found",
        "Ignoring devices specified in NVIDIA_VISIBLE_DEVICES (privileged=false, acceptEnvvarUnprivileged=false)",
        "$ apptainer exec --nv image.sif nvidia-smi\nINFO:    Could not find any nv files on this host!\nFATAL:   "
        '"nvidia-smi": executable file not found in $PATH',
        f"$ docker run --rm -it trainer:2 python /app/train.py\n{TORCH}",
        f"root@0f9e8d7c6b5a:/app# python train.py\n{TORCH}",
        f"$ singularity exec trainer.sif python train.py\n{TORCH}",
        f"$ docker run --rm --gpus all -it trainer:2 python /app/train.py\n{TORCH}",
        f"$ docker run --runtime=nvidia trainer:2\n{TORCH}",
        "$ docker run --gpus all trainer:2 ./serve\n./serve: error while loading shared libraries: libcuda.so.1: cannot"
        " open shared object file: No such file or directory",
        f"Creating trainer_app_run ... done\n{TORCH}",
        f" ✔ Container trainer-app-1  Started\nAttaching to app-1\n{TORCH}",
        f"$ kubectl -n ml logs trainer-7d9\n{TORCH}",
        " => ERROR [6/9] RUN python3 setup.py install\n#10 4.211 ImportError: libcuda.so.1: cannot open shared"
        " object file",
    ],
)
def test_a_container_without_the_drivers_libraries_is_told(text: str) -> None:
    found = first(saying(text))
    assert found.id == "container-driver-libraries-missing"
    assert found.confidence is Confidence.LIKELY


@pytest.mark.parametrize(
    "text",
    [
        TORCH,
        f"{TORCH}\n$ docker run --rm --gpus all trainer:2 nvidia-smi",
        "bash: nvidia-smi: command not found",
        "user@workstation:~$ nvidia-smi\nbash: nvidia-smi: command not found",
        f"$ apptainer exec --nv trainer.sif python train.py\n{TORCH}",
        "$ docker run -e NVIDIA_VISIBLE_DEVICES=all trainer:2\nnvidia-container-cli: initialization error: load library"
        " failed: libnvidia-ml.so.1: cannot open shared object file: no such file or directory: unknown.",
        "ldconfig: File /usr/lib/x86_64-linux-gnu/libfoo.so is empty, not checked.",
        "/sbin/ldconfig.real: File /usr/lib/aarch64-linux-gnu/tegra/libnvos.so is empty, not checked.",
        "WARNING: nv files may not be bound with --writable",
        "NOTE: The SHMEM allocation limit is set to the default of 64MB.  This may be\n   insufficient for PyTorch.",
    ],
)
def test_what_may_be_otherwise_is_not_laid_on_the_container(text: str) -> None:
    assert "container-driver-libraries-missing" not in ids(saying(text))


def test_the_banners_own_advice_is_no_command_that_somebody_gave() -> None:
    banner = (
        "NOTE: The SHMEM allocation limit is set to the default of 64MB.  This may be\n   insufficient for PyTorch. "
        " NVIDIA"
        " recommends the use of the following flags:\n   docker run --gpus all --ipc=host --ulimit memlock=-1 --ulimit"
        " stack=67108864 ...\n"
    )
    assert "container-driver-libraries-missing" not in ids(saying(f"{banner}{TORCH}"))
    given = f"$ docker run --rm trainer:2 python train.py\n{banner}{TORCH}"
    assert first(saying(given)).id == "container-driver-libraries-missing"


@pytest.mark.parametrize(
    "text",
    [
        "$ docker exec -it trainer nvidia-smi\nFailed to initialize NVML: Unknown Error\n$ nvidia-smi\n" + SMI,
        "root@3f1c0ab29d7e:/workspace# nvidia-smi\nFailed to initialize NVML: Unknown Error",
    ],
)
def test_unknown_error_of_nvml_tells_of_devices_taken_away(text: str) -> None:
    found = first(saying(text))
    assert found.id == "container-devices-revoked"
    assert found.confidence is Confidence.LIKELY


def test_a_daemon_reload_stands_among_the_evidence() -> None:
    found = first(
        saying("$ sudo systemctl daemon-reload\n$ docker exec t nvidia-smi\nFailed to initialize NVML: Unknown Error")
    )
    assert any("daemon-reload" in one.excerpt for one in found.evidence)


@pytest.mark.parametrize(
    "text",
    [
        "Failed to initialize NVML: Unknown Error",
        "sudo systemctl daemon-reload",
        "CUDA error: unknown error",
        "pynvml.nvml.NVMLError_Unknown: Unknown Error",
        'openat(AT_FDCWD, "/dev/nvidiactl", O_RDWR) = -1 EPERM (Operation not permitted)',
    ],
)
def test_what_merely_goes_with_it_proves_no_revocation(text: str) -> None:
    assert "container-devices-revoked" not in ids(saying(text))


@pytest.mark.parametrize(
    "file",
    ["libnvidia-ml.so.1", "libcuda.so.550.54.15", "libnvidia-ptxjitcompiler.so.1", "libnvcuvid.so.1"],
)
def test_a_driver_file_in_the_image_is_baked_in(file: str) -> None:
    path = f"/var/lib/docker/overlay2/9a8b/merged/usr/lib/x86_64-linux-gnu/{file}"
    found = first(saying(f"nvidia-container-cli: mount error: file creation failed: {path}: file exists: unknown."))
    assert found.id == "container-library-mismatch"
    assert found.confidence is Confidence.CERTAIN
    assert file in found.title


def test_another_file_that_exists_is_not_baked_in() -> None:
    text = "nvidia-container-cli: mount error: file creation failed: /merged/etc/foo.conf: file exists"
    assert "container-library-mismatch" not in ids(saying(text))


def test_a_mismatch_inside_while_the_host_works_is_the_containers() -> None:
    found = first(saying(f"$ nvidia-smi\n{SMI}\n$ docker exec -it trainer nvidia-smi\n{MISMATCH}"))
    assert found.id == "container-library-mismatch"
    assert "driver-library-mismatch" in found.explains


@pytest.mark.parametrize(
    "text",
    [
        MISMATCH,
        f"$ docker run --gpus all image nvidia-smi\n{MISMATCH}",
        f"$ nvidia-smi\n{SMI}\n\nafter the upgrade:\n$ nvidia-smi\n{MISMATCH}",
        f"{SMI}\n$ docker run --gpus all image\nnvidia-container-cli: initialization error: nvml error: driver/library"
        f" version mismatch: unknown.\n{MISMATCH}",
    ],
)
def test_a_mismatch_that_may_be_the_hosts_is_left_to_the_host(text: str) -> None:
    assert "container-library-mismatch" not in ids(saying(text))


@pytest.mark.parametrize(
    "words", ["RuntimeError: Found no NVIDIA driver on your system.\n\n", "no driver: torch says\n> "]
)
def test_what_is_told_in_words_beside_a_containers_start_is_told_of_the_container(words: str) -> None:
    start = "$ docker run --gpus all -it --rm example/app\n"
    told = f"{words}Found no NVIDIA driver on your system\n\n{start}"
    assert first(pasted(told)).id == "container-driver-libraries-missing"
    on_the_host = f"$ python app.py\nRuntimeError: Found no NVIDIA driver on your system.\n{start}"
    assert ids(pasted(on_the_host)) == []
