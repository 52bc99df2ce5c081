"""Logs of the programs that install RPMs: dnf 4 and 5, yum, and what `dnf history info` prints of their databases."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from nvdiag.facts.clock import Moment, moment_in, without_year
from nvdiag.facts.package_logs.transaction import Transaction, paired, parts_of, role_of, split_nevra
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import ParseError

RUN_SECONDS = 1800
"""Lines that follow each other within this time are of one run, where the log does not mark runs itself."""

_STAMP = r"(?P<when>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:?(?:\d\d)?)?)"
_DNF_RPM = regex(
    rf"^{_STAMP} (?:SUBDEBUG (?P<act>[A-Z][a-z]{{3,14}}): (?P<package>\S{{3,250}})"
    r"|INFO (?P<start>--- logging initialized))",
    re.M,
)
_DNF_COMMAND = regex(rf"^{_STAMP} DDEBUG Command: (?P<command>.{{1,1000}})$", re.M)
_DNF5 = regex(
    rf'^{_STAMP} \[\d{{1,10}}\] INFO (?:--- DNF5 launched with arguments: "(?P<command>.{{1,1000}}?)" ---'
    r'|RPM callback (?P<act>install|uninstall) start "(?P<package>[^"\s]{3,250})")',
    re.M,
)
_YUM = regex(
    r"^(?P<when>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (?P<act>Updated|Installed|Erased|Dep-Installed):"
    r" (?P<package>\S{3,250})",
    re.M,
)
_ALTERED = regex(r"^[ \t]{1,8}([A-Z][A-Za-z-]{3,20}) {1,12}(\S{3,250})", re.M)
_ADDING = frozenset({"Install", "Installed", "Upgrade", "Downgrade", "Reinstall", "Update", "Dep-Install", "install"})
_TAKING = frozenset(
    {
        "Upgraded", "Downgraded", "Erase", "Erased", "Obsoleted", "Removed", "Remove", "Replaced", "Updated",
        "Obsoleting", "uninstall",
    }
)  # fmt: skip


@dataclasses.dataclass(slots=True, eq=False, repr=False)  # noqa: TID251 - it is filled as the log is read
class _Run:
    when: Moment
    command: str = ""
    added: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    taken: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    last: int = 0

    def take(self, act: str, package: str) -> None:
        """A line of this run."""
        named = split_nevra(package)
        if named is None or role_of(named[0]) is None:
            return
        if act in _ADDING:
            self.added.append(named)
        elif act in _TAKING:
            self.taken.append(named)

    def transaction(self, tool: str) -> Transaction:
        """What it came to."""
        return Transaction(when=self.when, changes=paired(self.added, self.taken), tool=tool, command=self.command)


def _told(runs: Iterable[_Run], tool: str) -> tuple[Transaction, ...]:
    found = (run.transaction(tool) for run in runs if run.added or run.taken)
    return tuple(one for one in found if one.changes)


def parse_dnf_rpm_log(text: str) -> tuple[Transaction, ...]:
    """dnf.rpm.log of dnf 4: a line for each package that came or went; `Upgrade` is the new one, `Upgraded` the old."""
    runs: list[_Run] = []
    seen = False
    for found in _DNF_RPM.finditer(text):
        seen = True
        when = moment_in(found["when"])
        if when is None:
            continue
        if found["start"] or not runs or not 0 <= when.wall - runs[-1].last <= RUN_SECONDS:
            runs.append(_Run(when, last=when.wall))
        if found["act"]:
            if not (runs[-1].added or runs[-1].taken):
                runs[-1].when = when
            runs[-1].last = when.wall
            runs[-1].take(found["act"], found["package"])
    if text.strip() and not seen:
        raise ParseError("no line is of the form that dnf.rpm.log has")
    return _told(runs, "dnf")


@dataclass(frozen=True, slots=True)
class DnfCommand:
    """A command line that dnf was started with."""

    when: Moment
    command: str


def parse_dnf_log(text: str) -> tuple[DnfCommand, ...]:
    """dnf.log of dnf 4: the command lines, without those that only read."""
    found = [
        DnfCommand(when, one["command"].strip())
        for one in _DNF_COMMAND.finditer(text)
        if (when := moment_in(one["when"])) is not None
    ]
    if text.strip() and not found and not re.search(rf"^{_STAMP} [A-Z]{{4,8}} ", text, re.M):
        raise ParseError("no line is of the form that dnf.log has")
    return tuple(
        one for one in found if not re.search(r"\b(?:makecache|repolist|list|info|check-update)\b", one.command)
    )


def parse_dnf5_log(text: str) -> tuple[Transaction, ...]:
    """dnf5.log: the arguments of a start, then rpm's callbacks for each package."""
    runs: list[_Run] = []
    for found in _DNF5.finditer(text):
        when = moment_in(found["when"])
        if when is None:
            continue
        if found["command"]:
            runs.append(_Run(when, found["command"], last=when.wall))
            continue
        if not runs or not 0 <= when.wall - runs[-1].last <= RUN_SECONDS:
            runs.append(_Run(when))
        if not (runs[-1].added or runs[-1].taken):
            runs[-1].when = when
        runs[-1].last = when.wall
        runs[-1].take(found["act"], found["package"])
    if text.strip() and not runs and not re.search(rf"^{_STAMP} \[\d{{1,10}}\] [A-Z]{{4,8}} ", text, re.M):
        raise ParseError("no line is of the form that dnf5.log has")
    return _told(runs, "dnf5")


