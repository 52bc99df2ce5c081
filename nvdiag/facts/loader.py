"""What glibc's loader would take, library by library, for a program that is not started.

The rules are those of ld.so(8) and of glibc's elf/dl-load.c: LD_PRELOAD comes first, and what has been loaded under a
soname serves everybody who asks for it; else DT_RPATH of whoever asks and of all that led to it, unless whoever asks
has DT_RUNPATH; then LD_LIBRARY_PATH; then its DT_RUNPATH; then ldconfig's cache; then the default folders.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache

from nvdiag.facts import reading
from nvdiag.facts.search_path import CACHED, SearchPath, Taken
from nvdiag.host import Host, NotRecorded
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown

PRELOADED = "preloaded by the program itself"
_MOST = 400
"""Objects that one process is followed for."""


class Process:
    """A process that is thought through: `load` what it loads, in its order, and see `taken`.

    Only sonames that `matters` holds for are followed: the rest (libc, libstdc++) is the system's.
    """

    def __init__(self, host: Host, program: str, search: SearchPath, matters: Callable[[str], bool]) -> None:
        self.taken: dict[str, Taken] = {}
        self._host = host
        self._search = search
        self._matters = matters
        self._objects: dict[str, _Object] = {}
        self._name = program
        self._program = self._read(host.resolve(program), None)
        for path in search.preloaded:
            name = path.rpartition("/")[2]
            if matters(name):
                self.load(path, name, "LD_PRELOAD")

    def load(self, path: str, soname: str = "", rule: str = PRELOADED) -> bool:
        """Open a library, or the program itself, with all that it needs; False where it is not there."""
        own = self._program if self._program is not None and self._program.path == path else None
        first = own or self._read(path, self._program)
        if first is None:
            return False
        if soname:
            self.taken.setdefault(soname, Taken(soname, path, rule, self._name))
        self._follow(first)
        return True

    def _follow(self, first: _Object) -> None:
        ahead = deque([first])
        while ahead and len(self._objects) < _MOST:
            for one in self._needs(ahead.popleft()):
                ahead.append(one)

    def open_by_name(self, soname: str, by: str, *, needed: bool) -> None:
        """What dlopen(soname), called in a loaded object, gets; that it gets nothing counts only if it is needed."""
        asking = self._objects.get(by)
        if asking is None or soname in self.taken:
            return
        found = self._find(soname, asking)
        if found.path is not None or needed:
            self.taken[soname] = found
        loaded = self._read(found.path, asking) if found.path is not None else None
        if loaded is not None:
            self._follow(loaded)

    def _needs(self, asking: _Object) -> Iterator[_Object]:
        for soname in asking.needed:
            if soname in self.taken or not self._matters(soname):
                continue
            found = self._find(soname, asking)
            self.taken[soname] = found
            loaded = self._read(found.path, asking) if found.path is not None else None
            if loaded is not None:
                yield loaded

    def _find(self, soname: str, asking: _Object) -> Taken:
        for folder, rule in self._folders(asking):
            if soname in reading.names(self._host, folder) and self._is_library(f"{folder}/{soname}"):
                return Taken(soname, f"{folder}/{soname}", rule, asking.path)
        for path in self._search.cached(soname):
            return Taken(soname, path, CACHED, asking.path)
        for folder in self._search.folders():
            if reading.is_there(self._host, f"{folder}/{soname}"):
                return Taken(soname, f"{folder}/{soname}", "default folder", asking.path)
        return Taken(soname, None, None, asking.path)

    def _folders(self, asking: _Object) -> Iterator[tuple[str, str]]:
        if not asking.runpath:
            chain: _Object | None = asking
            while chain is not None:
                yield from ((folder, f"DT_RPATH of {chain.path}") for folder in chain.rpath)
                chain = chain.led_by
        yield from ((folder, "LD_LIBRARY_PATH") for folder in self._search.variable)
        yield from ((folder, f"DT_RUNPATH of {asking.path}") for folder in asking.runpath)

    def _is_library(self, path: str) -> bool:
        """False for what the loader passes over: another kind of file, or another machine's."""
        try:
            self._host.elf_needs(path)
        except NotRecorded:  # silence is not absence: what the loader then takes is not known
            raise
        except Unknown:
            return False
        return True

    def _read(self, path: str, led_by: _Object | None) -> _Object | None:
        if path in self._objects:
            return None
        try:
            told = self._host.elf_needs(path)
        except Unknown:
            return None
        runpath = _expanded(told.get("runpath"), path)
        self._objects[path] = _Object(
            path=path,
            needed=reading.texts(told.get("needed")),
            rpath=() if told.get("runpath") else _expanded(told.get("rpath"), path),
            runpath=runpath,
            led_by=led_by,
        )
        return self._objects[path]


@dataclass(frozen=True, slots=True)
class _Object:
    """A loaded object; `led_by` is the one for whose sake it was loaded."""

    path: str
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]
    led_by: _Object | None


def _expanded(folders: object, path: str) -> tuple[str, ...]:
    """The folders of a DT_RPATH or DT_RUNPATH with $ORIGIN, the object's own folder, filled in."""
    return _filled_in(folders, posixpath.dirname(path)) if isinstance(folders, str) else ()


@cache
def _filled_in(folders: str, origin: str) -> tuple[str, ...]:
    full = (one.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for one in folders.split(":") if one)
    return tuple(dict.fromkeys(posixpath.normpath(one) for one in full if one.startswith("/")))
