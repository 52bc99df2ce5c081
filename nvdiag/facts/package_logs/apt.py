"""Logs of Debian's and Ubuntu's programs: apt's history and terminal log, dpkg's log, unattended-upgrades' log."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.facts.clock import Moment, moment_in
from nvdiag.facts.package_logs.transaction import Change, Transaction, parts_of, relevant, role_of
from nvdiag.model.dataclass import dataclass
from nvdiag.model.lines import lines_holding
from nvdiag.model.regex import regex
from nvdiag.model.unknown import ParseError

RUN_SECONDS = 600
"""dpkg's log has no transactions: lines that follow each other within this time are taken as of one run."""

_PACKAGE = regex(r"([a-z0-9][a-z0-9+.-]{1,150})(?::([a-z0-9]{1,20}))? \(([^()]{0,300})\)")
_ACTS = ("Install", "Upgrade", "Downgrade", "Reinstall", "Remove", "Purge")
_DPKG = regex(
    r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:(?P<act>install|upgrade|remove|purge)|status (?P<state>[a-z-]{3,30}))"
    r" (?P<name>[a-z0-9][a-z0-9+.-]{1,150})(?::[a-z0-9]{1,20})? (?P<old>\S{1,200})(?: (?P<new>\S{1,200}))?[ \t]{0,4}$",
    re.M,
)
_ANY_DPKG = regex(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [a-z]{3,20} \S", re.M)
_UNFINISHED = frozenset({"half-installed", "unpacked", "half-configured"})
_UNPACKING = regex(
    r"^Unpacking (?P<name>[a-z0-9][a-z0-9+.-]{1,150})(?::[a-z0-9]{1,20})? \((?P<new>[^() ]{1,200})\)"
    r"(?: over \((?P<old>[^() ]{1,200})\))? ?\.\.\.",
    re.M,
)
_UPGRADED = regex(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{1,6} INFO Packages that will be upgraded: (.{0,20000})$", re.M)


def parse_history(text: str) -> tuple[Transaction, ...]:
    """apt's history.log: paragraphs from Start-Date to End-Date, one a run."""
    parts = (part for part in parts_of(text, "^Start-Date:") if any(word in part for word in _RELEVANT))
    found = (_paragraph(part) for part in parts)
    return tuple(one for one in found if one is not None)


def _paragraph(text: str) -> Transaction | None:
    fields = dict(re.findall(r"^([A-Z][A-Za-z-]{2,20}): ?(.{0,200000})$", text, re.M))
    when = moment_in(fields.get("Start-Date", ""))
    changes = relevant(change for act in _ACTS for change in _changes(act, fields.get(act, "")))
    if when is None or not changes:
        return None
    return Transaction(
        when=when,
        changes=changes,
        tool="apt",
        command=fields.get("Commandline", "").strip()[:1000],
        user=re.sub(r" \(\d{1,10}\)$", "", fields.get("Requested-By", "").strip())[:80],
        failed="Error" in fields,
    )


def _changes(act: str, listed: str) -> Iterator[Change]:
    """`name:arch (old, new), …` where something was there before; `name:arch (version[, automatic])` where not."""
    for name, architecture, inside in _PACKAGE.findall(listed):
        versions = [one.strip() for one in inside.split(",") if one.strip() != "automatic"]
        if architecture in ("i386", "armhf") or not versions or role_of(name) is None:
            continue
        if act in ("Remove", "Purge"):
            yield Change(name, versions[0], None)
        elif act == "Reinstall":
            yield Change(name, versions[0], versions[-1])
        else:
            yield Change(name, versions[0] if len(versions) > 1 else None, versions[-1])


def parse_dpkg_log(text: str) -> tuple[Transaction, ...]:
    """dpkg.log: `date time act package old new`, and the states that a package goes through."""
    if text.strip() and not _ANY_DPKG.search(text):
        raise ParseError("no line is of the form that dpkg's log has")
    runs: list[tuple[Moment, dict[str, Change], dict[str, str]]] = []
    last = 0
    for found in filter(None, map(_DPKG.match, _relevant_lines(text))):
        if role_of(found["name"]) is None or (when := moment_in(found[1])) is None:
            continue
        again = bool(runs) and found["act"] in ("install", "upgrade") and found["name"] in runs[-1][1]
        if found["act"] and (not runs or again or not 0 <= when.wall - last <= RUN_SECONDS):
            runs.append((when, {}, {}))
        if not runs:
            continue
        last = when.wall
        _, changes, states = runs[-1]
        if found["state"]:
            states[found["name"]] = found["state"]
        elif found["new"]:
            _note(changes, found["name"], found["act"], found["old"], found["new"])
    return tuple(
        Transaction(
            when=when,
            changes=relevant(changes.values()),
            tool="dpkg",
            failed=any(states.get(name) in _UNFINISHED for name in changes),
        )
        for when, changes, states in runs
        if changes
    )


_RELEVANT = ("nvidia", "linux", "cuda", "kernel")
"""The name of a package of the driver or of the kernel has one of these; nearly all lines have none."""


def _relevant_lines(text: str) -> list[str]:
    lines = {start: line for word in _RELEVANT for start, line in lines_holding(word, text, "\n")}
    return [lines[start] for start in sorted(lines)]


def _note(changes: dict[str, Change], name: str, act: str, old: str, new: str) -> None:
    """One act in a run: what is removed and then purged is removed once."""
    before = None if act == "install" or old == "<none>" else old
    after = None if act in ("remove", "purge") or new == "<none>" else new
    if act == "purge" and name in changes:
        return
    changes[name] = Change(name, before, after)


def parse_term(text: str) -> tuple[Transaction, ...]:
    """apt's term.log: what the terminal showed, from "Log started" to "Log ended"."""
    found: list[Transaction] = []
    for part in parts_of(text, "^Log started: "):
        when = moment_in(part[:60])
        changes = relevant(Change(one["name"], one["old"], one["new"]) for one in _UNPACKING.finditer(part))
        if when is not None and changes:
            failed = "Sub-process /usr/bin/dpkg returned an error code" in part
            found.append(Transaction(when=when, changes=changes, tool="apt", failed=failed))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class UnattendedRun:
    """A run of unattended-upgrades and what it set out to upgrade; versions stand in other logs."""

    when: Moment
    packages: frozenset[str]


def parse_unattended(text: str) -> tuple[UnattendedRun, ...]:
    """unattended-upgrades.log: the runs that had something of the driver or the kernel to upgrade."""
    if text.strip() and not re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{1,6} [A-Z]{4,8} ", text, re.M):
        raise ParseError("no line is of the form that unattended-upgrades' log has")
    found: list[UnattendedRun] = []
    for one in _UPGRADED.finditer(text):
        when = moment_in(one[1])
        names = frozenset(name for name in one[2].split() if role_of(name) is not None)
        if when is not None and names:
            found.append(UnattendedRun(when, names))
    return tuple(found)
