"""Who has the driver's device nodes open: a walk over /proc that answers only those processes.

A child does it, since /proc holds thousands of processes, and reading the maps of one that is stuck can wait for ever
(comm, stat, status, cgroup and the links below fd do not). What a process has open besides these nodes is not kept.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from nvdiag.probes.child import Say
from nvdiag.probes.memory import Json

_NAME = (
    r"(?:nvidia(?:\d{1,4}|ctl|-modeset|-uvm|-uvm-tools|-nvlink|-nvswitch(?:ctl|\d{1,3})|-vgpu(?:ctl|\d{1,3})|-fs\d{0,4}"
    r"|-caps/nvidia-cap\d{1,5}|-caps-imex-channels/channel\d{1,5})|gdrdrv)"
)
NODE = re.compile(rf"/dev/{_NAME}(?= \(deleted\)$|$)")
"""The driver's nodes (nvidia-modprobe), and GDRCopy's, whose module uses nvidia's."""

_MAPPED = re.compile(rf"(/dev/{_NAME}|/\S{{0,300}}/lib(?:cuda|nvidia-ml)\.so\.[\d.]{{3,20}} \(deleted\))$", re.M)
_LIKELY = re.compile(
    r"nvidia-|nv-|dcgm|X(?:org|wayland)?$|gnome-shell|kwin_|sddm|gdm|lightdm|nvtop|nvitop|gpu-|ollama|tritonserver"
)
"""Names (comm, cut to 15 letters) of programs that use the GPU wherever they run."""

_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD of linux/sched.h: the flags in /proc/PID/stat."""

MAX_PROCESSES = 256
_MAX_TASKS = 512
_SAY_EVERY = 500
_MAPS_SECONDS = 1.0
_PAUSE = 0.15


class Files(Protocol):
    """What the walk asks of a file system; each raises OSError."""

    def names(self, folder: str) -> Iterable[str]: ...
    def link(self, path: str) -> str: ...
    def text(self, path: str) -> str: ...


class _Machine:
    def names(self, folder: str) -> Iterable[str]:
        return os.listdir(folder)

    def link(self, path: str) -> str:
        return os.readlink(path)

    def text(self, path: str) -> str:
        with open(path, "rb") as file:
            return file.read(8 * 1024 * 1024).decode("utf-8", "replace")


def run(arguments: list[str], say: Say) -> dict[str, Json]:
    """`holders`: the walk on this machine, with the names of the processes' users."""
    document = walk(_Machine(), say, time.sleep)
    say("names of users", document)
    return with_users(document, _user_name)


def told_of(pid: int) -> dict[str, Json]:
    """`name` (comm), `uid`, `user` and `cgroup` of one process; the name is None where /proc does not show it."""
    about = _about(_Machine(), f"/proc/{pid}")
    if not about["comm"]:
        return {"name": None}
    user = "" if about["uid"] is None else _user_name(about["uid"])
    return {"name": about["comm"], "uid": about["uid"], "user": user, "cgroup": about["cgroup"]}


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def with_users(document: dict[str, Json], name_of: Callable[[int], str]) -> dict[str, Json]:
    """The walk's answer with each process's `user`."""
    names: dict[int, str] = {}
    for row in (*document["processes"], *document["supposed"]):
        uid = row["uid"]
        if uid is not None:
            row["user"] = names[uid] if uid in names else names.setdefault(uid, name_of(uid))
    return document


def walk(files: Files, say: Say, pause: Callable[[float], None]) -> dict[str, Json]:
    """`processes` have nodes open; of `refused` ones that could not be told, and `supposed` are those by their names.

    `looked` counts the processes whose open files were seen. A process: pid, comm, uid, state, `nodes` with how often
    each is open, cgroup (its file's text), `stuck` where a thread stays in state D, `old_libraries` that it has mapped
    and that are gone from the disk.
    """
    document: dict[str, Json] = {"processes": [], "supposed": [], "looked": 0, "refused": 0}
    drm = _drm_nodes(files)
    readable = []
    for count, pid in enumerate(sorted(int(name) for name in files.names("/proc") if name.isdigit())):
        folder = f"/proc/{pid}"
        if count % _SAY_EVERY == 0:
            say("open files", document)
        nodes = _open_nodes(files, folder, drm)
        if nodes is None:
            _refused(files, pid, document)
            continue
        document["looked"] += 1
        readable.append(pid)
        if nodes and len(document["processes"]) < MAX_PROCESSES:
            document["processes"].append({"pid": pid, **_about(files, folder), "nodes": nodes})
    say("threads", document)
    _stuck(files, document["processes"], pause)
    _maps(files, document, readable, say)
    return document


def _drm_nodes(files: Files) -> frozenset[str]:
    """The nodes below /dev/dri that nvidia-drm serves: cards whose PCI device nvidia drives."""
    found = set()
    try:
        names = [name for name in files.names("/sys/class/drm") if re.fullmatch(r"(card|renderD)\d{1,4}", name)]
    except OSError:
        return frozenset()
    for name in names:
        try:
            driver = files.link(f"/sys/class/drm/{name}/device/driver")
        except OSError:
            continue
        if driver.rpartition("/")[2] == "nvidia":
            found.add(f"/dev/dri/{name}")
    return frozenset(found)


