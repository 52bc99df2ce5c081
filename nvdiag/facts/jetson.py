"""Jetson: the release of L4T (Jetson Linux) that each part of the driver is of, on the board or in a container.

L4T writes its release to /etc/nv_tegra_release (package nvidia-l4t-core), and each package's version ends with it:
36.4.3-20250107174145, and 5.15.148-tegra-36.4.3-20250107174145 of a package with kernel modules. What containers are
to get of the board stands in CSV files, `TYPE, PATH` a line (nvidia-container-toolkit, platform-support/tegra).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.facts import reading
from nvdiag.facts.packages import DPKG, Package, parse_packages
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import Numbered

RELEASE_FILE = "/etc/nv_tegra_release"
LIBRARIES = "/usr/lib/aarch64-linux-gnu"
FOLDERS = ("tegra", "nvidia")
LIBCUDA = "libcuda.so.1.1"
NVMAP = "/dev/nvmap"
MOUNTS = "/etc/nvidia-container-runtime/host-files-for-container.d"

PARTS = (
    "nvidia-l4t-core", "nvidia-l4t-cuda", "nvidia-l4t-3d-core", "nvidia-l4t-init", "nvidia-l4t-firmware",
    "nvidia-l4t-kernel", "nvidia-l4t-kernel-oot-modules", "nvidia-l4t-display-kernel",
)  # fmt: skip
"""The packages that must be of one release: the driver's libraries, its kernel side and its firmware."""


class L4tRelease(Numbered):
    """A release of L4T, such as 36.4.3; the first number is its line."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JetsonStack:
    """The parts of L4T here. NotApplicable on other machines.

    `release` is what /etc/nv_tegra_release says, `model` the board; `parts` are the releases of those of PARTS that are
    installed, and `kernel` is the kernel that nvidia-l4t-kernel brings. `desktop` are installed packages of drivers for
    graphics cards. `folders` are those of FOLDERS that have L4T's libcuda. `nvmap` says whether Tegra's memory device
    is there, `unmounted` are the CSV files' paths of libcuda where none of them exists.
    """

    release: L4tRelease | None
    model: str
    parts: tuple[tuple[str, L4tRelease], ...]
    kernel: str | None
    desktop: tuple[str, ...]
    folders: tuple[str, ...]
    nvmap: bool | None
    unmounted: tuple[str, ...]

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings) -> JetsonStack:
        if not surroundings.tegra:
            raise NotApplicable("this is no Tegra system")
        packages = tuple(_packages(host))
        return cls(
            release=parse_release(reading.text(host, RELEASE_FILE) or ""),
            model=(reading.text(host, "/proc/device-tree/model") or "").strip("\0\n "),
            parts=tuple(
                (one.name, release)
                for one in packages
                if one.name in PARTS and one.installed and (release := release_of(one.version))
            ),
            kernel=next((_kernel(one.version) for one in packages if one.name == "nvidia-l4t-kernel"), None),
            desktop=tuple(one.name for one in packages if one.installed and re.fullmatch(_DESKTOP, one.name)),
            folders=tuple(one for one in FOLDERS if _has_libcuda(host, one)),
            nvmap=_is_there(host, NVMAP),
            unmounted=() if surroundings.container else tuple(_unmounted(host)),
        )


_DESKTOP = (
    r"nvidia-(?:driver|dkms|kernel-(?:common|source|open)|headless|compute-utils|utils)(?:-.*)?|cuda-drivers(?:-.*)?"
    r"|libnvidia-compute-.*|libcuda1"
)


def parse_release(text: str) -> L4tRelease | None:
    """The head of /etc/nv_tegra_release: `# R36 (release), REVISION: 4.3, GCID: …`; None for another text."""
    found = re.search(r"^# R(\d{2,3}) \(release\), REVISION: (\d{1,3}(?:\.\d{1,3}){0,2})", text, re.M)
    return L4tRelease.or_none(f"{found[1]}.{found[2]}") if found else None


def release_of(version: str) -> L4tRelease | None:
    """The L4T release in a package's version, with or without a kernel before it."""
    found = re.fullmatch(r"(?:[\d.]{3,20}-tegra-)?(\d{2,3}(?:\.\d{1,3}){1,2})-\d{8,14}(?:\+\S{1,20})?", version)
    return L4tRelease.or_none(found[1]) if found else None


def _kernel(version: str) -> str | None:
    found = re.match(r"(\d[\d.]{2,20}-tegra)-", version)
    return found[1] if found else None


def _packages(host: Host) -> Iterator[Package]:
    """The packages of NVIDIA's; of a pasted `dpkg -l` those that it shows."""
    try:
        listing = host.run(*DPKG).stdout
    except Unknown:
        try:
            listing = host.run("dpkg", "-l").stdout if "dpkg -l" in host.recorded("commands") else ""
        except Unknown:
            return
    yield from parse_packages(listing)


def _has_libcuda(host: Host, folder: str) -> bool:
    path = f"{LIBRARIES}/{folder}/{LIBCUDA}"
    return reading.is_there(host, path) or path in host.recorded("elf")


def _is_there(host: Host, path: str) -> bool | None:
    try:
        return host.exists(path)
    except Unknown:
        return None


def _unmounted(host: Host) -> Iterator[str]:
    """The paths under which the CSV files give libcuda to containers, where not one of them is there."""
    files = [f"{MOUNTS}/{name}" for name in reading.names(host, MOUNTS) if name.endswith(".csv")]
    texts = "\n".join(reading.text(host, file) or "" for file in files)
    named = re.findall(rf"^\s{{0,4}}lib\s{{0,4}},\s{{0,4}}(/\S{{1,200}}/{re.escape(LIBCUDA)})\s{{0,4}}$", texts, re.M)
    if named and all(reading.certainly_absent(host, path) for path in named):
        yield from dict.fromkeys(named)
