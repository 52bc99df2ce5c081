"""The GSP firmware of the loaded module, which must be of exactly its release: looked for where the kernel looks."""

from __future__ import annotations

import re

from nvdiag.facts import reading
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import RunningKernel
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

OWN_PATH = "/sys/module/firmware_class/parameters/path"


@dataclass(frozen=True, slots=True)
class GspFirmware:
    """`folders` are where files of the module's release were found, `looked` all places; `others` other releases.

    NotApplicable while the driver answers: then it has its firmware.
    """

    release: DriverRelease
    folders: tuple[str, ...]
    looked: tuple[str, ...]
    others: tuple[str, ...]

    waits_for_child = True

    @classmethod
    def collect(
        cls,
        host: Host,
        loaded: LoadedDriver,
        nvml: NvmlAnswer,
        surroundings: Surroundings,
        kernel: RunningKernel | Unknown,
    ) -> GspFirmware:
        if not surroundings.has_own_kernel_modules:
            raise NotApplicable("firmware is loaded from the host's disk, not from this system's")
        if nvml.init in (None, 0, 18):
            raise NotApplicable("the driver has its firmware, or fails for another reason")
        roots = _roots(host, kernel)
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
            files = reading.names(host, f"{root}/nvidia/{loaded.release.text}")
            if any(re.fullmatch(r"gsp\w{0,12}\.bin(?:\.xz|\.zst)?", name) for name in files):
                found.append(f"{root}/nvidia/{loaded.release.text}")
        if not seen:
            raise Unknown("no firmware folder can be looked at")
        return cls(loaded.release, tuple(found), roots, tuple(sorted(others - {loaded.release.text})))


def _roots(host: Host, kernel: RunningKernel | Unknown) -> tuple[str, ...]:
    """The kernel's own order (Documentation/driver-api/firmware/fw_search_path.rst)."""
    own = (reading.text(host, OWN_PATH) or "").strip()
    release = kernel.release.text if isinstance(kernel, RunningKernel) else ""
    usual = (f"/lib/firmware/updates/{release}", "/lib/firmware/updates", f"/lib/firmware/{release}", "/lib/firmware")
    return (*((own,) if own.startswith("/") else ()), *(path for path in usual if not path.endswith("/")))
