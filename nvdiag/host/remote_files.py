"""Files of another machine's file system, looked at by a child: where that machine is gone, whoever asks is held.

Such a wait (state D) cannot be ended from within, so a child waits in nvdiag's place. It is forked once, where the
first path below such a mount is asked for, and answers one question after another. One that is not answered in time
leaves the child behind, and nothing more is asked of that mount. A mount at / is not one of these: where that is dead,
nvdiag itself is held.
"""

from __future__ import annotations

import json
import os
import re
import select
import time
from collections.abc import Callable

from nvdiag.host import children
from nvdiag.host.base import Json

MOUNTS = "/proc/self/mountinfo"
PATIENCE = 3.0
"""Seconds for one question, within the run's deadline: a server that is there answers in milliseconds."""

_KINDS = (
    "nfs", "cifs", "smb3", "ceph", "lustre", "gpfs", "beegfs", "afs", "orangefs", "pvfs2", "autofs", "fuse.sshfs",
    "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.juicefs", "fuse.goofys",
)  # fmt: skip
"""How types of such file systems begin; below an autofs a server's one is mounted when it is asked for."""

_OF_THIS_MACHINE = ("/proc", "/boot", "/efi")
"""Where systemd has an autofs for partitions of this machine."""

_CHUNK = 1 << 20


def served_folders(path: str = MOUNTS) -> tuple[str, ...]:
    """Where file systems of other machines are mounted, with a slash behind each (proc_pid_mountinfo(5))."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError:
        return ()
    found = []
    for line in text.splitlines() if any(f" - {kind}" in text for kind in _KINDS) else ():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.partition(" ")[0]
        if len(fields) > 4 and fields[4] != "/" and kind.startswith(_KINDS):
            folder = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])
            if kind != "autofs" or not folder.startswith(_OF_THIS_MACHINE):
                found.append(f"{folder}/")
    return tuple(found)


class RemoteFiles:
    """The child, and the mounts that did not answer. `ask` is what it answers by: a section and a key, to JSON."""

    def __init__(self, folders: tuple[str, ...], ask: Callable[[str, str], Json]) -> None:
        self._folders = folders
        self._ask = ask
        self._dead: set[str] = set()
        self._child: _Child | None = None

    def look(self, section: str, key: str, path: str, until: float) -> Json:
        """The answer, or `{"error": "timeout"}`."""
        folder = max((one for one in self._folders if f"{path}/".startswith(one)), key=len, default="")
        if folder not in self._dead:
            self._child = self._child or _Child(self._ask)
            try:
                return self._child.answer([section, key], min(until, time.monotonic() + PATIENCE))
            except (OSError, ValueError):
                self._child.leave()
                self._child = None
                self._dead.add(folder)
        return {"error": "timeout"}


class _Child:
    """A fork that answers lines of JSON until its parent is gone."""

    def __init__(self, ask: Callable[[str, str], Json]) -> None:
        questions, self._ask = os.pipe()
        self._answers, answers = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(questions)
            os.close(answers)
            return
        try:
            os.setsid()
            os.close(self._ask)
            os.close(self._answers)
            _serve(questions, answers, ask)
        finally:
            os._exit(0)

    def answer(self, question: list[str], until: float) -> Json:
        """Ask, and wait until the monotonic time `until`. TimeoutError; OSError where the child is gone."""
        os.write(self._ask, json.dumps(question).encode() + b"\n")
        poller = select.poll()
        poller.register(self._answers, select.POLLIN)
        parts = [b""]
        while not parts[-1].endswith(b"\n"):
            if not poller.poll(max(0.0, until - time.monotonic()) * 1000):
                raise TimeoutError
            part = os.read(self._answers, _CHUNK)
            if not part:
                raise OSError
            parts.append(part)
        return json.loads(b"".join(parts))

    def leave(self) -> None:
        """End it, or leave it where the kernel holds it."""
        os.close(self._ask)
        os.close(self._answers)
        children.wait(self._pid, time.monotonic())


def _serve(questions: int, answers: int, ask: Callable[[str, str], Json]) -> None:
    with os.fdopen(questions, "rb") as lines, os.fdopen(answers, "wb") as out:
        for line in lines:
            section, key = json.loads(line)
            out.write(json.dumps(ask(section, key)).encode() + b"\n")
            out.flush()
