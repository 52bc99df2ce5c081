"""Which interpreter a shim of pyenv stands for: a small script that PATH finds before any interpreter.

The order is pyenv's own (libexec/pyenv-version-name and pyenv-version-file): PYENV_VERSION, else the nearest
.python-version from the working folder up, else the file `version` of pyenv's folder.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from nvdiag.facts import reading
from nvdiag.host import Host

_FOLDER = "/shims/"
_MOST_FOLDERS = 40


def is_shim(host: Host, path: str) -> bool:
    """Whether a path is that of a shim of pyenv's; asdf and mise have a folder of that name, and other ways."""
    root, folder, command = path.rpartition(_FOLDER)
    return bool(folder) and "/" not in command and bool(reading.names(host, f"{root}/versions"))


def interpreter(host: Host, shim: str) -> str | None:
    """The interpreter that pyenv would start; None where that is the system's: the next one on PATH."""
    root, _, command = shim.rpartition(_FOLDER)
    for version in _versions(host, root):
        if version == "system":
            return None
        for name in _installed(host, root, version):
            path = f"{root}/versions/{name}/bin/{command}"
            if reading.is_there(host, path):
                return path
    return None


def _versions(host: Host, root: str) -> Iterator[str]:
    named = reading.variable(host, "PYENV_VERSION")
    if named:
        yield from named.split(":")
        return
    for file in (*_local_files(host), f"{root}/version"):
        words = [line.split() for line in (reading.text(host, file) or "").splitlines()]
        told = [line[0] for line in words if line and not line[0].startswith("#") and "/" not in line[0]]
        if told:
            yield from told
            return


def _local_files(host: Host) -> Iterator[str]:
    folder = reading.link(host, "/proc/self/cwd") or "/"
    for _ in range(_MOST_FOLDERS):
        yield posixpath.join(folder, ".python-version")
        if folder == posixpath.dirname(folder):
            return
        folder = posixpath.dirname(folder)


def _installed(host: Host, root: str, version: str) -> Iterator[str]:
    """The installed version of this name; of a shortened one (3.12) the newest that begins with it."""
    name = version.removeprefix("python-")
    names = reading.names(host, f"{root}/versions")
    if name in names:
        yield name
        return
    fitting = [one for one in names if re.fullmatch(rf"{re.escape(name)}\.\d{{1,3}}", one)]
    yield from sorted(fitting, key=lambda one: int(one.rpartition(".")[2]), reverse=True)[:1]
