"""One Xid line of the kernel log, taken apart. What the number means is not said here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nvdiag.facts.pci import normal_address
from nvdiag.model.unknown import ParseError

_XID = re.compile(
    r"NVRM: Xid \((?P<where>[^()\n]{1,60})\):? ?(?P<number>[0-9]{1,4})\b[,:]?[ \t]{0,9}(?P<rest>[^\n]{0,4000})"
)
_ADDRESS = re.compile(r"(?:PCI:)?([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2})(\.[0-7])?(?![^\s])")
_INSTANCE = re.compile(r"GPU-I:([0-9]{1,4})")
_PID = re.compile(r"pid=(?:'?<unknown>'?|(?P<pid>[0-9]{1,10}))(?:,[ \t]{0,9}|$)")
_NAME = re.compile(r"name=(?:'?<unknown>'?|(?P<name>[^\n]{1,64}?))(?:,[ \t]{1,9}|,?$)")


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


def parse_xid(line: str) -> XidLine:
    """A line such as `NVRM: Xid (PCI:0000:5f:00): 79, pid=8828, GPU has fallen off the bus.` ParseError.

    Whatever dmesg, journald or syslog put before it is passed over. Forms: with and without `PCI:` (before about 2013),
    pid and name given, as '<unknown>', or missing (before 460, and for Xids of no process); the MIG form is written in
    the driver's published Xid documentation of contained errors.
    """
    found = _XID.search(line)
    if not found:
        raise ParseError("no Xid of the NVIDIA driver in this line")
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


def _process(pattern: re.Pattern[str], group: str, rest: str) -> tuple[str | None, str]:
    found = pattern.match(rest)
    return (found[group], rest[found.end() :]) if found else (None, rest)


def _address(where: str) -> str | None:
    found = _ADDRESS.match(where)
    return normal_address(f"{found[1]}{found[2] or '.0'}") if found else None
