"""WSL: what Windows hands to this Linux of its NVIDIA driver, and whether it is told to.

Where WSL puts things is read from its own sources (microsoft/WSL, src/linux/init: config.cpp and
WslDistributionConfig.h) and from the kernel's driver for Windows' GPUs (drivers/hv/dxgkrnl/dxgmodule.c of
microsoft/WSL2-Linux-Kernel).
"""

from __future__ import annotations

from collections.abc import Mapping

from nvdiag.facts import reading
from nvdiag.facts.pci import DEVICES
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

DXG = "/dev/dxg"
FOLDER = "/usr/lib/wsl/lib"
STORE = "/usr/lib/wsl/drivers"
FIND_STORED = ("find", STORE, "-maxdepth", "1", "-name", "nv*.inf_*")
LOADER_FILE = "/etc/ld.so.conf.d/ld.wsl.conf"
CONFIGURATION = "/etc/wsl.conf"
LIBRARIES = ("libcuda.so.1", "libnvidia-ml.so.1")
"""What NVIDIA's Windows driver puts into FOLDER, among much else; Windows' own are libd3d12.so and libdxcore.so."""

SETTINGS = ("gpu.enabled", "automount.ldconfig")
"""What of /etc/wsl.conf decides whether Linux gets the driver; both are true by default."""

_ADAPTER = ("0x1414", "0x008e")
"""Vendor and device of a GPU that Windows offers (PCI_VENDOR_ID_MICROSOFT, PCI_DEVICE_ID_VIRTUAL_RENDER)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WslSetup:
    """WSL's side of the driver. NotApplicable elsewhere, and in a container, which gets what its engine gives it.

    `generation` is 1 or 2. `dxg` says whether the device is there through which libraries reach Windows' driver.
    `libraries` are the names in FOLDER, None where there is no such folder. `loader_file` is the text by which WSL
    tells the loader of it, None where there is none. What is looked at only where something is missing: `adapters`
    counts the GPUs that Windows offers, `stored` names the folders of NVIDIA drivers in Windows' driver store, both
    None otherwise; `settings` are those of /etc/wsl.conf that matter here, by "section.key".
    """

    generation: int
    dxg: bool | Unknown
    libraries: tuple[str, ...] | Unknown | None
    adapters: int | None
    stored: tuple[str, ...] | None
    settings: Mapping[str, str]
    loader_file: str | Unknown | None

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings) -> WslSetup:
        if not surroundings.wsl:
            raise NotApplicable("this is not WSL")
        if surroundings.container:
            raise NotApplicable("in a container under WSL the engine brings the libraries: the container's checks look")
        dxg, names = _dxg(host), _names(host)
        whole = dxg is True and isinstance(names, tuple) and set(LIBRARIES) <= set(names)
        told = _loader_file(host)
        well = whole and isinstance(told, str) and FOLDER in told
        return cls(
            generation=_generation(host),
            dxg=dxg,
            libraries=names,
            adapters=None if whole else _adapters(host),
            stored=None if whole else _stored(host),
            settings={} if well else parse_settings(reading.text(host, CONFIGURATION) or ""),
            loader_file=told,
        )

    @property
    def brings(self) -> tuple[str, ...]:
        """Those of LIBRARIES that Windows' driver has put into FOLDER."""
        names = self.libraries if isinstance(self.libraries, tuple) else ()
        return tuple(one for one in LIBRARIES if one in names)

    def switched_off(self, setting: str) -> bool:
        """Whether one of SETTINGS is false."""
        return self.settings.get(setting, "true") in ("false", "0")


def parse_settings(text: str) -> dict[str, str]:
    """Those of SETTINGS in wsl.conf: `[section]` and `key = value`, in any case; `#` begins a comment."""
    found: dict[str, str] = {}
    section = ""
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip().lower()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif "=" in line:
            key, _, value = line.partition("=")
            if (name := f"{section}.{key.strip()}") in SETTINGS:
                found[name] = value.strip().strip('"')
    return found


def _generation(host: Host) -> int:
    """WSL 1 has a kernel of Windows' own, which calls itself 4.4.0-19041-Microsoft; WSL 2 runs Linux."""
    release = (reading.text(host, "/proc/sys/kernel/osrelease") or "").strip()
    return 1 if release.startswith(("3.4.0-", "4.4.0-")) and release.endswith("-Microsoft") else 2


def _dxg(host: Host) -> bool | Unknown:
    try:
        return host.exists(DXG)
    except Unknown as why:
        return why


def _names(host: Host) -> tuple[str, ...] | Unknown | None:
    try:
        return host.folder(FOLDER)
    except Absent:
        return None
    except Unknown as why:
        return None if reading.certainly_absent(host, FOLDER) else why


def _adapters(host: Host) -> int:
    folders = (f"{DEVICES}/{one}" for one in reading.names(host, DEVICES))
    return sum(
        tuple((reading.text(host, f"{folder}/{name}") or "").strip() for name in ("vendor", "device")) == _ADAPTER
        for folder in folders
    )


def _stored(host: Host) -> tuple[str, ...] | None:
    """NVIDIA's folders in the driver store, nv_dispi.inf_amd64_… and the like.

    The store has hundreds of folders and is Windows' own, seen through a network file system: a command with a deadline
    looks through it.
    """
    try:
        found = host.run(*FIND_STORED)
    except Unknown:
        return None
    return tuple(line.rpartition("/")[2] for line in found.stdout.splitlines()) if found.exit == 0 else None


def _loader_file(host: Host) -> str | Unknown | None:
    try:
        return host.read(LOADER_FILE)
    except Absent:
        return None
    except Unknown as why:
        return why
