"""Sections that show a file: `*** /path`, what ls says of it, then its text."""

from __future__ import annotations

import posixpath
import re

from nvdiag.host.bugreport.draft import Draft, Kept, decoded
from nvdiag.host.bugreport.times import full_time

_KEPT = (
    "/proc/driver/nvidia", "/proc/cmdline", "/proc/version", "/proc/modules", "/etc/", "/usr/lib/os-release",
    "/sys/bus/pci/devices/", "/sys/module/", "/var/log/nvidia-installer.log", "/var/log/nvidia-uninstall.log",
    "/var/log/fabricmanager.log",
)  # fmt: skip
"""Beginnings of the paths whose text is kept."""
_NEVER = ("/etc/X11/", "/proc/driver/nvidia/warnings")

_HEADER = re.compile(r"\*\*\* (/\S(?:.{0,1000}\S)?)$")
_MISSING = (" does not exist", " not present")
_UNREADABLE = " is not readable"
_LS = re.compile(
    r"\*\*\* ls: (?P<mode>[a-zA-Z-]{10})[.+@]? {1,9}\d{1,9} {1,9}(?P<owner>\S{1,64}) {1,9}(?P<group>\S{1,64}) {1,9}"
    r"(?:(?P<major>\d{1,6}), {0,9}(?P<minor>\d{1,9})|(?P<size>\d{1,18})) {1,9}"
    r"\d{4}-\d\d-\d\d [\d:.]{8,20} [+-]\d{4} (?P<path>/\S.{0,1000})$"
)
_MAKE_LOG = re.compile(r"/var/lib/dkms/(nvidia[^/]{0,60})/([^/]{1,80})/([^/]{1,120})/[^/]{1,40}/log/make\.log")
_PARAMETER = re.compile(r"(/sys/module/[^/:]{1,80}/parameters/[^/:]{1,120}):(.{0,1000})")


class FileSection:
    """One file. Its text is kept where a check reads it; that it is there, always."""

    def __init__(self, draft: Draft, header: str) -> None:
        self._draft = draft
        self._path, self._state = _path_of(header)
        wanted = self._path.startswith(_KEPT) and not self._path.startswith(_NEVER)
        self._text = Kept() if wanted and not self._state else None
        self._before_text = True

    def add(self, line: bytes) -> None:
        if self._before_text and line.startswith(b"*** ls: "):
            listed(self._draft, line.decode("utf-8", "replace"), self._path)
            return
        self._before_text = False
        if self._text is not None:
            self._text.add(line)

    def close(self, whole: bool) -> None:
        """The section is over; `whole` is False where the report ends in it."""
        if not self._path:
            return
        if self._state in _MISSING:
            self._draft.absent(self._path)
        elif self._state == _UNREADABLE:
            self._draft.put("files", self._path, {"error": "EACCES"})
        elif built := _MAKE_LOG.fullmatch(self._path):
            _dkms(self._draft, *built.groups())
        elif self._path.startswith("/usr/share/nvidia/"):
            self._draft.within("/usr/share/nvidia", posixpath.basename(self._path))
        elif self._text is not None and whole:
            self._draft.file(self._path, _without_last_blank(self._text.lines()))


def _path_of(header: str) -> tuple[str, str]:
    """The path in a section's first line, without `/./`, and what is said of it: absent, unreadable, or nothing."""
    found = _HEADER.match(header)
    if not found:
        return "", ""
    path = found[1]
    state = next((words for words in (*_MISSING, _UNREADABLE) if path.endswith(words)), "")
    return posixpath.normpath(path.removesuffix(state)), state


def _without_last_blank(lines: list[bytes]) -> str:
    """The script puts an empty line behind each file."""
    return decoded(lines[:-1] if lines and not lines[-1] else lines)


def _dkms(draft: Draft, name: str, release: str, kernel: str) -> None:
    """A build's log is evidence of the tree that DKMS keeps for it; the log's own words are noise."""
    draft.within("/var/lib/dkms", name)
    draft.within(f"/var/lib/dkms/{name}", release)
    draft.within(f"/var/lib/dkms/{name}/{release}", kernel)


def listed(draft: Draft, line: str, expected: str = "") -> None:
    """A line `*** ls: …`: a link's target, an owner and mode. A failed ls says nothing that could be told apart."""
    found = _LS.match(line)
    if not found:
        return
    path, arrow, target = found["path"].partition(" -> ")
    path = posixpath.normpath(path)
    if expected and path != expected:
        return
    if path.startswith(("/proc/", "/sys/")) and (moment := full_time(line)):
        draft.meet(moment)
    if arrow:
        draft.put("links", path, target)
        return
    if found["owner"] != "root" or found["group"] != "root":  # whose numbers are not told
        return
    more = {"rdev": f"{found['major']}:{found['minor']}"} if found["major"] else {"size": int(found["size"])}
    draft.put("stats", path, {"mode": found["mode"], "uid": 0, "gid": 0, **more})


class Listing:
    """A section of ls lines without a file: the driver of each DRM device, the nodes below /dev."""

    def __init__(self, draft: Draft, header: str) -> None:
        self._draft = draft
        self.add(header.encode())

    def add(self, line: bytes) -> None:
        if line.startswith(b"*** ls: "):
            listed(self._draft, line.decode("utf-8", "replace"))

    def close(self, whole: bool) -> None:
        """Nothing is left to do."""


class Parameters:
    """Lines of `/sys/module/NAME/parameters/PARAMETER:VALUE`, which have no header of their own."""

    def __init__(self, draft: Draft, header: str) -> None:
        self._draft = draft
        self.add(header.encode())

    def add(self, line: bytes) -> None:
        if found := _PARAMETER.fullmatch(line.decode("utf-8", "replace")):
            self._draft.file(found[1], f"{found[2]}\n")

    def close(self, whole: bool) -> None:
        """Nothing is left to do."""
