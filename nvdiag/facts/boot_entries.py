"""The entries of boot loaders' menus: GRUB's grub.cfg, and the one-file-an-entry form of the Boot Loader Specification.

Which kernel an entry boots is told by the release in its path or version, else by the image's own header, else by the
package that put it there (Arch's /usr/lib/modules/RELEASE/pkgbase).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from nvdiag.facts import reading
from nvdiag.facts.module_places import MODULE_FOLDERS
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import KernelRelease

BOOT_FOLDERS = ("/boot", "/efi", "/boot/efi")
"""Where /boot or the EFI system partition is mounted: paths in entries are relative to one of them."""

_MOST_ENTRIES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class BootEntry:
    """One entry of a boot menu. `linux` and `initrd` are paths as the boot loader sees them; `children` a submenu's."""

    id: str = ""
    title: str = ""
    linux: str = ""
    initrd: tuple[str, ...] = ()
    options: str = ""
    version: str = ""
    sort_key: str = ""
    machine_id: str = ""
    children: tuple[BootEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GrubMenu:
    """What grub.cfg says: its entries, and the default that it sets where nothing is set for once.

    `in_files` says that the entries are in files of their own (`blscfg`).
    """

    entries: tuple[BootEntry, ...] = ()
    default: str | None = None
    in_files: bool = False


_QUOTED = r"""(?:'(?P<single>(?:[^'\n]|'\\''){0,400})'|"(?P<double>[^"\n]{0,400})")"""
_ENTRY = regex(rf"^(?P<kind>menuentry|submenu)\s{{1,9}}{_QUOTED}(?P<rest>.{{0,800}})\{{$")
_ID = regex(r"""(?:\$\{?menuentry_id_option\}?|--id)[ =]{1,4}['"]?([^'"\s{]{1,300})""")
_DEFAULT = regex(r"""^set default=["']?(.{0,300}?)["']?$""")
_LINUX = regex(r"^linux(?:efi|16)?\s{1,9}(\S{1,400})\s{0,9}(.{0,4000})$")
_INITRD = regex(r"^initrd(?:efi|16)?\s{1,9}(.{1,800})$")


@dataclasses.dataclass(slots=True, eq=False, repr=False)  # noqa: TID251 - it is filled as the file is read
class _Open:
    """A block of grub.cfg whose end was not met yet; `entry` False for a function's."""

    id: str = ""
    title: str = ""
    entry: bool = False
    linux: str = ""
    options: str = ""
    initrd: tuple[str, ...] = ()
    children: list[BootEntry] = dataclasses.field(default_factory=list)

    def closed(self) -> BootEntry:
        return BootEntry(
            id=self.id, title=self.title, linux=self.linux, options=self.options, initrd=self.initrd,
            children=tuple(self.children),
        )  # fmt: skip


def parse_grub_cfg(text: str) -> GrubMenu:
    """The menu of a grub.cfg, as grub-mkconfig writes it: one statement a line."""
    stack = [_Open()]
    default: str | None = None
    in_files = False
    for line in (raw.strip() for raw in text.splitlines()):
        if match := _ENTRY.match(line):
            title = match["single"].replace("'\\''", "'") if match["single"] is not None else match["double"]
            named = _ID.search(match["rest"])
            stack.append(_Open(id=named[1] if named else "", title=title, entry=True))
        elif line.startswith("function ") and line.endswith("{"):
            stack.append(_Open())
        elif line == "}" and len(stack) > 1:
            block = stack.pop()
            if block.entry and len(stack[-1].children) < _MOST_ENTRIES:
                stack[-1].children.append(block.closed())
        elif match := _LINUX.match(line):
            stack[-1].linux, stack[-1].options = match[1], match[2]
        elif match := _INITRD.match(line):
            stack[-1].initrd = tuple(match[1].split())
        elif (match := _DEFAULT.match(line)) and "next_entry" not in match[1] and len(stack) == 1:
            default = match[1]
        elif line == "blscfg":
            in_files = True
    return GrubMenu(entries=tuple(stack[0].children), default=default, in_files=in_files)


def parse_entry(name: str, text: str) -> BootEntry:
    """An entry of the Boot Loader Specification; its id is the file's name without .conf."""
    fields: dict[str, list[str]] = {}
    for line in text.splitlines()[:200]:
        key, _, _ = line.strip().partition(" ")
        if key and not key.startswith("#"):
            fields.setdefault(key.partition("\t")[0], []).append((line.strip()[len(key) :]).strip())

    def one(key: str) -> str:
        return fields.get(key, [""])[0]

    return BootEntry(
        id=name.removesuffix(".conf"),
        title=one("title"),
        linux=one("linux") or one("efi") or one("uki"),
        initrd=tuple(path for value in fields.get("initrd", []) for path in value.split()),
        options=" ".join(fields.get("options", [])),
        version=one("version"),
        sort_key=one("sort-key"),
        machine_id=one("machine-id"),
    )


def entries_in(host: Host, folder: str) -> tuple[BootEntry, ...]:
    """The entries in a folder of such files. Unknown where one of them, or the folder, cannot be read."""
    names = [name for name in host.folder(folder) if name.endswith(".conf")][:_MOST_ENTRIES]
    return tuple(parse_entry(name, host.read(f"{folder}/{name}")) for name in names)


def kernel_of(host: Host, entry: BootEntry, installed: Sequence[KernelRelease]) -> KernelRelease:
    """The release of the kernel that an entry boots. Unknown where nothing tells it."""
    for words in (entry.linux, entry.version):
        if found := named_in(words, installed):
            return found
    if match := re.search(r"vmlinu[xz]-(\d+\.\d+\S{0,80})$", entry.linux):
        return KernelRelease(match[1])
    for path in paths_of(entry.linux):
        try:
            release = host.contents("kernel", path).get("release")
        except Unknown:
            continue
        if isinstance(release, str) and release:
            return KernelRelease(release)
    if release := _by_package(host, entry.linux.rpartition("vmlinuz-")[2]):
        return release
    raise Unknown(
        f"the entry {(entry.title or entry.id)[:80]!r} boots {entry.linux or 'no kernel'}, and of which release"
    )


def named_in(words: str, installed: Sequence[KernelRelease]) -> KernelRelease | None:
    """The installed kernel whose release stands in a text; the longest, for 6.8.0-8 is in 6.8.0-85."""
    fits = [kernel for kernel in installed if re.search(rf"(?<![\d.]){re.escape(kernel.text)}(?![\d])", words)]
    return max(fits, key=lambda kernel: len(kernel.text), default=None)


def paths_of(path: str) -> tuple[str, ...]:
    """Where a path of an entry may lie in this system: below one of the boot partition's places."""
    plain = re.sub(r"^(?:\([^)]{1,40}\)|\$root)", "", path)
    if not plain.startswith("/"):
        return ()
    below_boot = plain[plain.rindex("/boot/") :] if "/boot/" in plain else None
    return ((below_boot,) if below_boot else ()) + tuple(f"{folder}{plain}" for folder in BOOT_FOLDERS)


def _by_package(host: Host, package: str) -> KernelRelease | None:
    """The one kernel whose modules came with a package of this name (Arch: pkgbase beside the modules)."""
    if not package:
        return None
    for folder in MODULE_FOLDERS:
        fits = [
            name
            for name in reading.names(host, folder)
            if (reading.text(host, f"{folder}/{name}/pkgbase") or "").strip() == package
        ]
        if len(fits) == 1:
            return KernelRelease(fits[0])
    return None