def parse_yum_log(text: str, latest: Moment) -> tuple[Transaction, ...]:
    """yum.log, which has no years: the last line is not after `latest`, and months that go back mark a new year."""
    lines = list(_YUM.finditer(text))
    if text.strip() and not lines:
        raise ParseError("no line is of the form that yum.log has")
    year = int(latest.text[:4])
    dated: list[tuple[Moment, re.Match[str]]] = []
    ceiling = latest.wall + 86400
    for found in reversed(lines):
        when = without_year(found["when"], year)
        if when is not None and when.wall > ceiling:
            year -= 1
            when = without_year(found["when"], year)
        if when is not None:
            dated.append((when, found))
            ceiling = when.wall
    runs: list[_Run] = []
    for when, found in reversed(dated):
        if not runs or when.wall - runs[-1].last > RUN_SECONDS:
            runs.append(_Run(when))
        runs[-1].last = when.wall
        runs[-1].take(
            {"Updated": "Update", "Dep-Installed": "Install"}.get(found["act"], found["act"]), found["package"]
        )
    return _told(runs, "yum")


def parse_history_info(text: str) -> tuple[Transaction, ...]:
    """`dnf history info` and `yum history info`, of dnf 4, dnf 5 or yum, one or several after another."""
    found = (_info(part) for part in parts_of(text, "^Transaction ID ?:"))
    return tuple(one for one in found if one is not None)


def _info(text: str) -> Transaction | None:
    fields = {
        name.strip(): value.strip()
        for name, value in re.findall(r"^([A-Z][A-Za-z -]{2,30}?) {0,12}: ?(.{0,1000})$", text, re.M)
    }
    when = moment_in(fields.get("Begin time", ""))
    altered = re.split(r"^Packages [Aa]ltered:", text, maxsplit=1, flags=re.M)
    if when is None or len(altered) < 2:
        return None
    run = _Run(when)
    for act, package in _ALTERED.findall(altered[1]):
        run.take("Replaced" if act == "Updated" else act, package)
    changes = paired(run.added, run.taken)
    if not changes:
        return None
    user = re.search(r"<([\w.-]{1,64})>", fields.get("User", ""))
    command = fields.get("Command Line") or fields.get("Description", "")
    return Transaction(
        when=when,
        changes=changes,
        tool="dnf",
        command=command if not command or "dnf" in command or "yum" in command else f"dnf {command}",
        user=user[1] if user else "",
        failed=fields.get("Return-Code", fields.get("Status", "Success")) not in ("Success", "Ok"),
    )
