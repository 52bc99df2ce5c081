"""What stands between this system and the hardware: a container's engine, a sandbox, a virtual machine, WSL, Tegra."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nvdiag.facts import reading
from nvdiag.host import Host
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What stands between this system and the hardware. None and False mean that no sign of it was seen.

    `container` is an engine's name (docker, podman, kubernetes, lxc, …); `driver_root` is where a driver lives that
    this system did not install itself (the GPU Operator's driver container, GKE, NixOS).
    """

    container: str | None = None
    sandbox: str | None = None
    virtual_machine: str | None = None
    wsl: bool = False
    tegra: bool = False
    driver_root: str | None = None
    evidence: tuple[Evidence, ...] = ()

    @classmethod
    def collect(cls, host: Host) -> Surroundings:
        evidence: list[Evidence] = []
        found = {
            "container": _container(host, evidence),
            "sandbox": _sandbox(host, evidence),
            "virtual_machine": _virtual_machine(host, evidence),
            "driver_root": _driver_root(host, evidence),
        }
        wsl, tegra = _wsl(host, evidence), _tegra(host, evidence)
        return cls(**found, wsl=wsl, tegra=tegra, evidence=tuple(evidence))

    @property
    def has_own_kernel_modules(self) -> bool:
        """False where the kernel side is somebody else's: a container's host, Windows, a sandbox."""
        return not (self.container or self.sandbox or self.wsl)


def _seen(evidence: list[Evidence], source: str, excerpt: str) -> None:
    evidence.append(Evidence(source=source, excerpt=excerpt.strip()[:120]))


def _container(host: Host, evidence: list[Evidence]) -> str | None:
    if _root_is_a_disk(host):
        return None
    if host_says := reading.text(host, "/run/systemd/container"):
        _seen(evidence, "/run/systemd/container", host_says)
        return host_says.strip() or "container"
    if reading.variable(host, "KUBERNETES_SERVICE_HOST"):
        _seen(evidence, "environment", "KUBERNETES_SERVICE_HOST is set")
        return "kubernetes"
    if told := host.inside():
        _seen(evidence, told[1], f"inside {told[0]}")
        return told[0]
    for path, engine in (
        ("/.dockerenv", "docker"),
        ("/run/.containerenv", "podman"),
        ("/.singularity.d", "apptainer"),
        ("/dev/lxd/sock", "lxd"),
    ):
        if reading.is_there(host, path):
            _seen(evidence, path, "is there")
            return engine
    if said := reading.variable(host, "container"):
        _seen(evidence, "environment", f"container={said}")
        return said
    groups = reading.text(host, "/proc/1/cgroup") or ""
    if match := re.search(r"(docker|kubepods|lxc|libpod|containerd)", groups):
        _seen(evidence, "/proc/1/cgroup", next(line for line in groups.splitlines() if match[1] in line))
        return {"kubepods": "kubernetes", "libpod": "podman"}.get(match[1], match[1])
    return None


def _root_is_a_disk(host: Host) -> bool:
    """True where / is the whole file system of a block device, as on a machine of its own.

    A virtual machine made from a container image keeps /.dockerenv, so that file alone proves nothing. Storage drivers
    that give a container a device or a subvolume show another root or a device-mapper name (proc_pid_mountinfo(5)).
    """
    try:
        lines = host.lines_with(" / / ", "/proc/self/mountinfo")
    except Unknown:
        return False
    fields = (line.partition(" - ")[2].split() for line in lines)
    return any(
        len(found) > 1 and found[1].startswith("/dev/") and "docker" not in found[1] and found[0] != "overlay"
        for found in fields
    )


def _sandbox(host: Host, evidence: list[Evidence]) -> str | None:
    version = reading.text(host, "/proc/version") or ""
    if "gvisor" in version.lower() or re.search(r"^Linux version 4\.4\.0 .*\b2016$", version.strip()):
        _seen(evidence, "/proc/version", version)
        return "gvisor"
    return None


_HYPERVISORS = {
    "qemu": "kvm", "kvm": "kvm", "vmware": "vmware", "virtualbox": "virtualbox", "xen": "xen", "amazon ec2": "ec2",
    "google compute engine": "gce", "microsoft corporation virtual machine": "hyper-v", "openstack": "kvm",
    "parallels": "parallels", "bhyve": "bhyve",
}  # fmt: skip


def _virtual_machine(host: Host, evidence: list[Evidence]) -> str | None:
    words = [reading.text(host, f"/sys/class/dmi/id/{name}") or "" for name in ("sys_vendor", "product_name")]
    said = " ".join(word.strip() for word in words)
    for sign, name in _HYPERVISORS.items():
        if sign in said.lower() and ".metal" not in said:
            _seen(evidence, "/sys/class/dmi/id", said)
            return name
    return None


def _wsl(host: Host, evidence: list[Evidence]) -> bool:
    if reading.is_there(host, "/dev/dxg"):
        _seen(evidence, "/dev/dxg", "is there")
        return True
    release = reading.text(host, "/proc/sys/kernel/osrelease") or ""
    if "microsoft" in release.lower():
        _seen(evidence, "/proc/sys/kernel/osrelease", release)
        return True
    return False


def _tegra(host: Host, evidence: list[Evidence]) -> bool:
    for path, sign in (("/etc/nv_tegra_release", "R"), ("/proc/device-tree/compatible", "nvidia,tegra")):
        said = reading.text(host, path) or ""
        if sign in said:
            _seen(evidence, path, said.replace("\0", " "))
            return True
    return False


def _driver_root(host: Host, evidence: list[Evidence]) -> str | None:
    for path in ("/run/nvidia/driver/usr", "/home/kubernetes/bin/nvidia", "/run/opengl-driver/lib"):
        if reading.is_there(host, path):
            _seen(evidence, path, "is there")
            return path
    return None
