"""What glibc's loader goes by for every program here: LD_LIBRARY_PATH, and the cache that ldconfig made (ld.so(8))."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.facts import reading
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown

DEFAULT_FOLDERS = ("/lib/{triplet}", "/usr/lib/{triplet}", "/lib64", "/usr/lib64", "/lib", "/usr/lib")
"""Debian's multiarch folders first, then those of other distributions."""

LDCONFIG = ("ldconfig", "-p")

CACHED = "ldconfig's cache"

_MACHINES = {"x86-64": "x86_64", "AArch64": "aarch64"}


@dataclass(frozen=True, slots=True)
class SearchPath:
    """`machine` is as `uname -m` has it, `variable` LD_LIBRARY_PATH's folders, `cache` rows of (soname, flags, path).

    `preloaded` are the paths in LD_PRELOAD. `blind` says why the cache is not known, None where it is.
    """

    machine: str
    variable: tuple[str, ...]
    cache: tuple[tuple[str, str, str], ...]
    blind: Unknown | None
    preloaded: tuple[str, ...] = ()

    @classmethod
    def collect(cls, host: Host) -> SearchPath:
        try:
            machine = host.run("uname", "-m").stdout.strip()
        except Unknown:
            machine = "x86_64"
        path = reading.variable(host, "LD_LIBRARY_PATH") or ""
        cache: tuple[tuple[str, str, str], ...] = ()
        blind = None
        try:
            cache = parse_ldconfig(host.run(*LDCONFIG).stdout)
        except Unknown as why:
            blind = why
            cache = _part_of_cache(host)
        preloaded = (reading.variable(host, "LD_PRELOAD") or "").replace(":", " ").split()
        return cls(
            machine=machine,
            variable=tuple(folder for folder in path.split(":") if folder),
            cache=cache,
            blind=blind,
            preloaded=tuple(one for one in preloaded if one.startswith("/")),
        )

    def cached(self, soname: str) -> Iterator[str]:
        """The paths that the cache has for a soname, in its order, but those of other machines' libraries."""
        for name, flags, path in self.cache:
            if name == soname and _machine_of(flags, self.machine):
                yield path

    def folders(self, patterns: tuple[str, ...] = DEFAULT_FOLDERS) -> Iterator[str]:
        """Folders with this machine's triplet filled in."""
        return (pattern.format(triplet=f"{self.machine}-linux-gnu") for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Taken:
    """One library as a process gets it: `rule` is how it is found, None with `path` where it is not.

    `by` is the path of whoever asks for it first.
    """

    soname: str
    path: str | None
    rule: str | None
    by: str


def _part_of_cache(host: Host) -> tuple[tuple[str, str, str], ...]:
    """What a recorded `ldconfig -p | grep …` let through: nothing is absent for not being in it."""
    try:
        return parse_ldconfig(host.run("ldconfig", "-p", "|", "grep").stdout)
    except Unknown:
        return ()


def parse_ldconfig(text: str) -> tuple[tuple[str, str, str], ...]:
    """The lines of `ldconfig -p` as (soname, flags, path): `libcuda.so.1 (libc6,x86-64) => /usr/lib/…`."""
    found = (re.match(r"\s*(\S{1,200}) \(([^)\n]{1,100})\) => (/.{1,4000})$", line) for line in text.splitlines())
    return tuple((match[1], match[2], match[3]) for match in found if match)


def _machine_of(flags: str, machine: str) -> bool:
    """Whether a line of the cache is for this machine; one without a machine's name is 32-bit x86 or the only kind."""
    said = next((_MACHINES[flag] for flag in flags.split(",") if flag in _MACHINES), None)
    return said == machine if said else machine not in _MACHINES.values()
