"""What mokutil(1) says of Secure Boot and of the machine owner's keys: the EFI variables that it reads."""

from __future__ import annotations

import re

from nvdiag.host.paste.blocks import Block
from nvdiag.host.paste.document import Part

VARIABLES = "/sys/firmware/efi/efivars"
SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"

_STATE = re.compile(r"^SecureBoot (enabled|disabled)\b")
_NAME = re.compile(r"^\s{4,20}(?:Subject|Issuer): .{0,200}?\bCN ?= ?([^,/\n]{1,100}?)\s{0,20}(?:[,/].{0,200})?$")
_SHORT = re.compile(r"^[0-9a-f]{10} (\S.{0,98}\S)\s{0,20}$")
"""A row of --list-enrolled --short, which some releases print by themselves."""


def mokutil(block: Block, part: Part) -> None:
    """`mokutil --sb-state` and --list-enrolled."""
    for line in block.lines:
        if found := _STATE.match(line.strip()):
            _variable(part, "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", found[1] == "enabled")
        elif line.strip() == "SecureBoot validation is disabled in shim":
            _variable(part, f"MokSBStateRT-{SHIM}", True)
    if block.command is not None and {"--list-enrolled", "-l"} & set(block.command.argv):
        names = [match[1] for line in block.lines if (match := _NAME.match(line) or _SHORT.match(line))]
        if (names and not block.command.filtered) or "MokListRT is empty" in block.text:
            part.put("contents", f"certificates {VARIABLES}/MokListRT-{SHIM}", {"names": [[one] for one in names]})
            part.document["folders"].setdefault(VARIABLES, [f"MokListRT-{SHIM}"])


def _variable(part: Part, name: str, value: bool) -> None:
    """A variable of one byte, behind its four bytes of attributes."""
    part.put("files", f"{VARIABLES}/{name}", f"\x06\0\0\0{chr(value)}")
