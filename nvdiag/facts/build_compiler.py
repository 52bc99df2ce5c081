"""The compiler that a kernel was made by, against the one that a build of the driver's module would take here.

DKMS takes the program that the kernel's CONFIG_CC_VERSION_TEXT names where it is installed, else the usual one (dkms,
prepare_and_actual_build); so does NVIDIA's own Makefile. NVIDIA's conftest.sh compares major and minor with the
kernel's: older branches refuse the build, newer ones only warn, and IGNORE_CC_MISMATCH in dkms.conf turns it off.
"""

from __future__ import annotations

import re

from nvdiag.facts import reading
from nvdiag.facts.dkms_trees import DkmsState
from nvdiag.facts.system import RunningKernel
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import KernelRelease

_CONFIGURATIONS = ("/lib/modules/{}/build/.config", "/lib/modules/{}/config", "/boot/config-{}")
"""Where DKMS looks for a kernel's configuration, in its order."""

_FOLDERS = ("/usr/bin", "/usr/local/bin")
_USUAL = ("gcc", "cc")
_VERSION = regex(r"(?<![\d.])(\d{1,3})\.\d{1,3}\.\d{1,3}(?![\d.])")
"""The first number of this form, as conftest.sh reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildCompiler:
    """`made_by` is the kernel's compiler as the kernel tells it, in `source`; `taken` the program of a build here.

    `taken` is empty where none is installed; `major` is the first number of its version, None where it does not tell.
    `refused_by` is the driver's own check, where that stops the build for another compiler than the kernel's.
    """

    kernel: KernelRelease
    made_by: str
    source: str
    taken: str
    major: int | None
    refused_by: str = ""

    @classmethod
    def collect(cls, host: Host, dkms: DkmsState, running: RunningKernel | Unknown) -> BuildCompiler:
        if not dkms.failed and dkms.built:
            raise NotApplicable("no build of the module failed, and none is due")
        made_by, source = _of_kernel(host, dkms.kernel, running)
        name = made_by.split()[0]
        fitting = (name,) if "clang" in name else (name, *_USUAL)
        taken = next((one for one in fitting if _path(host, one)), "")
        if not taken and not all(reading.certainly_absent(host, f"/usr/bin/{one}") for one in fitting):
            raise Unknown("whether a compiler is installed cannot be seen here")
        return cls(
            kernel=dkms.kernel,
            made_by=made_by,
            source=source,
            taken=taken,
            major=_major(host, taken) if taken else None,
            refused_by=next((path for one in dkms.sources if (path := _refusing(host, one))), ""),
        )

    @property
    def wanted(self) -> int | None:
        """The first number of the version of the kernel's compiler."""
        found = _VERSION.search(self.made_by)
        return int(found[1]) if found else None

    @property
    def differs(self) -> bool:
        """Whether the build would take none, or certainly one of another version."""
        return not self.taken or (self.major is not None and self.wanted is not None and self.major != self.wanted)


def _of_kernel(host: Host, kernel: KernelRelease, running: RunningKernel | Unknown) -> tuple[str, str]:
    """The kernel's compiler by its configuration, else, for the one that runs, by its own words."""
    for path in (one.format(kernel) for one in _CONFIGURATIONS):
        try:
            text = "\n".join(host.lines_with("CONFIG_CC_VERSION_TEXT", path))
        except Unknown:
            continue
        if found := re.search(r'^CONFIG_CC_VERSION_TEXT="([\w.+-]{2,60} [^"\n]{3,200})"', text, re.M):
            return found[1], path
    if isinstance(running, RunningKernel) and running.release == kernel:
        said = reading.text(host, "/proc/version") or ""
        if found := re.search(r"\) \(([\w.+-]{2,60} .{3,200}?), (?:GNU ld|LLD)", said):
            return found[1], "/proc/version"
    raise Unknown(f"by which compiler {kernel} was made")


def _path(host: Host, program: str) -> str:
    return next((f"{one}/{program}" for one in _FOLDERS if reading.is_there(host, f"{one}/{program}")), "")


def _major(host: Host, program: str) -> int | None:
    """By the name (gcc-13), by the name that its link leads to, else by what the program itself says."""
    for name in (program, host.resolve(_path(host, program))):
        if found := re.search(r"-(\d{1,3})$", name):
            return int(found[1])
    try:
        said = host.run(program, "--version").stdout
    except Unknown:
        return None
    found = _VERSION.search(said.partition("\n")[0])
    return int(found[1]) if found else None


def _refusing(host: Host, sources: str) -> str:
    """The driver's check, where it ends a build for its compiler and nothing turns it off."""
    script = f"{sources}/conftest.sh"
    try:
        if not any("Bailing" in line for line in host.lines_with("Failed CC version check", script)):
            return ""
        ignored = host.lines_with("IGNORE_CC_MISMATCH", f"{sources}/dkms.conf")
    except Unknown:
        return ""
    return "" if ignored else script
