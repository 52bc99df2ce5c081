"""The driver's own: its version file, modules in memory and on disk, DKMS, the GPUs on the bus."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nvdiag.host.paste.blocks import Block, Command
from nvdiag.host.paste.document import Part

VERSION_FILE = "/proc/driver/nvidia/version"
_LSMOD = re.compile(
    r"^\s{0,8}(nvidia[a-z_]{0,20}|nouveau|nova_core|drm|i915|amdgpu|vfio_pci)\s{1,40}(\d{3,12})\s{1,9}(-?\d{1,6})(?:\s|$)"
)
_MODINFO = re.compile(
    r"^(filename|version|license|vermagic|signer|sig_id|srcversion|description|supported|name):\s{1,20}(\S.{0,400})$"
)
_DKMS = re.compile(
    r"^\s{0,4}(nvidia[\w.-]{0,40})(?:/|, )(\d[\w.:~+-]{1,40}),? ?.{0,120}?: ?(added|built|installed|broken)\b"
    r"(?: ?\([^()\n]{1,80}\)){0,3}",
    re.I,
)
_LSPCI = re.compile(
    r"^\s{0,4}(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]) "
    r"((?:VGA compatible|3D|Display) controller)(?: \[(03\d\d)\])?: (.{1,300})$"
)
_DETAIL = re.compile(
    r"(?:Subsystem|DeviceName|Flags|Memory at|I/O ports|Capabilities|Control|Status|Latency|Interrupt|NUMA node|Region"
    r"|IOMMU group|Expansion ROM|Kernel driver in use|Kernel modules)\b"
)
"""How the lines of `lspci -k` and -v begin that tell more of a device; a forum may have taken their indentation."""
_DEVICE = re.compile(r"^\s{0,4}(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7] \S")
_FEWEST_DEVICES = 8
"""Devices on the bus of any machine; a shorter list is a part of one."""

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
    found = [match for line in block.lines if (match := _DKMS.match(line))]
    for match in found:
        _listed(part, "/var/lib/dkms", match[1])
        _listed(part, f"/var/lib/dkms/{match[1]}", match[2])
        kernel = re.search(r", (\d{1,2}\.\d{1,3}[\w.+~-]{0,80})", match[0][match.end(2) - match.start() :])
        if kernel and match[3].lower() in ("built", "installed"):
            _listed(part, f"/var/lib/dkms/{match[1]}/{match[2]}", kernel[1])
    if found:
        part.more(("dkms", "status"), "\n".join(match[0].strip() for match in found))


def _listed(part: Part, folder: str, name: str) -> None:
    names = part.document["folders"].setdefault(folder, [])
    if name not in names:
        names.append(name)


def lspci(block: Block, part: Part) -> None:
    """NVIDIA's display controllers as sysfs shows them. A listing without driver lines leaves the driver untold."""
    _bus_without_nvidia(block, part)
    for index, line in enumerate(block.lines):
        found = _LSPCI.match(line)
        if not found or "NVIDIA" not in found[5]:
            continue
        address = f"{int(found[1] or '0', 16):04x}:{found[2].lower()}"
        folder = f"/sys/bus/pci/devices/{address}"
        identifier = _PCI_ID.search(found[5])
        code = found[4] or ("0300" if found[3].startswith("VGA") else "0302" if found[3] == "3D controller" else "0380")
        _listed(part, "/sys/bus/pci/devices", address)
        part.put("files", f"{folder}/vendor", "0x10de\n")
        part.put("files", f"{folder}/class", f"0x{code}00\n")
        if identifier:
            part.put("files", f"{folder}/device", f"0x{identifier[1].lower()}\n")
        _bound_driver(part, folder, block.lines[index + 1 : index + 60])


def _bus_without_nvidia(block: Block, part: Part) -> None:
    """A bus on which nothing of NVIDIA's is: by a whole listing, or by a search for NVIDIA that found nothing."""
    command = block.command if block.command is not None and block.command.program == "lspci" else None
    devices = [line for line in block.lines if _DEVICE.match(line)]
    if any("NVIDIA" in line or "10de:" in line for line in block.lines):
        return
    narrowed = command is not None and any(word.startswith(("-s", "-d")) for word in command.argv)
    whole = len(devices) >= _FEWEST_DEVICES and not narrowed and not (command is not None and command.filtered)
    searched = command is not None and block.whole and not block.text.strip() and _for_nvidia(command)
    if whole or searched:
        part.document["folders"].setdefault("/sys/bus/pci/devices", [])


def _for_nvidia(command: Command) -> bool:
    """Whether the filter lets through just what names NVIDIA."""
    last = command.stages[-1] if command.filtered else ()
    words = [word.lower() for word in last if not word.startswith("-")]
    return words[:1] == ["grep"] and words[1:] == ["nvidia"]


def _bound_driver(part: Part, folder: str, following: Sequence[str]) -> None:
    """The driver of the device whose lines follow; None only where its modules are listed and no driver is."""
    modules = False
    for line in following:
        if not line.startswith((" ", "\t")) and not _DETAIL.match(line):
            break
        if found := re.match(r"\s{0,20}Kernel driver in use: ([\w-]{1,40})", line):
            part.put("links", f"{folder}/driver", f"../../../bus/pci/drivers/{found[1]}")
            return
        modules = modules or "Kernel modules:" in line
    if modules:
        part.put("links", f"{folder}/driver", None)
