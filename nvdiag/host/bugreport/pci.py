"""What lspci printed, as sysfs has it: addresses, ids, classes, the bound driver, the state of the link.

`lspci -nn` has every device; `-v` has, for a GPU, `Kernel driver in use` and `Kernel modules`. The latter are those
that the running kernel's modules.alias names for the device (lspci reads it through libkmod).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field  # noqa: TID251 - it is filled as the report is read

from nvdiag.host.bugreport.draft import PER_LINE, Draft

DEVICES = "/sys/bus/pci/devices"
_MOST_DEVICES = 4096
_MOST_LINES = 400
_MOST_BYTES = 4 << 20
"""Of all devices' details together."""

_DEVICE = re.compile(rb"((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) (\S.{0,1000})")
_NUMBERS = re.compile(
    r"^[^:\[]{0,80}\[([0-9a-f]{4})\]: .{0,800}\[([0-9a-f]{4}):([0-9a-f]{4})\](?: \(rev ([0-9a-f]{2})\))?"
)
_INTERFACE = re.compile(r"\(prog-if ([0-9a-f]{2})")
_LINK = re.compile(r"Speed ([0-9.]{1,6})GT/s.{0,40}?Width x(\d{1,2})\b")


@dataclass(slots=True)
class _Device:
    """One device. `numbers` are class, vendor and device id; `details` the indented lines below its first."""

    numbers: tuple[str, str, str] | None = None
    interface: str = "00"
    first: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    is_detailed: bool = False


class Bus:
    """All devices that any lspci of the report shows."""

    def __init__(self) -> None:
        self._devices: dict[str, _Device] = {}
        self._listed_whole = False
        self._room = _MOST_BYTES

    def section(self, draft: Draft, arguments: str) -> LspciSection | None:
        """The reader of one lspci's output, None for a form that adds nothing (the tree)."""
        if re.search(r"(?:^| )-\w*t", arguments):
            return None
        return LspciSection(self, everything='-d "' not in arguments and "-d " not in arguments)

    def device(self, address: str) -> _Device | None:
        """The device at an address, made where it is new; None where there are too many."""
        address = address if len(address) > 7 else f"0000:{address}"
        if address not in self._devices and len(self._devices) >= _MOST_DEVICES:
            return None
        return self._devices.setdefault(address, _Device())

    def detail(self, device: _Device, line: bytes) -> None:
        """Keep an indented line of a device."""
        if len(device.details) < _MOST_LINES and self._room > 0:
            device.details.append(line[:2000].decode("utf-8", "replace"))
            self._room -= len(line) + PER_LINE

    def listed_whole(self) -> None:
        """One lspci has shown all devices there are."""
        self._listed_whole = True

    def gpus(self) -> list[str]:
        """The addresses of NVIDIA's GPUs in the bus's order, which is NVML's."""
        return [
            address
            for address, one in sorted(self._devices.items())
            if one.numbers and one.numbers[0].startswith("03") and one.numbers[1] == "10de"
        ]

    def write(self, draft: Draft) -> None:
        """Record all devices as sysfs would show them; what lspci says of NVIDIA's, also in its own words."""
        said: list[str] = []
        known = {address: one for address, one in sorted(self._devices.items()) if one.numbers}
        if known and self._listed_whole:
            draft.put("folders", DEVICES, list(known))
        for address, one in known.items():
            if one.numbers is None:
                continue
            code, vendor, device = one.numbers
            draft.file(f"{DEVICES}/{address}/vendor", f"0x{vendor}\n")
            draft.file(f"{DEVICES}/{address}/class", f"0x{code}{one.interface}\n")
            draft.file(f"{DEVICES}/{address}/device", f"0x{device}\n")
            if vendor == "10de":
                shown = _nvidia(draft, address, one)
                said += shown if code.startswith("03") else []
        draft.say("lspci", (line.encode() for line in said))


def _nvidia(draft: Draft, address: str, one: _Device) -> list[str]:
    """Record what is known of one of NVIDIA's devices. The lines are lspci's own."""
    words = [line.strip() for line in one.details]
    driver = next((word.partition(": ")[2] for word in words if word.startswith("Kernel driver in use: ")), None)
    if driver:
        draft.put("links", f"{DEVICES}/{address}/driver", f"../../../bus/pci/drivers/{driver}")
    elif one.is_detailed:
        draft.put("links", f"{DEVICES}/{address}/driver", None)
    for name, key in (("max", "LnkCap:"), ("current", "LnkSta:")):
        line = next((word for word in words if word.startswith(key)), "")
        if found := _LINK.search(line):
            draft.file(f"{DEVICES}/{address}/{name}_link_speed", f"{float(found[1]):.1f} GT/s PCIe\n")
            draft.file(f"{DEVICES}/{address}/{name}_link_width", f"{found[2]}\n")
    shown = [f"{address} {first}" for first in one.first] + one.details
    draft.command(shlex.join(["lspci", "-nnvs", address]), "\n".join(shown) + "\n", 0)
    return shown


class LspciSection:
    """One lspci's output."""

    def __init__(self, bus: Bus, *, everything: bool) -> None:
        self._bus = bus
        self._everything = everything
        self._current: _Device | None = None
        self._is_nvidia = False

    def add(self, line: bytes) -> None:
        if line[:1] == b"\t":
            if self._is_nvidia and self._current is not None:
                self._bus.detail(self._current, line)
            return
        if not line:
            self._end_device()
        elif found := _DEVICE.fullmatch(line):
            self._end_device()
            self._begin(found[1].decode(), found[2].decode("utf-8", "replace"))

    def _begin(self, address: str, words: str) -> None:
        self._current = self._bus.device(address)
        if self._current is None:
            return
        numbers = _NUMBERS.match(words)
        if numbers:
            self._current.numbers = (numbers[1], numbers[2], numbers[3])
        if interface := _INTERFACE.search(words):
            self._current.interface = interface[1]
        self._is_nvidia = "[10de:" in words or "nvidia" in words.lower()
        if self._is_nvidia and words not in self._current.first and len(self._current.first) < 4:
            self._current.first.append(words)
        if self._current.is_detailed:
            self._is_nvidia = False  # told already, by another lspci

    def _end_device(self) -> None:
        if self._current is not None and self._is_nvidia and self._current.details:
            self._current.is_detailed = True
        self._current, self._is_nvidia = None, False

    def close(self, whole: bool) -> None:
        """The section is over; `whole` is False where the report ends in it."""
        if whole:
            self._end_device()
            if self._everything:
                self._bus.listed_whole()
