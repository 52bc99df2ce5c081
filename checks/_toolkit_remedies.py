"""Ways to install the NVIDIA Container Toolkit and to have an engine use it, with this host's commands."""

from __future__ import annotations

import shlex

from nvdiag.checks._remedies import family, is_image
from nvdiag.facts.engine_settings import Engine
from nvdiag.facts.system import Distribution, Family
from nvdiag.model.finding import Remedy, Risk
from nvdiag.model.unknown import Unknown

_PACKAGE = "nvidia-container-toolkit"
_STOPS = "restarting Docker stops its containers, unless live-restore is on"

_INSTALL = {
    Family.DEBIAN: ("sudo apt install {}",),
    Family.UBUNTU: ("sudo apt install {}",),
    Family.RHEL: ("sudo dnf install {}",),
    Family.FEDORA: ("sudo dnf install {}",),
    Family.SUSE: ("sudo zypper install {}",),
    Family.ARCH: ("sudo pacman -S {}",),
}


def install(distribution: Distribution | Unknown, *, update: bool = False) -> Remedy:
    """Install or update the toolkit's package by this distribution's means."""
    kind = family(distribution)
    commands = _INSTALL.get(kind, ("sudo apt install {}   # Debian, Ubuntu", "sudo dnf install {}   # Fedora, RHEL"))
    if update and kind in (Family.DEBIAN, Family.UBUNTU):
        commands = ("sudo apt update", "sudo apt install --only-upgrade {}")
    if is_image(distribution):
        commands = ("sudo rpm-ostree upgrade",) if update else ("sudo rpm-ostree install {}",)
    if kind is Family.NIXOS:
        commands = ("sudo nixos-rebuild switch",)
    where = "the package is in NVIDIA's repository for the toolkit, which must be set up first"
    if kind is Family.NIXOS:
        where = "with hardware.nvidia-container-toolkit.enable = true in the system's configuration"
    elif kind is Family.ARCH:
        where = "the package is Arch's own"
    return Remedy(
        summary=f"{'update' if update else 'install'} the NVIDIA Container Toolkit",
        commands=tuple(command.format(_PACKAGE) for command in commands),
        needs_root=True,
        prediction=where,
    )


def configure(engine: Engine) -> Remedy:
    """Have nvidia-ctk name the runtime in the engine's settings, and restart the engine."""
    match engine.name:
        case "k3s" | "rke2":
            unit = "k3s" if engine.name == "k3s" else "rke2-agent"
            return Remedy(
                summary=f"restart {unit}, which looks for the toolkit when it starts",
                commands=(f"sudo systemctl restart {unit}", f"sudo grep nvidia {shlex.quote(engine.config)}"),
                risk=Risk.DISRUPTIVE,
                needs_root=True,
                prediction="the second command then shows the runtime nvidia; running pods stay. On a server node the"
                f" unit is {'k3s too' if unit == 'k3s' else 'rke2-server'}; on an agent"
                f" {'k3s-agent' if unit == 'k3s' else 'rke2-agent'}",
            )
        case "docker (rootless)":
            return Remedy(
                summary="name the runtime in the settings of your rootless Docker, and restart it",
                commands=(
                    'nvidia-ctk runtime configure --runtime=docker --config="$HOME/.config/docker/daemon.json"',
                    "systemctl --user restart docker",
                ),
                risk=Risk.DISRUPTIVE,
                prediction=_STOPS,
            )
        case "podman":
            return Remedy(
                summary="describe the GPUs in a CDI specification, which Podman reads by itself",
                commands=("sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
                          "podman run --rm --device nvidia.com/gpu=all ubuntu nvidia-smi"),
                needs_root=True,
                prediction="no daemon is to be restarted; make it anew after each driver upgrade",
            )  # fmt: skip
        case _:
            name = {"cri-o": "crio", "containerd": "containerd"}.get(engine.name, "docker")
            return Remedy(
                summary=f"name the runtime in the settings of {engine.name}, and restart it",
                commands=(f"sudo nvidia-ctk runtime configure --runtime={name} && sudo systemctl restart {name}",),
                risk=Risk.DISRUPTIVE,
                needs_root=True,
                prediction=_STOPS if name == "docker" else "running pods stay; new ones can have GPUs",
            )
