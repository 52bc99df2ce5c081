"""Sections that show a command's output: nvidia-smi, modinfo, systemctl, dmidecode."""

from __future__ import annotations

import re
import shlex
from typing import Any

from nvdiag.host.base import Json
from nvdiag.host.bugreport.draft import Draft, Kept, decoded

_SMI_EXITS = (
    ("Driver/library version mismatch", 18),
    ("couldn't communicate with the NVIDIA driver", 9),
    ("couldn't find libnvidia-ml", 12),
    ("GPU is lost", 15),
    ("No devices were found", 6),
    ("Insufficient Permissions", 4),
)
"""Exit codes by nvidia-smi's manual page ("RETURN VALUE"), which are NVML's numbers, beside the words it prints."""
_OTHER_ERROR = 255

_ASKED_FOR = re.compile(rb"(?:/\S{0,200}/)?nvidia-smi( \S.{0,200})$")
_FAILED = re.compile(
    r"^(?:Failed to initialize NVML: (?P<init>.{1,200})|NVIDIA-SMI .{1,300}"
    r"|Unable to determine the device handle for GPU ?(?P<gpu>[0-9A-Fa-f:.]{7,20}): (?P<why>.{1,200})"
    r"|No devices were found.{0,40}|.{0,80}(?:GPU is lost|Unknown Error).{0,120})$",
    re.M,
)
_DRIVER = re.compile(r"^(?:Driver|DRIVER|KMD) [Vv]ersion[ \t]{0,60}:[ \t]{0,9}([0-9.]{3,20})[ \t]*$", re.M)
_CUDA = re.compile(r"^CUDA (?:UMD )?Version[ \t]{0,60}:[ \t]{0,9}([0-9]{1,2})\.([0-9]{1,2})[ \t]*$", re.M)
_ATTACHED = re.compile(r"^Attached GPUs[ \t]{0,60}:[ \t]{0,9}(\d{1,3})[ \t]*$", re.M)
_GPU = re.compile(r"^GPU ([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])[ \t]*$", re.M)
_MOST_GPUS = 256
_MOST_MODULES = 20
_LOST = 15
_UNKNOWN_ERROR = 999


class Smi:
    """nvidia-smi's section, which holds the outputs of several calls, each with its command line before it."""

    def __init__(self, draft: Draft, header: str) -> None:
        self._draft = draft
        self._calls: list[tuple[str, Kept]] = []
        self._begin(header.partition("nvidia-smi ")[2])

    def _begin(self, arguments: str) -> None:
        arguments = arguments.strip()
        words = ["-q" if word == "--query" else word for word in arguments.split()]
        self._calls.append((shlex.join(["nvidia-smi", *words]), Kept()))

    def add(self, line: bytes) -> None:
        if line[:1] in (b"/", b"n") and len(self._calls) < 20 and (found := _ASKED_FOR.match(line)):
            self._begin(found[1].decode("utf-8", "replace"))
        else:
            self._calls[-1][1].add(line)

    def close(self, whole: bool) -> None:
        """The section is over; `whole` is False where the report ends in it."""
        outputs = [(call, decoded(kept.lines()).strip("\n")) for call, kept in self._calls]
        for call, output in outputs:
            if output:
                self._draft.command(call, f"{output}\n", exit_code(output))
        first = outputs[0][1]
        if first and "nvml" not in self._draft.document["probes"]:
            self._draft.say(outputs[0][0], [first.encode()])
            answers = nvml_answer(first, "\n".join(output for _, output in outputs[1:]), whole=whole)
            if answers:
                self._draft.put("probes", "nvml", answers)


def _failure(output: str) -> re.Match[str] | None:
    """The line that says why there is no answer; where there are GPUs, such words are but a value of theirs."""
    return None if _ATTACHED.search(output) else _FAILED.search(output)


def exit_code(output: str) -> int:
    """What nvidia-smi ended with, by what it printed."""
    if not _failure(output):
        return 0
    return next((code for words, code in _SMI_EXITS if words in output), _OTHER_ERROR)


def nvml_answer(output: str, others: str, *, whole: bool) -> Json:
    """What NVML said, as the probe would have it, by what `nvidia-smi -q` printed; None where that does not tell.

    One GPU without a handle makes nvidia-smi end without a word about the others. The driver's release then stands in
    the `others`, its further calls' outputs.
    """
    failed = _failure(output)
    document: dict[str, Any] = {"library": None, "through": "nvidia-smi -q"}
    if failed and failed["init"]:
        code = next((code for words, code in _SMI_EXITS if words in output), None)
        return None if code is None else {**document, "init": code, "init_text": failed["init"].strip(" .")}
    told = output if _DRIVER.search(output) else others
    if driver := _DRIVER.search(told):
        document |= {"init": 0, "init_text": "Success", "driver_version": driver[1]}
    if cuda := _CUDA.search(told):
        document["cuda_driver_version"] = int(cuda[1]) * 1000 + int(cuda[2]) * 10
    if failed and failed["gpu"]:
        lost = _LOST if "lost" in failed["why"] else _UNKNOWN_ERROR
        device = {"index": 0, "handle": lost, "pci": _with_domain(failed["gpu"])}
        return {**document, "init": 0, "init_text": "Success", "devices": [device]}
    if "No devices were found" in output:
        return {**document, "init": 0, "init_text": "Success", "count": 0, "devices": []}
    if failed or "init" not in document:
        return None
    devices = _devices(output)
    attached = _ATTACHED.search(output)
    if attached and whole:
        document["count"] = int(attached[1])
    return {**document, "devices": devices}


