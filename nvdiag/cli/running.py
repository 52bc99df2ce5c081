"""From options to a diagnosis: what the commands share. Wrong usage and unreadable input exit with 2 here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import click

from nvdiag.cli import early, streams
from nvdiag.engine import BrokenPlugin, Check, Facts, diagnose
from nvdiag.facts.probing import Probes
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.diagnosis import Diagnosis
from nvdiag.model.finding import FindingClass
from nvdiag.model.unknown import Unknown

if TYPE_CHECKING:
    from nvdiag.facts.requirements import Requirements
    from nvdiag.host.record import RecordingHost
    from nvdiag.scope import Scope

_NEVER_HIDDEN = frozenset({"check-failed"})
"""What --select leaves in: a chosen check that failed did not judge, and silence would read as health."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The checks of this run, all ids with their areas, the ids to leave out of the report, plug-ins that failed."""

    checks: tuple[Check, ...]
    areas: dict[str, str]
    hidden: frozenset[str]
    broken: tuple[BrokenPlugin, ...]


def fail(message: str, code: int = 2) -> NoReturn:
    """One clear line on stderr and the exit code."""
    warn(message)
    raise SystemExit(code)


def warn(message: str) -> None:
    """One clear line on stderr."""
    from nvdiag.report.printable import printable

    streams.complain(lambda: click.echo(f"nvdiag: {printable(message)}", err=True))


def chosen(select: Sequence[str], ignore: Sequence[str], always: Sequence[str] = ()) -> Choice:
    """The checks that --select and --ignore leave, and those of the areas `always`.

    Exit 2 for a name that is neither an id nor an area.
    """
    from nvdiag import catalogue

    plugged, broken = catalogue.plug_ins()
    checks = (*catalogue.built_in(), *plugged)
    areas = {identifier: one.area for one in checks for identifier in one.ids}
    wanted, unwanted = _ids(select, areas), _ids(ignore, areas)
    if select and not wanted:
        fail("--select names no finding and no area; `nvdiag list` names them all")
    kept = (frozenset(areas) if not select else wanted | _ids(always, areas)) - unwanted
    return Choice(
        checks=tuple(one for one in checks if kept.intersection(one.ids)),
        areas=areas,
        hidden=frozenset(areas) - kept - (_NEVER_HIDDEN - unwanted),
        broken=broken,
    )


def _ids(names: Sequence[str], areas: dict[str, str]) -> frozenset[str]:
    found: set[str] = set()
    for name in (part.strip() for text in names for part in text.split(",")):
        if name in areas:
            found.add(name)
        elif name in areas.values():
            found.update(identifier for identifier, area in areas.items() if area == name)
        elif name:
            unknown_name(name, [*areas, *areas.values()])
    return frozenset(found)


