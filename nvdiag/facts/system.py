"""The system around the driver: kernel, distribution, boot time, and whether this is a host at all."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from enum import Enum

from nvdiag.facts import reading
from nvdiag.host import Absent, Host
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import KernelRelease


@dataclass(frozen=True, slots=True)
class RunningKernel:
    """The kernel that runs, as `uname -r` has it."""

    release: KernelRelease

    @classmethod
    def collect(cls, host: Host) -> RunningKernel:
        return cls(KernelRelease(host.read("/proc/sys/kernel/osrelease").strip()))


@dataclass(frozen=True, slots=True)
class BootTime:
    """When this kernel started, in seconds since the epoch (`btime` of /proc/stat)."""

    seconds: int

    @classmethod
    def collect(cls, host: Host) -> BootTime:
        match = re.search(r"^btime ([0-9]{1,11})$", "\n".join(host.lines_with("btime", "/proc/stat")), re.M)
        if not match:
            raise Unknown("/proc/stat has no btime")
        return cls(int(match[1]))

    @property
    def iso(self) -> str:
        """ISO 8601 in UTC."""
        return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(self.seconds))


class Family(Enum):
    """Distributions that install NVIDIA's driver in the same way."""

    DEBIAN = "Debian"
    UBUNTU = "Ubuntu"
    RHEL = "RHEL"
    FEDORA = "Fedora"
    SUSE = "SUSE"
    ARCH = "Arch"
    NIXOS = "NixOS"
    OTHER = "another distribution"


_FAMILIES = {
    "ubuntu": Family.UBUNTU, "linuxmint": Family.UBUNTU, "pop": Family.UBUNTU, "neon": Family.UBUNTU,
    "debian": Family.DEBIAN, "raspbian": Family.DEBIAN,
    "rhel": Family.RHEL, "centos": Family.RHEL, "rocky": Family.RHEL, "almalinux": Family.RHEL, "ol": Family.RHEL,
    "amzn": Family.RHEL, "fedora": Family.FEDORA,
    "suse": Family.SUSE, "sles": Family.SUSE, "opensuse": Family.SUSE, "opensuse-leap": Family.SUSE,
    "opensuse-tumbleweed": Family.SUSE, "arch": Family.ARCH, "archlinux": Family.ARCH, "nixos": Family.NIXOS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Distribution:
    """The distribution by os-release(5). `image_based` is an ostree or similar system, whose /usr is not edited."""

    id: str
    version: str
    name: str
    family: Family
    image_based: bool = False

    @classmethod
    def collect(cls, host: Host) -> Distribution:
        fields = parse_os_release(reading.text(host, "/etc/os-release") or _other_release(host))
        return cls(
            id=fields.get("ID", "linux"),
            version=fields.get("VERSION_ID", ""),
            name=fields.get("PRETTY_NAME") or fields.get("NAME", "Linux"),
            family=family_of(fields.get("ID", ""), fields.get("ID_LIKE", "")),
            image_based=reading.is_there(host, "/run/ostree-booted"),
        )


def _other_release(host: Host) -> str:
    """What stands in os-release's other place; where neither can be looked at, what older files say of the same."""
    try:
        return host.read("/usr/lib/os-release")
    except Unknown as why:
        if not isinstance(why, Absent) and (said := _before_os_release(host)):
            return said
        raise


_NAMED_SO = (
    ("Ubuntu", "ubuntu"), ("Linux Mint", "linuxmint"), ("Debian", "debian"), ("Kali", "kali"), ("Parrot", "parrot"),
    ("Red Hat Enterprise", "rhel"), ("CentOS", "centos"), ("Rocky", "rocky"), ("AlmaLinux", "almalinux"),
    ("Fedora", "fedora"), ("openSUSE", "opensuse"), ("SUSE", "suse"), ("Arch Linux", "arch"), ("Manjaro", "manjaro"),
)  # fmt: skip
_LIKE = {"kali": "debian", "parrot": "debian", "manjaro": "arch"}


def _before_os_release(host: Host) -> str:
    """os-release's fields by the line that getty shows, or by the files that distributions had before it."""
    for path in ("/etc/redhat-release", "/etc/SuSE-release", "/etc/issue"):
        line = (reading.text(host, path) or "").strip().partition("\n")[0]
        line = re.sub(r"\\[a-z]", "", line).strip().removeprefix("Welcome to ")
        for word, identifier in _NAMED_SO:
            if word in line:
                number = re.search(r"\d{1,4}(?:\.\d{1,3})?", line)
                return (
                    f"ID={identifier}\nID_LIKE={_LIKE.get(identifier, '')}\nVERSION_ID={number[0] if number else ''}\n"
                    f"PRETTY_NAME={line[:80]}\n"
                )
    return ""


def parse_os_release(text: str) -> dict[str, str]:
    """os-release(5): shell-like assignments; lines that are none are passed over."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            fields[name] = value.strip().strip("\"'")
    return fields


def family_of(identifier: str, like: str) -> Family:
    """The family by ID, else by the first known word of ID_LIKE."""
    return next((_FAMILIES[word] for word in (identifier, *like.split()) if word in _FAMILIES), Family.OTHER)


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
