"""CDI specifications of NVIDIA devices on this host, and what has become of the files that they name.

Engines read every .json and .yaml file in these folders, not below them. The same device in a later folder wins over
one in an earlier; twice in one folder it is a conflict, and neither is used (container-device-interface, cache.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nvdiag.facts import reading
from nvdiag.facts.container_engines import ContainerEngines
from nvdiag.facts.container_toolkit import ContainerToolkit, on_the_host
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.units import UnitState, unit_state
from nvdiag.host import Absent, Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, ParseError, Unknown
from nvdiag.model.versions import DriverRelease

if TYPE_CHECKING:
    from nvdiag.facts.cdi_document import CdiDocument

FOLDERS = ("/etc/cdi", "/var/run/cdi")
REFRESH = "nvidia-cdi-refresh.service"
_UNIT_FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_MOST_FILES = 128
_RELEASE = r"/lib(?:cuda|nvidia-ml)\.so\.(\d{3,4}(?:\.\d{1,4}){1,2})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CdiSpecification:
    """One file. `document` is None where an engine refuses it, for the reason in `malformed`.

    `gone` are the files and nodes that it names and that are not there, `lost_hooks` the hook programs likewise.
    `releases` are those in the names of the driver libraries that it mounts. `shadowed` are its devices that a later
    folder has too, so that this file's are not used.
    """

    path: str
    document: CdiDocument | None
    malformed: str = ""
    gone: tuple[str, ...] = ()
    lost_hooks: tuple[str, ...] = ()
    releases: tuple[DriverRelease, ...] = ()
    shadowed: frozenset[str] = frozenset()

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def qualified(self) -> tuple[str, ...]:
        """Its devices as an engine is asked for them: nvidia.com/gpu=0."""
        return tuple(f"{self.document.kind}={name}" for name in self.document.devices) if self.document else ()

    @property
    def in_use(self) -> bool:
        """Whether any of its devices is taken from it."""
        return bool(set(self.qualified) - self.shadowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class CdiSpecifications:
    """All of NVIDIA's; NotApplicable where there is none. `conflicts` are devices with the two files of one folder.

    `unread` says of each file that could not be looked at why. `refresh` is the service that writes a specification
    anew, asked for only where one names what is not there; None where there is no such service.
    """

    found: tuple[CdiSpecification, ...]
    conflicts: tuple[tuple[str, str, str], ...] = ()
    unread: tuple[str, ...] = ()
    refresh: UnitState | None = None

    @classmethod
    def collect(
        cls,
        host: Host,
        surroundings: Surroundings,
        toolkit: ContainerToolkit | Unknown,
        engines: ContainerEngines | Unknown,
    ) -> CdiSpecifications:
        on_the_host(host, surroundings)
        folders = _folders(toolkit, engines)
        unread: list[str] = []
        found = [one for folder in folders for one in _in_folder(host, folder, unread)]
        if not found and not unread:
            raise NotApplicable("there is no CDI specification of NVIDIA devices")
        if not found:
            raise Unknown(f"what the CDI specifications say: {unread[0]}")
        ranked = _shadowed(found, folders)
        troubled = any(one.gone or one.lost_hooks or one.malformed for one in ranked)
        return cls(
            found=tuple(ranked),
            conflicts=tuple(_conflicts(found)),
            unread=tuple(unread),
            refresh=_refresh(host) if troubled else None,
        )


def _folders(toolkit: ContainerToolkit | Unknown, engines: ContainerEngines | Unknown) -> tuple[str, ...]:
    """The usual two, and what settings name besides, in the order of the settings."""
    named = [*toolkit.spec_dirs] if isinstance(toolkit, ContainerToolkit) else []
    if isinstance(engines, ContainerEngines):
        named += [folder for one in engines.engines for folder in one.spec_dirs]
    clean = (folder.rstrip("/").replace("//", "/") for folder in named if folder.startswith("/"))
    return tuple(dict.fromkeys((*FOLDERS, *("/var/run/cdi" if one == "/run/cdi" else one for one in clean))))[:8]


def _in_folder(host: Host, folder: str, unread: list[str]) -> Iterator[CdiSpecification]:
    try:
        names = host.folder(folder)
    except Absent:
        return
    except Unknown as why:
        unread.append(str(why))
        return
    from nvdiag.facts.cdi_document import parse_specification

    for path in [f"{folder}/{name}" for name in names if name.endswith((".json", ".yaml"))][:_MOST_FILES]:
        try:
            text = host.read(path)
            document = parse_specification(text, path)
        except ParseError as error:
            if "nvidia" in path or "nvidia" in text:
                yield CdiSpecification(path=path, document=None, malformed=str(error))
        except Unknown as why:
            unread.append(str(why))
        else:
            if document.kind.partition("/")[0].endswith("nvidia.com"):
                yield _looked_at(host, path, document)


def _looked_at(host: Host, path: str, document: CdiDocument) -> CdiSpecification:
    files = [*document.mounts, *(node for node in document.nodes if _stays(host, node))]
    releases = (re.search(_RELEASE + r"$", mount) for mount in document.mounts)
    return CdiSpecification(
        path=path,
        document=document,
        gone=tuple(one for one in files if one.startswith("/") and reading.certainly_absent(host, one)),
        lost_hooks=tuple(
            dict.fromkeys(
                hook for hook, _ in document.hooks if hook.startswith("/") and reading.certainly_absent(host, hook)
            )
        ),
        releases=tuple(dict.fromkeys(DriverRelease.of(one[1]) for one in releases if one)),
    )


def _stays(host: Host, node: str) -> bool:
    """Whether a node that is missing will not come back on use, as nvidia-uvm's and those of a sleeping driver do."""
    if re.fullmatch(r"/dev/dri/(?:card|renderD)\d{1,4}", node):
        return True
    return bool(re.fullmatch(r"/dev/nvidia\d{1,4}", node)) and reading.is_there(host, "/dev/nvidiactl")


def _shadowed(found: list[CdiSpecification], folders: tuple[str, ...]) -> list[CdiSpecification]:

    rank = {folder: number for number, folder in enumerate(folders)}
    best: dict[str, int] = {}
    for one in found:
        for device in one.qualified:
            best[device] = max(best.get(device, -1), rank[one.folder])
    return [
        replace(one, shadowed=frozenset(name for name in one.qualified if best[name] > rank[one.folder]))
        for one in found
    ]


def _conflicts(found: list[CdiSpecification]) -> Iterator[tuple[str, str, str]]:
    first: dict[tuple[str, str], str] = {}
    for one in found:
        for device in one.qualified:
            path = first.setdefault((one.folder, device), one.path)
            if path != one.path:
                yield device, path, one.path


def _refresh(host: Host) -> UnitState | None:
    if not any(reading.is_there(host, f"{folder}/{REFRESH}") for folder in _UNIT_FOLDERS):
        return None
    try:
        return unit_state(host, REFRESH)
    except Unknown:
        return None
