"""The copy of the driver inside the initramfs of the kernel that boots next: it is loaded before the one on disk.

Reading one takes up to seconds, so it is done where the parts of the driver disagree, or where a configuration puts the
driver into it and the initramfs is not newer than the module. Elsewhere only its end is looked for.
"""

from __future__ import annotations

import re

from nvdiag.facts import reading
from nvdiag.facts.boot import NextBootKernel
from nvdiag.facts.disagreement import Disagreement
from nvdiag.facts.modprobe import REFUSES, UNASKED
from nvdiag.facts.module_files import NextBootModule
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

_FILES = ("/etc/initramfs-tools/modules", "/etc/mkinitcpio.conf", "/etc/dracut.conf")
_FOLDERS = ("/etc/mkinitcpio.conf.d", "/etc/dracut.conf.d", "/usr/lib/dracut/dracut.conf.d")
_NOT_THERE = "it is not there"
_PUT_IN = regex(r"nvidia\S*\s*$|MODULES=|MODULES\+=|(?:add_|force_)drivers\+?=|drivers\+=|nvidia\S* \S+=\S+", re.A)


@dataclass(frozen=True, slots=True)
class InitramfsWish:
    """A configuration that puts nvidia's modules into the initramfs. NotApplicable where there is none."""

    evidence: tuple[Evidence, ...]

    @classmethod
    def collect(cls, host: Host, kernel: NextBootKernel) -> InitramfsWish:
        if kernel.root:
            raise NotApplicable("an image's initramfs is made where the image is made")
        paths = [*_FILES]
        for folder in _FOLDERS:
            paths += [f"{folder}/{name}" for name in reading.names(host, folder) if name.endswith(".conf")]
        found: list[Evidence] = []
        for path in paths:
            try:
                lines = [" ".join(line.split()) for line in host.lines_with("nvidia", path)]
            except Unknown:
                continue
            wanted = [one for one in lines if not one.startswith(("#", "omit_")) and _PUT_IN.match(one)]
            found += [Evidence(source=path, excerpt=one[:200]) for one in wanted]
        if not found:
            raise NotApplicable("no configuration puts the driver into the initramfs")
        return cls(tuple(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class InitramfsCopy:
    """What of the driver is in the initramfs. `trouble` says what is wrong with the file itself: missing, cut short.

    `firmware` are the releases whose GSP firmware is in it; `whole` is False where its end was not reached in time.
    `refused` is the line of its own modprobe.d that keeps its modules from loading, `unasked` one that does so unless
    something asks for them, as a list of modules to load does.
    """

    path: str
    releases: tuple[DriverRelease, ...] = ()
    modules: tuple[str, ...] = ()
    firmware: tuple[str, ...] = ()
    refused: str = ""
    unasked: str = ""
    trouble: str = ""
    whole: bool = True

    @classmethod
    def collect(
        cls,
        host: Host,
        kernel: NextBootKernel,
        following: NextBootModule,
        doubt: Disagreement | Unknown,
        wish: InitramfsWish | Unknown,
    ) -> InitramfsCopy:
        if kernel.root:
            raise NotApplicable("an image's initramfs is made where the image is made")
        if kernel.without_initramfs:
            return cls(path=kernel.without_initramfs, trouble=_NOT_THERE)
        if kernel.initramfs is None:
            raise Unknown(f"where the initramfs of {kernel.release} is")
        about = reading.stat(host, kernel.initramfs)
        if about is not None and about.size == 0:
            return cls(path=kernel.initramfs, trouble="it is empty")
        why_not = _why_not_read(host, kernel.initramfs, following, doubt, wish)
        if why_not:
            if trouble := _trouble_at_the_end(host, kernel.initramfs):
                return cls(path=kernel.initramfs, trouble=trouble)
            raise NotApplicable(why_not)
        try:
            said = host.contents("initramfs", kernel.initramfs)
        except Absent:
            return cls(path=kernel.initramfs, trouble=_NOT_THERE)
        return _read(kernel.initramfs, said)


def _why_not_read(
    host: Host, path: str, following: NextBootModule, doubt: Disagreement | Unknown, wish: InitramfsWish | Unknown
) -> str:
    """The reason for not reading it whole, empty where it is to be read."""
    if not isinstance(doubt, Unknown):
        return ""
    if isinstance(wish, Unknown):
        return "nothing says that the driver is in the initramfs, and its parts agree"
    if following.file is not None and _is_newer(host, path, following.file.path):
        return "the initramfs was made after the module on disk"
    return ""


def _trouble_at_the_end(host: Host, path: str) -> str:
    """What is certainly wrong with its end; it not being there counts. Whether it can be told is another matter."""
    try:
        return str(host.contents("initramfs-end", path).get("trouble") or "")
    except Absent:
        return _NOT_THERE
    except Unknown:
        return ""


def _is_newer(host: Host, path: str, than: str) -> bool:
    one, other = reading.stat(host, path), reading.stat(host, host.resolve(than))
    return bool(one and other and one.mtime and other.mtime and one.mtime >= other.mtime)


def _read(path: str, said: dict[str, object]) -> InitramfsCopy:
    modules = said.get("modules")
    fields = modules if isinstance(modules, dict) else {}
    versions = (str(one.get("version", "")) for one in fields.values() if isinstance(one, dict))
    trouble = str(said.get("trouble") or "")
    lines = [" ".join(one.split()) for one in _texts(said.get("modprobe"))]
    return InitramfsCopy(
        path=path,
        releases=tuple(dict.fromkeys(release for one in versions if (release := DriverRelease.or_none(one)))),
        modules=tuple(str(name) for name in fields),
        firmware=tuple(dict.fromkeys(name.partition("/")[0] for name in _texts(said.get("firmware")))),
        refused=next((one for one in lines if REFUSES.fullmatch(one)), ""),
        unasked=next((one for one in lines if UNASKED.fullmatch(one)), ""),
        trouble="" if trouble == "late" else trouble,
        whole=trouble != "late",
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, list) else ()
