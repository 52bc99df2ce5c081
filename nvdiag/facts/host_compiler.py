"""The C++ compiler that nvcc hands the host's part of a program to, where something asks for a build."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from nvdiag.facts import reading
from nvdiag.facts.messages import Messages
from nvdiag.facts.toolkits import VARIABLES, Toolkit, Toolkits
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, ParseError, Unknown

_DEFAULT = "gcc"
"""What nvcc takes on Linux where nothing names another: the gcc on PATH (NVIDIA CUDA Compiler Driver, -ccbin)."""

_OF_BUILDS = ("CC", "CXX")
"""PyTorch's extensions hand CC on as nvcc's -ccbin (torch/utils/cpp_extension.py); other builds do not."""

_FLAGS = ("NVCC_APPEND_FLAGS", "NVCC_PREPEND_FLAGS")
_PICKS_ITSELF = "/usr/lib/nvidia-cuda-toolkit"
"""Debian's nvcc is a script that looks for a compiler that it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCompiler:
    """A compiler and the toolkit that gets it. `kind` is gcc or clang, `version` its major version.

    `told` is what said so, at `source`; `wanted_by` the variable or the message by which a build is meant here.
    `named` is True where a variable names this very compiler. `limit` is the highest version that the toolkit takes,
    by its own crt/host_config.h or else by nvdiag's table, as `limit_source` says; `others` are compilers here that it
    takes, looked for where it does not take this one. NotApplicable where nothing here asks for a build.
    """

    toolkit: Toolkit
    kind: str
    version: int
    told: str
    source: str
    wanted_by: str
    named: bool
    limit: int
    limit_source: str
    others: tuple[str, ...] = ()

    @classmethod
    def collect(cls, host: Host, toolkits: Toolkits, messages: Messages | Unknown) -> HostCompiler:
        toolkit = next((one for one in toolkits.found if one.chosen_by), None)
        if toolkit is None:
            raise NotApplicable("neither PATH nor CUDA_HOME picks a toolkit")
        flags = [(name, word) for name in _FLAGS for word in _words(host, name)]
        if any(word.lstrip("-") == "allow-unsupported-compiler" for _, word in flags):
            raise NotApplicable("nvcc is told to take whatever compiler there is")
        wanted_by, program = next(_named(host, flags), ("", ""))
        named = bool(program)
        if not named:
            wanted_by = _build_wanted_by(toolkit, messages)
            program = _DEFAULT
            if toolkit.root == _PICKS_ITSELF:
                raise NotApplicable("Debian's nvcc looks for a compiler that it takes")
            if any(reading.variable(host, name) for name in _OF_BUILDS):
                raise NotApplicable("CC or CXX names a compiler, and it is for each build to pass it on to nvcc")
        kind, version, told, source = _version(host, program)
        limit, limit_source = _limit(host, toolkit, kind)
        return cls(
            toolkit=toolkit,
            kind=kind,
            version=version,
            told=told,
            source=source,
            wanted_by=wanted_by,
            named=named,
            limit=limit,
            limit_source=limit_source,
            others=_others(host, kind, limit) if version > limit else (),
        )


def _words(host: Host, name: str) -> list[str]:
    value = reading.variable(host, name) or ""
    try:
        return shlex.split(value)
    except ValueError:
        return value.split()


