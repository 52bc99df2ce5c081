"""Starting a container: whether the engine knows how to give it GPUs, and may."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.model.finding import Finding, FindingClass, Remedy, Risk
from nvdiag.model.unknown import NotApplicable

_KUBERNETES = ("cri-no-nvidia-runtime", "plugin-incompatible", "plugin-asks-for-runtime", "plugin-no-nvml")
_PODMAN = ("cdi-unresolvable", "engine-takes-cdi-name-as-path", "podman-unknown-runtime")
_COMPOSE = (
    "compose-knows-no-gpu-devices",
    "compose-knows-no-runtime",
    "compose-gpus-not-allowed",
    "compose-capabilities-missing",
)
_LXC = ("lxd-no-nvidia-tools", "lxc-hook-privileged")


@check("container-runtime-not-configured", area="container")
def the_engine_can_give_a_container_gpus(messages: Messages) -> Iterator[Finding]:
    """The container engine has an NVIDIA runtime or CDI devices to give a container its GPUs."""
    said = _said.about(messages, "container-runtime-not-configured")
    if all(one.message.name == "cdi-unresolvable" for one in said) and _spec_shown(messages):
        raise NotApplicable("a CDI specification is there, so its own checks speak of the device that is not found")
    inside = any(one.message.name.startswith("plugin-") for one in said)
    yield _said.finding(
        said,
        "container-runtime-not-configured",
        detail="The engine gives a container GPUs only with NVIDIA's Container Toolkit on the host, and only where the"
        " engine's configuration names the toolkit's runtime or a CDI specification describes the GPUs.",
        remedies=_ways(said),
        explains=frozenset({"container-driver-libraries-missing", "libcuda-missing", "no-cuda-device"})
        | (frozenset({"nvml-library-missing"}) if inside else frozenset()),
    )


def _spec_shown(messages: Messages) -> bool:
    """Whether the text shows a CDI specification, so that a device not found in it has another reason."""
    return bool(
        messages.proving("cdi-spec-unusable") or messages.proving("cdi-spec-stale") or messages.named("cdi-spec-there")
    )


def _ways(said: Sequence[Said]) -> tuple[Remedy, ...]:
    """Ways for the engine that speaks; an engine that is not known gets Docker's."""
    names = {one.message.name for one in said}
    if names & set(_KUBERNETES):
        return (_INSTALL, _CONTAINERD, _PLUGIN)
    if "runtimeclass-missing" in names:
        return (_RUNTIME_CLASS,)
    if names & set(_PODMAN):
        return (_CDI, _INSTALL)
    if names & set(_COMPOSE):
        return (_COMPOSE_FILE,)
    if names & set(_LXC):
        return (_INSTALL, _LXD)
    if "hook-called-directly" in names:
        return (_BY_RUNTIME, _DOCKER)
    if "cli-ldconfig-missing" in names:
        return (_LDCONFIG,)
    return (_INSTALL, _DOCKER, _CDI)


_INSTALL = Remedy(
    summary="install the NVIDIA Container Toolkit on the host",
    commands=(
        "sudo apt install nvidia-container-toolkit   # Debian, Ubuntu",
        "sudo dnf install nvidia-container-toolkit   # Fedora, RHEL family",
    ),
    needs_root=True,
    prediction="the package is in NVIDIA's repository for the toolkit, which must be set up first",
)

_DOCKER = Remedy(
    summary="name the runtime in Docker's configuration, and restart Docker",
    commands=(
        "sudo nvidia-ctk runtime configure --runtime=docker",
        "sudo systemctl restart docker",
        "docker run --rm --gpus all ubuntu nvidia-smi",
    ),
    risk=Risk.DISRUPTIVE,
    needs_root=True,
    prediction="restarting Docker stops its containers, unless live-restore is on",
)

_CDI = Remedy(
    summary="describe the GPUs in a CDI specification",
    commands=("sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml", "nvidia-ctk cdi list"),
    needs_root=True,
    prediction="the list then has nvidia.com/gpu=all; where the engine still does not find it, the engine is too old"
    " for the specification's version",
)

_CONTAINERD = Remedy(
    summary="name the runtime in the node's containerd, and restart it",
    commands=("sudo nvidia-ctk runtime configure --runtime=containerd", "sudo systemctl restart containerd"),
    risk=Risk.DISRUPTIVE,
    needs_root=True,
    prediction="k3s and RKE2 find the toolkit by themselves when they start: restart k3s or rke2-agent instead",
)

