"""The GSP firmware of the driver's modules, which must be of exactly their release: of the loaded one, of the next.

The open modules start no GPU without it. The proprietary ones fall back to their own code where it is missing, unless
NVreg_EnableGpuFirmware asks for it without the fallback (open-gpu-kernel-modules, nv-firmware-registry.h: mode 1, and
0x10 for the fallback, which the default 0x12 has).
"""

from __future__ import annotations

import re

from nvdiag.facts import reading
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.boot import NextBootKernel
from nvdiag.facts.modprobe import options_of
from nvdiag.facts.module_files import NextBootModule
from nvdiag.facts.modules import Flavour, LoadedDriver
from nvdiag.facts.pci import PciGpus
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import RunningKernel
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

OWN_PATH = "/sys/module/firmware_class/parameters/path"
PARAMETERS = "/proc/driver/nvidia/params"
OPTION = "NVreg_EnableGpuFirmware"
FIRST_OPEN_BRANCH = 515
"""The first branch with open modules (open-gpu-kernel-modules, README)."""

_MODE, _ENABLED, _ALLOW_FALLBACK = 0x0F, 1, 0x10
_NOT_NEEDED = f"the proprietary module starts GPUs without the firmware, unless {OPTION}=1 asks for it"


@dataclass(frozen=True, slots=True)
class LoadedFirmware:
    """`folders` are where files of the loaded module's release were found, `looked` all places, `others` releases.

    `asked_by` is the parameter by which a proprietary module needs it. NotApplicable while the driver answers, and
    where the module starts GPUs without it.
    """

    release: DriverRelease
    folders: tuple[str, ...]
    looked: tuple[str, ...]
    others: tuple[str, ...]
    asked_by: Evidence | None = None

    waits_for_child = True

    @classmethod
    def collect(
        cls,
        host: Host,
        loaded: LoadedDriver,
        nvml: NvmlAnswer,
        surroundings: Surroundings,
        kernel: RunningKernel | Unknown,
        gpus: PciGpus | Unknown,
    ) -> LoadedFirmware:
        if not surroundings.has_own_kernel_modules:
            raise NotApplicable("firmware is loaded from the host's disk, not from this system's")
        if nvml.init in (None, 0, 18):
            raise NotApplicable("the driver has its firmware, or fails for another reason")
        asked_by = _parameter(host, gpus) if loaded.flavour is not Flavour.OPEN else None
        if loaded.flavour is not Flavour.OPEN and asked_by is None:
            raise NotApplicable(_NOT_NEEDED)
        roots = _running_roots(host, kernel)
        found, others, seen = [], set(), False
        for root in roots:
            try:
                names = host.folder(f"{root}/nvidia")
            except Absent:
                seen = seen or not reading.certainly_absent(host, root)
                continue
            except Unknown as why:
                raise Unknown(f"which GSP firmware is there: {why}") from why
            seen = True
            others |= {name for name in names if DriverRelease.or_none(name) and re.match(r"\d{3}\.", name)}
            if _has_firmware(host, f"{root}/nvidia/{loaded.release}"):
                found.append(f"{root}/nvidia/{loaded.release}")
        if not seen:
            raise Unknown("no firmware folder can be looked at")
        return cls(loaded.release, tuple(found), roots, tuple(sorted(others - {loaded.release.text})), asked_by)


