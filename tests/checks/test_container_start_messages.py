"""What engines and NVIDIA's container tools say when a container does not start."""

from __future__ import annotations

import pytest

from nvdiag.facts.messages import messages_in
from nvdiag.model.finding import Confidence
from tests.checks.diagnosing import first, ids
from tests.checks.pasting import saying

HOOK = (
    "docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime"
    " create failed: runc create failed: unable to start container process: error during container init: error running"
    " prestart hook #0: exit status 1, stdout: , stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: "
)


def proved(text: str) -> set[str | None]:
    return {said.message.proves for said in messages_in(text, "text")} - {None}


NOT_CONFIGURED = [
    "$ docker run --rm --gpus all ubuntu nvidia-smi\ndocker: Error response from daemon: could not select device"
    ' driver ""'
    " with capabilities: [[gpu]].\nERRO[0000] error waiting for container: context canceled",
    'Error response from daemon: could not select device driver "nvidia" with capabilities: [[gpu utility]]',
    'ERROR: for web  Cannot start service web: could not select device driver "nvidia"',
    'level=error msg="Handler returned error: could not select device driver \\"\\" with capabilities: [[gpu]]"',
    "Error response from daemon: failed to discover GPU vendor from CDI: no known GPU vendor found",
    "docker: Error response from daemon: Unknown runtime specified nvidia.",
    "docker: Error response from daemon: unknown or invalid runtime name: nvidia.\nSee 'docker run --help'.",
    'dockerd[811]: failed to start daemon: specified default runtime "nvidia" does not exist',
    "unknown flag: --gpus\nSee 'docker run --help'.",
    "Error: requested OCI runtime nvidia is not available: invalid argument",
    'Error: error gathering device information while adding custom device "nvidia.com/gpu=all": no such file or'
    " directory",
    "Error: stat nvidia.com/gpu=all: no such file or directory",
    "$ podman run --rm --device nvidia.com/gpu=all ubuntu nvidia-smi -L\nError: setting up CDI devices: unresolvable"
    " CDI devices nvidia.com/gpu=all",
    "docker: Error response from daemon: CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=all",
    "could not apply required modification to OCI specification: error modifying OCI spec: failed to inject CDI"
    " devices:"
    " unresolvable CDI devices management.nvidia.com/gpu=all: unknown",
    "ERROR: The Compose file './docker-compose.yml' is invalid because:\nservices.llm.deploy.resources.reservations"
    " value"
    " Additional properties are not allowed ('devices' was unexpected)",
    "ERROR: Unsupported config option for services.llm: 'runtime'",
    "services.llm.deploy.resources.reservations.devices.0 capabilities is required",
    "OCI runtime create failed: unable to retrieve OCI runtime error (open /run/log.json: no such file or"
    " directory): exec:"
    ' "nvidia-container-runtime": executable file not found in $PATH: unknown',
    "error running hook #0: fork/exec /usr/bin/nvidia-container-runtime-hook: no such file or directory: unknown.",
    "ERROR: Missing tool nvidia-container-cli, see https://github.com/NVIDIA/libnvidia-container",
    "stderr: Auto-detected mode as 'csv'\ninvoking the NVIDIA Container Runtime Hook directly (e.g. specifying the"
    " docker"
    " --gpus flag) is not supported. Please use the NVIDIA Container Runtime instead.: unknown.",
    "Warning  FailedCreatePodSandBox  5s (x8 over 92s)  kubelet  Failed to create pod sandbox: rpc error: code ="
    " Unknown"
    ' desc = failed to get sandbox runtime: no runtime for "nvidia" is configured',
    "failed to find runtime handler nvidia from runtime list map[crun:0xc000 runc:0xc001]",
    'Error creating: pods "plugin-x" is forbidden: pod rejected: RuntimeClass "nvidia" not found',
    "E0801 08:01:02.003004       1 factory.go:87] Incompatible platform detected\nE0801 08:01:02.003010       1"
    " factory.go:88] If this is a GPU node, did you configure the NVIDIA Container Toolkit?",
    "2021/03/04 05:06:07 Loading NVML\n2021/03/04 05:06:07 Failed to initialize NVML: could not load NVML library.\n"
    "2021/03/04 05:06:07 If this is a GPU node, did you set the docker default runtime to `nvidia`?",
    "docker: Error response from daemon: create nvidia_driver_387.26: create nvidia_driver_387.26: Error looking up"
    " volume"
    " plugin nvidia-docker: legacy plugin: plugin not found.",
    "Error: Failed to run: /snap/lxd/current/bin/lxd forkstart gpu: The NVIDIA LXC hook couldn't be found",
    HOOK.replace("nvidia-container-cli: ", "nvidia-container-cli: error while loading shared libraries:")
    + " libnvidia-container.so.1: cannot open shared object file",
    HOOK + "ldcache error: open failed: /sbin/ldconfig.real: no such file or directory: unknown.",
]


@pytest.mark.parametrize("text", NOT_CONFIGURED)
def test_an_engine_without_nvidias_runtime_is_not_configured(text: str) -> None:
    found = first(saying(text))
    assert found.id == "container-runtime-not-configured"
    assert found.confidence in (Confidence.CERTAIN, Confidence.LIKELY)
    assert found.remedies