def _open_nodes(files: Files, folder: str, drm: frozenset[str]) -> dict[str, int] | None:
    """The driver's nodes that a process has open, None where that may not be seen."""
    try:
        names = list(files.names(f"{folder}/fd"))
        names = names or list(_of_other_threads(files, folder))
    except PermissionError:
        return None
    except OSError:  # it ended meanwhile
        return {}
    nodes: dict[str, int] = {}
    for name in names:
        try:
            target = files.link(f"{folder}/fd/{name}" if "/" not in name else name)
        except OSError:
            continue
        found = NODE.search(target)
        node = found[0] if found else target
        if found or node in drm:
            nodes[node] = nodes.get(node, 0) + 1
    return nodes


def _of_other_threads(files: Files, folder: str) -> Iterable[str]:
    """Where the first thread is a zombie its files are gone, while threads that hang in the driver still have them."""
    if " (zombie)" not in files.text(f"{folder}/status"):
        return
    for task in list(files.names(f"{folder}/task"))[:_MAX_TASKS]:
        names = list(files.names(f"{folder}/task/{task}/fd"))
        if names:
            yield from (f"{folder}/task/{task}/fd/{name}" for name in names)
            return


def _about(files: Files, folder: str) -> dict[str, Json]:
    status = _text(files, f"{folder}/status")
    return {
        "comm": _text(files, f"{folder}/comm").strip(),
        "state": _field(status, "State")[:1],
        "uid": int(uid) if (uid := _field(status, "Uid").partition("\t")[0]).isdigit() else None,
        "cgroup": _text(files, f"{folder}/cgroup")[:4000],
    }


def _refused(files: Files, pid: int, document: dict[str, Json]) -> None:
    """Count a process that may not be looked at, unless it is a kernel thread, which opens no files."""
    folder = f"/proc/{pid}"
    fields = _text(files, f"{folder}/stat").rpartition(")")[2].split()
    if len(fields) > 6 and fields[6].isdigit() and int(fields[6]) & _KERNEL_THREAD:
        return
    document["refused"] += 1
    if _LIKELY.match(_text(files, f"{folder}/comm").strip()) and len(document["supposed"]) < MAX_PROCESSES:
        document["supposed"].append({"pid": pid, **_about(files, folder)})


def _stuck(files: Files, rows: list[dict[str, Json]], pause: Callable[[float], None]) -> None:
    """A thread that is in state D twice, and was not switched to in between, waits in the kernel and cannot be ended.

    State D alone is also what reading a file from a disk looks like.
    """
    first = {row["pid"]: _waiting(files, row["pid"]) for row in rows}
    if any(first.values()):
        pause(_PAUSE)
    for row in rows:
        before = first[row["pid"]]
        row["stuck"] = bool(before and before & _waiting(files, row["pid"]))


def _waiting(files: Files, pid: int) -> set[tuple[str, str]]:
    """The threads in state D, each with its count of switches."""
    try:
        tasks = list(files.names(f"/proc/{pid}/task"))[:_MAX_TASKS]
    except OSError:
        tasks = []
    found = set()
    for task in tasks:
        status = _text(files, f"/proc/{pid}/task/{task}/status")
        if _field(status, "State").startswith("D"):
            switches = (_field(status, "voluntary_ctxt_switches"), _field(status, "nonvoluntary_ctxt_switches"))
            found.add((task, " ".join(switches)))
    return found


def _maps(files: Files, document: dict[str, Json], readable: list[int], say: Say) -> None:
    """Libraries that are gone from the disk, and nodes that are mapped and no longer open. Of no stuck process."""
    rows = {row["pid"]: row for row in document["processes"]}
    for row in document["processes"]:
        if not row["stuck"] and row["state"] != "D":
            say(f"maps of {row['pid']}", document)
            row["old_libraries"] = sorted(
                {one.removesuffix(" (deleted)") for one in _mapped(files, row["pid"]) if one.endswith(" (deleted)")}
            )
    say("maps of other processes", document)
    until = time.monotonic() + _MAPS_SECONDS
    for pid in readable:
        if time.monotonic() > until or len(rows) >= MAX_PROCESSES:
            document["maps_cut"] = True
            return
        if pid not in rows and (nodes := {one for one in _mapped(files, pid) if one.startswith("/dev/")}):
            document["processes"].append(
                {"pid": pid, **_about(files, f"/proc/{pid}"), "nodes": dict.fromkeys(sorted(nodes), 1), "stuck": False}
            )


def _mapped(files: Files, pid: int) -> list[str]:
    text = _text(files, f"/proc/{pid}/maps")
    return _MAPPED.findall(text) if "/dev/nvidia" in text or "(deleted)" in text else []


def _text(files: Files, path: str) -> str:
    try:
        return files.text(path)
    except OSError:
        return ""


def _field(status: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*(.*)$", status, re.M)
    return found[1] if found else ""
