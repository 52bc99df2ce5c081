"""What systemd-boot boots next, by its EFI variables, its configuration and its entries (loader.conf(5)).

Its menu is sorted: sort-key, machine-id, then the newest version. A unified image's place in that order depends on what
is inside it, so without a default among several kernels nothing is claimed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from nvdiag.facts import reading
from nvdiag.facts.boot_entries import BOOT_FOLDERS, BootEntry, entries_in, kernel_of
from nvdiag.facts.boot_grub import FOLDERS as GRUB_FOLDERS
from nvdiag.facts.boot_grub import Booting
from nvdiag.host import Host
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import KernelRelease

VARIABLES = "/sys/firmware/efi/efivars"
_VENDOR = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
"""The vendor id of the Boot Loader Interface's variables (systemd.io/BOOT_LOADER_INTERFACE)."""


def variable(host: Host, name: str) -> str:
    """An EFI variable of the Boot Loader Interface: UTF-16 behind four bytes of attributes; empty where it is not."""
    said = reading.text(host, f"{VARIABLES}/{name}-{_VENDOR}") or ""
    return said[4:].replace("\0", "")


def is_used(host: Host) -> bool:
    """Whether systemd-boot started this system, or is set up where GRUB is not."""
    if said := variable(host, "LoaderInfo"):
        return said.startswith("systemd-boot")
    if any(reading.is_there(host, f"{folder}/grub.cfg") for folder in GRUB_FOLDERS):
        return False
    return any(reading.is_there(host, f"{folder}/loader/loader.conf") for folder in BOOT_FOLDERS)


def next_by_systemd_boot(host: Host, installed: Sequence[KernelRelease]) -> Booting:
    """What it boots next. Unknown."""
    entries = _entries(host)
    if not entries:
        raise Unknown("systemd-boot starts this system, and its entries cannot be read")
    wanted = (
        (variable(host, "LoaderEntryOneShot"), "the EFI variable LoaderEntryOneShot, for one boot"),
        (variable(host, "LoaderEntryPreferred"), "the EFI variable LoaderEntryPreferred"),
        (variable(host, "LoaderEntryDefault"), "the EFI variable LoaderEntryDefault"),
        (_configured(host), "the default in loader.conf"),
    )
    for pattern, how in wanted:
        name = variable(host, "LoaderEntryLastBooted") if pattern == "@saved" else pattern
        fits = [entry for entry in entries if name and fnmatchcase(_id(entry).lower(), _with_suffix(name, entry))]
        if fits:
            entry = _sorted(fits)[0]
            return Booting(kernel_of(host, entry, installed), how, entry)
    kernels = {kernel_of(host, entry, installed) for entry in entries}
    first = _sorted(entries)[0]
    if len(kernels) > 1 and any(entry.linux.endswith(".efi") and not entry.sort_key for entry in entries):
        raise Unknown(f"systemd-boot has {len(entries)} entries and no default, and unified images are among them")
    return Booting(kernel_of(host, first, installed), "the first in systemd-boot's order", first)


def _with_suffix(name: str, entry: BootEntry) -> str:
    """A pattern as it is compared: an id may be given with or without .conf."""
    small = name.lower()
    return small if small.endswith((".conf", ".efi", "*")) or entry.linux.endswith(".efi") else f"{small}.conf"


def _id(entry: BootEntry) -> str:
    """The entry's id: the file's name, without the counter of tries."""
    return re.sub(r"\+\d{1,4}(?:-\d{1,4})?(?=\.(?:conf|efi)$)", "", entry.id)


def _configured(host: Host) -> str:
    for folder in BOOT_FOLDERS:
        said = re.findall(
            r"^default[ \t]{1,9}(\S{1,200})", reading.text(host, f"{folder}/loader/loader.conf") or "", re.M
        )
        if said:
            return str(said[-1])
    return ""


def _entries(host: Host) -> tuple[BootEntry, ...]:
    found: dict[str, BootEntry] = {}
    for folder in BOOT_FOLDERS:
        try:
            for one in entries_in(host, f"{folder}/loader/entries"):
                found.setdefault(one.id, _named_whole(one))
        except Unknown:
            pass
        for name in reading.names(host, f"{folder}/EFI/Linux"):
            if name.lower().endswith(".efi"):
                found.setdefault(name, BootEntry(id=name, title=name, linux=f"/EFI/Linux/{name}"))
    return tuple(found.values())


def _named_whole(entry: BootEntry) -> BootEntry:
    """With the id that systemd-boot knows it by, which has the .conf."""
    from dataclasses import replace

    return replace(entry, id=f"{entry.id}.conf")


def _sorted(entries: Sequence[BootEntry]) -> list[BootEntry]:
    newest = sorted(entries, key=lambda one: (KernelRelease(one.version), KernelRelease(one.id)), reverse=True)
    return sorted(newest, key=lambda one: (not one.sort_key, one.sort_key, one.machine_id))
