"""Who has the driver's device nodes open, by fuser(1) and lsof(8): the answer that the walk over /proc gives."""

from __future__ import annotations

import re
from typing import Any

from nvdiag.host.paste.blocks import Block
from nvdiag.host.paste.document import Part

_NODE = r"/dev/(?:nvidia[\w/-]{1,40}|dri/\w{3,20}|gdrdrv)"
_VERBOSE = re.compile(
    rf"^\s{{0,8}}(?:(?P<node>{_NODE}):)?\s{{1,60}}(?P<user>[\w.+-]{{1,64}})\s{{1,20}}(?P<pid>\d{{1,8}})"
    r"\s{1,20}[cefFrm.]{4,6}\s{1,20}\(?(?P<comm>\S.{0,40}?)\)?\s{0,20}$"
)
"""A row of `fuser -v`; those of further processes leave the node out (psmisc, fuser.c)."""
_PROCESS = r"\d{1,8}[cefFrm]{0,4}"
_BARE = re.compile(
    rf"^\s{{0,8}}(?P<node>{_NODE}):\s{{1,60}}(?P<pids>{_PROCESS}(?:\s{{1,9}}{_PROCESS}){{0,200}})\s{{0,20}}$"
)
_OPENED = re.compile(
    r"^(?P<comm>\S{1,60})\s{1,60}(?P<pid>\d{1,8})\s{1,20}(?:\d{1,8}\s{1,9}\S{1,60}\s{1,20})?(?P<user>[\w.+-]{1,64})"
    rf"\s{{1,20}}(?:mem|DEL|\d{{1,7}}[rwuRWU -]{{0,2}})\s{{1,20}}CHR\s.{{0,120}}\s(?P<node>{_NODE})\s{{0,20}}$"
)
"""A row of lsof, with or without columns for a thread; the command's name is cut to nine letters (lsof, +c)."""


def fuser(block: Block, part: Part) -> None:
    """`fuser -v` of the driver's nodes, and plain fuser, which tells no names."""
    node = ""
    for line in block.lines:
        if found := _VERBOSE.match(line):
            node = found["node"] or node
            if node:
                _note(part, "fuser", node, int(found["pid"]), found["comm"], found["user"])
        elif found := _BARE.match(line):
            for pid in re.findall(r"\d{1,8}", found["pids"]):
                _note(part, "fuser", found["node"], int(pid), "", "")


def lsof(block: Block, part: Part) -> None:
    """`lsof` of the driver's nodes."""
    for line in block.lines:
        if found := _OPENED.match(line):
            _note(part, "lsof", found["node"], int(found["pid"]), found["comm"], found["user"])


def _note(part: Part, program: str, node: str, pid: int, comm: str, user: str) -> None:
    """One process with one node; what one program cuts or leaves out the other may tell."""
    document: dict[str, Any] = part.document["probes"].setdefault(
        "holders", {"processes": [], "supposed": [], "looked": 0, "refused": 0, "told_by": program}
    )
    row = next((one for one in document["processes"] if one["pid"] == pid), None)
    if row is None:
        row = {"pid": pid, "comm": "", "uid": None, "user": "", "state": "", "cgroup": "", "nodes": {}, "stuck": False}
        document["processes"].append(row)
        document["looked"] += 1
    row["comm"] = max(row["comm"], comm, key=len)
    row["user"] = row["user"] or user
    row["nodes"].setdefault(node, 1)
