"""What GRUB boots next: by its own menu where that may be read, else by the rule that makes the menu."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nvdiag.facts import reading
from nvdiag.facts.boot_entries import BootEntry, GrubMenu, entries_in, kernel_of, named_in, parse_grub_cfg
from nvdiag.host import Absent, Host, Refused
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import KernelRelease

FOLDERS = ("/boot/grub", "/boot/grub2")
ENTRIES = "/boot/loader/entries"
EFI = "/boot/efi/EFI"


@dataclass(frozen=True, slots=True)
class Booting:
    """A kernel that boots next, by which rule, and the menu entry that it is booted from where that is known."""

    release: KernelRelease
    how: str
    entry: BootEntry | None = None
    root: str = ""


def next_by_grub(host: Host, installed: Sequence[KernelRelease]) -> Booting:
    """What GRUB boots next. Unknown."""
    environment = _grubenv(host)
    found = _menu(host)
    if found is None:
        return _by_rule(host, environment, installed)
    menu, path = found
    in_files = _in_files(host) if menu.in_files else ()
    if menu.in_files and not in_files:
        return _by_rule(host, environment, installed)
    entries = (*in_files, *menu.entries)
    spec, how = _wanted(menu, environment, path)
    entry, exact = picked(entries, spec)
    if entry is None:
        raise Unknown(f"{path} has no entry that boots a kernel")
    if not exact:
        how += f" ({spec[:60]!r}) is not in the menu, so the first entry"
    return Booting(kernel_of(host, entry, installed), how, entry)


def _wanted(menu: GrubMenu, environment: dict[str, str], path: str) -> tuple[str, str]:
    """The default as GRUB resolves it, and by which rule."""
    if once := environment.get("next_entry"):
        return once, "grubenv's next_entry, for one boot"
    default = menu.default if menu.default is not None else "0"
    if "saved_entry" in default:
        saved = environment.get("saved_entry")
        return (saved, "grubenv's saved_entry") if saved else ("0", f"the first entry of {path}, for none is saved")
    if default == "0":
        return default, f"the first entry of {path}"
    return default, f"the default of {path}"


def picked(entries: Sequence[BootEntry], spec: str) -> tuple[BootEntry | None, bool]:
    """The entry that `1>2`, a title or an id names, and whether it names one: else GRUB takes the first."""
    first, separator, rest = re.sub(">>", "\0", spec).partition(">")
    first = first.replace("\0", ">")
    entry: BootEntry | None = None
    if first.isascii() and first.isdigit() and len(first) < 6:
        entry = entries[int(first)] if int(first) < len(entries) else None
    else:
        entry = next((one for one in entries if first and first in (one.id, one.title)), None)
    if entry is None:
        return _first_kernel(entries), False
    if entry.children:
        inner, exact = picked(entry.children, rest.replace("\0", ">>") if separator else "0")
        return inner, exact
    return entry, True


def _first_kernel(entries: Sequence[BootEntry]) -> BootEntry | None:
    for one in entries:
        if one.children:
            return _first_kernel(one.children)
        return one
    return None


def _menu(host: Host) -> tuple[GrubMenu, str] | None:
    """GRUB's own menu; None where none may be read."""
    systems = [f"{EFI}/{name}" for name in reading.names(host, EFI) if name.lower() != "boot"]
    for folder in (*FOLDERS, *systems):
        text = reading.text(host, f"{folder}/grub.cfg")
        menu = parse_grub_cfg(text) if text else GrubMenu()
        if menu.entries or menu.in_files:
            return menu, f"{folder}/grub.cfg"
    return None


def _in_files(host: Host) -> tuple[BootEntry, ...]:
    """The entries in files, in the order in which GRUB's blscfg shows them: the highest version first."""
    try:
        found = entries_in(host, ENTRIES)
    except Absent:
        return ()
    return tuple(sorted(found, key=lambda one: KernelRelease(one.id), reverse=True))


def _by_rule(host: Host, environment: dict[str, str], installed: Sequence[KernelRelease]) -> Booting:
    """What grub-mkconfig's menu would boot: the newest kernel comes first in it."""
    if once := environment.get("next_entry"):
        return _named(once, installed, "grubenv's next_entry, for one boot")
    default = _grub_default(host)
    saved = environment.get("saved_entry")
    if default == "saved" and saved:
        return _named(saved, installed, "grubenv's saved_entry")
    if default in ("saved", "0"):
        return Booting(max(installed), f"the newest of {len(installed)} kernels, which GRUB_DEFAULT={default} takes")
    if default is None and saved:
        return _named(saved, installed, "grubenv's saved_entry")
    if default is None:
        raise Unknown("no GRUB default is set here, so another boot loader or its built-in rule decides")
    return _named(default, installed, "GRUB_DEFAULT")


def _grubenv(host: Host) -> dict[str, str]:
    for path in (f"{folder}/grubenv" for folder in FOLDERS):
        try:
            return parse_grubenv(host.read(path))
        except Refused as refused:
            raise Unknown(f"which kernel boots next stands in {refused}") from refused
        except Unknown:
            continue
    return {}


def parse_grubenv(text: str) -> dict[str, str]:
    """GRUB's environment block: NAME=value lines, then a padding of # signs (grub-editenv)."""
    lines = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, equals, value in lines if equals}


def _grub_default(host: Host) -> str | None:
    texts = [reading.text(host, "/etc/default/grub") or ""]
    folder = "/etc/default/grub.d"
    texts += [
        reading.text(host, f"{folder}/{name}") or "" for name in reading.names(host, folder) if name.endswith(".cfg")
    ]
    found = re.findall(r"^[ \t]{0,80}GRUB_DEFAULT=(.*)$", "\n".join(texts), re.M)
    return found[-1].strip().strip("\"'") if found else None


def _named(entry: str, installed: Sequence[KernelRelease], source: str) -> Booting:
    kernel = named_in(entry, installed)
    if kernel is None:
        raise Unknown(f"{source} is {entry[:80]!r}, which names none of the installed kernels")
    return Booting(kernel, source)
