"""The hosts of a paste: one for each machine, or moment of it, that the text shows apart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

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
    "apptainer": ("exec", "shell", "run"), "lxc": ("exec",), "incus": ("exec",),
}  # fmt: skip
_KINDS = {"nvidia-docker": "docker", "kubectl": "kubernetes", "singularity": "apptainer", "nerdctl": "containerd",
          "lxc": "lxd", "incus": "lxd"}  # fmt: skip
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

    def take(self, block: Block) -> None:
        command = block.command
        if command is not None and command.host:
            self._at(command.host)
        engine = _entered(command)
        part = self._within(engine, block, command) if engine and command is not None else self.current
        self._record(block, part)
        self.current.say(_source(block), block.words)

    def _at(self, host: str) -> None:
        """The part of a host by its name; the first name that is seen is the first part's."""
        if host not in self.names:
            known = self.names.values()
            fresh = self.current if not any(part is self.current for part in known) else self._new(host)
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
            label = f"{part.label + ', ' if part.label else ''}later in the text"
            fresh = self._new(label, part.inside)
            recognise_or_nothing(block, fresh)
            if part is self.current:
                self.current = fresh

    def _new(self, label: str, inside: tuple[str, str] | None = None) -> Part:
        if len(self.parts) >= _MOST_PARTS:
            return self.parts[-1]
        self.parts.append(Part(label=label, inside=inside))
        return self.parts[-1]


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
    return [part for part in sorter.parts if not part.empty] or sorter.parts[:1]


def _entered(command: Command | None) -> str:
    """The kind of container that a command line goes into; empty for one that stays outside."""
    if command is None or command.program not in _ENGINES:
        return ""
    verbs = [word for word in command.argv[1:4] if not word.startswith("-")]
    if not verbs or verbs[0] not in _ENGINES[command.program]:
        return ""
    return _KINDS.get(command.program, command.program)


def _source(block: Block) -> str:
    if block.command is None:
        return "pasted text"
    words = block.command.line if block.command.python else shlex.join(block.command.argv) or block.command.line
    return words[:120] or "pasted text"
