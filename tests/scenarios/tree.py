"""A machine written down as a tree of files: everything that is not in it is absent, as on a machine that one owns.

Scenarios give paths in the layouts of real distributions; folders, links, nodes and the answers of `ldconfig -p`,
`grep` and `uname` follow from them, so that a scenario cannot contradict itself.
"""

from __future__ import annotations

import errno
import posixpath
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

from nvdiag.host import Host, certificates, engine_files, fatbin, initramfs, initramfs_end, kernel_image, modinfo
from nvdiag.host.snapshot import SnapshotHost
from nvdiag.model.diagnosis import Source
from nvdiag.probes import holders


@dataclass(frozen=True)
class Tree:
    """What is on a machine. `modules` are kernel module files with their .modinfo; `libraries` real ELF files.

    `needs` has what the dynamic sections of libraries say: `needed`, `rpath`, `runpath`.

    `images` are files with real contents, kernel modules among them, which nvdiag's own readers read.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    nodes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    modules: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    images: Mapping[str, bytes] = field(default_factory=dict)
    libraries: Mapping[str, int] = field(default_factory=dict)
    needs: Mapping[str, Any] = field(default_factory=dict)
    cached: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    commands: Mapping[str, Any] = field(default_factory=dict)
    probes: Mapping[str, Any] = field(default_factory=dict)
    opens: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    machine: str = "x86_64"
    node_owner: tuple[int, int] = (0, 0)

    def but(self, **changes: Any) -> Tree:
        """This machine with some of its parts added to (mappings) or replaced."""
        merged: dict[str, Any] = {
            name: {**getattr(self, name), **value} if isinstance(value, dict) else value
            for name, value in changes.items()
        }
        return replace(self, **merged)

    def without(self, *prefixes: str) -> Tree:
        """This machine without every path that starts with one of these."""

        def kept(mapping: Mapping[str, Any]) -> dict[str, Any]:
            return {path: value for path, value in mapping.items() if not path.startswith(prefixes)}

        return replace(
            self,
            files=kept(self.files),
            links=kept(self.links),
            nodes=kept(self.nodes),
            modules=kept(self.modules),
            images=kept(self.images),
            libraries=kept(self.libraries),
            opens=kept(self.opens),
            cached=tuple(path for path in self.cached if not path.startswith(prefixes)),
        )

    def host(self) -> TreeHost:
        return TreeHost(self)

    def snapshot(self) -> SnapshotHost:
        """This machine after a full run was recorded on it: what a user's snapshot of it would replay."""
        from nvdiag.cli import running

        return SnapshotHost(running.recorded(self.host()).document, "recorded scenario")


READERS: dict[str, Callable[[str], Any]] = {
    "kernel": kernel_image.read_image,
    "certificates": certificates.read_list,
    "fatbin": lambda path: fatbin.read_fatbin(path, None),
    "fatbin-whole": lambda path: fatbin.read_fatbin(path, time.monotonic() + 60),
    "initramfs-end": lambda path: initramfs_end.read_end(path, time.monotonic() + 60),
    "initramfs": lambda path: initramfs.read_initramfs(path, time.monotonic() + 60, shutil.which),
}


def read_by(reader: Callable[[str], Any], name: str, data: bytes) -> Any:
    """What one of nvdiag's readers makes of a file, which it gets under a name with the same end."""
    with tempfile.NamedTemporaryFile(suffix=posixpath.basename(name)) as file:
        file.write(data)
        file.flush()
        return reader(file.name)


