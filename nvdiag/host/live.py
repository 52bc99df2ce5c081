"""The machine that nvdiag runs on."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
import time
from collections.abc import Callable, Iterable, Sequence

from nvdiag.host import children, environment, logs, remote_files
from nvdiag.host.base import DMESG, JOURNAL, SYSLOG, Host, Json, NotRecorded
from nvdiag.host.probe import Probing
from nvdiag.model.diagnosis import Source
from nvdiag.probes.starter import Starter

MAX_FILE = 2 * 1024 * 1024
"""Bytes. A longer file is refused as too large; in a file that is searched, a longer line is cut in two.

Of a longer log the end is read."""

_PIECE = 1 << 14
"""Bytes that are read at a time beyond the size that a file tells."""

CONTENTS_SECONDS = 5.0
"""How long a large file may be read, within the run's deadline."""

END_SECONDS = 0.3
"""How long an initramfs may be asked for its end on a machine where nothing else speaks against it."""

COMMAND_SECONDS = 5.0
"""How long a helper command may take, within the run's deadline."""

PATIENCE = {"holders": 5.0}
"""How long a probe is waited for that calls no vendor's code, within the run's deadline."""

FIRST_SECONDS = 10.0
"""The run's deadline until `begin` gives one."""

DRIVER_FILES = "/proc/driver/nvidia"
"""Reading below it takes the driver's locks, so a child does that."""

PROGRAM_FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/run/current-system/sw/bin")
"""Where helper programs are looked up: never along PATH, which in a CI job or as root may hold anything."""