@pytest.mark.parametrize(
    "text",
    [
        'could not select device driver "" with capabilities: [[amd]]',
        "docker: Error response from daemon: unknown or invalid runtime name: runsc.",
        "Error: setting up CDI devices: unresolvable CDI devices amd.com/gpu=all",
        'RuntimeClass "gvisor" not found',
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        "No devices found. Waiting indefinitely.",
        "UnexpectedAdmissionError: Allocate failed due to can't allocate unregistered device nvidia.com/gpu",
        "slurmd: fatal: can't stat gres.conf file /dev/nvidia0: No such file or directory",
        HOOK + "initialization error: nvml error: driver not loaded: unknown.",
        HOOK + "initialization error: driver rpc error: timed out: unknown.",
        HOOK + "mount error: mount operation failed: /proc/driver/nvidia/gpus/0000:01:00.0: no such file or directory",
        "services.web.deploy.resources.limits value Additional properties are not allowed ('devices' was unexpected)",
    ],
)
def test_what_has_several_causes_names_none_of_the_containers(text: str) -> None:
    assert [one for one in ids(saying(text)) if one.startswith(("container-", "cdi-", "wsl-", "jetson-"))] == []


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        (
            HOOK + "initialization error: nvml error: driver/library version mismatch: unknown.",
            "driver-library-mismatch",
        ),
        (
            HOOK + "initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file: no"
            " such file or directory: unknown.",
            "nvml-library-missing",
        ),
        (
            HOOK + "requirement error: unsatisfied condition: cuda>=12.6, please update your driver to a newer version",
            "driver-too-old-for-cuda",
        ),
        ("requirements not met: unsatisfied condition: cuda>=12.6 (cuda=11.4): unknown", "driver-too-old-for-cuda"),
        ("nvidia-docker | Error: unsupported CUDA version: driver 8.0 < image 9.1.85", "driver-too-old-for-cuda"),
        (
            "ERROR: This container was built for NVIDIA Driver Release 580.65 or later, but\n       version"
            " 535.183.06 was"
            " detected and compatibility mode is UNAVAILABLE.\n\n       [[CUDA Driver UNAVAILABLE]]",
            "driver-too-old-for-cuda",
        ),
        (
            HOOK + "mount error: stat failed: /dev/nvidia-uvm: no such file or directory: unknown",
            "device-nodes-missing",
        ),
        (HOOK + "device error: GPU-5f3e2d1c: unknown device: unknown.", "visible-devices-invalid"),
        (HOOK + "device error: unknown device id: 7", "visible-devices-invalid"),
        ("NvRmMemInitNvmap failed with Permission denied\n549: Memory Manager Not supported", "device-nodes-forbidden"),
        (
            "failed to generate CDI spec: failed to create device CDI specs: failed to initialize NVML:"
            " ERROR_LIBRARY_NOT_FOUND",
            "nvml-library-missing",
        ),
    ],
)
def test_the_hosts_trouble_is_told_as_the_hosts(text: str, identifier: str) -> None:
    assert proved(text) == {identifier}


@pytest.mark.parametrize(
    "text",
    [
        HOOK + "mount error: failed to add device rules: unable to find any existing device filters attached to the"
        " cgroup: bpf_prog_query(BPF_CGROUP_DEVICE) failed: operation not permitted: unknown.",
        HOOK + "mount error: failed to add device rules: unable to find any existing\ndevice filters attached to the"
        " cgroup:"
        " bpf_prog_query(BPF_CGROUP_DEVICE) failed: operation not\npermitted: unknown.",
        HOOK + "mount error: failed to add device rules: unable to generate new device filter program from existing"
        " programs: load program: invalid argument: last insn is not an exit or jmp",
        HOOK + "mount error: open failed: /sys/fs/cgroup/devices/user.slice/user-1000.slice/devices.allow:"
        " permission denied",
        HOOK + "mount error: write error: /sys/fs/cgroup/devices/lxc/101/ns/docker/7a/devices.allow: operation not"
        " permitted",
        HOOK + "container error: cgroup subsystem devices not found: unknown.",
        HOOK + "container error: failed to get device cgroup mount path: no cgroup filesystem mounted for the devices"
        " subsytem in mountinfo file: unknown",
        "nvidia-container-cli: permission error: capability change failed: operation not permitted",
    ],
)
def test_a_runtime_that_may_not_touch_the_cgroup_is_told(text: str) -> None:
    assert first(saying(text)).id == "container-cgroup-forbidden"


def test_a_cgroup_of_another_service_is_not_ours() -> None:
    assert "container-cgroup-forbidden" not in ids(saying("open /sys/fs/cgroup/memory/memory.limit: permission denied"))


def test_the_plug_ins_missing_library_is_a_consequence() -> None:
    text = (
        "Detected non-NVML platform: could not load NVML library: libnvidia-ml.so.1: cannot open shared object file\n"
        "Incompatible strategy detected auto\nIf this is a GPU node, did you configure the NVIDIA Container Toolkit?"
    )
    found = first(saying(text))
    assert found.id == "container-runtime-not-configured"
    assert "nvml-library-missing" in found.explains


def test_the_remedy_is_of_the_engine_that_speaks() -> None:
    docker = first(saying("docker: Error response from daemon: unknown or invalid runtime name: nvidia."))
    assert any("--runtime=docker" in command for way in docker.remedies for command in way.commands)
    node = first(saying('failed to get sandbox runtime: no runtime for "nvidia" is configured'))
    assert any("--runtime=containerd" in command for way in node.remedies for command in way.commands)
    podman = first(saying("Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all"))
    assert "nvidia-ctk cdi generate" in podman.remedies[0].commands[0]
