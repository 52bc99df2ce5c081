"""What stands between this system and the hardware: a container's engine, a sandbox, a virtual machine, WSL, Tegra."""

from __future__ import annotations

import re

from nvdiag.facts import engines, reading
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What stands between this system and the hardware. None and False mean that no sign of it was seen.

    `container` is an engine's name (docker, podman, kubernetes, lxc, …, see `nvdiag.facts.engines`), `container_id`
    what that engine knows it by, empty where nothing here tells; `driver_root` is where a driver lives that this
    system did not install itself (the GPU Operator's driver container, GKE, NixOS).
    """

    container: str | None = None
    container_id: str = ""
    sandbox: str | None = None
    virtual_machine: str | None = None
    wsl: bool = False
    tegra: bool = False
    driver_root: str | None = None
    evidence: tuple[Evidence, ...] = ()

    @classmethod
    def collect(cls, host: Host) -> Surroundings:
        evidence: list[Evidence] = []
        engine = engines.engine_of(host)
        if engine is not None:
            evidence.append(engine.evidence)
        found = {
            "sandbox": _sandbox(host, evidence),
            "virtual_machine": _virtual_machine(host, evidence, inside=engine is not None),
            "driver_root": _driver_root(host, evidence),
        }
        wsl, tegra = _wsl(host, evidence), _tegra(host, evidence)
        return cls(
            container=engine.name if engine else None,
            container_id=engine.id[:12] if engine else "",
            **found,
            wsl=wsl,
            tegra=tegra,
            evidence=tuple(evidence),
        )

    @property
    def has_own_kernel_modules(self) -> bool:
        """False where the kernel side is somebody else's: a container's host, Windows, a sandbox."""
        return not (self.container or self.sandbox or self.wsl)

    @property
    def described(self) -> str:
        """In words, from the inside out, such as `a Docker container in a virtual machine (kvm)`; empty for a host."""
        words = [
            engines.NAMES.get(self.container, f"a container ({self.container})") if self.container else "",
            _SANDBOXES.get(self.sandbox, self.sandbox) if self.sandbox else "",
            "WSL" if self.wsl else "",
            "a Tegra system (Jetson)" if self.tegra else "",
            f"a virtual machine ({self.virtual_machine})" if self.virtual_machine and not self.wsl else "",
        ]
        return " in ".join(word for word in words if word)

    @property
    def host(self) -> str:
        """Who has the kernel module, where this system has none of its own: the host, Windows; else empty."""
        if self.has_own_kernel_modules:
            return ""
        return "Windows" if self.wsl and not self.container else "the host"


_SANDBOXES = {"gvisor": "a gVisor sandbox"}


def _seen(evidence: list[Evidence], source: str, excerpt: str) -> None:
    evidence.append(Evidence(source=source, excerpt=excerpt.strip()[:120]))


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


def _virtual_machine(host: Host, evidence: list[Evidence], *, inside: bool) -> str | None:
    if inside and (shared := engines.root_of_kata(host)):
        evidence.append(shared)
        return "kata"
    words = [reading.text(host, f"/sys/class/dmi/id/{name}") or "" for name in ("sys_vendor", "product_name")]
    said = " ".join(word.strip() for word in words)
    for sign, name in _HYPERVISORS.items():
        if sign in said.lower() and ".metal" not in said:
            _seen(evidence, "/sys/class/dmi/id", said)
            return name
    return None if said.strip() else _micro_machine(host, evidence)


def _micro_machine(host: Host, evidence: list[Evidence]) -> str | None:
    """A machine without firmware tables whose disks are named on the kernel's command line: Firecracker's way.

    Firecracker passes pci=off and a virtio_mmio.device= for each device (its docs/kernel-policy.md and api_requests).
    """
    words = (reading.text(host, "/proc/cmdline") or "").split()
    device = next((word for word in words if word.startswith("virtio_mmio.device=")), None)
    if device is None or "pci=off" not in words:
        return None
    _seen(evidence, "/proc/cmdline", f"pci=off {device}")
    return "firecracker"


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
    for path, sign in (
        ("/etc/nv_tegra_release", "R"),
        ("/proc/device-tree/compatible", "nvidia,tegra"),  # which containers do not see
        ("/proc/sys/kernel/osrelease", "-tegra"),
    ):
        said = reading.text(host, path) or ""
        if sign in said:
            _seen(evidence, path, said.replace("\0", " "))
            return True
    return False


def _driver_root(host: Host, evidence: list[Evidence]) -> str | None:
    for path in ("/run/nvidia/driver/usr", "/home/kubernetes/bin/nvidia", "/run/opengl-driver/lib"):
        if reading.is_there(host, path) or _recorded_below(host, path):
            _seen(evidence, path, "is there")
            return path
    return None


def _recorded_below(host: Host, folder: str) -> bool:
    """A recording that has a file of a folder says that the folder is there, though it may not say so of itself."""
    return any(path.startswith(f"{folder}/") for path in host.recorded("elf"))