@dataclass(frozen=True, slots=True)
class NextBootFirmware:
    """Whether the firmware that the next boot's module needs is there: `folder` where it is, else where it should be.

    `others` are the releases whose firmware is there instead; `asked_by` as above.
    """

    release: DriverRelease
    there: bool
    folder: str
    others: tuple[str, ...] = ()
    asked_by: Evidence | None = None

    @classmethod
    def collect(
        cls, host: Host, following: NextBootModule, kernel: NextBootKernel | Unknown, gpus: PciGpus | Unknown
    ) -> NextBootFirmware:
        file = following.file
        if file is None:
            raise NotApplicable("there is no module that could need firmware")
        if file.release is None or file.flavour is None:
            raise NotApplicable("of this module it is not known whether it needs the firmware")
        if file.release.branch < FIRST_OPEN_BRANCH:
            raise NotApplicable("a branch before the open modules")
        asked_by = None
        if file.flavour is Flavour.PROPRIETARY:
            asked_by = _option(host, kernel, gpus)
            if asked_by is None:
                raise NotApplicable(_NOT_NEEDED)
        looked = False
        others: dict[str, None] = {}
        for root in _next_roots(host, following):
            try:
                host.folder(f"{root}/nvidia/{file.release}")
            except Absent:
                looked = looked or bool(reading.names(host, root))
                others.update(dict.fromkeys(_releases(host, root)))
                continue
            if _has_firmware(host, f"{root}/nvidia/{file.release}"):
                return cls(file.release, True, f"{root}/nvidia/{file.release}", (), asked_by)
            looked = True
        if not looked:
            raise Unknown("no folder of firmware can be looked at")
        folder = f"{following.root}/lib/firmware/nvidia/{file.release}"
        return cls(file.release, False, folder, tuple(others), asked_by)


def _parameter(host: Host, gpus: PciGpus | Unknown) -> Evidence | None:
    """The loaded module's own parameter, where it asks for the firmware of a GPU that has a GSP."""
    found = re.search(r"^EnableGpuFirmware: (\d{1,10})$", reading.text(host, PARAMETERS) or "", re.M)
    if found is None or not _asks(found[1]) or not _have_gsp(gpus):
        return None
    return Evidence(source=PARAMETERS, excerpt=found[0])


def _option(host: Host, kernel: NextBootKernel | Unknown, gpus: PciGpus | Unknown) -> Evidence | None:
    """The option that the next boot loads the module with; the last one counts, the command line's over the files'."""
    found = options_of(host, kernel, OPTION)
    if not found or not _asks(found[-1][0]) or not _have_gsp(gpus):
        return None
    return found[-1][1]


def _asks(value: str) -> bool:
    try:
        number = int(value, 0)
    except ValueError:
        return False
    return number & _MODE == _ENABLED and not number & _ALLOW_FALLBACK


def _have_gsp(gpus: PciGpus | Unknown) -> bool:
    """Whether a GPU here is of a generation that has a GSP: those that open modules drive (Turing and newer)."""
    from nvdiag.knowledge.gpu_generations import OpenModules, generation_of

    for gpu in gpus.gpus if isinstance(gpus, PciGpus) else ():
        number = int(gpu.device_id, 16) if re.fullmatch(r"(?:0x)?[0-9a-f]{1,4}", gpu.device_id) else 0
        generation = generation_of(number)
        if generation is not None and generation.open_modules is not OpenModules.UNSUPPORTED:
            return True
    return False


def _running_roots(host: Host, kernel: RunningKernel | Unknown) -> tuple[str, ...]:
    """The kernel's own order (Documentation/driver-api/firmware/fw_search_path.rst)."""
    release = kernel.release.text if isinstance(kernel, RunningKernel) else ""
    usual = (f"/lib/firmware/updates/{release}", "/lib/firmware/updates", f"/lib/firmware/{release}", "/lib/firmware")
    return (*_own_root(host), *(path for path in usual if not path.endswith("/")))


def _next_roots(host: Host, following: NextBootModule) -> tuple[str, ...]:
    """The same of the next boot's root, where a folder of that kernel's release is as good as never used."""
    folders = ("/lib/firmware/updates", "/usr/lib/firmware", "/lib/firmware")
    return (*_own_root(host), *(f"{following.root}{one}" for one in folders))


def _own_root(host: Host) -> tuple[str, ...]:
    own = (reading.text(host, OWN_PATH) or "").strip()
    return (own,) if own.startswith("/") else ()


def _has_firmware(host: Host, folder: str) -> bool:
    return any(re.fullmatch(r"gsp\w{0,12}\.bin(?:\.xz|\.zst)?", name) for name in reading.names(host, folder))


def _releases(host: Host, root: str) -> tuple[str, ...]:
    """Releases that have a folder with GSP firmware; nouveau's folders of chips lie beside them."""
    names = [
        name for name in reading.names(host, f"{root}/nvidia") if name[:1].isdigit() and DriverRelease.or_none(name)
    ]
    return tuple(name for name in names if _has_firmware(host, f"{root}/nvidia/{name}"))
