"""nvidia-bug-report.log and .log.gz, NVIDIA's own collection of evidence, as a recorded machine.

The script is part of the driver since about 2005, and its output changed with each branch; what is said of forms here
was seen in reports of 2011 to 2026. A section that is missing was *not recorded*; `does not exist` means looked and
absent.
"""

from __future__ import annotations

from typing import BinaryIO

from nvdiag.host.base import Json
from nvdiag.host.bugreport.report import Report
from nvdiag.host.bugreport.text import ReportText, beginning
from nvdiag.host.snapshot import SnapshotHost
from nvdiag.model.diagnosis import Source

HEAD = 1 << 16
"""Bytes of a file that `recognises` wants to see."""
_MARK = b"Start of NVIDIA bug report log file"


class BugReportHost(SnapshotHost):
    """The machine of a report. `notes` says what is wrong with the file, one clause each."""

    def __init__(self, document: dict[str, Json], name: str, notes: tuple[str, ...] = ()) -> None:
        super().__init__(document, name)
        self.source = Source(kind="bug-report", name=name, captured_at=str(document.get("captured_at", "")))
        self.notes = notes


def recognises(head: bytes) -> bool:
    """Whether a file that begins with these bytes is such a report, plain or gzip."""
    return any(line.startswith(_MARK) for line in beginning(head).splitlines()[:40])


def read(file: BinaryIO, name: str, head: bytes = b"") -> BugReportHost:
    """The machine that a report tells of. `head` are the bytes that were taken from the file before."""
    text, report = ReportText(file, head), Report()
    report.read(text.lines())
    return BugReportHost(report.document, name, (*text.notes, *report.notes))
