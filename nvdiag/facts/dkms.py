"""DKMS's own word on NVIDIA's modules: which release is built and installed for which kernel."""

from __future__ import annotations

import re

from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable
from nvdiag.model.versions import DriverRelease, KernelRelease

COMMAND = "dkms status"

_ROW = regex(
    r"^\s{0,8}nvidia(?![-_](?:fs|peer))[\w.-]{0,40}(?:/|, ?)(\d{2,4}\.[\d.]{1,12}\d)[\w:~+-]{0,40}"
    r"(?:, ?(\d{1,2}\.\d{1,3}[\w.+~-]{0,90}), ?\w{2,12})?: ?(added|built|installed|broken)\b"
    r"((?: ?\([^()\n]{1,80}\)){0,3})",
    re.MULTILINE,
)
"""Both forms: `nvidia/550.90.07, KERNEL, x86_64: installed` of version 3, with a comma for the slash before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DkmsRow:
    """One line. `kernel` is None where sources were added and not built for any kernel; `note` stands behind it."""

    release: DriverRelease
    kernel: KernelRelease | None
    state: str
    note: str = ""

    @property
    def installed(self) -> bool:
        return self.state == "installed" and self.kernel is not None

    @property
    def doubted(self) -> bool:
        """Whether DKMS itself says that a kernel's module differs from what it built, or is gone (dkms, its status)."""
        return self.installed and ("iff" in self.note or "issing" in self.note)

    @property
    def told(self) -> str:
        """The line in short."""
        return (
            f"{self.release}, {self.kernel}: {self.state}{self.note}"
            if self.kernel
            else f"{self.release}: {self.state}"
        )


@dataclass(frozen=True, slots=True)
class DkmsStatus:
    """The lines of `dkms status` about the driver, at least one. NotApplicable where none were recorded."""

    rows: tuple[DkmsRow, ...]

    @classmethod
    def collect(cls, host: Host) -> DkmsStatus:
        if COMMAND not in host.recorded("commands"):
            raise NotApplicable("no output of `dkms status` was recorded")
        rows = parse_dkms_status(host.run(*COMMAND.split()).stdout)
        if not rows:
            raise NotApplicable("DKMS lists no module of the driver")
        return cls(rows)

    def installed_for(self, kernel: KernelRelease) -> tuple[DriverRelease, ...]:
        """The releases that are installed for a kernel."""
        return tuple(row.release for row in self.rows if row.installed and row.kernel == kernel)


def parse_dkms_status(text: str) -> tuple[DkmsRow, ...]:
    """The driver's lines in what `dkms status` prints; those of other modules, and of nvidia-fs, are passed over."""
    return tuple(
        DkmsRow(
            release=DriverRelease.of(release),
            kernel=KernelRelease(kernel) if kernel else None,
            state=state.lower(),
            note=note,
        )
        for release, kernel, state, note in _ROW.findall(text)
    )
