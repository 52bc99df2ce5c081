"""What nvdiag says about a machine: findings with evidence and remedies, all of them data."""

from __future__ import annotations

from enum import Enum

from nvdiag.model.dataclass import dataclass


class Severity(Enum):
    """How bad a finding is for somebody who wants to use the GPU."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Confidence(Enum):
    """How far the evidence carries: no other reading, the best reading, one of several readings."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class FindingClass(Enum):
    """What kind of trouble it is, so that a fleet does not send a machine to repair over a package upgrade."""

    CONFIGURATION = "configuration"
    HARDWARE = "hardware"
    APPLICATION = "application"
    ENVIRONMENT = "environment"
    TOOL = "tool"


class Risk(Enum):
    """What a remedy may cost: nothing, an interruption of GPU users, or something that is hard to undo."""

    SAFE = "safe"
    DISRUPTIVE = "disruptive"
    DESTRUCTIVE = "destructive"


class Layer(Enum):
    """The layers between a GPU and a CUDA program, from the hardware up; a finding names those that do not fit."""

    SYSTEM = "this system"
    GPU = "GPU"
    LOADED_MODULE = "loaded module"
    NEXT_BOOT_MODULE = "next-boot module"
    NVML = "libnvidia-ml"
    LIBCUDA = "libcuda"
    CUDA_DRIVER = "CUDA driver version"
    TOOLKITS = "toolkits"
    FRAMEWORKS = "frameworks"
    CUDA_LIBRARIES = "CUDA libraries"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Where something was seen (a path, a command, a probe) and the words or value seen there."""

    source: str
    excerpt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One way out. nvdiag prints it and runs nothing.

    `commands` are for this machine, as one would type them; `prediction` says what nvdiag expects of them and why.
    """

    summary: str
    commands: tuple[str, ...] = ()
    risk: Risk = Risk.SAFE
    needs_root: bool = False
    reboots: bool = False
    prediction: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    `subject` tells two findings of one id apart (a GPU's PCI address, a path). `explains` are the ids that this
    finding is the cause of where both were found. `layers` are the stack's layers that do not fit each other.
    """

    id: str
    severity: Severity
    confidence: Confidence
    title: str
    evidence: tuple[Evidence, ...]
    detail: str = ""
    subject: str = ""
    kind: FindingClass = FindingClass.CONFIGURATION
    remedies: tuple[Remedy, ...] = ()
    explains: frozenset[str] = frozenset()
    layers: tuple[Layer, ...] = ()
    links: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.evidence:
            raise ValueError(f"a finding of {self.id} without evidence")

    @property
    def key(self) -> str:
        """`id`, or `id:subject` where there is a subject: unique within a report."""
        return f"{self.id}:{self.subject}" if self.subject else self.id
