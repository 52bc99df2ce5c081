"""The hosts of a paste: one for each machine, or moment of it, that the text shows apart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from nvdiag.host.base import IN_WORDS, LATER
from nvdiag.host.paste.blocks import Block, Command, blocks_of
from nvdiag.host.paste.clean import lines_of
from nvdiag.host.paste.document import Contradiction, Part
from nvdiag.host.paste.outputs import recognise
from nvdiag.host.snapshot import SnapshotHost
from nvdiag.model.diagnosis import Source

MAX_BYTES = 64 * 1024 * 1024
"""The longest paste that is read."""

_CONTAINER_ID = re.compile(r"^[0-9a-f]{12}$")
_ENGINES = {
    "docker": ("run", "exec", "compose"), "nvidia-docker": ("run", "exec"), "podman": ("run", "exec"),
    "nerdctl": ("run", "exec"), "kubectl": ("exec", "run"), "singularity": ("exec", "shell", "run"),
    "apptainer": ("exec", "shell", "run"), "lxc": ("exec", "shell"), "incus": ("exec", "shell"),
    "pct": ("exec", "enter"), "lxc-attach": (),
}  # fmt: skip
_KINDS = {"nvidia-docker": "docker", "kubectl": "kubernetes", "singularity": "apptainer", "nerdctl": "containerd",
          "lxc": "lxd", "incus": "lxd", "pct": "lxc", "lxc-attach": "lxc"}  # fmt: skip
_HEADS = ("NVRM version:", "| NVIDIA-SMI ", "Cuda compilation tools, release")
"""What an output has once."""

_ANEW = re.compile(
    r"(?:^|[$#>%] {0,2})(?:sudo )?(?:reboot|systemctl reboot|shutdown -r|init 6|rmmod nvidia|modprobe (?:-r )?nvidia)\b"
    r"|\bafter (?:a |the |an? \w{2,12} )?(?:reboot|restart)",
    re.I | re.M,
)
"""What starts the driver anew, or tells of it."""

_MOST_PARTS = 64


class PasteHost(SnapshotHost):
    """What a paste says of one machine. `others` are the parts of the same paste; `inside` tells of its container."""

    def __init__(self, part: Part, name: str) -> None:
        super().__init__(part.document, name)
        self.label = part.label
        self.source = Source(kind="paste", name=name, captured_at="")
        self._inside = part.inside

    def inside(self) -> tuple[str, str] | None:
        return self._inside


def hosts_of(data: bytes, name: str) -> tuple[PasteHost, ...]:
    """The machines and moments that a paste shows, in its order; at least one. Never fails."""
    parts = _parts(blocks_of(lines_of(data)))
    hosts = tuple(PasteHost(part, name) for part in parts)
    for host in hosts:
        host._siblings = tuple(other for other in hosts if other is not host)
    return hosts


class _Sorter:
    """Sorts blocks into parts: by the host name in prompts, by commands that go into containers, by contradictions."""

    def __init__(self) -> None:
        self.parts = [Part()]
        self.current = self.parts[0]
        self.names: dict[str, Part] = {}
        self.entered: tuple[str, str] | None = None

    def take(self, block: Block) -> None:
        command = block.command
        if command is not None and command.host:
            self._at(command.host)
        engine = _entered(command)
        if engine and command is not None and _opens_shell(command):
            self.entered = (engine, command.line[:200])
        for piece in _pieces(block):
            part = self._within(engine, piece, command) if engine and command is not None else self.current
            self._record(piece, part)
            self.current.say(_source(piece), piece.words)

    def _at(self, host: str) -> None:
        """The part of a host by its name; the first name that is seen is the first part's."""
        if host not in self.names:
            known = self.names.values()
            free = self.entered is None and not any(part is self.current for part in known)
            fresh = self.current if free else self._new(host, self.entered)
            self.entered = None
            fresh.label = fresh.label or host
            if _CONTAINER_ID.match(host):
                fresh.inside = fresh.inside or ("docker", f"the prompt's host name {host}")
            self.names[host] = fresh
        self.current = self.names[host]

    def _within(self, engine: str, block: Block, command: Command) -> Part:
        """The part for what a command printed inside a container, where it printed anything of a machine's."""
        trial = Part()
        recognise_or_nothing(block, trial)
        if all(not trial.document[section] for section in ("files", "commands", "links", "stats")):
            return self.current
        label = f"in a container ({' '.join(command.argv[:2])})"
        known = next((part for part in self.parts if part.label == label), None)
        return known or self._new(label, (engine, command.line[:200]))

    def _record(self, block: Block, part: Part) -> None:
        try:
            recognise(block, part)
        except Contradiction:
            label = f"{part.label + ', ' if part.label else ''}{LATER}"
            fresh = self._new(label, part.inside)
            fresh.before = part if fresh is not part else None
            recognise_or_nothing(block, fresh)
            if part is self.current:
                self.current = fresh

    def _new(self, label: str, inside: tuple[str, str] | None = None) -> Part:
        if len(self.parts) >= _MOST_PARTS:
            return self.parts[-1]
        self.parts.append(Part(label=label, inside=inside))
        return self.parts[-1]