def _with_domain(address: str) -> str:
    return address if address.count(":") == 2 else f"0000:{address}"


def _devices(output: str) -> list[Json]:
    parts = _GPU.split(output)
    places = range(1, min(len(parts) - 1, 2 * _MOST_GPUS), 2)
    return [_device(index, parts[place], parts[place + 1]) for index, place in enumerate(places)]


def _device(index: int, address: str, text: str) -> Json:
    def value(name: str) -> str | None:
        found = re.search(rf"^ {{1,8}}{name}[ \t]{{0,60}}:[ \t]{{1,9}}(\S.{{0,120}})$", text, re.M)
        said = found[1].strip() if found else ""
        return said if said and said not in ("N/A", "[N/A]") else None

    def number(name: str, unit: str, among: str = text) -> float | None:
        found = re.search(
            rf"^ {{1,16}}{name}[ \t]{{0,60}}:[ \t]{{1,9}}([0-9]{{1,9}}(?:\.[0-9]{{1,4}})?) {unit}$", among, re.M
        )
        return float(found[1]) if found else None

    memory = re.search(r"^ {1,8}(?:FB )?Memory Usage[ \t]*\n(.{0,400}?)^ {1,8}BAR1", text, re.M | re.S)
    inside = memory[1] if memory else ""
    total, used = number("Total", "MiB", inside), number("Used", "MiB", inside)
    utilisation, temperature = number("Gpu", "%"), number("GPU Current Temp", "C")
    power = number("(?:Average |Instantaneous )?Power Draw", "W")
    minor = value("Minor Number")
    return {
        "index": index,
        "handle": 0,
        "name": value("Product Name"),
        "uuid": value("GPU UUID"),
        "pci": address,
        "minor": int(minor) if minor and minor.isdigit() else None,
        "memory_bytes": {
            name: None if size is None else int(size) << 20 for name, size in (("total", total), ("used", used))
        },
        "utilisation_percent": None if utilisation is None else int(utilisation),
        "temperature_celsius": None if temperature is None else int(temperature),
        "power_milliwatts": None if power is None else int(power * 1000),
    }


class Modinfo:
    """`modinfo NAME | grep vermagic`, one or several after another: an empty answer is one, too."""

    _HEADER = re.compile(r"(?:/\S{0,200}/)?modinfo (nvidia\S{0,60}) \| grep vermagic$")

    def __init__(self, draft: Draft, header: str) -> None:
        self._draft = draft
        self._found: dict[str, str] = {}
        self._name = ""
        self.add(header.encode())

    def add(self, line: bytes) -> None:
        text = line[:1000].decode("utf-8", "replace").strip()
        if found := self._HEADER.match(text):
            self._name = found[1] if len(self._found) < _MOST_MODULES else ""
            self._found.setdefault(self._name, "")
        elif text.startswith("vermagic:") and self._name:
            self._found[self._name] = f"{text}\n"

    def close(self, whole: bool) -> None:
        """The section is over; `whole` is False where the report ends in it."""
        for name, said in self._found.items():
            if name and (said or whole):
                self._draft.command(f"modinfo {name}", said, 0 if said else 1)


class Output:
    """A command whose output is kept as it is, under its command line without its folder."""

    def __init__(self, draft: Draft, line: str, *, as_text: bool = False) -> None:
        self._draft = draft
        self._line = line
        self._as_text = as_text
        self._text = Kept()

    def add(self, line: bytes) -> None:
        self._text.add(line)

    def close(self, whole: bool) -> None:
        """The section is over; `whole` is False where the report ends in it."""
        text = decoded(self._text.lines()).strip("\n")
        if whole and text:
            self._draft.command(self._line, f"{text}\n", 0)


class DumpErrors:
    """nvidia-debugdump: only what it could not do is text."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._lines: list[bytes] = []

    def add(self, line: bytes) -> None:
        if line[:5] == b"Error" and len(self._lines) < 20:
            self._lines.append(line)

    def close(self, whole: bool) -> None:
        """The section is over."""
        self._draft.say("nvidia-debugdump", self._lines)


_DMI_NAMES = {b"Manufacturer": "sys_vendor", b"Product Name": "product_name"}


class Dmidecode:
    """The maker and the product's name, by which a virtual machine is known."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._inside = False

    def add(self, line: bytes) -> None:
        if line[:1] != b"\t":
            self._inside = line == b"System Information"
        elif self._inside:
            name, _, value = line.strip().partition(b": ")
            if name in _DMI_NAMES:
                text = value.decode("utf-8", "replace").strip()
                self._draft.file(f"/sys/class/dmi/id/{_DMI_NAMES[name]}", f"{text}\n")

    def close(self, whole: bool) -> None:
        """The section is over."""
