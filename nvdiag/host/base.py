"""The host's contract: typed questions on top of one method, `look`, that a machine or a recording answers.

`look` speaks the snapshot's JSON: a value, None for *looked and absent*, `{"error": NAME}` for *there and refused*.
So a live run and its recording cannot drift apart: both pass through the same door, and all that parses is here.
"""

from __future__ import annotations

import posixpath
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown

if TYPE_CHECKING:
    from nvdiag.model.diagnosis import Source

Json: TypeAlias = Any
"""A value as `json.loads` makes it."""

DMESG = ("dmesg",)
JOURNAL = ("journalctl", "-k", "-b", "-o", "short-monotonic", "--no-pager", "--quiet")
SYSLOG = ("dmesg", "--syslog")
"""The commands whose answers are cut down to what `nvdiag.host.kernel_log` keeps."""

SECTIONS = ("files", "folders", "links", "stats", "opens", "modinfo", "elf", "commands", "probes", "env", "contents")

_WORDS = {
    "EACCES": "permission denied",
    "EPERM": "operation not permitted",
    "EIO": "input/output error",
    "timeout": "no answer in time",
    "too-large": "larger than nvdiag reads",
    "hung": "no answer in time",
    "crashed": "the child that asked crashed",
}


class Absent(Unknown):
    """nvdiag looked, and it is not there."""


class Refused(Unknown):
    """It is there and could not be read; `error` is the errno's name (EACCES), `timeout`, `too-large`, `hung`, …"""

    def __init__(self, what: str, error: str) -> None:
        super().__init__(f"{what}: {_WORDS.get(error, error)}")
        self.error = error


class NotRecorded(Unknown):
    """A snapshot says nothing about it, neither that it was there nor that it was absent."""


