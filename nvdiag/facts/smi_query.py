"""What `nvidia-smi -q` says of the health of each GPU's memory, and whether the GPU asks for a reset."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.facts.pci import normal_address
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable

_GPU = regex(r"^\s{0,20}GPU ([0-9A-Fa-f]{8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])\s{0,20}$")
_PAIR = regex(r"^\s{0,60}([A-Z][\w ./-]{0,60}?)\s{0,80}: (\S.{0,80}?)\s{0,80}$")
_HEADING = regex(r"^\s{0,60}([A-Z][\w ./-]{0,60}?)\s{0,20}$")
_SECTIONS = ("Remapped Rows", "Retired Pages", "ECC Errors", "GPU Reset Status")
_HINT = regex(r"Remapped Rows|Retired Pages|ECC Errors|GPU Reset Status|GPU Recovery Action")
_KEPT = (
    (("Remapped Rows",), ("Pending", "Remapping Failure Occurred")),
    (("Retired Pages",), ("Pending Page Blacklist", "Pending Retirement", "Pending")),
    (("GPU Reset Status",), ("Reset Required", "Drain and Reset Recommended")),
    (
        ("Volatile", "Aggregate"),
        (
            "SRAM Uncorrectable",
            "SRAM Uncorrectable Parity",
            "SRAM Uncorrectable SEC-DED",
            "DRAM Uncorrectable",
            "SRAM Threshold Exceeded",
        ),
    ),
)
_MOST = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthLine:
    """One line that matters: its GPU (None where the excerpt names none), section, name and value as printed."""

    address: str | None
    section: str
    name: str
    value: str
    source: str

    @property
    def evidence(self) -> Evidence:
        where = f"{self.section}: " if self.section else ""
        return Evidence(source=self.source, excerpt=f"{where}{self.name}: {self.value}")


@dataclass(frozen=True, slots=True)
class GpuHealth:
    """The lines of `nvidia-smi -q` that tell of a GPU's health. NotApplicable where no text has them."""

    lines: tuple[HealthLine, ...]

    @classmethod
    def collect(cls, host: Host) -> GpuHealth:
        texts = host.handed_texts()
        if not texts:
            raise NotApplicable("no text with messages is looked at")
        found = [line for source, text in texts for line in health_lines(text, source)]
        if not found:
            raise NotApplicable("no text is an output of nvidia-smi -q that tells of a GPU's health")
        return cls(tuple(found[:_MOST]))


def health_lines(text: str, source: str) -> Iterator[HealthLine]:
    """The lines that tell of health; indentation may be lost, as it is where people paste."""
    if not _HINT.search(text):
        return
    address: str | None = None
    section = ""
    for line in text.split("\n"):
        if found := _GPU.match(line[:200]):
            address, section = normal_address(found[1]), ""
        elif found := _PAIR.match(line[:200]):
            name, value = found[1], found[2]
            if name == "GPU Recovery Action":
                yield HealthLine(address=address, section="", name=name, value=value, source=source)
            elif any(section in sections and name in names for sections, names in _KEPT):
                yield HealthLine(address=address, section=section, name=name, value=value, source=source)
        elif found := _HEADING.match(line[:200]):
            section = found[1]
