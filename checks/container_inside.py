"""Inside a container, as messages have it: what the engine brought in or took away, and what the image carries."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.facts.smi_report import SmiReport
from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Risk, Severity
from nvdiag.model.unknown import NotApplicable

_ON_THE_HOST = ("load library failed", "NVML library", "CDI spec")
"""Words before a missing library's name that only the container tools say, which run outside of the container."""

_CONTAINER_IN_SIGHT = (
    "shell-in-container", "shell-container-prompt", "shell-starts-container", "text-names-container",
)  # fmt: skip


@check("container-driver-libraries-missing", area="container")
def the_engine_brings_the_drivers_libraries(messages: Messages, surroundings: Surroundings) -> Iterator[Finding]:
    """No message says that a container was started without the driver's libraries."""
    said = messages.proving("container-driver-libraries-missing")
    told = ""
    if not said:
        said, told = _started_without(messages, surroundings)
    if not said:
        raise NotApplicable("no message in the text tells of it")
    yield _said.finding(
        said,
        "container-driver-libraries-missing",
        title=told,
        confidence=Confidence.LIKELY,
        detail="libcuda and libnvidia-ml belong to the host's driver. The engine brings them into a container that asks"
        " for GPUs, for the capabilities compute and utility; an image has none of its own.",
        remedies=_ways_to_bring_them({one.message.name for one in said}),
        explains=frozenset({"libcuda-missing", "nvml-library-missing", "driver-library-incomplete", "no-cuda-device"})
        | (frozenset({"driver-too-old-for-cuda"}) if any(map(_insufficient, said)) else frozenset()),
        layers=(Layer.NVML, Layer.LIBCUDA),
    )


def _ways_to_bring_them(names: set[str]) -> tuple[Remedy, ...]:
    if any(name.startswith("apptainer") for name in names):
        return (_APPTAINER,)
    if names & {"ldconfig-empty-library", "loader-empty-library"}:
        return _EMPTY, _WITH_GPUS
    return (_BUILD,) if "shell-builds-image" in names else (_WITH_GPUS, _LOOK)


def _started_without(messages: Messages, surroundings: Surroundings) -> tuple[tuple[Said, ...], str]:
    """Programs that find no driver in a container: by its command line, its prompt, or what its engine prints."""
    started = messages.named("shell-starts-container", "apptainer-started")
    asked = messages.named("shell-asks-for-gpus")
    prompt = messages.named("shell-container-prompt", "shell-in-container", "engine-shows-container")
    building = messages.named("shell-builds-image")
    lost = tuple(one for one in messages.said if _finds_no_driver(one))
    if started and not asked:
        lost += tuple(one for one in messages.said if _insufficient(one))
        told = "a program finds no driver in a container that was started without GPUs"
        return ((*lost, *started[:1]), told) if lost else ((), "")
    if building and lost and not started:
        return (*lost, *building[:1]), "a step of an image's build finds no driver: while it is built no GPU is given"
    if lost and (prompt or surroundings.container):
        return (*lost, *prompt[:1]), "a program finds no driver in this container: the engine has brought none in"
    # With GPUs asked for, Docker starts nothing on a host without a driver; apptainer does, so with it all is open.
    docker = messages.named("shell-starts-container")
    inside = tuple(one for one in lost if docker and (one.in_words or one.line > docker[0].line))
    if inside:
        told = "a program finds no driver in a container, though GPUs were asked for when it was started"
        return (*inside, *docker[:1], *asked[:1]), told
    return (), ""


def _finds_no_driver(one: Said) -> bool:
    if any(words in one.text for words in _ON_THE_HOST):
        return False
    return one.message.name == "program-finds-no-driver" or one.message.proves in (
        "libcuda-missing",
        "nvml-library-missing",
    )


def _insufficient(one: Said) -> bool:
    """Error 35, which CUDA gives for a driver that is too old and also where there is no libcuda at all."""
    return one.message.proves == "driver-too-old-for-cuda" and "insufficient for cuda runtime" in one.text.lower()


_WITH_GPUS = Remedy(
    summary="start the container with its GPUs and with both capabilities",
    commands=(
        "docker run --rm --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility IMAGE nvidia-smi",
        "podman run --rm --device nvidia.com/gpu=all IMAGE nvidia-smi",
    ),
    prediction="the engine then brings in nvidia-smi, libnvidia-ml and libcuda; an error instead says what the host"
    " lacks",
)