class LiveHost(Host):
    """Asks this machine. `deadline` is in seconds from now; None lets `begin` decide. `starter` starts the children."""

    def __init__(self, deadline: float | None = None, starter: Starter | None = None) -> None:
        super().__init__()
        self._starter = starter
        self._started = time.monotonic()
        self._given = deadline
        self._until = self._started + (FIRST_SECONDS if deadline is None else deadline)
        self._probes: dict[str, Probing] = {}
        self._running: dict[str, children.Running | Json] = {}
        self._ask: dict[str, Callable[[str], Json]] = {
            "files": self._file,
            "folders": self._folder,
            "links": os.readlink,
            "stats": _stat,
            "opens": self._open,
            "modinfo": self._modinfo,
            "elf": _elf,
            "commands": self._command,
            "probes": self._probe,
            "env": self._variable,
            "contents": self._contents,
        }
        self._served = remote_files.served_folders()
        self._remote = remote_files.RemoteFiles(self._served, self._answer)
        now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        self.source = Source(kind="live", name=os.uname().nodename, captured_at=now)

    def begin(self, probes: Iterable[str], seconds: float) -> None:
        if self._given is None:
            self._until = self._started + seconds
        from nvdiag.host import kernel_log

        if not kernel_log.may_open():
            self.start_command(*JOURNAL)
        for name in probes:
            self.start(name)

    def start(self, probe: str) -> None:
        if probe not in self._probes:
            self._probes[probe] = Probing(probe, self._starter)

    def prolong(self, seconds: float) -> None:
        if self._given is None:
            self._until = max(self._until, time.monotonic() + seconds)

    def start_command(self, *argv: str) -> None:
        key = shlex.join(argv)
        if key not in self._running:
            with contextlib.suppress(OSError):
                self._running[key] = self._start(argv, self._starter)

    def limit(self, deadline: float) -> None:
        """Set the deadline, in seconds from this host's start, whatever `begin` decided."""
        self._given = deadline
        self._until = self._started + deadline

    def look(self, section: str, key: str) -> Json:
        if "~/" in key:
            key = _in_own_home(section, key)
        path = _path_in(section, key) if self._served else ""
        if path and f"{path}/".startswith(self._served):
            return self._remote.look(section, key, path, self._until)
        return self._answer(section, key)

    def _answer(self, section: str, key: str) -> Json:
        try:
            return self._ask[section](key)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return {"error": errno.errorcode.get(error.errno or 0, "EIO")}
        except ValueError:  # a NUL byte in a path
            return {"error": "EINVAL"}

    def _file(self, path: str) -> Json:
        if path.startswith(DRIVER_FILES):
            return self._of_driver("files", path)
        if path.startswith(logs.FOLDER):
            return self._log(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return {"error": "EINVAL"}
            data, piece = b"", min(found.st_size, MAX_FILE) + _PIECE  # of a kernel's own files the size is 0
            while len(data) <= MAX_FILE and (chunk := os.read(descriptor, min(piece, MAX_FILE + 1 - len(data)))):
                data += chunk
        finally:
            os.close(descriptor)
        return {"error": "too-large"} if len(data) > MAX_FILE else data.decode("utf-8", "replace")

    def _log(self, path: str) -> Json:
        from nvdiag.host import unpacking

        until = min(self._until, time.monotonic() + CONTENTS_SECONDS)
        try:
            return logs.read_log(path, MAX_FILE, until, _program)
        except unpacking.CannotUnpack as why:
            return {"error": str(why)}

    def _folder(self, path: str) -> Json:
        if path.startswith(DRIVER_FILES):
            return self._of_driver("folders", path)
        return sorted(name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name in os.listdir(path))

    def _of_driver(self, section: str, path: str) -> Json:
        """What is below /proc/driver/nvidia takes the driver's power lock, so a child reads it."""
        if not os.path.isdir(DRIVER_FILES):
            return None
        document = self._probe("driver-files")
        if path in document.get(section, {}):
            return document[section][path]
        if isinstance(document.get("error"), str):
            return {"error": document["error"]}
        raise NotRecorded(f"{path} is not among what nvdiag reads")

    def _open(self, node: str) -> Json:
        name = next((name for name in self._probes if name.startswith("nodes ") and node in shlex.split(name)), None)
        document = self._probe(name or shlex.join(["nodes", node]))
        if node in document.get("opens", {}):
            return document["opens"][node]
        return {"error": str(document.get("error", "hung"))}

    def _modinfo(self, path: str) -> Json:
        from nvdiag.host import modinfo

        os.stat(path)
        listing = self._command(shlex.join(["modinfo", path]))
        if listing is not None and listing.get("exit") == 0:
            return modinfo.parse_listing(listing["stdout"])
        try:
            return modinfo.read_module(path)
        except modinfo.Unreadable as error:
            return {"error": str(error)}

    def _contents(self, key: str) -> Json:
        kind, _, path = key.partition(" ")
        if kind == "initramfs":
            from nvdiag.host import initramfs

            until = min(self._until, time.monotonic() + CONTENTS_SECONDS)
            return initramfs.read_initramfs(path, until, _program)
        if kind == "initramfs-end":
            from nvdiag.host import initramfs_end

            return initramfs_end.read_end(path, min(self._until, time.monotonic() + END_SECONDS))
        if kind in ("fatbin", "fatbin-whole"):
            from nvdiag.host import fatbin

            until = min(self._until, time.monotonic() + CONTENTS_SECONDS)
            return fatbin.read_fatbin(path, until if kind == "fatbin-whole" else None)
        if kind == "certificates":
            from nvdiag.host import certificates

            return certificates.read_list(path)
        if kind.startswith("settings:"):
            from nvdiag.host import engine_files

            return engine_files.read_settings(kind.removeprefix("settings:"), path)
        if kind != "kernel":
            raise LookupError(f"{kind} is nothing that nvdiag reads")
        from nvdiag.host import kernel_image

        return kernel_image.read_image(path)

    def _command(self, key: str) -> Json:
        argv = _words(key)
        if argv[0] in ("grep", "zgrep") and argv[1:2] == ["-F"] and len(argv) == 4:
            return _grep(argv[2], argv[3])
        if argv == ["uname", "-m"]:
            return {"exit": 0, "stdout": f"{os.uname().machine}\n", "stderr": ""}
        if argv == list(DMESG):
            return _kernel_log()
        running = self._running.pop(key, None) or self._start(argv)
        if not isinstance(running, children.Running):
            return running
        outcome, out, err = running.finish(min(self._until, time.monotonic() + COMMAND_SECONDS))
        if isinstance(outcome, children.Overdue):
            return {"error": "timeout"}
        if tuple(argv) in (JOURNAL, SYSLOG):
            from nvdiag.host import kernel_log

            out = kernel_log.of_listing(out).encode()
        return {
            "exit": outcome.code,
            "stdout": out.decode("utf-8", "replace"),
            "stderr": err.decode("utf-8", "replace"),
        }

    def _start(self, argv: Sequence[str], starter: Starter | None = None) -> children.Running | Json:
        """A helper program under way; else the answer that says why it is not run."""
        program = _program(argv[0])
        if program is None:
            return None
        if os.geteuid() == 0 and _others_may_write(program):
            return {"error": "others may write to this program, so root does not run it"}
        env = {"PATH": ":".join(PROGRAM_FOLDERS), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
        return children.Running([program, *argv[1:]], env, starter)

    def _probe(self, name: str) -> dict[str, Json]:
        self.start(name)
        until = min(self._until, time.monotonic() + PATIENCE[name]) if name in PATIENCE else self._until
        return self._probes[name].answer(until)

    def _variable(self, name: str) -> Json:
        if not environment.may_read(name):
            raise LookupError(f"{name} is not a variable that nvdiag may read")
        if name.endswith("*"):
            allowed = [one for one in os.environ if one.startswith(name[:-1]) and environment.may_read(one)]
            return "\n".join(sorted(allowed)) or None
        return os.environ.get(name)


def people() -> tuple[str, ...]:
    """The login names that this process runs for, so that a snapshot can do without them."""
    import contextlib
    import pwd

    names = [os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")]
    with contextlib.suppress(KeyError):  # in a container its user need not have an entry
        names.append(pwd.getpwuid(os.getuid()).pw_name)
    return tuple(dict.fromkeys(name for name in names if name))


def _path_in(section: str, key: str) -> str:
    """The file that a question is about, where this process itself would look at it; else empty."""
    if section in ("files", "folders", "links", "stats"):
        return key
    if section == "elf":
        return key.removesuffix(" dynamic").removesuffix(" needs")
    if section == "contents" and key.startswith("fatbin"):
        return key.partition(" ")[2]
    return _words(key)[-1] if section == "commands" and key.startswith("grep -F ") else ""


def _words(command: str) -> list[str]:
    """What shlex.split makes of a command of `shlex.join`, which quotes whatever is not plain."""
    return shlex.split(command) if "'" in command else command.split()


def _program(name: str) -> str | None:
    candidates = [name] if name.startswith("/") else [f"{folder}/{name}" for folder in PROGRAM_FOLDERS]
    return next((path for path in candidates if os.access(path, os.X_OK) and not os.path.isdir(path)), None)


def _others_may_write(program: str) -> bool:
    real = os.path.realpath(program)
    return any(os.stat(path).st_mode & (stat.S_IWGRP | stat.S_IWOTH) for path in (real, os.path.dirname(real)))


def _kernel_log() -> Json:
    """What dmesg would print, cut down to what speaks of GPUs: read here, which is a thousandth of the cost."""
    from nvdiag.host import kernel_log

    return {"exit": 0, "stdout": kernel_log.of_device(), "stderr": ""}


def _grep(text: str, path: str) -> Json:
    """What `grep -F TEXT PATH` prints, or zgrep: read here piece by piece, which costs neither memory nor a process."""
    from nvdiag.host import logs

    hits = [line.decode("utf-8", "replace") for line in logs.lines_with(text.encode(), path, MAX_FILE)]
    return {"exit": 0 if hits else 1, "stdout": "".join(hits), "stderr": ""}


def _in_own_home(section: str, key: str) -> str:
    """The key with this user's home in place of a tilde: where that lies is not recorded, for it tells who it is."""
    if section == "stats" and key.startswith("~/"):
        return os.path.expanduser(key)
    kind, _, path = key.partition(" ")
    return f"{kind} {os.path.expanduser(path)}" if section == "contents" and path.startswith("~/") else key


def _stat(path: str) -> Json:
    found = os.stat(path)
    answer: dict[str, Json] = {"mode": stat.filemode(found.st_mode), "uid": found.st_uid, "gid": found.st_gid}
    if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        answer["rdev"] = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    elif stat.S_ISREG(found.st_mode):
        answer |= {"size": found.st_size, "mtime": int(found.st_mtime)}
    return answer


def _elf(key: str) -> Json:
    from nvdiag.host import elf

    for suffix, read in ((" dynamic", elf.read_dynamic), (" needs", elf.read_needs)):
        if key.endswith(suffix):
            return read(key.removesuffix(suffix))
    return elf.read_head(key)
