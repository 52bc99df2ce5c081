"""The head of a report: its date, uname, and (from 570 on) a table of components."""

from __future__ import annotations

import re

from nvdiag.host.bugreport.commands import nvml_answer
from nvdiag.host.bugreport.draft import Draft

_MACHINES = ("x86_64", "aarch64", "ppc64le", "i686", "i586", "armv7l", "riscv64")
_MOST_ROWS, _MOST_VALUES = 100, 200
_FROM_MODINFO = re.compile(r"Driver version \(from modinfo\): ([0-9.]{3,20})")


class Prologue:
    """The lines before the first section, and the table that may follow them."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.date = ""
        self.flags = ""
        self._row = ""
        self._table: dict[str, list[str]] = {}

    def add(self, line: bytes) -> None:
        text = line[:2000].decode("utf-8", "replace")
        name, bar, value = text.partition("|")
        if bar and len(name) > 10 and len(self._table) < _MOST_ROWS:
            self._row = name.strip() or self._row
            values = self._table.setdefault(self._row, [])
            if len(values) < _MOST_VALUES:
                values.append(value.strip())
        elif text.startswith("Date: "):
            self.date = text.removeprefix("Date: ").strip()
        elif text.startswith("uname: "):
            self._uname(text.removeprefix("uname: ").strip())
        elif text.startswith("command line flags:"):
            self.flags = text.partition(":")[2].strip()

    def _uname(self, text: str) -> None:
        words = text.split()
        if len(words) < 3 or words[0] != "Linux":
            return
        self._draft.file("/proc/sys/kernel/hostname", f"{words[1]}\n")
        self._draft.file("/proc/sys/kernel/osrelease", f"{words[2]}\n")
        machine = next((word for word in reversed(words) if word in _MACHINES), None)
        if machine:
            self._draft.command("uname -m", f"{machine}\n", 0)

    def close(self, whole: bool) -> None:
        """The head is over."""
        versions = "\n".join(self._table.get("NVIDIA SMI", []))
        if found := _FROM_MODINFO.search(versions):
            self._draft.command("modinfo -F version nvidia", f"{found[1]}\n", 0)
        elif "version" in versions.lower():
            self._draft.command("nvidia-smi --version", f"{versions}\n", 0)

    def late(self) -> None:
        """What counts only where nvidia-smi's own section is missing, as with --safe-mode."""
        versions = "\n".join(self._table.get("NVIDIA SMI", []))
        gpus = "\n".join(self._table.get("NVIDIA GPU Details", []))
        if "nvml" in self._draft.document["probes"]:
            return
        if "No devices were found" in gpus:
            self._draft.say("nvidia-smi", [b"No devices were found"])
            answer = nvml_answer("No devices were found", versions, whole=True)
        else:
            answer = nvml_answer(versions, "", whole=False)
        if answer:
            self._draft.put("probes", "nvml", {**answer, "through": "nvidia-smi"})
