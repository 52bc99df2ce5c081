"""The reasons of a verdict on the next boot: each of a kind, and a clause that says it."""

from __future__ import annotations

from enum import Enum

from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence


class Why(Enum):
    """The kind of a reason; reports show its value."""

    NEXT_BOOT_UNKNOWN = "the kernel that boots next is not known"
    NO_MODULE = "no module"
    OTHER_RELEASE = "a module of another release"
    OTHER_KERNEL = "a module for another kernel"
    RELEASE_UNREAD = "a module whose release is not known"
    NOT_LISTED = "modules.dep is out of date"
    KEPT_OUT = "modprobe or the command line refuses it"
    SIGNATURE = "its signature"
    FIRMWARE = "its GSP firmware"
    INITRAMFS = "the initramfs"
    UNDER_WAY = "a change is under way"
    INTERRUPTED = "an interrupted dpkg"
    BUILD = "the build of the module"
    COMPILER = "the compiler"
    PUT_ASIDE = "a module that DKMS put aside"
    COPIES = "several copies"
    SPACE = "/boot is full"
    AS_WANTED = "a module of the libraries' release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason of a verdict, one clause; `decides` False where it only leaves a doubt, or explains another one."""

    why: Why
    says: str
    decides: bool = True
    evidence: tuple[Evidence, ...] = ()