def unknown_name(
    name: str, known: Sequence[str], what: str = "finding or area named", all_of: str = "`nvdiag list` names them all"
) -> NoReturn:
    """Exit 2 with the nearest name that is known, else with where `all_of` them are told."""
    from difflib import get_close_matches

    near = get_close_matches(name, sorted(set(known)), n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; {all_of}"
    fail(f"there is no {what} {name}{hint}")


def required(expressions: Sequence[str]) -> Requirements | None:
    """What --require asks for; None where nothing is. Exit 2 for an expression that is no requirement."""
    if not expressions:
        return None
    from nvdiag.facts.requirements import Requirements, WrongRequirement, parse_requirement

    try:
        return Requirements(tuple(parse_requirement(one) for one in expressions))
    except WrongRequirement as wrong:
        fail(f"--require: {wrong}" + (f"; did you mean {wrong.near}?" if wrong.near else ""))


def scope_of(classes: Sequence[str], gpus: str | None) -> Scope | None:
    """What --class and --gpus leave; None where neither is given. Exit 2 for what is no class and no GPU."""
    if not classes and gpus is None:
        return None
    from nvdiag.scope import Scope, parse_gpus

    known = {one.value: one for one in FindingClass}
    names = [name for text in classes for part in text.split(",") if (name := part.strip())]
    for name in names:
        if name not in known:
            unknown_name(name, [*known], "class of findings named", f"the classes are {', '.join(known)}")
    if classes and not names:
        fail(f"--class names no class; the classes are {', '.join(known)}")
    try:
        named = None if gpus is None else parse_gpus(gpus)
    except ValueError as why:
        fail(f"--gpus: {why}")
    return Scope(classes=frozenset(known[name] for name in names) if names else None, gpus=named)


def facts_of(source: str | None, deadline: float | None) -> Facts:
    """The facts of this machine (`source` None) or of a recorded one, with what waits for a child under way."""
    return early.live_facts(deadline) if source is None else begun(recorded_host(source))


def recorded_host(source: str) -> Host:
    """The machine that an input tells of: a snapshot, a bug report or pasted text. Exit 2 where it is none of these."""
    from nvdiag.host import handed

    try:
        if source == "-":
            if sys.stdin is None:
                fail("cannot read standard input: it is closed")
            return _told(handed.host_from(sys.stdin.buffer, "standard input"))
        with open(source, "rb") as file:
            return _told(handed.host_from(file, source))
    except OSError as error:
        fail(f"cannot read {source}: {error.strerror or error}")
    except handed.Unreadable as error:
        fail(str(error))


def _told(machine: Host) -> Host:
    """Say on stderr what is wrong with an input that is read all the same."""
    for note in machine.notes:
        warn(f"{machine.source.name}: {note}")
    return machine


def demo_host() -> Host:
    """The recorded machine that ships with the package."""
    import pkgutil

    from nvdiag.host import snapshot

    data = pkgutil.get_data("nvdiag.demo", "machine.json")
    if data is None:
        fail("this installation lacks its demo machine", 4)
    return snapshot.parse(data, "demo machine")


def begun(machine: Host) -> Facts:
    """The facts of a run, with its probes' children under way: the sooner they start, the less there is to wait for."""
    facts = Facts({Host: machine})
    facts[Probes]
    return facts


def diagnosed(facts: Facts, choice: Choice, scope: Scope | None = None) -> Diagnosis:
    """Run the chosen checks; findings of ids that were not chosen are left out, and those beyond the scope."""
    from nvdiag.report.shown import SHOWN

    machine: Host = facts[Host]
    result = diagnose(facts, choice.checks, also=SHOWN, broken=choice.broken)
    if others := machine.others():
        from nvdiag.joined import joined

        rest = [(one.label, diagnose(begun(one), choice.checks, also=SHOWN)) for one in others]
        result = joined([(machine.label, result), *rest])
    from nvdiag.required import with_health, with_smoke

    result = with_health(result)
    if scope is not None:
        from nvdiag.scope import within

        result = within(result, facts, scope)
    result = with_smoke(result)
    kept = tuple(ranked for ranked in result.findings if ranked.finding.id not in choice.hidden)
    keys = {ranked.finding.key for ranked in kept}
    return replace(
        result, findings=tuple(one if one.caused_by in keys else replace(one, caused_by=None) for one in kept)
    )


def snapshot_text(deadline: float | None, source: str | None = None, *, redact: bool = True) -> str:
    """A snapshot of this machine, or of an input: all checks are run on it, and what they read is what is recorded.

    Exit 2 where the input cannot be read, and where the snapshot would be longer than one that nvdiag reads.
    """
    from nvdiag.host import live, snapshot
    from nvdiag.host.redact import as_text, redacted

    machine = live.LiveHost(deadline) if source is None else recorded_host(source)
    recording = recorded(machine)
    document = recording.document
    if others := recording.others():
        labels = ", ".join(one.label or "the first" for one in (recording, *others)[:4])
        warn(f"{machine.source.name} shows {len(others) + 1} machines or moments; all are recorded: {labels}")
    if redact:
        document = redacted(document, *((machine.source.name, live.people()) if source is None else (_named(machine),)))
    else:
        warn("not redacted: it names this machine and its people, and may hold their secrets; keep it to yourself")
    text = as_text(document)
    if len(text) > snapshot.MAX_BYTES:
        fail(f"the snapshot would be larger than {snapshot.MAX_BYTES // 2**20} MiB, which nvdiag does not read")
    return text


def recorded(machine: Host) -> RecordingHost:
    """A machine with all written down that any check takes, whether or not the check's question arises on it."""
    from nvdiag.host.record import RecordingHost

    recording = RecordingHost(machine)
    choice = chosen((), ())
    diagnosed(begun(recording), replace(choice, checks=tuple(replace(one, needs=()) for one in choice.checks)))
    return recording


def _named(machine: Host) -> str:
    """A recorded machine's name, where the recording tells it; empty elsewhere."""
    try:
        return machine.read("/proc/sys/kernel/hostname").strip()
    except Unknown:
        return ""


def listing() -> str:
    """Every check with its area, promise and ids; plug-ins that failed to import are named on stderr."""
    from nvdiag.report.printable import printable

    choice = chosen((), ())
    lines: list[str] = []
    for area in dict.fromkeys(one.area for one in choice.checks):
        lines.append(area)
        for one in (check for check in choice.checks if check.area == area):
            lines += [f"  {printable(one.promise)}", *(f"    {identifier}" for identifier in one.ids)]
    for plugin in choice.broken:
        warn(f"the plug-in {plugin.name} could not be imported: {plugin.error}")
    return "\n".join(lines) + "\n"
