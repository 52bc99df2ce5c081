"""Files and the loader: `cat`, `ls -l`, `ldconfig -p`, `ldd`."""

from __future__ import annotations

import re

from nvdiag.host.paste.blocks import Block
from nvdiag.host.paste.document import Part
from nvdiag.host.paste.outputs.driver import VERSION_FILE

_LDCONFIG = re.compile(r"^\s{0,20}(\S{1,200}) \((libc6[^)\n]{0,100})\) => (/\S{1,1000})$")
_LOOKED_FOR_LIBCUDA = re.compile(r"-p ?\| ?grep (?:-\w{1,3} )?['\"]?(?:lib)?cuda(?:\.so(?:\.1)?)?['\"]?$")
_WHEN = (
    r"(?:[^\W\d]{3,9}\.? {1,3}\d{1,2}|\d{1,2}\.? {1,3}[^\W\d]{3,9}\.?|\d{4}-\d\d-\d\d|\d{1,2}月 {1,2}\d{1,2}日?) {1,3}"
    r"(?:\d{1,2}:\d\d(?::[\d.]{2,12})?(?: [+-]\d{4})?|\d{4})"
)
_LONG = re.compile(
    r"^\s{0,8}(?:# {1,4})?([bcdlps-][rwxsStT-]{9})[.+@]?\s{1,9}\d{1,6}\s{1,9}(\S{1,64})\s{1,9}(\S{1,64})\s{1,20}"
    rf"(?:(\d{{1,4}}),\s{{0,9}}(\d{{1,7}})|([\d.,]{{1,20}}[KMGT]?))\s{{1,9}}{_WHEN}\s(\S.{{0,500}})$"
)
"""Mode, owner, group, numbers of a node or size, time, name; the time in the form of any locale."""


def ldconfig(block: Block, part: Part) -> None:
    """The loader's cache. Of a filtered listing only what is there counts, never what is not."""
    found = [line.strip() for line in block.lines if _LDCONFIG.match(line)]
    if not found:
        words = block.command.line if block.command is not None and block.command.program == "ldconfig" else ""
        if _LOOKED_FOR_LIBCUDA.search(words) and not block.text.strip():
            part.command(("ldconfig", "-p", "|", "grep", "libcuda"), "", 1)
        return
    whole = any("libs found in cache" in line for line in block.lines)
    if whole:
        part.more(("ldconfig", "-p"), "\n".join(f"\t{line}" for line in found))
    else:
        part.more(("ldconfig", "-p", "|", "grep"), "\n".join(f"\t{line}" for line in found))


_WHOLE = ("/usr/lib/wsl/lib",)
"""Folders of which a fact asks what is not in them, so that their whole listing counts."""


def long_listing(block: Block, part: Part) -> None:
    """Lines of `ls -l`: links, nodes and files, with the folder that the command or a heading names."""
    folder = _listed_folder(block)
    if folder in _WHOLE and any(re.match(r"^total \d", line) for line in block.lines):
        names = sorted(found[7].partition(" -> ")[0] for line in block.lines if (found := _LONG.match(line)))
        part.put("folders", folder, [name for name in names if name not in (".", "..")])
    for line in block.lines:
        if line.startswith("/") and (heading := re.match(r"^(/\S{1,400}):$", line)):
            folder = heading[1]
            continue
        found = _LONG.match(line)
        if not found:
            continue
        name, arrow, target = found[7].partition(" -> ")
        path = name if name.startswith("/") else f"{folder}/{name}" if folder else ""
        path = re.sub(r"/{2,}", "/", path.strip("'"))
        if not path.startswith("/"):
            _loose_link(part, name, target if arrow else "", line)
        elif arrow:
            part.put("links", path, target.strip("'"))
        elif found[1][0] in "cb":
            ids = {"root": 0}
            if path.startswith("/dev/nvidia") and found[2] == "nobody":  # so an unprivileged container sees its host's
                part.inside = part.inside or ("lxc", f"{path} of nobody")
            part.put(
                "stats",
                path,
                {"mode": found[1], "uid": ids.get(found[2], 1), "gid": ids.get(found[3], 1),
                 "rdev": f"{found[4]}:{found[5]}"},
            )  # fmt: skip
        elif ".so" in path:
            _library_file(part, path, found[6] or "")


def _library_file(part: Part, path: str, size: str) -> None:
    part.put("elf", path, {"error": "empty"} if size == "0" else {"size": int(size)} if size.isdigit() else {})


def _loose_link(part: Part, name: str, target: str, line: str) -> None:
    """A file listed without its folder: what it is counts, where it lies is not known."""
    if ".so" in name:
        part.more(("ls", "-l"), line)


def _listed_folder(block: Block) -> str:
    """The folder whose names `ls` printed: its argument, where that is one folder."""
    if block.command is None or block.command.program not in ("ls", "ll"):
        return ""
    names = [word for word in block.command.argv[1:] if not word.startswith("-")]
    return names[0].rstrip("/") if len(names) == 1 and names[0].startswith("/") else ""


_NOT_THERE = re.compile(r"^ls: .{0,40}?['\"]?(/[^'\"*?\[\n]{1,300}?)['\"]?: No such file or directory$")


def not_listed(block: Block, part: Part) -> None:
    """`ls` of what is not there."""
    for line in block.lines:
        if found := _NOT_THERE.match(line.strip()):
            part.put("stats", found[1].rstrip("/"), None)


def whereis(block: Block, part: Part) -> None:
    """`whereis libcuda.so`: a name and nothing behind it."""
    if block.command is not None and block.command.program not in ("whereis", "ldconfig", "which"):
        return
    if any(re.match(r"^libcuda(?:\.so(?:\.1)?)?:\s{0,4}$", line) for line in block.lines):
        part.command(("whereis", "libcuda.so"), "")


def mounts(block: Block, part: Part) -> None:
    """`mount`, of which driver files alone are kept: a container engine mounts each from its host."""
    found = [
        line.strip()
        for line in block.lines
        if re.match(r"^\S{1,300} on /\S{0,300}/libcuda\.so\.\d{3}\.[\d.]{2,12} (?:type )?\S", line.strip())
        or re.match(r"^\S{1,300} /\S{0,300}/libcuda\.so\.\d{3}\.[\d.]{2,12} \w{2,12} \S{2,300} 0 0$", line.strip())
    ]
    if found:
        part.more(("mount",), "\n".join(found))


def ldd(block: Block, part: Part) -> None:
    """`ldd`: which file the loader takes for each soname."""
    found = [
        line.strip()
        for line in block.lines
        if " => " in line and re.match(r"^\s{0,8}\S{1,200}\.so\S{0,40} => (?:/\S{1,1000}|not found)", line)
    ]
    if found:
        part.more(("ldd",), "\n".join(found))


def file(block: Block, part: Part) -> None:
    """`cat FILE`: the file, or why not. What is a log stays words."""
    command = block.command
    if command is None or command.program not in ("cat", "less", "more", "head", "tail") or command.filtered:
        return
    names = [word for word in command.argv[1:] if word.startswith("/") and not re.search(r"[*?\[]", word)]
    if len(names) != 1 or names[0] == VERSION_FILE or names[0].startswith("/var/log/"):
        return
    if any("No such file or directory" in line for line in block.lines[:2]):
        part.put("files", names[0], None)
    elif any("Permission denied" in line for line in block.lines[:2]):
        part.put("files", names[0], {"error": "EACCES"})
    elif block.text.strip():
        part.put("files", names[0], block.text.strip("\n") + "\n")