class TreeHost(Host):
    """Answers from a Tree as `LiveHost` answers from a machine."""

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self.tree = tree
        self.source = Source(kind="live", name="scenario", captured_at="2025-09-16T08:11:02+00:00")
        self.asked: list[str] = []

    def look(self, section: str, key: str) -> Any:
        self.asked.append(f"{section} {key}")
        path = key.partition(" ")[2] if section == "contents" else key
        if section not in ("opens", "commands", "probes", "env") and path in self.tree.refused:
            return {"error": self.tree.refused[path]}
        return getattr(self, f"_{section}")(key)

    def _paths(self) -> list[str]:
        tree = self.tree
        return [
            *tree.files, *tree.links, *tree.nodes, *tree.modules, *tree.images, *tree.libraries, *tree.folders,
        ]  # fmt: skip

    def _real(self, path: str) -> str:
        """The path with every link on its way followed, as open(2) does."""
        for _ in range(40):
            parts = path.strip("/").split("/")
            for index in range(1, len(parts) + 1):
                prefix = "/" + "/".join(parts[:index])
                if prefix in self.tree.links:
                    target = posixpath.join(posixpath.dirname(prefix), self.tree.links[prefix])
                    path = posixpath.normpath(posixpath.join(target, *parts[index:]))
                    break
            else:
                return path
        raise AssertionError(f"the scenario's links run in a circle at {path}")

    def _files(self, path: str) -> Any:
        return self.tree.files.get(self._real(path))

    def _folders(self, path: str) -> Any:
        real = self._real(path).rstrip("/") + "/"
        names = {name[len(real) :].split("/")[0] for name in self._paths() if name.startswith(real)}
        return sorted(names) if names or real[:-1] in self.tree.folders else None

    def _links(self, path: str) -> Any:
        parent = self._real(posixpath.dirname(path))
        path = posixpath.join(parent, posixpath.basename(path))
        if path in self.tree.links:
            return self.tree.links[path]
        return None if self._stats(path) is None else {"error": "EINVAL"}

    def _stats(self, path: str) -> Any:
        real = self._real(path)
        if real in self.tree.nodes:
            mode, rdev = self.tree.nodes[real]
            return {"mode": mode, "uid": self.tree.node_owner[0], "gid": self.tree.node_owner[1], "rdev": rdev}
        if real in self.tree.files:
            mode = "-rwsr-xr-x" if real == "/usr/bin/nvidia-modprobe" else "-rw-r--r--"
            return {"mode": mode, "uid": 0, "gid": 0, "size": len(self.tree.files[real])}
        if real in self.tree.images:
            return {"mode": "-rw-r--r--", "uid": 0, "gid": 0, "size": len(self.tree.images[real])}
        if real in self.tree.modules or real in self.tree.libraries:
            return {"mode": "-rw-r--r--", "uid": 0, "gid": 0, "size": self.tree.libraries.get(real, 5_000_000)}
        return {"mode": "drwxr-xr-x", "uid": 0, "gid": 0} if self._folders(real) is not None else None

    def _opens(self, path: str) -> Any:
        return None if path not in self.tree.nodes else self.tree.opens.get(path, "ok")

    def _modinfo(self, path: str) -> Any:
        real = self._real(path)
        if real in self.tree.images:
            return read_by(modinfo.read_module, real, self.tree.images[real])
        return self.tree.modules.get(real)

    def _contents(self, key: str) -> Any:
        kind, _, path = key.partition(" ")
        real = self._real(path)
        if kind.startswith("settings:"):
            text = self.tree.files.get(real)
            return None if text is None else engine_files.settings(kind.removeprefix("settings:"), text)
        if real not in self.tree.images:
            return None if self._stats(path) is None else {"error": "EACCES"}
        return read_by(READERS[kind], real, self.tree.images[real])

    def _elf(self, key: str) -> Any:
        path = self._real(key.removesuffix(" dynamic").removesuffix(" needs"))
        if path not in self.tree.libraries:
            return None
        if key.endswith(" dynamic"):
            return {"soname": posixpath.basename(path)}
        if key.endswith(" needs"):
            soname = posixpath.basename(path)
            return {"soname": soname, "needed": [], "rpath": "", "runpath": "", **self.tree.needs.get(path, {})}
        if self.tree.libraries[path] == 0:
            return {"error": "empty"}
        machine = {"x86_64": "x86-64", "aarch64": "aarch64"}[self.tree.machine]
        return {"class": 64, "machine": machine, "size": self.tree.libraries[path]}

    def _commands(self, key: str) -> Any:
        argv = shlex.split(key)
        if key in self.tree.commands:
            return self.tree.commands[key]
        if argv[0] in ("grep", "zgrep"):
            text = self._files(argv[3])
            if text is None:
                return None
            hits = "".join(line for line in text.splitlines(keepends=True) if argv[2] in line)
            return {"exit": 0 if hits else 1, "stdout": hits, "stderr": ""}
        if argv[0] == "find":
            return {"exit": 0, "stdout": "".join(f"{path}\n" for path in self._found(argv[1:])), "stderr": ""}
        if key == "uname -m":
            return {"exit": 0, "stdout": f"{self.tree.machine}\n", "stderr": ""}
        if key == "ldconfig -p":
            return {"exit": 0, "stdout": self._ldconfig(), "stderr": ""}
        return None

    def _found(self, words: list[str]) -> list[str]:
        """What `find FOLDER… -name GLOB -o -name GLOB` prints."""
        folders = [f"{word}/" for word in words if word.startswith("/")]
        globs = [word for before, word in pairwise(words) if before == "-name"]
        return [
            path
            for path in self.tree.files
            if path.startswith(tuple(folders)) and any(fnmatchcase(posixpath.basename(path), one) for one in globs)
        ]

    def _ldconfig(self) -> str:
        flag = {"x86_64": "libc6,x86-64", "aarch64": "libc6,AArch64"}[self.tree.machine]
        rows = [f"\t{posixpath.basename(path)} ({flag}) => {path}\n" for path in self.tree.cached]
        return f"{len(rows)} libs found in cache `/etc/ld.so.cache'\n" + "".join(rows)

    def _probes(self, name: str) -> Any:
        if name == "holders" and name not in self.tree.probes:
            document = holders.walk(_Proc(self), lambda *_: None, lambda _: None)
            return holders.with_users(document, lambda uid: {0: "root", 1000: "alice"}.get(uid, ""))
        return self.tree.probes.get(name, self.tree.probes.get(name.partition(" ")[0]))

    def _env(self, name: str) -> Any:
        if name.endswith("*"):
            return "\n".join(sorted(one for one in self.tree.env if one.startswith(name[:-1]))) or None
        return self.tree.env.get(name)


class _Proc:
    """A tree's /proc as the probe's walk asks for it, so that a scenario writes down what /proc really has."""

    def __init__(self, host: TreeHost) -> None:
        self.host = host

    def names(self, folder: str) -> list[str]:
        return list(self._got("folders", folder))

    def link(self, path: str) -> str:
        return str(self._got("links", path))

    def text(self, path: str) -> str:
        return str(self._got("files", path))

    def _got(self, section: str, path: str) -> Any:
        value = self.host.look(section, path)
        if value is None:
            raise FileNotFoundError(path)
        if isinstance(value, dict):
            number = getattr(errno, value["error"])
            raise OSError(number, path)
        return value
