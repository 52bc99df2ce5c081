"""The driver's own: its version file, modules in memory and on disk, DKMS, the GPUs on the bus."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nvdiag.host.paste.blocks import Block
from nvdiag.host.paste.document import Part

VERSION_FILE = "/proc/driver/nvidia/version"
_LSMOD = re.compile(
    r"^\s{0,8}(nvidia[a-z_]{0,20}|nouveau|nova_core|drm|i915|amdgpu|vfio_pci)\s{1,40}(\d{3,12})\s{1,9}(-?\d{1,6})(?:\s|$)"
)
_MODINFO = re.compile(
    r"^(filename|version|license|vermagic|signer|sig_id|srcversion|description|supported|name):\s{1,20}(\S.{0,400})$"
)
_DKMS = re.compile(
    r"^\s{0,4}(nvidia[\w.-]{0,40})(?:/|, )(\d[\w.:~+-]{1,40}),? ?.{0,120}?: ?(added|built|installed|broken)\b", re.I
)
_LSPCI = re.compile(
    r"^\s{0,4}(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]) "
    r"((?:VGA compatible|3D|Display) controller)(?: \[(03\d\d)\])?: (.{1,300})$"
)
_PCI_ID = re.compile(r"\[10de:([0-9a-fA-F]{4})\]")


def version_file(block: Block, part: Part) -> None:
    """/proc/driver/nvidia/version in all its forms, also in the middle of a line."""
    for index, line in enumerate(block.lines):
        if "NVRM version:" in line:
            start = line.index("NVRM version:")
            after = [following for following in block.lines[index + 1 : index + 2] if "GCC version" in following]
            part.put("files", VERSION_FILE, "\n".join([line[start:], *after]) + "\n")


def lsmod(block: Block, part: Part) -> None:
    """Loaded modules. Of a filtered listing only one that looks for nvidia can show that nvidia is not there."""
    found = [line.strip() for line in block.lines if _LSMOD.match(line)]
    command = block.command if block.command is not None and block.command.program == "lsmod" else None
    of_nvidia = command is not None and (not command.filtered or "nvidia" in command.line)
    if any(line.startswith("nvidia") for line in found) or (found and of_nvidia):
        part.more(("lsmod",), "\n".join(found))
    elif of_nvidia and command is not None and command.filtered and block.whole and not block.text.strip():
        part.command(("lsmod",), "")


def modinfo(block: Block, part: Part) -> None:
    """modinfo of the nvidia module, whole or filtered."""
    asked = block.command is not None and block.command.program == "modinfo"
    fields = {found[1]: found[2].strip() for line in block.lines if (found := _MODINFO.match(line))}
    if asked and {"-F", "--field"} & set(block.command.argv) and "version" in block.command.argv:  # type: ignore[union-attr]
        told = next((line.strip() for line in block.lines if line.strip()), "")
        fields = {"version": told} if re.fullmatch(r"\d{2,4}\.[\d.]{1,12}", told) else fields
    path = fields.get("filename", "")
    if not (asked and "nvidia" in block.command.line) and "nvidia" not in path:  # type: ignore[union-attr]
        return
    if any("not found" in line for line in block.lines):
        part.command(("modinfo", "nvidia"), block.text, 1)
    elif fields.get("version") or path:
        part.command(("modinfo", "nvidia"), "\n".join(f"{name}: {value}" for name, value in fields.items()))
        if path.startswith("/"):
            part.put("modinfo", path, fields)


def dkms(block: Block, part: Part) -> None:
    """`dkms status`, as new and old releases print it."""
    found = [line.strip() for line in block.lines if _DKMS.match(line)]
    if found:
        part.more(("dkms", "status"), "\n".join(found))


def lspci(block: Block, part: Part) -> None:
    """NVIDIA's display controllers as sysfs shows them. A listing without driver lines leaves the driver untold."""
    for index, line in enumerate(block.lines):
        found = _LSPCI.match(line)
        if not found or "NVIDIA" not in found[5]:
            continue
        address = f"{int(found[1] or '0', 16):04x}:{found[2].lower()}"
        folder = f"/sys/bus/pci/devices/{address}"
        identifier = _PCI_ID.search(found[5])
        code = found[4] or ("0300" if found[3].startswith("VGA") else "0302" if found[3] == "3D controller" else "0380")
        _listed_device(part, address)
        part.put("files", f"{folder}/vendor", "0x10de\n")
        part.put("files", f"{folder}/class", f"0x{code}00\n")
        if identifier:
            part.put("files", f"{folder}/device", f"0x{identifier[1].lower()}\n")
        _bound_driver(part, folder, block.lines[index + 1 : index + 60])


def _listed_device(part: Part, address: str) -> None:
    listed = part.document["folders"].setdefault("/sys/bus/pci/devices", [])
    if address not in listed:
        listed.append(address)


def _bound_driver(part: Part, folder: str, following: Sequence[str]) -> None:
    """The driver of the device whose lines follow; None only where its modules are listed and no driver is."""
    modules = False
    for line in following:
        if not line.startswith((" ", "\t")):
            break
        if found := re.match(r"\s{1,20}Kernel driver in use: ([\w-]{1,40})", line):
            part.put("links", f"{folder}/driver", f"../../../bus/pci/drivers/{found[1]}")
            return
        modules = modules or "Kernel modules:" in line
    if modules:
        part.put("links", f"{folder}/driver", None)
