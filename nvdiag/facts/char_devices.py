"""The numbers that the loaded modules have for their device nodes, as the kernel lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable

DEVICES = "/proc/devices"
FRONTEND = 195
"""The major of nvidiactl, nvidia-modeset and the GPUs' nodes (nv-chardev-numbers.h)."""


@dataclass(frozen=True, slots=True)
class CharacterDevices:
    """Major numbers by the driver's name."""

    majors: Mapping[str, int]

    @classmethod
    def collect(cls, host: Host) -> CharacterDevices:
        try:
            text = host.read(DEVICES)
        except Absent as why:
            raise NotApplicable(str(why)) from why
        head = text.partition("Block devices:")[0]
        return cls({name: int(major) for major, name in re.findall(r"^ {0,8}(\d{1,6}) (nvidia\S{0,40})$", head, re.M)})

    def wanted(self, node: str) -> tuple[int, int] | None:
        """Major and minor that a node must have; None where its module is not loaded, or for another node."""
        name = node.removeprefix("/dev/")
        if uvm := {"nvidia-uvm": 0, "nvidia-uvm-tools": 1}.get(name, -1) + 1:
            major = self.majors.get("nvidia-uvm")
            return None if major is None else (major, uvm - 1)
        number = name.removeprefix("nvidia")
        minor = {"nvidiactl": 255, "nvidia-modeset": 254}.get(name, int(number) if number.isdigit() else -1)
        known = any(one in self.majors for one in ("nvidia", "nvidiactl", "nvidia-frontend"))
        return (FRONTEND, minor) if known and minor >= 0 else None
