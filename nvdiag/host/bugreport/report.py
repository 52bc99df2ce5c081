"""A report, section by section, as a snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from nvdiag.host.base import Json
from nvdiag.host.bugreport.commands import Dmidecode, DumpErrors, Modinfo, Output, Smi
from nvdiag.host.bugreport.draft import Draft, program
from nvdiag.host.bugreport.files import FileSection, Listing, Parameters
from nvdiag.host.bugreport.logs import Dmesg, Logs, Scan, XLog
from nvdiag.host.bugreport.pci import Bus
from nvdiag.host.bugreport.prologue import Prologue
from nvdiag.host.bugreport.times import iso_date

SEPARATOR = b"_" * 44
_START = "Start of NVIDIA bug report log file"
_END = "End of NVIDIA bug report log file"


class Section(Protocol):
    """What takes a section's lines in, the header excepted."""

    def add(self, line: bytes, /) -> None:
        """The next line."""

    def close(self, whole: bool) -> None:
        """No line follows; `whole` is False where the report ends within the section."""


class Report:
    """Reads a report's lines; `document` then is the snapshot, `notes` what is missing in it."""

    def __init__(self) -> None:
        self._draft = Draft()
        self._prologue = Prologue(self._draft)
        self._bus = Bus()
        self._logs = Logs()
        self._is_whole = False

    @property
    def document(self) -> dict[str, Json]:
        """The snapshot."""
        return self._draft.document

    @property
    def notes(self) -> list[str]:
        """What of the report is missing, one clause each."""
        return self._draft.notes

    def read(self, lines: Iterable[bytes]) -> None:
        """Take all lines in."""
        section: Section | None = None
        between = False
        count = 0
        for count, line in enumerate(lines, 1):  # noqa: B007 - the last number is told
            if line == SEPARATOR:
                if section is not None:
                    section.close(True)
                section, between = None, True
            elif between:
                if not line.strip():
                    continue
                between = False
                header = line[:2000].decode("utf-8", "replace").rstrip()
                if header.startswith(_END):
                    self._is_whole = True
                    break
                section = self._section(header)
            elif section is not None:
                section.add(line)
        if section is not None:
            section.close(False)
        if not self._is_whole:
            self.notes.append(f"it stops after {count} lines, without its end: sections may be missing")
        self._finish()

    def _section(self, header: str) -> Section | None:
        if header.startswith(_START):
            return self._prologue
        if header.startswith("*** ls: "):
            return Listing(self._draft, header)
        if header.startswith("*** /var/log/Xorg.") and header.endswith(".log"):
            return XLog(self._logs, header.removeprefix("*** "))
        if header.startswith("*** "):
            return FileSection(self._draft, header)
        if header.startswith("/sys/module/"):
            return Parameters(self._draft, header)
        if header.startswith("Scanning kernel log files"):
            return Scan(self._logs)
        if header == "dmesg:":
            return Dmesg(self._logs)
        return self._command(header)

    def _command(self, header: str) -> Section | None:
        name, arguments = program(header)
        match name:
            case "lspci":
                return self._bus.section(self._draft, arguments)
            case "nvidia-smi":
                return Smi(self._draft, header)
            case "nvidia-debugdump":
                return DumpErrors(self._draft)
            case "modinfo":
                return Modinfo(self._draft, header)
            case "dmidecode":
                return Dmidecode(self._draft)
            case "systemctl":
                return Output(self._draft, f"systemctl {arguments}")
            case "journalctl" if arguments.startswith("-b -0 "):
                return XLog(self._logs, f"journalctl {arguments}")
            case _:
                return None

    def _finish(self) -> None:
        self._prologue.late()
        self._bus.write(self._draft)
        self._hold_nvml_to_the_bus()
        self._logs.write(self._draft)
        self._draft.document["captured_at"] = iso_date(self._prologue.date, self._draft.latest)

    def _hold_nvml_to_the_bus(self) -> None:
        """nvidia-smi names a GPU that it cannot reach by its address alone; NVML counts in the bus's order.

        That it found none says no more than that none answered, where nothing shows what is on the bus.
        """
        answer, gpus = self.document["probes"].get("nvml", {}), self._bus.gpus()
        if answer.get("count") == 0 and not gpus:
            del answer["count"]
        for device in answer.get("devices", ()):
            address = device["pci"].lower()[-12:]
            if device["handle"] and address in gpus:
                device["index"] = gpus.index(address)