_PLUGIN = Remedy(
    summary="let the device plug-in itself run with that runtime",
    commands=("kubectl get runtimeclass nvidia", "kubectl describe node NODE | grep nvidia.com/gpu"),
    prediction="its pod needs runtimeClassName: nvidia, or nvidia must be the node's default runtime; the node then"
    " offers nvidia.com/gpu",
)

_RUNTIME_CLASS = Remedy(
    summary="make the runtime class",
    commands=(
        r"printf 'apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: nvidia\nhandler: nvidia\n'"
        " | kubectl apply -f -",
    ),
    prediction="pods with runtimeClassName: nvidia are then admitted, and start on nodes whose containerd has the"
    " runtime",
)

_COMPOSE_FILE = Remedy(
    summary="ask for the GPU as Compose knows it: under deploy.resources.reservations.devices give driver: nvidia,"
    " count: all and capabilities: [gpu]",
    commands=("docker compose version", "docker compose config"),
    prediction="docker-compose 1.27 and older knows only runtime: nvidia, in a file of version 2.3 or 2.4",
)

_LXD = Remedy(
    summary="then set the instance's option anew",
    commands=("lxc config set INSTANCE nvidia.runtime true", "lxc restart INSTANCE"),
    risk=Risk.DISRUPTIVE,
    prediction="Incus has the same with incus for lxc; a privileged container cannot use it",
)

_BY_RUNTIME = Remedy(
    summary="start the container with the runtime instead of --gpus",
    commands=("docker run --rm --runtime=nvidia -e NVIDIA_VISIBLE_DEVICES=all IMAGE nvidia-smi",),
    prediction="--gpus calls the hook, which only the toolkit's mode legacy allows",
)

_LDCONFIG = Remedy(
    summary="name this host's own ldconfig in the toolkit's configuration",
    commands=("sudo nvidia-ctk config --set nvidia-container-cli.ldconfig=@/sbin/ldconfig --in-place",),
    needs_root=True,
    prediction="ldconfig.real is Ubuntu's; other distributions have /sbin/ldconfig",
)


@check("container-cgroup-forbidden", area="container")
def the_runtime_may_set_up_the_device_cgroup(messages: Messages) -> Iterator[Finding]:
    """The container runtime may allow the GPU's devices in the container's device cgroup."""
    said = _said.about(messages, "container-cgroup-forbidden")
    names = {one.message.name for one in said}
    old = names <= {"cgroup-devices-not-found", "cgroup-file-missing"}
    yield _said.finding(
        said,
        "container-cgroup-forbidden",
        kind=FindingClass.ENVIRONMENT,
        detail="Only root of the host may allow devices in a cgroup. An engine inside LXC, inside another container, or"
        " rootless may not: the outer container must have the devices, and the toolkit must leave the cgroup alone.",
        remedies=(_UPGRADE_TOOLKIT, _NO_CGROUPS, _CDI_INSTEAD) if old else (_CDI_INSTEAD, _NO_CGROUPS),
        explains=frozenset({"container-driver-libraries-missing", "device-nodes-forbidden", "no-cuda-device"}),
    )


_NO_CGROUPS = Remedy(
    summary="tell the toolkit, where the inner engine runs, to leave cgroups alone",
    commands=("sudo nvidia-ctk config --set nvidia-container-cli.no-cgroups=true --in-place",),
    needs_root=True,
    prediction="the outer container must then have and allow the devices itself: /dev/nvidia0, nvidiactl, nvidia-uvm",
)

_CDI_INSTEAD = Remedy(
    summary="give the devices by CDI, which leaves the cgroup to the engine",
    commands=(
        "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
        "podman run --rm --device nvidia.com/gpu=all IMAGE nvidia-smi",
    ),
    needs_root=True,
    prediction="Docker takes the same --device from 28.3 on, and from 25 with features.cdi in daemon.json; make"
    " the specification where the engine runs",
)

_UPGRADE_TOOLKIT = Remedy(
    summary="on a host with cgroup v2, update the NVIDIA Container Toolkit: 1.8 is the first that knows it",
    commands=("stat -fc %T /sys/fs/cgroup", "nvidia-container-cli --version"),
    prediction="cgroup2fs in the first output means cgroup v2",
)
