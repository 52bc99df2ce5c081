"""What extlinux, or U-Boot by the same file, boots next: extlinux.conf, a list of labels with a default among them.

Keywords are case-insensitive; `menu default` inside a label stands over `default` (doc.syslinux.org, SYSLINUX and Menu;
U-Boot, pxe_utils.c). Paths that are not absolute are relative to the file's folder.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from nvdiag.facts import reading
from nvdiag.facts.boot_entries import BootEntry, kernel_of
from nvdiag.facts.boot_grub import FOLDERS as GRUB_FOLDERS
from nvdiag.facts.boot_grub import Booting
from nvdiag.host import Host
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import KernelRelease

FILES = ("/boot/extlinux/extlinux.conf", "/boot/extlinux.conf")
_MOST_LINES = 4000


def is_used(host: Host) -> bool:
    """Whether its file is here, and GRUB has none."""
    if any(reading.is_there(host, f"{folder}/grub.cfg") for folder in GRUB_FOLDERS):
        return False
    return any(reading.is_there(host, path) for path in FILES)


def next_by_extlinux(host: Host, installed: Sequence[KernelRelease]) -> Booting:
    """What it boots next. Unknown."""
    path = next(one for one in FILES if reading.is_there(host, one))
    entries, default = parse_extlinux(host.read(path), posixpath.dirname(path))
    if not entries:
        raise Unknown(f"{path} has no label that boots a kernel")
    entry = next((one for one in entries if one.id == default), None)
    if entry is None and default:
        raise Unknown(f"the default of {path}, {default[:60]!r}, is none of its labels")
    how = f"the default of {path}" if entry else f"the first label of {path}"
    entry = entry or entries[0]
    return Booting(kernel_of(host, entry, installed), how, entry)


def parse_extlinux(text: str, folder: str) -> tuple[tuple[BootEntry, ...], str]:
    """The labels that boot a kernel, and the default's name, empty for none."""
    default = ""
    marked = ""
    labels: list[dict[str, str]] = []
    for line in text.splitlines()[:_MOST_LINES]:
        key, _, value = line.strip().replace("\t", " ").partition(" ")
        key, value = key.lower(), value.strip()
        if key == "menu":
            word, _, value = value.partition(" ")
            key = f"menu {word.lower()}"
        if key == "label":
            labels.append({"label": value})
        elif key == "default":
            default = value
        elif key == "menu default" and labels:
            marked = labels[-1]["label"]
        elif labels and value:
            labels[-1].setdefault(key, value.strip())
    entries = (_entry(fields, folder) for fields in labels)
    named = [one for one in entries if one.linux]
    plain = default if default in {one.id for one in named} or not default.endswith(".c32") else ""
    return tuple(named), marked or plain


def _entry(fields: dict[str, str], folder: str) -> BootEntry:
    options = fields.get("append", "")
    inside = [word.removeprefix("initrd=") for word in options.split() if word.startswith("initrd=")]
    paths = ",".join((fields.get("initrd", ""), *inside)).split(",")
    image = (fields.get("linux") or fields.get("kernel") or "").partition("#")[0]
    return BootEntry(
        id=fields["label"],
        title=fields.get("menu label", ""),
        linux=_absolute(image, folder) if image and not image.endswith(".c32") else "",
        initrd=tuple(_absolute(path, folder) for path in paths if path),
        options=options,
    )


def _absolute(path: str, folder: str) -> str:
    return posixpath.normpath(posixpath.join(folder, path))
