"""The messages that a kernel log can hold, and the words by which to see that it holds none of them.

Parsing the tables costs tens of milliseconds, which a machine with a quiet log must not pay: the words stand here, and
a test holds them to the tables.
"""

from __future__ import annotations

from functools import lru_cache

from nvdiag.knowledge._tables import read
from nvdiag.knowledge.messages import Message, messages_of

FILES = ("messages_driver.toml", "messages_device.toml")
SPEAKERS = frozenset(
    {
        "nvidia kernel module",
        "Linux kernel",
        "Linux",
        "Linux, systemd",
        "nouveau",
        "nova-core",
        "nvidia-drm",
        "bbswitch",
        "nvidia-vgpu-vfio",
    }
)
"""Who writes to the kernel log, by the column `by`."""

SAID_IN_HEALTH = frozenset(
    {
        "suspend-in-the-log",
        "nvrm-preserve-memory",
        "pcie-bandwidth-limited",
        "kernel-bar-assigned",
        "modify-device-files-off",
        "nouveau-drives-gpu",
        "nova-drives-gpu",
        "bbswitch-proc-off",
        "node-input-output-error",
        "kernel-untrusted-key",
        "pciehp-link-down",
    }
)
"""Messages that mean something only beside others, or are no kernel's after all: they alone are no reason to look."""

WORDS = (
    "(pci id: 10de:", "): 79", "0m @ 0x0", "64-bit bar mapped above", "; giving up", "[nvidia-drm]",
    "_kgspisheartbeattimedout", "adapters were initialized", "allocate resized bar1", "api mismatch",
    "bailing out of rminitadapter", "bbswitch: disabling", "but another driver", "can't assign; no space",
    "can't enable device", "cannot initialize gsp firmware rm", "change power state", "devices were initialized",
    "disagrees about version of symbol", "disagrees about version of symbol nv", "discrete card", "failed to assign",
    "failed to copy vbios", "failed to map", "failed to re-allocate bar1", "fallen off the bus",
    "find an irq for your nvidia", "firmware image version mismatch", "gfw boot", "gfw_boot", "global fatal error",
    "gpu installed in this system is", "gpu is likely in a bad state", "gsp timeout *", "gsp_",
    "guest driver is incompatible", "ignoring the legacy gpu", "installed in this vgpu host system",
    "insufficient external power", "insufficiently powered", "is already bound to", "is not supported by the",
    "loading of module with missing", "loading of module with un", "loading of unsigned module",
    "may have misconfigured your", "missing endbr", "necessary power cables", "no firmware image found",
    "no interrupts of any type", "no nvidia devices probed", "no nvidia gpu found", "no nvidia graphics adapter found",
    "no nvidia graphics adapter probed", "no space for [mem size", "none of the nvidia", "not permitted for excluded",
    "nvidia probe routine failed", "nvidia probe routine was not called", "nvidia-nvswitch: version mismatch",
    "nvidia-uvm:", "nvidia-vgpu-vfio", "nvidia.ko because it does not include", "only ready for use on data center",
    "openrmenableunsupportedgpus", "osinitnvmapping: ***", "pci i/o region assigned to your nvidia device",
    "pci_enable_device failed", "pcie bus error: severity=uncorrect", "probe of", "probe of 0", "probe routine failed",
    "probe with driver nvidia failed", "request_free_mem_region", "request_mem_region failed for", "requires use of",
    "rm_init_adapter failed", "rminitadapter failed", "rminitnvdevice: ***", "to resize pcie bars", "unknown symbol",
    "unknown symbol nv", "unsigned module loading is restricted", "version magic", "version mismatch: nvidia",
    "vgpu type is not supported", "with driver nvidia failed", "wpr2 already up", "xx legacy drivers",
    "xx legacy linux",
)  # fmt: skip
"""The literals of all other messages of these speakers."""


def may_tell(small: str) -> bool:
    """Whether a log, in small letters, can hold one of the messages that mean something by themselves."""
    return any(word in small for word in WORDS)


@lru_cache(maxsize=1)
def kernel_messages() -> tuple[Message, ...]:
    """The messages of these speakers. MalformedTable where a row is wrong."""
    rows = (row for file in FILES for row in messages_of(read(file, "message", optional=("part",))))
    return tuple(row for row in rows if row.by in SPEAKERS)
