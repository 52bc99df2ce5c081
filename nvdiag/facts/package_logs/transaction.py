"""One run of a package manager: which of the driver's packages it changed, when, and who asked for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum

from nvdiag.facts.clock import Moment
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import ParseError
from nvdiag.model.versions import DriverRelease


class Role(Enum):
    """What a package is to the driver."""

    LIBRARY = "library"
    MODULE = "module"
    FIRMWARE = "firmware"
    DRIVER = "driver"
    KERNEL = "kernel"


RUN_FILE = "NVIDIA's installer (.run)"
"""What stands in place of a package's name for a run of NVIDIA's own installer."""

_NOT_OF_THE_DRIVER = regex(
    r"container|docker|cudnn|cudart|nsight|toolkit|prime|settings|vaapi|egl|persistenced|modprobe|xconfig|texture"
    r"|optical|detect|installer|headers|icd|vdpau|nccl|assistant|pinning|^python|-(?:doc|dev|devel|tools|py)$"
    r"|^linux-(?!modules-nvidia|objects-nvidia|signatures-nvidia)"
)
_KERNEL = regex(
    r"linux-image-(?:unsigned-)?\d\S*|kernel(?:-core|-default|-uek-core|-longterm)?|linux(?:-lts|-zen|-hardened|-rt)?"
)
_MODULE = regex(
    r"nvidia\S*-dkms\S*|nvidia\S*kernel-(?:source|dkms)\S*|linux-(?:modules|objects|signatures)-nvidia\S*"
    r"|a?kmod-nvidia\S*|nvidia-\S*kmp\S*|nvidia(?:-open)?(?:-lts)?|nvidia-kmod(?!-common)\S*"
)
_LIBRARY = regex(
    r"libnvidia-compute\S*|libcuda1|libnvidia-ml1?|nvidia(?:-\d+xx)?-utils|nvidia-driver-(?:cuda-)?libs"
    r"|nvidia-compute-G\d+|xorg-x11-drv-nvidia(?:-\d+xx)?-cuda-libs|nvidia-x11\S*"
)
_FIRMWARE = regex(r"firmware-nvidia\S*|nvidia-firmware\S*|nvidia-(?:kernel-common|kmod-common)\S*|nvidia-gsp\S*")
_OTHER = regex(r"\S*nvidia\S*|libcuda\S*|cuda-drivers\S*")


def role_of(name: str) -> Role | None:
    """What a package of this name is to the driver; None for all other software."""
    if name == RUN_FILE:
        return Role.DRIVER
    if len(name) > 200:
        return None
    if _KERNEL.fullmatch(name):
        return Role.KERNEL
    if not _OTHER.fullmatch(name) or _NOT_OF_THE_DRIVER.search(name):
        return None
    for role, pattern in ((Role.MODULE, _MODULE), (Role.LIBRARY, _LIBRARY), (Role.FIRMWARE, _FIRMWARE)):
        if pattern.fullmatch(name):
            return role
    return Role.DRIVER


def release_of(version: str | None) -> DriverRelease | None:
    """The driver's release in a package's version: 570.172.08 of 3:570.172.08-1.el9; None where it has none."""
    found = re.match(r"(?:\d{1,3}:)?(\d{3}(?:\.\d{1,4}){1,2})(?![\d.])", version or "")
    return DriverRelease.or_none(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Change:
    """One package: `old` is None where it was not there before, `new` where it was removed."""

    name: str
    old: str | None
    new: str | None

    @property
    def role(self) -> Role | None:
        return role_of(self.name)

    @property
    def told(self) -> str:
        """The change in a few words, by releases where the versions have them."""
        old, new = _short(self.old), _short(self.new)
        if self.old is not None and self.new is not None:
            return f"{self.name} {old} -> {new}" if old != new else f"{self.name} {self.old} -> {self.new}"
        return f"{self.name} {new} installed" if self.new is not None else f"{self.name} {old} removed"


def _short(version: str | None) -> str:
    release = release_of(version)
    return (version or "") if release is None else release.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """What one run changed. `command` and `user` are as the log has them, empty where it does not say.

    `tool` is the program that did it; `failed` is True where the log says that it did not come to its end.
    """

    when: Moment
    changes: tuple[Change, ...]
    tool: str
    source: str = ""
    command: str = ""
    user: str = ""
    failed: bool = False

    def of_role(self, *roles: Role) -> tuple[Change, ...]:
        """The changes of packages with one of these roles."""
        return tuple(change for change in self.changes if change.role in roles)

    @property
    def of_driver(self) -> tuple[Change, ...]:
        """All but the kernel's, the most telling first: libraries, the driver as a whole, modules, firmware."""
        order = [Role.LIBRARY, Role.DRIVER, Role.MODULE, Role.FIRMWARE]
        found = self.of_role(*order)
        return tuple(sorted(found, key=lambda change: (change.old == change.new, order.index(change.role or order[0]))))


def relevant(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Those of the driver and the kernel, each once."""
    return tuple(dict.fromkeys(change for change in changes if change.role is not None))


def paired(added: Sequence[tuple[str, str]], taken: Sequence[tuple[str, str]]) -> tuple[Change, ...]:
    """Changes by what a run installed and what it took away, as rpm's programs log it.

    Kernels stay beside each other, so one that is taken away has no successor.
    """
    gone = dict(taken)
    changes = []
    for name, version in dict(added).items():
        old = None if role_of(name) is Role.KERNEL else gone.pop(name, None)
        changes.append(Change(name, old, version))
    changes += [Change(name, version, None) for name, version in gone.items()]
    return relevant(changes)


def split_nevra(text: str) -> tuple[str, str] | None:
    """Name and version-release, with the epoch before it where there is one, of rpm's NAME-EPOCH:VERSION-RELEASE.ARCH.

    Old yum writes the epoch before the name.
    """
    found = re.match(
        r"(?:(\d{1,4}):)?([A-Za-z0-9][\w.+-]{0,150})-(?:(\d{1,4}):)?(\d[\w.+~^]{0,80})-([\w.+~^]{1,80}?)"
        r"(?:\.(?:x86_64|noarch|i[3-6]86|aarch64|ppc64le|s390x))?$",
        text,
    )
    if not found:
        return None
    epoch = found[1] or found[3] or "0"
    return found[2], f"{epoch + ':' if epoch != '0' else ''}{found[4]}-{found[5]}"


def parts_of(text: str, head: str) -> tuple[str, ...]:
    """The parts of a text that begin with a line of this form; ParseError where there is none in what is not empty."""
    starts = [found.start() for found in re.finditer(head, text, re.M)]
    if not starts and text.strip():
        raise ParseError(f"no line is of the form {head}")
    return tuple(text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=False))