_LOOK = Remedy(
    summary="if it was started with GPUs, see what the container was given, and whether the host's driver works",
    commands=("nvidia-smi   # on the host", "docker inspect CONTAINER | grep -E 'DeviceRequests|Runtime|NVIDIA_'"),
)

_APPTAINER = Remedy(
    summary="run it on a node that has a GPU and its driver, with --nv",
    commands=("nvidia-smi   # on the node itself", "apptainer exec --nv IMAGE nvidia-smi"),
    prediction="on a login node without GPU the message is harmless; in a job ask the scheduler for a GPU. With"
    " --writable use --writable-tmpfs instead",
)

_BUILD = Remedy(
    summary="leave what needs a GPU to the start of the container, or name the architectures so that none is needed",
    commands=("docker build --build-arg TORCH_CUDA_ARCH_LIST='8.0;9.0' .   # with ARG TORCH_CUDA_ARCH_LIST in it",),
    prediction="only where nvidia is Docker's default runtime (default-runtime in daemon.json), and with the classic"
    " builder (DOCKER_BUILDKIT=0), does a build see the GPU",
)

_EMPTY = Remedy(
    summary="remove the empty files from the image, or build it anew from its Dockerfile",
    commands=("find /usr/lib /usr/lib64 -name 'lib*nvidia*' -empty -o -name 'libcuda.so*' -empty",),
    prediction="they are mount points that docker commit kept; a container with GPUs mounts the host's files over them"
    " only where the release is the same",
)


@check("container-devices-revoked", area="container")
def a_running_container_keeps_its_devices(messages: Messages, surroundings: Surroundings) -> Iterator[Finding]:
    """No message says that a running container has lost its GPUs."""
    said = messages.proving("container-devices-revoked")
    beside = messages.named("shell-daemon-reload", "nodes-not-permitted")
    inside = messages.named(*_CONTAINER_IN_SIGHT)
    if not said and (surroundings.container or inside or beside):
        said = messages.named("nvml-unknown-error")
    if not said:
        raise NotApplicable("no message in the text tells of it, and no container is in sight")
    yield _said.finding(
        said,
        "container-devices-revoked",
        confidence=Confidence.LIKELY,
        title="a running container may no longer open its GPUs",
        kind=FindingClass.ENVIRONMENT,
        detail="systemd wrote the device rules of the container's cgroup anew, at a daemon-reload or an update of a"
        " package, and does not know the GPUs that the toolkit had allowed behind its back. On a host and not in a"
        " container, the kernel log says why.",
        remedies=(_RESTART, KEEP, CGROUPFS),
        explains=frozenset({"no-cuda-device", "gpu-init-failed"}),
        layers=(Layer.NVML,),
        beside=_said.evidence((*beside, *inside)),
    )


_RESTART = Remedy(
    summary="restart the container; a running one does not get its devices back",
    commands=("docker restart CONTAINER", "kubectl delete pod POD   # its controller starts it anew"),
    risk=Risk.DISRUPTIVE,
    prediction="it has its GPUs again, until the next daemon-reload",
)

KEEP = Remedy(
    summary="start it so that the engine itself, and so systemd, knows the devices: by CDI",
    commands=(
        "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
        "docker run --device nvidia.com/gpu=all IMAGE nvidia-smi",
    ),
    risk=Risk.DISRUPTIVE,
    needs_root=True,
    prediction="a daemon-reload then keeps them; the links that runc needs for it:"
    " sudo nvidia-ctk system create-dev-char-symlinks --create-all",
)

CGROUPFS = Remedy(
    summary='or let Docker manage cgroups itself: "exec-opts": ["native.cgroupdriver=cgroupfs"] in'
    " /etc/docker/daemon.json",
    commands=("docker info | grep -i cgroup", "sudo systemctl restart docker"),
    risk=Risk.DISRUPTIVE,
    needs_root=True,
    prediction="not on a Kubernetes node, where the kubelet and the engine must use the same driver",
)


