"""What nvidia-smi printed, where its output was recorded: versions, GPUs, or the sentence in their place.

A live machine is asked through NVML instead; this is for snapshots, reports and pastes that hold nvidia-smi's words.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from nvdiag.host import Host
from nvdiag.host.base import LATER
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable, ParseError, Unknown

if TYPE_CHECKING:
    from nvdiag.facts.smi import SmiHeader

_GPU = regex(
    r"^\|[ ]{1,5}(?P<index>\d{1,3})[ ]{1,4}(?P<name>\S.{0,40}?)[ ]{1,40}(?:On|Off|N/A|WDDM|TCC|MCDM)?[ ]{0,4}\|"
    r"[ ]{1,6}(?P<address>[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])?",
)
_MEMORY = regex(
    r"\|[^|\n]{0,60}\|[ ]{0,24}(?P<used>\d{1,9})MiB[ ]?/[ ]{0,9}(?P<total>\d{1,9})MiB[^|\n]{0,20}\|(?P<rest>.{0,40})"
)
_LISTED = regex(
    r"^[ \t]{0,8}GPU (?P<index>\d{1,3}): (?P<name>.{1,100}) \(UUID: (?P<uuid>GPU-[0-9a-fA-F-]{4,40})\)", re.M
)
_PROCESS = regex(
    r"^\|[ ]{1,8}(?P<gpu>\d{1,3})[ ]{1,9}(?:(?:N/A|\d{1,3})[ ]{1,6}(?:N/A|\d{1,3})[ ]{1,9})?(?P<pid>\d{1,10})[ ]{1,9}"
    r"(?P<type>[CG+M]{1,5})[ ]{1,9}(?P<name>\S.{0,120}?)[ ]{1,80}(?P<memory>\d{1,9})MiB[ ]{0,4}\|",
    re.M,
)
_WORKSTATION = regex(r"GeForce|Quadro|\bRTX\b(?! PRO)|\bGTX\b|TITAN|\bNVS\b|\bMX\d{2,3}\b", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmiGpu:
    """One GPU of the table. Memory in MiB, None where the table was cut or says N/A. `mode` is the compute mode."""

    index: int
    name: str
    address: str | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    mode: str | None = None

    @property
    def consumer(self) -> bool:
        """Whether its name is one of GeForce and workstation lines, which cuda-compat does not support."""
        return _WORKSTATION.search(self.name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SmiProcess:
    """One process of the table; `memory` in MiB."""

    gpu: int
    pid: int
    name: str
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SmiReport:
    """nvidia-smi's words. `header` is None where only a list of GPUs (-L) is there, or where it failed.

    `failure` is its sentence where it failed; a further call of another form may have succeeded. `whole` is True where
    the table's end is there: no GPU is missing then.
    `elsewhere` are its words on other machines, or at other moments, that were handed over with this one; among them
    `later` those of this machine at a later moment.
    NotApplicable where no output of it was recorded.
    """

    header: SmiHeader | None
    gpus: tuple[SmiGpu, ...] = ()
    processes: tuple[SmiProcess, ...] = ()
    failure: str = ""
    whole: bool = False
    elsewhere: tuple[SmiReport, ...] = ()
    later: tuple[SmiReport, ...] = ()

    @classmethod
    def collect(cls, host: Host) -> SmiReport:
        others = [(other, said) for other in host.others() if (said := _recorded(other)) is not None]
        said = _recorded(host)
        if said is None:
            raise NotApplicable("no output of nvidia-smi was recorded")
        moment = f"{host.label}, {LATER}" if host.label else LATER
        later = tuple(one for other, one in others if other.label == moment)
        return replace(said, elsewhere=tuple(one for _, one in others), later=later)

    @property
    def works(self) -> bool:
        """Whether it reached the driver."""
        return self.header is not None or bool(self.gpus)

    @property
    def works_later(self) -> bool:
        """Whether it failed, and reached the driver when it was asked again."""
        return not self.works and any(one.works for one in self.later)


@lru_cache(maxsize=64)
def _recorded(host: Host) -> SmiReport | None:
    """The most telling output of nvidia-smi that a recording has: a table, else a list, else a sentence."""
    best: SmiReport | None = None
    outputs = [key for key in host.recorded("commands") if re.match(r"(?:\S{0,200}/)?nvidia-smi(?:\s|$)", key)]
    for key in sorted(outputs, key=len):
        try:
            result = host.run(*shlex.split(key))
        except (Unknown, ValueError):
            continue
        said = parse_smi(f"{result.stdout}\n{result.stderr}")
        if said.header is not None:
            return replace(said, failure=best.failure) if best is not None else said
        best = best if best is not None and (best.gpus or not said.gpus) else said
    return best


def parse_smi(text: str) -> SmiReport:
    """Any output of nvidia-smi; what it does not have is None or empty."""
    from nvdiag.facts.smi import parse_smi_header

    header: SmiHeader | None
    try:
        header = parse_smi_header(text)
    except ParseError:
        header = None
    gpus = tuple(_gpus(text.splitlines())) or tuple(
        SmiGpu(index=int(found["index"]), name=found["name"]) for found in _LISTED.finditer(text)
    )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    failed = header is None and not gpus
    return SmiReport(
        header=header,
        gpus=gpus,
        processes=tuple(_processes(text)),
        failure=" ".join(lines[:2])[:300] if failed else "",
        whole=_LISTED.search(text) is not None or "Processes:" in text,
    )


def _gpus(lines: list[str]) -> list[SmiGpu]:
    found = []
    for index, line in enumerate(lines):
        row = _GPU.match(line)
        if not row or "MiB" in line or _PROCESS.match(line):
            continue
        below = next((match for later in lines[index + 1 : index + 2] if (match := _MEMORY.search(later))), None)
        found.append(
            SmiGpu(
                index=int(row["index"]),
                name=row["name"].strip(),
                address=row["address"],
                memory_used=int(below["used"]) if below else None,
                memory_total=int(below["total"]) if below else None,
                mode=_mode(below["rest"]) if below else None,
            )
        )
    return found


def _mode(rest: str) -> str | None:
    found = re.search(r"Default|E\. ?Process|E\. ?Thread|Prohibited", rest)
    return found[0] if found else None


def _processes(text: str) -> list[SmiProcess]:
    return [
        SmiProcess(gpu=int(row["gpu"]), pid=int(row["pid"]), name=row["name"].strip(), memory=int(row["memory"]))
        for row in _PROCESS.finditer(text)
    ]
