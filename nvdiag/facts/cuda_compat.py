"""cuda-compat: a libcuda of a newer driver branch for an older kernel module, mostly brought by a container's image."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from nvdiag.facts import reading
from nvdiag.facts.container_view import ContainerLibraries, Origin
from nvdiag.facts.libraries import DriverLibraries, Kind, LibraryCopy
from nvdiag.host import Host
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import NotApplicable, ParseError, Unknown

CONFIGURATION = "/etc/ld.so.conf.d"
HOOKS_FILE = "00-compat-"
"""How the file's name begins by which NVIDIA's container toolkit puts compat first (its cudacompat.go)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaCompat:
    """The cuda-compat libcuda that programs get. NotApplicable where they get another one.

    `branches` are the driver branches that it says to run on, None where its note cannot be read (`why_no_note`). The
    note `.note.cuda.fwd_compatibility` is a JSON text; NVIDIA's container toolkit decides by its driver list.
    `chosen_by` shows what puts it first: a variable, lines of the loader's configuration, a mount.
    """

    copy: LibraryCopy
    branches: tuple[int, ...] | None
    why_no_note: Unknown | None
    chosen_by: tuple[Evidence, ...]

    @classmethod
    def collect(cls, host: Host, libraries: DriverLibraries, origins: ContainerLibraries | Unknown) -> CudaCompat:
        copy = libraries.libcuda.taken
        mounted = isinstance(origins, ContainerLibraries) and origins.libcuda is Origin.COMPAT
        if copy is None or not (copy.kind is Kind.COMPAT or mounted):
            raise NotApplicable("the loader takes no cuda-compat library")
        branches: tuple[int, ...] | None = None
        why: Unknown | None = None
        try:
            branches = parse_compat_note(str(host.elf_dynamic(copy.file).get("fwd_compatibility", "")))
        except (ParseError, Unknown) as error:
            why = error if isinstance(error, Unknown) else Unknown(f"{copy.file}: {error}")
        chosen = tuple(_chosen_by(host, copy, origins))
        return cls(copy=copy, branches=branches, why_no_note=why, chosen_by=chosen)


def parse_compat_note(text: str) -> tuple[int, ...]:
    """The driver branches in a note's JSON, under a key that is called driver in whatever case. ParseError."""
    start = text.find("{")
    try:
        document = json.loads(text[start:] if start >= 0 else text)
        drivers = next(value for key, value in document.items() if "driver" in key.lower())
        return tuple(int(str(branch).partition(".")[0]) for branch in drivers)
    except (ValueError, TypeError, AttributeError, StopIteration, RecursionError) as error:
        raise ParseError("no note of forward compatibility in it") from error


def _chosen_by(host: Host, copy: LibraryCopy, origins: ContainerLibraries | Unknown) -> Iterator[Evidence]:
    if copy.found_by == "LD_LIBRARY_PATH":
        yield Evidence(source="LD_LIBRARY_PATH", excerpt=copy.path.rpartition("/")[0])
        return
    if isinstance(origins, ContainerLibraries) and (mount := origins.mounts.get(copy.file)):
        yield mount.evidence
        return
    for name in reading.names(host, CONFIGURATION):
        line = re.search(
            r"^\s*(/\S{0,200}compat\S{0,100})\s*$", reading.text(host, f"{CONFIGURATION}/{name}") or "", re.M
        )
        if line:
            yield Evidence(source=f"{CONFIGURATION}/{name}", excerpt=line[1])
