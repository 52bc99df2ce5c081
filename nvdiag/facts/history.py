"""Since when the driver is as it is, and who made it so: what package logs tell, set against boot and module load.

Logs are read only where something does not fit: a machine that is well reads none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.libraries import DriverLibraries, Kind
from nvdiag.facts.log_lines import bare
from nvdiag.facts.messages import Messages
from nvdiag.facts.module_files import NextBootModule, RunningKernelModule
from nvdiag.facts.modules import KernelModules, LoadedDriver
from nvdiag.facts.pci import GpusOnBus
from nvdiag.facts.smi_report import SmiReport
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import BootTime
from nvdiag.facts.time_zone import TimeZone
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease, KernelRelease

if TYPE_CHECKING:
    from nvdiag.facts.package_logs import Change, Transaction

MOST_KEPT = 20
_MISMATCH = 18
_LOADING = "NVRM: loading NVIDIA UNIX"
_TOLD_OF = frozenset(
    {
        "driver-library-mismatch", "driver-disk-mismatch", "driver-submodule-mismatch", "driver-not-built",
        "driver-not-loaded", "driver-not-installed", "driver-package-conflict", "secure-boot-rejected",
        "gsp-firmware-missing",
    }
)  # fmt: skip
"""Findings that a change of packages may be the cause of."""


@dataclass(frozen=True, slots=True)
class DriverInQuestion:
    """That something of the driver does not fit, in a clause; NotApplicable where all is of one release and loaded.

    `releases` are those that are installed and not loaded: what brought them is the cause.
    """

    why: str
    releases: tuple[DriverRelease, ...]

    @classmethod
    def collect(
        cls,
        surroundings: Surroundings,
        loaded: LoadedDriver | Unknown,
        libraries: DriverLibraries | Unknown,
        disk: RunningKernelModule | Unknown,
        following: NextBootModule | Unknown,
        modules: KernelModules | Unknown,
        gpus: GpusOnBus | Unknown,
        nvml: NvmlAnswer | Unknown,
        messages: Messages | Unknown,
        smi: SmiReport | Unknown,
    ) -> DriverInQuestion:
        if not surroundings.has_own_kernel_modules or surroundings.driver_root:
            raise NotApplicable("the driver is not of this system's own packages")
        memory = loaded.release if isinstance(loaded, LoadedDriver) else None
        others = tuple(dict.fromkeys(one for one in _installed(libraries, disk, following) if one != memory))
        told = [*_told(nvml, messages, smi)]
        if isinstance(modules, KernelModules) and modules.nvidia is None and isinstance(gpus, GpusOnBus):
            return cls("the nvidia module is not loaded", others)
        if len(others) > (memory is None):
            return cls("the driver's parts are of different releases", others)
        if any(
            isinstance(one, (RunningKernelModule, NextBootModule)) and one.file is None for one in (disk, following)
        ):
            return cls("a kernel has no nvidia module", others)
        if told:
            return cls(told[0], others)
        raise NotApplicable("nothing is wrong that a change of packages could explain, so no package log is read")


def _installed(
    libraries: DriverLibraries | Unknown, disk: RunningKernelModule | Unknown, following: NextBootModule | Unknown
) -> Iterator[DriverRelease]:
    """The releases of what is on disk, libraries first."""
    copies = libraries.taken if isinstance(libraries, DriverLibraries) else ()
    yield from (copy.release for copy in copies if copy.kind is Kind.DRIVER and copy.release is not None)
    for module in (disk, following):
        if isinstance(module, (RunningKernelModule, NextBootModule)) and module.file and module.file.release:
            yield module.file.release


def _told(nvml: NvmlAnswer | Unknown, messages: Messages | Unknown, smi: SmiReport | Unknown) -> Iterator[str]:
    if isinstance(nvml, NvmlAnswer) and nvml.init == _MISMATCH:
        yield "NVML refuses the loaded module"
    if isinstance(messages, Messages) and any(one.message.proves in _TOLD_OF for one in messages.said):
        yield "a message tells of the driver's installation"
    if isinstance(smi, SmiReport) and smi.failure:
        yield "nvidia-smi fails"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverHistory:
    """The transactions that changed the driver or brought a kernel, oldest first, as far as the logs reach back.

    `booted` and `loaded` are instants (seconds since the epoch) of this boot and of the module's load, None where they
    are not known; `zone` is the one that times without an offset were read in. `looked` are the logs that were read.
    """

    transactions: tuple[Transaction, ...]
    looked: tuple[str, ...]
    releases: tuple[DriverRelease, ...] = ()
    booted: int | None = None
    loaded: int | None = None
    zone: str | None = None

    @classmethod
    def collect(
        cls,
        host: Host,
        question: DriverInQuestion,
        boot: BootTime | Unknown,
        zone: TimeZone | Unknown,
    ) -> DriverHistory:
        name = zone.name if isinstance(zone, TimeZone) else None
        wanted = question.releases

        def enough(one: Transaction) -> bool:
            return any(not wanted or _is_of(change, wanted) for change in one.of_driver)

        from nvdiag.facts.package_logs import (
            reading,
        )  # and what it parses with: a machine that is well needs none of it

        logs = reading.read(host, name, enough)
        if not logs.looked:
            if logs.silent:
                raise Unknown(f"when the driver was changed: {logs.silent[0]}")
            raise Unknown("no log of a package manager is here, so it cannot be told when the driver was changed")
        booted = boot.seconds if isinstance(boot, BootTime) else None
        return cls(
            transactions=tuple(logs.found[-MOST_KEPT:]),
            looked=tuple(dict.fromkeys(logs.looked)),
            releases=wanted,
            booted=booted,
            loaded=_load_time(host, booted),
            zone=name,
        )

    @property
    def cause(self) -> Transaction | None:
        """What brought the releases that are installed and not loaded; without such, the driver's last change."""
        for release in self.releases:
            if found := self.brought(release):
                return found
        return None if self.releases else next((one for one in reversed(self.transactions) if one.of_driver), None)

    def brought(self, release: DriverRelease) -> Transaction | None:
        """The transaction that changed the driver to this release, which nvidia-smi may have cut.

        Only each package's last change counts: what was changed again since is not what is there now.
        """
        settled: set[str] = set()
        for one in reversed(self.transactions):
            for change in one.of_driver:
                if change.name not in settled and _is_of(change, (release,)):
                    return one
            settled.update(change.name for change in one.of_driver if change.old != change.new)
        return None

    def kernel_came(self, kernel: KernelRelease) -> Transaction | None:
        """The transaction that installed this kernel."""
        from nvdiag.facts.package_logs import Role

        wanted = _plain(kernel.text)
        for one in reversed(self.transactions):
            for change in one.of_role(Role.KERNEL):
                told = re.sub(r"^linux-image-(?:unsigned-)?", "", change.name)
                names = (_plain(told), _plain(re.sub(r"^\d+:", "", change.new or "-")))
                if change.new is not None and any(len(name) > 4 and wanted.startswith(name) for name in names):
                    return one
        return None


def _is_of(change: Change, releases: tuple[DriverRelease, ...]) -> bool:
    """Whether a package became of one of the releases by this change."""
    from nvdiag.facts.package_logs import release_of

    new, old = release_of(change.new), release_of(change.old)
    if new is None or (old is not None and old == new):
        return False
    return any(new == release or new.starts_with(release) for release in releases)


def _plain(text: str) -> str:
    """A kernel's release or package version so that both forms of it are one: 6.16.7.arch1-1, 6.16.7-arch1-1."""
    return re.sub(r"[-_.]", ".", text)


def _load_time(host: Host, booted: int | None) -> int | None:
    """When the module was loaded last, by its own line in this boot's kernel log."""
    if booted is None:
        return None
    for _, text in reversed(host.texts()):
        position = text.rfind(_LOADING)
        if position >= 0:
            line = text[text.rfind("\n", 0, position) + 1 : position + len(_LOADING)]
            seconds = bare(line[-400:]).since_boot
            return None if seconds is None else booted + int(seconds)
    return None
