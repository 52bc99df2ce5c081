"""How each engine gives a container its GPUs and the host's driver, by its own commands and files."""

from __future__ import annotations

from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.finding import Remedy, Risk

ON_THE_HOST = Remedy(
    summary="run nvdiag on the host, which has the kernel module and the driver's files",
    commands=("nvdiag",),
    prediction="it says whether a reload or a reboot is due there, and whether the engine is set up for GPUs",
)

_NODES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia-uvm")


def start(around: Surroundings) -> tuple[Remedy, ...]:
    """Start the container with its GPUs, so that the engine brings in the host's libraries and opens the nodes."""
    engine = around.container or ""
    if around.sandbox == "gvisor":
        return (_GVISOR,)
    if around.tegra and engine in ("docker", "containerd"):
        return (_JETSON,)
    if engine in ("lxd", "incus"):
        return (_by_option("lxc" if engine == "lxd" else engine),)
    return _WAYS.get(engine, (_ANY,))


_GVISOR = Remedy(
    summary="let gVisor pass the driver's calls on, and start the container with its GPUs (on the host)",
    commands=("sudo runsc install -- --nvproxy=true", "docker run --runtime=runsc --gpus all IMAGE nvidia-smi"),
    risk=Risk.DISRUPTIVE,
    needs_root=True,
    prediction="nvproxy knows the driver releases that `runsc nvproxy list-supported-drivers` prints, and no others",
)

_JETSON = Remedy(
    summary="start the container with NVIDIA's runtime (on the Jetson itself)",
    commands=("docker run --runtime=nvidia -e NVIDIA_VISIBLE_DEVICES=all IMAGE",),
    prediction="on Jetson the toolkit mounts what the CSV files of /etc/nvidia-container-runtime name, or by CDI;"
    " --gpus is for GPUs on a PCI bus",
)

_ANY = Remedy(
    summary="start the container with its GPUs and with the host's driver libraries",
    prediction="the libraries must come from the host, never from the image",
)


def _by_option(client: str) -> Remedy:
    return Remedy(
        summary="give the instance a GPU and NVIDIA's runtime (on the host)",
        commands=(
            f"{client} config device add INSTANCE gpu gpu",
            f"{client} config set INSTANCE nvidia.runtime=true nvidia.driver.capabilities=compute,utility",
            f"{client} restart INSTANCE",
        ),
        risk=Risk.DISRUPTIVE,
        prediction="the host's libraries are then mounted into the instance at each start; it must be unprivileged, and"
        " the host needs libnvidia-container",
    )


