"""One Xid or SXid line of the kernel log, taken apart. What the number means is not said here."""

from __future__ import annotations

import re

from nvdiag.facts.pci import normal_address
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import ParseError

_XID = regex(r"\bXid \((?P<where>[^()\n]{1,60})\):? ?(?P<number>[0-9]{1,4})\b[,:]?[ \t]{0,9}(?P<rest>[^\n]{0,4000})")
_WITHOUT_PLACE = regex(r"\bNVRM: Xid (?P<number>[0-9]{1,4})\b[,:]?[ \t]{0,9}(?P<rest>[^\n]{0,4000})")
_DEVICE_PLUGIN = regex(r"XidCriticalError: Xid=(?P<number>[0-9]{1,4})(?: on Device=(?P<where>[\w.:-]{1,80}))?")
_EXPORTER = regex(r"DCGM_FI_DEV_XID_ERRORS\{(?P<labels>[^{}\n]{1,2000})\} (?P<number>[1-9][0-9]{0,3})(?![0-9.])")
_BUS_ID = regex(r'pci_bus_id="([0-9A-Fa-f:.]{1,20})"')
_GPU = regex(r'(?:UUID|gpu)="([\w-]{1,60})"')
_PREVIOUS = regex(r"caused by previous Xid ([0-9]{1,4})", re.IGNORECASE)
_RECOVERY = regex(
    r"recovery action changed\b.{0,40}?\bto (?:0x[0-9A-Fa-f]{1,4} )?\(?([A-Za-z0-9][\w -]{0,40})", re.IGNORECASE
)
_SXID = regex(
    r"(?P<switch>nvidia-nvswitch[0-9]{0,4}): SXid \((?:PCI:)?(?P<where>[^()\n]{1,60})\): (?P<number>[0-9]{4,6})\b,?"
    r"[ \t]{0,9}(?:(?P<severity>Fatal|Non-fatal),?[ \t]{0,9})?(?P<rest>[^\n]{0,2000})",
    re.IGNORECASE,
)
_ADDRESS = regex(r"(?:PCI:)?([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2})(\.[0-7])?(?![^\s])")
_INSTANCE = regex(r"GPU-I:([0-9]{1,4})")
_PID = regex(r"pid=(?:'?<unknown>'?|(?P<pid>[0-9]{1,10}))(?:,[ \t]{0,9}|$)")
_NAME = regex(r"name=(?:'?<unknown>'?|(?P<name>[^\n]{1,64}?))(?:,[ \t]{1,9}|,?$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class XidLine:
    """An Xid as the driver wrote it to the kernel log.

    `where` are the words in the parentheses. `address` is the GPU there as sysfs writes it, function 0 where the line
    has none (it mostly has none); None for a form without a domain. `instance` is the MIG GPU instance ("GPU-I:05" is
    5). `pid` and `name` are the process's, None where the driver does not know it or does not say. `rest` is what
    follows, the words for this Xid.
    """

    where: str
    address: str | None
    instance: int | None
    number: int
    pid: int | None
    name: str | None
    rest: str

    @property
    def previous(self) -> int | None:
        """The Xid that an Xid 45 names as its cause (drivers since 2025)."""
        found = _PREVIOUS.search(self.rest)
        return int(found[1]) if found else None

    @property
    def recovery(self) -> str | None:
        """What an Xid 154 says that the GPU now needs, such as "GPU Reset Required" or "None"."""
        found = _RECOVERY.search(self.rest)
        return found[1].strip() if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SxidLine:
    """An SXid as the driver wrote it. `switch` is the NVSwitch's name, `address` its PCI address where it is one.

    `fatal` is None for the lines of raw data that follow the one in words.
    """

    switch: str
    address: str | None
    number: int
    fatal: bool | None
    rest: str


def parse_sxid(line: str) -> SxidLine:
    """A line such as `nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 12028, Non-fatal, Link 32 egress …`. ParseError."""
    found = _SXID.search(line)
    if not found:
        raise ParseError("no SXid of the NVIDIA driver in this line")
    return SxidLine(
        switch=found["switch"],
        address=_address(found["where"].strip()),
        number=int(found["number"]),
        fatal=found["severity"].lower() == "fatal" if found["severity"] else None,
        rest=found["rest"].strip(),
    )


def parse_xid(line: str) -> XidLine:
    """A line such as `NVRM: Xid (PCI:0000:5f:00): 79, pid=8828, GPU has fallen off the bus.` ParseError.

    Whatever dmesg, journald or syslog put before it is passed over. Forms: with and without `PCI:` (before about 2013),
    pid and name given, as '<unknown>', or missing (before 460, and for Xids of no process); the MIG form is written in
    the driver's published Xid documentation of contained errors. What NVIDIA's device plugin for Kubernetes and
    dcgm-exporter say of an Xid is read too: they have no words of the driver.
    """
    found = _XID.search(line)
    if not found:
        return _reported(line)
    where, rest = found["where"].strip(), found["rest"].strip()
    instance = _INSTANCE.search(where)
    pid, rest = _process(_PID, "pid", rest)
    name, rest = _process(_NAME, "name", rest)
    return XidLine(
        where=where,
        address=_address(where),
        instance=int(instance[1]) if instance else None,
        number=int(found["number"]),
        pid=int(pid) if pid else None,
        name=name,
        rest=rest,
    )


def _reported(line: str) -> XidLine:
    """An Xid as people shorten it, as the device plugin writes it, or as dcgm-exporter counts it (the last Xid)."""
    where, rest = "", ""
    if found := _WITHOUT_PLACE.search(line):
        rest = found["rest"].strip()
    elif found := _DEVICE_PLUGIN.search(line):
        where = found["where"] or ""
    elif found := _EXPORTER.search(line):
        place = _BUS_ID.search(found["labels"]) or _GPU.search(found["labels"])
        where = place[1] if place else ""
    else:
        raise ParseError("no Xid of the NVIDIA driver in this line")
    return XidLine(
        where=where,
        address=_address(where),
        instance=None,
        number=int(found["number"]),
        pid=None,
        name=None,
        rest=rest,
    )


def _process(pattern: re.Pattern[str], group: str, rest: str) -> tuple[str | None, str]:
    found = pattern.match(rest)
    return (found[group], rest[found.end() :]) if found else (None, rest)


def _address(where: str) -> str | None:
    found = _ADDRESS.match(where)
    return normal_address(f"{found[1]}{found[2] or '.0'}") if found else None