@check("container-library-mismatch", area="container")
def the_image_carries_no_driver(messages: Messages) -> Iterator[Finding]:
    """No message says that a container's image has driver files of its own."""
    said = messages.proving("container-library-mismatch")
    if said:
        yield _baked_in(said)
        return
    inside = messages.named("nvml-version-mismatch")
    host = messages.named("cli-version-mismatch", "ctk-mismatch", "nvrm-api-mismatch")
    if not inside or host or not messages.named(*_CONTAINER_IN_SIGHT) or not messages.named("smi-works"):
        raise NotApplicable("no message in the text tells of it")
    works = messages.named("smi-works")[0]
    yield _baked_in(
        (*inside, works),
        title=f"a container's libnvidia-ml does not fit the kernel module, while nvidia-smi {works.groups['smi']} works"
        " outside it",
        confidence=Confidence.LIKELY,
    )


@check("container-library-mismatch", area="container")
def a_containers_nvidia_smi_fits_the_module(smi: SmiReport, surroundings: Surroundings) -> Iterator[Finding]:
    """nvidia-smi inside a container does not refuse the host's kernel module for its release."""
    if not surroundings.container:
        raise NotApplicable("nvidia-smi was not run inside a container")
    if not _refuses(smi):
        return
    if any(_refuses(one) for one in smi.elsewhere):
        raise NotApplicable("nvidia-smi says the same elsewhere, so it is no container's own library")
    yield Finding(
        id="container-library-mismatch",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title="the driver's libraries inside a container are not of the release of the host's kernel module",
        detail="A guest of LXC has driver packages of its own, which must be of exactly the host's release."
        if surroundings.container in ("lxc", "lxd")
        else _FROM_WHERE,
        evidence=(*surroundings.evidence[:2], Evidence(source="nvidia-smi", excerpt=smi.failure)),
        remedies=(_GUEST,) if surroundings.container in ("lxc", "lxd") else _OTHER_LIBRARIES,
        explains=frozenset({"driver-library-mismatch", "driver-disk-mismatch", "libcuda-mismatch", "gpu-init-failed"}),
        layers=(Layer.NVML, Layer.LIBCUDA),
    )


def _refuses(smi: SmiReport) -> bool:
    return "version mismatch" in smi.failure.lower()


_GUEST = Remedy(
    summary="install, in the guest, the libraries of exactly the host's release, without a kernel module",
    commands=(
        "cat /proc/driver/nvidia/version",
        "dpkg -l | grep -E 'libnvidia-|nvidia-utils'",
        "sudo sh NVIDIA-Linux-x86_64-RELEASE.run --no-kernel-modules",
    ),
    needs_root=True,
    prediction="RELEASE is the one that the first command prints, which is the host's; remove the guest's driver"
    " packages first, and do the same after each upgrade of the host's driver",
)

_FROM_WHERE = (
    "A driver package was installed when the image was built, often as a dependency, or the image was saved"
    " from a container that had the host's files in it."
)


def _baked_in(said: tuple[Said, ...], title: str = "", confidence: Confidence | None = None) -> Finding:
    return _said.finding(
        said,
        "container-library-mismatch",
        title=title,
        confidence=confidence,
        detail=_FROM_WHERE,
        remedies=_OTHER_LIBRARIES,
        explains=frozenset({"libcuda-mismatch", "gpu-init-failed", "no-cuda-device"})
        | (frozenset({"driver-library-mismatch"}) if title else frozenset()),
        layers=(Layer.NVML, Layer.LIBCUDA),
    )


_OTHER_LIBRARIES = (
    Remedy(
        summary="find the driver's packages in the image, and build it without them",
        commands=(
            "docker run --rm IMAGE sh -c \"dpkg -l | grep -E 'libnvidia-|libcuda1|nvidia-utils'\"",
            'docker run --rm IMAGE sh -c \'find / -xdev -name "libnvidia-ml.so*" -o -name "libcuda.so*"\'',
        ),
        prediction="files that no package owns were mount points or copies: delete them in the Dockerfile",
    ),
    Remedy(
        summary="start the container anew, so that the engine brings in the host's present files",
        commands=("docker run --rm --gpus all IMAGE nvidia-smi",),
        prediction="this is enough where the container is older than the host's driver upgrade",
    ),
)