_WAYS: dict[str, tuple[Remedy, ...]] = {
    "docker": (
        Remedy(
            summary="start the container with its GPUs and with both capabilities (on the host)",
            commands=(
                "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility IMAGE nvidia-smi",
                "docker run --device nvidia.com/gpu=all IMAGE nvidia-smi   # by CDI, from Docker 25 on",
            ),
            prediction="the engine then mounts the host's libnvidia-ml, libcuda and nvidia-smi, and makes the nodes",
        ),
        Remedy(
            summary="with Compose: under the service, deploy.resources.reservations.devices:"
            " [{driver: nvidia, count: all, capabilities: [gpu]}]",
            commands=("docker compose up -d --force-recreate",),
            risk=Risk.DISRUPTIVE,
        ),
    ),
    "podman": (
        Remedy(
            summary="start the container with the host's CDI devices (on the host)",
            commands=("nvidia-ctk cdi list", "podman run --device nvidia.com/gpu=all IMAGE nvidia-smi"),
            prediction="Podman goes by --device, not by NVIDIA_VISIBLE_DEVICES; where the list is empty, make it with"
            " sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
        ),
    ),
    "containerd": (
        Remedy(
            summary="start the container with its GPUs (on the host)",
            commands=("nerdctl run --gpus all IMAGE nvidia-smi",),
            prediction="the engine then mounts the host's libraries and makes the nodes",
        ),
    ),
    "kubernetes": (
        Remedy(
            summary="ask for a GPU in the pod's spec: under the container, resources: {limits: {nvidia.com/gpu: 1}},"
            " and runtimeClassName: nvidia where that is not the node's default",
            commands=(
                "kubectl get pod POD -o jsonpath='{.spec.containers[*].resources.limits} {.spec.runtimeClassName}'",
                "kubectl get nodes -o custom-columns=NAME:.metadata.name,GPU:.status.allocatable.nvidia\\.com/gpu",
                "kubectl replace --force -f POD.yaml",
            ),
            risk=Risk.DISRUPTIVE,
            prediction="the pod then runs on a node that offers nvidia.com/gpu, with the node's libraries and nodes",
        ),
    ),
    "lxc": (
        Remedy(
            summary="give the container the nodes in its configuration (on the host; this is Proxmox' form, LXC's own"
            " are lxc.mount.entry and lxc.cgroup2.devices.allow)",
            commands=(
                "pct set ID -dev0 /dev/nvidia0,mode=0666 -dev1 /dev/nvidiactl,mode=0666",
                "pct set ID -dev2 /dev/nvidia-uvm,mode=0666",
                "pct reboot ID",
            ),
            risk=Risk.DISRUPTIVE,
            needs_root=True,
        ),
        Remedy(
            summary="and install in the guest the libraries of exactly the host's release, without a kernel module",
            commands=("cat /sys/module/nvidia/version", "sudo sh NVIDIA-Linux-x86_64-RELEASE.run --no-kernel-modules"),
            needs_root=True,
            prediction="RELEASE is what the first command prints; upgrade host and guest together",
        ),
    ),
    "apptainer": (
        Remedy(
            summary="run it with --nv, on a node that has a GPU",
            commands=("nvidia-smi   # on the node itself", "apptainer exec --nv IMAGE nvidia-smi"),
            prediction="the host's libraries are then in /.singularity.d/libs; SingularityCE has the same as"
            " singularity exec --nv",
        ),
    ),
    "enroot": (
        Remedy(
            summary="start it with a GPU of the job and with both capabilities, which Enroot's hook 98-nvidia.sh reads",
            commands=(
                "srun --gpus=1 --container-image=IMAGE"
                " --export=ALL,NVIDIA_VISIBLE_DEVICES=all,NVIDIA_DRIVER_CAPABILITIES=compute,utility nvidia-smi",
                "enroot start -e NVIDIA_VISIBLE_DEVICES=all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility NAME",
            ),
            prediction="the hook needs nvidia-container-cli on the node",
        ),
    ),
    "systemd-nspawn": (
        Remedy(
            summary="bind the nodes and the host's libraries, and allow the devices (on the host)",
            commands=(
                "sudo systemd-nspawn -D /var/lib/machines/NAME "
                + " ".join(f"--bind={node} --property=DeviceAllow='{node} rw'" for node in _NODES)
                + " --bind-ro=\"$(ldconfig -p | grep -m1 -oE '/.*/libcuda\\.so\\.1$')\""
                + " --bind-ro=\"$(ldconfig -p | grep -m1 -oE '/.*/libnvidia-ml\\.so\\.1$')\"",
            ),
            needs_root=True,
            prediction="for good: the same as Bind=, BindReadOnly= in /etc/systemd/nspawn/NAME.nspawn, and DeviceAllow="
            " in a drop-in of systemd-nspawn@NAME.service",
        ),
    ),
    "flatpak": (
        Remedy(
            summary="bring in the driver extension of the host's release, and give the application the devices",
            commands=("flatpak update", "flatpak list --runtime | grep -i nvidia", "flatpak run --device=all APP"),
            prediction="the extension org.freedesktop.Platform.GL.nvidia-… must have the host's release in its name",
        ),
    ),
    "snap": (
        Remedy(
            summary="connect the snap to the host's graphics driver",
            commands=("snap connections NAME", "sudo snap connect NAME:opengl"),
            needs_root=True,
            prediction="the host's libraries are then in /var/lib/snapd/lib/gl",
        ),
    ),
}


def restart(around: Surroundings) -> Remedy:
    """Start this same container again: one that runs never gets back what it has lost."""
    name = around.container_id or "CONTAINER"
    commands = {
        "docker": (f"docker restart {name}",),
        "podman": (f"podman restart {name}",),
        "containerd": (f"nerdctl restart {name}",),
        "kubernetes": ("kubectl delete pod POD   # its controller starts it anew",),
        "lxd": ("lxc restart INSTANCE",),
        "incus": ("incus restart INSTANCE",),
        "lxc": ("pct reboot ID   # Proxmox; elsewhere lxc-stop and lxc-start",),
        "systemd-nspawn": ("machinectl reboot NAME",),
    }.get(around.container or "", ())
    return Remedy(
        summary="restart the container with its GPUs (on the host); a running one does not get them back",
        commands=commands,
        risk=Risk.DISRUPTIVE,
        prediction="the engine gives and allows the devices, and mounts the host's present files, when it starts",
    )