def _pieces(block: Block) -> list[Block]:
    """A block cut where an output begins that is there a second time: outputs of several machines one after another."""
    if all(block.text.count(head) < 2 for head in _HEADS):
        return [block]
    cuts = [0]
    seen: set[str] = set()
    for index, line in enumerate(block.lines):
        for head in _HEADS:
            if head in line:
                if head in seen:
                    cuts.append(index)
                    seen.clear()
                seen.add(head)
    if len(cuts) == 1:
        return [block]
    ends = [*cuts[1:], len(block.lines)]
    pieces = [Block(block.command, block.lines[start:end], True) for start, end in zip(cuts, ends, strict=True)]
    pieces[0].heading = block.heading
    return pieces


def recognise_or_nothing(block: Block, part: Part) -> None:
    """Record a block; what contradicts the part is passed over."""
    try:
        recognise(block, part)
    except Contradiction:
        return


def _parts(blocks: Iterator[Block]) -> list[Part]:
    sorter = _Sorter()
    for block in blocks:
        sorter.take(block)
    past = [part.before for part in sorter.parts if part.before is not None and _cured(part.before, part)]
    return [part for part in sorter.parts if not part.empty and all(part is not one for one in past)] or sorter.parts[
        :1
    ]


def _cured(before: Part, after: Part) -> bool:
    """Whether nvidia-smi fails before and works after the driver was started anew: then what was before is history."""
    works = "nvidia-smi works"
    if before.states.get(works) is not False or after.states.get(works) is not True:
        return False
    texts = before.document["messages"]
    if not any(_ANEW.search(entry["text"]) for entry in texts):
        return False
    after.document["earlier_messages"] = texts
    after.label = before.label
    return True


def _entered(command: Command | None) -> str:
    """The kind of container that a command line goes into; empty for one that stays outside."""
    if command is None or command.program not in _ENGINES:
        return ""
    verbs = [word for word in command.argv[1:4] if not word.startswith("-") and word != "container"]
    wanted = _ENGINES[command.program]
    if wanted and (not verbs or verbs[0] not in wanted):
        return ""
    return _KINDS.get(command.program, command.program)


def _opens_shell(command: Command) -> bool:
    """Whether what follows such a command is typed inside the container."""
    words = command.argv[1:]
    enters = command.program == "lxc-attach" or "enter" in words[:1] or "shell" in words[:1]
    return enters or bool(words and re.search(r"(?:^|/)(?:ba|z|da|a|k)?sh$", words[-1]))


def _source(block: Block) -> str:
    if block.command is None:
        return IN_WORDS
    words = block.command.line if block.command.python else shlex.join(block.command.argv) or block.command.line
    return words[:120] or IN_WORDS