@dataclass(frozen=True, slots=True)
class FileStat:
    """stat(2) of a path, links followed. `mode` is as ls prints it (crw-rw-rw-); `rdev` is (major, minor) of a node.

    `size` in bytes and `mtime` in seconds since the epoch are a regular file's.
    """

    mode: str
    uid: int
    gid: int
    rdev: tuple[int, int] | None = None
    size: int | None = None
    mtime: int | None = None


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command left behind when it ended by itself; a signal N shows as exit -N, as subprocess has it."""

    exit: int
    stdout: str
    stderr: str


IN_WORDS = "pasted text"
"""Where words of a paste stand that no command printed."""

LATER = "later in the text"
"""How the label of a later moment of a machine ends."""


class Host(ABC):
    """A machine, as far as it may be asked. Every answer is remembered, so one run sees one state of the machine."""

    source: Source
    notes: tuple[str, ...] = ()
    """What is wrong with a recording that is read all the same, one clause each."""
    label: str = ""
    """Which of several machines or moments of one input this is; empty for the only or first one."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], Json] = {}

    @abstractmethod
    def look(self, section: str, key: str) -> Json:
        """Answer one question of one of SECTIONS in the snapshot's form; NotRecorded where a recording is silent."""

    def begin(self, probes: Iterable[str], seconds: float) -> None:
        """Start these probes' children now, to be waited for when their answer is asked for.

        `seconds` is the run's deadline counted from its start, unless the person gave another.
        """

    def start(self, probe: str) -> None:
        """Start one more probe's child now, to be waited for when its answer is asked for."""

    def start_command(self, *argv: str) -> None:
        """Start a helper command now, to be waited for when `run` asks for its answer."""

    def prolong(self, seconds: float) -> None:
        """Let the run take at least so many seconds from now on, unless the person gave a deadline."""

    def recorded(self, section: str) -> tuple[str, ...]:
        """What a recording has in a section: where to look besides the usual places. A live machine names nothing."""
        return ()

    def inside(self) -> tuple[str, str] | None:
        """The kind of container that a recording itself says it was taken in, and the words that show it."""
        return None

    def others(self) -> tuple[Host, ...]:
        """Other machines, or other moments of this one, that were handed over with it."""
        return ()

    def handed_texts(self) -> tuple[tuple[str, str], ...]:
        """Free text that was handed over, each with where it stood: pasted words, a report's logs."""
        return ()

    def kernel_log(self) -> tuple[str, str]:
        """The command that shows this boot's kernel log, and those of its lines that speak of GPUs or their drivers.

        Absent, Refused, NotRecorded.
        """
        try:
            return "dmesg", self.run(*DMESG).stdout
        except NotRecorded:
            raise
        except Unknown as why:
            if told := self._output(JOURNAL):  # empty: one that this user may not read, or without the kernel's log
                return "journalctl -k -b", told
            if isinstance(why, Refused) and self._may_ask_the_kernel():
                told = self._output(SYSLOG)
                if told is not None:
                    return "dmesg", told
            raise

    def _may_ask_the_kernel(self) -> bool:
        """Whether syslog(2) may answer who may not open /dev/kmsg: not under kernel.dmesg_restrict."""
        try:
            return self.read("/proc/sys/kernel/dmesg_restrict").strip() == "0"
        except Unknown:
            return False

    def _output(self, command: tuple[str, ...]) -> str | None:
        """What a command prints, None where it fails or cannot be asked."""
        try:
            result = self.run(*command)
        except Unknown:
            return None
        return result.stdout if result.exit == 0 else None

    def texts(self) -> tuple[tuple[str, str], ...]:
        """All text in which messages may be: what was handed over, and the kernel log of a machine looked at."""
        try:
            return (*self.handed_texts(), self.kernel_log())
        except Unknown:
            return self.handed_texts()

    def earlier_texts(self) -> tuple[tuple[str, str], ...]:
        """Texts like those of `texts`, of boots before the one that is looked at: history, and no present state."""
        return ()

    def _get(self, section: str, key: str) -> Json:
        if (section, key) not in self._answers:
            self._answers[section, key] = self.look(section, key)
        value = self._answers[section, key]
        if value is None:
            raise Absent(f"{key} is not there")
        if isinstance(value, dict) and isinstance(value.get("error"), str) and section != "probes":
            raise Refused(key, value["error"])
        return value

    def read(self, path: str) -> str:
        """The text of a file, undecodable bytes replaced. Absent, Refused, NotRecorded."""
        return str(self._get("files", path))

    def folder(self, path: str) -> tuple[str, ...]:
        """The names in a folder, sorted. Absent, Refused, NotRecorded."""
        return tuple(str(name) for name in self._get("folders", path))

    def link(self, path: str) -> str | None:
        """Where a symbolic link points, as written in it; None where `path` is something else than a link."""
        try:
            return str(self._get("links", path))
        except Refused as refused:
            if refused.error == "EINVAL":
                return None
            raise

    def stat(self, path: str) -> FileStat:
        """Absent, Refused, NotRecorded."""
        value = self._get("stats", path)
        rdev = str(value.get("rdev", "")).partition(":")
        size, mtime = value.get("size"), value.get("mtime")
        return FileStat(
            mode=str(value.get("mode", "")),
            uid=int(value.get("uid", 0)),
            gid=int(value.get("gid", 0)),
            rdev=(int(rdev[0]), int(rdev[2])) if _is_number(rdev[0]) and _is_number(rdev[2]) else None,
            size=size if isinstance(size, int) else None,
            mtime=mtime if isinstance(mtime, int) else None,
        )

    def exists(self, path: str) -> bool:
        """Whether a path is there, links followed. Refused, NotRecorded."""
        try:
            self._get("stats", path)
        except Absent:
            return False
        return True

    def open_error(self, node: str) -> str:
        """The word "ok", or the name of the errno (EACCES, EPERM, …) that opening a device node gave in a child."""
        return str(self._get("opens", node))

    def modinfo(self, path: str) -> dict[str, str]:
        """The fields of a kernel module's .modinfo, such as version and vermagic. Absent, Refused, NotRecorded."""
        return {str(name): str(value) for name, value in self._get("modinfo", path).items()}

    def elf(self, path: str) -> dict[str, Json]:
        """The head of an ELF file: `class` (32 or 64), `machine` (x86-64, aarch64, …), `size` in bytes."""
        return dict(self._get("elf", path))

    def elf_dynamic(self, path: str) -> dict[str, Json]:
        """What takes a real ELF reader: `soname`, `exports` (count), `fwd_compatibility` (text of NVIDIA's note)."""
        return dict(self._get("elf", f"{path} dynamic"))

    def elf_needs(self, path: str) -> dict[str, Json]:
        """What the loader goes by: `soname`, `needed` (sonames in their order), `rpath`, `runpath`."""
        return dict(self._get("elf", f"{path} needs"))

    def contents(self, kind: str, path: str) -> dict[str, Json]:
        """What a file says, of which not all is to be told, read by one of the readers of its kind.

        `kernel`, `initramfs`, `initramfs-end`, `certificates` and `fatbin` are of large binary files, `settings:FORM`
        of those of container engines. Absent, Refused (also with the reader's reason), NotRecorded. The readers' own
        modules say what they answer.
        """
        return dict(self._get("contents", f"{kind} {path}"))

    def run(self, *argv: str) -> CommandResult:
        """Run a helper command that changes nothing. Absent where there is no such program; Refused("timeout")."""
        value = self._get("commands", shlex.join(argv))
        return CommandResult(int(value["exit"]), str(value.get("stdout", "")), str(value.get("stderr", "")))

    def lines_with(self, text: str, path: str) -> tuple[str, ...]:
        """The lines of a long file that contain `text`; recorded as the command that would print them."""
        program = "zgrep" if path.endswith(".gz") else "grep"
        return tuple(self.run(program, "-F", text, path).stdout.splitlines())

    def env(self, name: str) -> str | None:
        """A variable of the environment that is looked at; only names that `nvdiag.host.environment` allows."""
        try:
            return str(self._get("env", name))
        except Absent:
            return None

    def env_names(self, prefix: str) -> tuple[str, ...]:
        """The names of the variables that begin with one of the prefixes that `nvdiag.host.environment` allows."""
        try:
            return tuple(str(self._get("env", f"{prefix}*")).split())
        except Absent:
            return ()

    def probe(self, name: str) -> dict[str, Json]:
        """A probe's JSON document. One that hung or crashed carries `error` beside what it had answered till then."""
        return dict(self._get("probes", name))

    def resolve(self, path: str) -> str:
        """Follow links of the last component, and of the first (/lib to /usr/lib), to the file's own path."""
        for _ in range(40):
            path = self._merged(posixpath.normpath(path))
            try:
                target = self.link(path)
            except Unknown:
                return path
            if target is None:
                return path
            path = posixpath.join(posixpath.dirname(path), target)
        return path

    def _merged(self, path: str) -> str:
        first, _, rest = path[1:].partition("/")
        if first not in ("lib", "lib64", "bin", "sbin") or not rest:
            return path
        try:
            target = self.link(f"/{first}")
        except Unknown:
            return path
        return path if target is None else posixpath.normpath(posixpath.join("/", target, rest))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 12