def _named(host: Host, flags: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Variables that name a host compiler, the one that nvcc heeds first; of an option given twice the last counts."""
    for name in (_FLAGS[0], "CUDAHOSTCXX", _FLAGS[1], "NVCC_CCBIN"):
        words = [word for of, word in flags if of == name]
        named = list(_bindirs(words)) if name in _FLAGS else [reading.variable(host, name) or ""]
        if named and named[-1].strip():
            yield name, named[-1].strip()


def _bindirs(words: list[str]) -> Iterator[str]:
    """The values of nvcc's -ccbin (--compiler-bindir), joined with = or standing behind."""
    for index, word in enumerate(words):
        option, joined, value = word.partition("=")
        if option in ("-ccbin", "--compiler-bindir"):
            yield value if joined else (words[index + 1 : index + 2] or [""])[0]


def _build_wanted_by(toolkit: Toolkit, messages: Messages | Unknown) -> str:
    """Who means to build here: a message of a build, or CUDA_HOME. An nvcc on PATH alone is no wish."""
    if isinstance(messages, Messages):
        identifier = "host-compiler-unsupported"
        said = (*messages.proving(identifier), *messages.suggesting(identifier))
        if said:
            return said[0].source
    variable = next((way for way in toolkit.found_by if way in VARIABLES), None)
    if variable is None:
        raise NotApplicable("nothing here asks for a build with nvcc")
    return variable


def _version(host: Host, program: str) -> tuple[str, int, str, str]:
    """Kind and major version of a compiler, by the name that it is a link to where that tells, else by asking it."""
    path = _path(host, program)
    if path is not None:
        real = host.resolve(path)
        if by_name := re.search(r"(?:^|[/-])(gcc|g\+\+|clang(?:\+\+)?)-(\d{1,2})(?:\.\d{1,2})?$", real):
            return _kind(by_name[1]), int(by_name[2]), real, "its name" if real == path else f"{path} leads to"
    asked = path or next((one for one in _SAME.get(program, (program,)) if _is_recorded(host, one)), None)
    if asked is None:
        raise NotApplicable(f"no {program} is found along PATH")
    text = host.run(asked, "--version").stdout
    try:
        kind, version = parse_version(text)
    except ParseError as error:
        raise Unknown(f"{asked} --version: {error}") from error
    return kind, version, text.partition("\n")[0].strip()[:120], f"{asked} --version"


_SAME = {_DEFAULT: (_DEFAULT, "g++")}
"""The two are of one package and one version."""


def _is_recorded(host: Host, program: str) -> bool:
    return f"{program} --version" in host.recorded("commands")


def _path(host: Host, program: str) -> str | None:
    """Where a compiler lies: as it is named, in the folder that is named, or along PATH; None where it is not found."""
    if "/" in program:
        inside = f"{program.rstrip('/')}/{_DEFAULT}"
        return inside if reading.is_there(host, inside) else program if reading.is_there(host, program) else None
    folders = (reading.variable(host, "PATH") or "").split(":")
    places = (f"{folder}/{program}" for folder in folders if folder.startswith("/"))
    return next((path for path in places if reading.is_there(host, path)), None)


def parse_version(text: str) -> tuple[str, int]:
    """Of `gcc --version` and clang's: `g++ (GCC) 14.2.1 20250110`, `Debian clang version 15.0.6`. ParseError."""
    first = text.partition("\n")[0]
    if found := re.search(r"\bclang version (\d{1,2})\.\d", first):
        return "clang", int(found[1])
    if found := re.match(
        r"\S{0,60}(?:gcc|g\+\+|cc|c\+\+)(?:-\d{1,2})?(?:\.exe)? \(.{0,80}\) (\d{1,2})\.\d{1,2}", first
    ):
        return "gcc", int(found[1])
    raise ParseError("not the version of gcc or clang")


def _kind(name: str) -> str:
    return "clang" if name.startswith("clang") else "gcc"


_TESTS = {"gcc": "#if __GNUC__ > ", "clang": "(__clang_major__ >= "}
"""How crt/host_config.h of CUDA 11 to 13 begins the tests of the two."""


def _limit(host: Host, toolkit: Toolkit, kind: str) -> tuple[int, str]:
    """The highest version of the compiler that the toolkit's own header takes, else its row of nvdiag's table."""
    header = f"{toolkit.root}/include/crt/host_config.h"
    try:
        own = limit_in(host.lines_with(_TESTS[kind], header), kind)
    except Unknown:
        own = None
    if own is not None:
        return own, header
    if toolkit.version is None:
        raise Unknown(f"the version of the toolkit at {toolkit.root}: {toolkit.source}")
    from nvdiag.knowledge.host_compilers import host_compilers

    row = host_compilers(toolkit.version)
    if row is None:
        raise Unknown(f"which compilers CUDA {toolkit.version.short} takes: it is not in nvdiag's table")
    return row.highest(kind), f"nvdiag's table of host compilers, CUDA {row.cuda} ({row.source[0]})"


def limit_in(lines: tuple[str, ...], kind: str) -> int | None:
    """The highest major version that these lines of host_config.h let through; of several tests of clang the newest."""
    pattern = r"#if __GNUC__ > (\d{1,2})" if kind == "gcc" else r"#if \(__clang_major__ >= {1,2}(\d{1,2})\)"
    found = [int(match[1]) for line in lines if (match := re.match(pattern, line.strip()))]
    return None if not found else max(found) - (kind == "clang")


_OLDER = 3
"""How many major versions below the limit are looked for."""


def _others(host: Host, kind: str, limit: int) -> tuple[str, ...]:
    """Compilers beside it that the toolkit takes, the newest first, by the names that distributions give them."""
    name = "clang++" if kind == "clang" else "g++"
    places = (f"/usr/bin/{name}-{version}" for version in range(limit, max(limit - _OLDER, 0), -1))
    return tuple(path for path in places if reading.is_there(host, path))
