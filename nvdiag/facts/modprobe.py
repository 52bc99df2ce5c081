"""What keeps the nvidia module out at the next boot: modprobe's configuration and the kernel's command line.

A file shadows those of the same name in later folders (modprobe.d(5)). A `blacklist` only keeps the hardware's own
request from loading it; `alias nvidia off`, an `install` line that runs nothing and module_blacklist= refuse everybody.
"""

from __future__ import annotations

import re

from nvdiag.facts import reading
from nvdiag.facts.boot import NextBootKernel
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable, Unknown

FOLDERS = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
COMMAND_LINE = "/proc/cmdline"

REFUSES = regex(
    r"(?:alias\s{1,9}nvidia\s{1,9}off|install\s{1,9}nvidia\s{1,9}(?:(?:/usr)?/bin/(?:true|false)|true|false|:))\s*(?:#.*)?"
)
"""A line, with single spaces, by which modprobe loads nothing, whoever asks."""
UNASKED = regex(r"blacklist\s{1,9}nvidia\s*(?:#.*)?")
"""A line by which the hardware's own request loads nothing."""


@dataclass(frozen=True, slots=True)
class ModuleBlocks:
    """The lines that keep nvidia out: `refused` whoever asks for it, `unasked` only where nobody does."""

    refused: tuple[Evidence, ...]
    unasked: tuple[Evidence, ...]

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings, kernel: NextBootKernel | Unknown) -> ModuleBlocks:
        if not surroundings.has_own_kernel_modules:
            raise NotApplicable("the kernel's modules are loaded by the host")
        following = kernel if isinstance(kernel, NextBootKernel) else None
        lines = _configured(host, following.root if following else "")
        refused = [one for one in lines if REFUSES.fullmatch(one.excerpt)]
        unasked = [one for one in lines if UNASKED.fullmatch(one.excerpt)]
        words = following.options if following and following.options else None
        where = "the entry that boots next" if words else COMMAND_LINE
        for word in (words or _running_options(host)).split():
            name, _, value = word.partition("=")
            if "nvidia" in value.split(","):
                if name == "module_blacklist":
                    refused.append(Evidence(source=where, excerpt=word))
                elif name == "modprobe.blacklist":
                    unasked.append(Evidence(source=where, excerpt=word))
        return cls(tuple(refused), tuple(unasked))


def options_of(host: Host, kernel: NextBootKernel | Unknown, name: str) -> list[tuple[str, Evidence]]:
    """The values that the next boot gives the module for one of its options; the last one counts.

    Debian calls the module nvidia-current.
    """
    following = kernel if isinstance(kernel, NextBootKernel) else None
    line_of = re.compile(rf"options nvidia(?:-current)? (?:.* )?{name}=(\S+)")
    word_of = re.compile(rf"nvidia\.{name}=(\S+)")
    lines = _configured(host, following.root if following else "")
    words = (following.options if following and following.options else _running_options(host)).split()
    found = [(match[1], one) for one in lines if (match := line_of.match(one.excerpt))]
    return found + [
        (match[1], Evidence(source=COMMAND_LINE, excerpt=word)) for word in words if (match := word_of.fullmatch(word))
    ]


def _running_options(host: Host) -> str:
    """The command line of the kernel that runs, only where nvidia is in it: a recording needs no more of it."""
    try:
        return " ".join(host.lines_with("nvidia", COMMAND_LINE))
    except Unknown:
        return reading.text(host, COMMAND_LINE) or ""


def _configured(host: Host, root: str) -> list[Evidence]:
    seen: set[str] = set()
    found: list[Evidence] = []
    for folder in (f"{root}{one}" for one in FOLDERS):
        for name in reading.names(host, folder):
            if not name.endswith(".conf") or name in seen:
                continue
            seen.add(name)
            try:
                lines = host.lines_with("nvidia", f"{folder}/{name}")
            except Unknown:
                continue
            found += [Evidence(source=f"{folder}/{name}", excerpt=" ".join(line.split())[:200]) for line in lines]
    return found
