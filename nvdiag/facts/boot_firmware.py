"""The GSP firmware of the module that boots next: it lies in a folder that is named like the module's release."""

from __future__ import annotations

from nvdiag.facts import reading
from nvdiag.facts.module_files import NextBootModule
from nvdiag.facts.modules import Flavour
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

PARAMETER = "/sys/module/firmware_class/parameters/path"
FOLDERS = ("/lib/firmware/updates", "/usr/lib/firmware", "/lib/firmware")
FIRST_OPEN_BRANCH = 515
"""The first branch with open modules, which start no GPU without the firmware (open-gpu-kernel-modules, README)."""


@dataclass(frozen=True, slots=True)
class NextBootFirmware:
    """Whether the firmware that the open modules need is there: `folder` where it is, else where it should be.

    `others` are the releases whose firmware is there instead.
    """

    release: DriverRelease
    there: bool
    folder: str
    others: tuple[str, ...] = ()

    @classmethod
    def collect(cls, host: Host, following: NextBootModule) -> NextBootFirmware:
        file = following.file
        if file is None or file.release is None or file.flavour is not Flavour.OPEN:
            raise NotApplicable("only of open modules is it known that they need the firmware")
        if file.release.branch < FIRST_OPEN_BRANCH:
            raise NotApplicable("a branch before the open modules")
        extra = (reading.text(host, PARAMETER) or "").strip()
        looked = False
        others: dict[str, None] = {}
        for folder in (*((extra,) if extra.startswith("/") else ()), *(f"{following.root}{one}" for one in FOLDERS)):
            try:
                names = host.folder(f"{folder}/nvidia/{file.release}")
            except Absent:
                looked = looked or bool(reading.names(host, folder))
                others.update(dict.fromkeys(_releases(host, folder)))
                continue
            if any(name.startswith("gsp") for name in names):
                return cls(file.release, True, f"{folder}/nvidia/{file.release}")
            looked = True
        if not looked:
            raise Unknown("no folder of firmware can be looked at")
        return cls(file.release, False, f"{following.root}/lib/firmware/nvidia/{file.release}", tuple(others))


def _releases(host: Host, folder: str) -> tuple[str, ...]:
    """Releases that have a folder with GSP firmware; nouveau's folders of chips lie beside them."""
    found = [
        name for name in reading.names(host, f"{folder}/nvidia") if name[:1].isdigit() and DriverRelease.or_none(name)
    ]
    return tuple(
        name for name in found if any(one.startswith("gsp") for one in reading.names(host, f"{folder}/nvidia/{name}"))
    )
