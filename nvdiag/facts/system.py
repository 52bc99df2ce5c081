"""The system around the driver: kernel, distribution, boot time."""

from __future__ import annotations

import re
import time
from enum import Enum

from nvdiag.facts import reading
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
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
    """The distribution by os-release(5). `image_based` is an ostree or similar system, whose /usr is not edited.

    `without_ostree`: such a one of bootc's composefs backend, which rpm-ostree does not know.
    """

    id: str
    version: str
    name: str
    family: Family
    image_based: bool = False
    without_ostree: bool = False

    @classmethod
    def collect(cls, host: Host) -> Distribution:
        fields = parse_os_release(reading.text(host, "/etc/os-release") or _other_release(host))
        ostree = reading.is_there(host, "/run/ostree-booted")
        composefs = not ostree and _is_composefs(host)
        return cls(
            id=fields.get("ID", "linux"),
            version=fields.get("VERSION_ID", ""),
            name=fields.get("PRETTY_NAME") or fields.get("NAME", "Linux"),
            family=family_of(fields.get("ID", ""), fields.get("ID_LIKE", "")),
            image_based=ostree or composefs,
            without_ostree=composefs,
        )


def _is_composefs(host: Host) -> bool:
    """Whether / is an image that bootc or a like program has mounted (composefs-rs names the source composefs:NAME)."""
    try:
        lines = host.lines_with(" / / ", "/proc/self/mountinfo")
    except Unknown:
        return False
    return any(" - overlay composefs" in line for line in lines)


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
