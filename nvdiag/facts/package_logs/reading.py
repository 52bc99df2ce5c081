"""Which package logs a machine has, newest first, and what stands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace  # noqa: TID251 - it is filled as logs are read
from typing import TypeVar

from nvdiag.facts.clock import Moment, moment_in
from nvdiag.facts.package_logs import apt, others, rpm
from nvdiag.facts.package_logs.asking import Asker, asked_for
from nvdiag.facts.package_logs.transaction import Transaction
from nvdiag.host import Absent, Host
from nvdiag.model.regex import regex
from nvdiag.model.unknown import ParseError, Unknown

MOST_FILES = 13
"""Of one log, with its rotated files: a year of monthly ones."""
_FEW = 2
"""How many files of a log are read where another log has explained the state: what is newer stands in these."""
SAME_SECONDS = 900
"""Two logs of one machine tell of one run if their times are not further apart than this."""

_Line = TypeVar("_Line")
Parser = Callable[[str], tuple[Transaction, ...]]

APT, TERM, DPKG = "/var/log/apt/history.log", "/var/log/apt/term.log", "/var/log/dpkg.log"
UNATTENDED = "/var/log/unattended-upgrades/unattended-upgrades.log"
DNF_RPM, DNF, DNF5, YUM = "/var/log/dnf.rpm.log", "/var/log/dnf.log", "/var/log/dnf5.log", "/var/log/yum.log"
ZYPP, PACMAN = "/var/log/zypp/history", "/var/log/pacman.log"
INSTALLER, UNINSTALLER = "/var/log/nvidia-installer.log", "/var/log/nvidia-uninstall.log"

_PARSERS: dict[str, Parser] = {
    APT: apt.parse_history, DPKG: apt.parse_dpkg_log, DNF_RPM: rpm.parse_dnf_rpm_log, DNF5: rpm.parse_dnf5_log,
    ZYPP: others.parse_zypp_history, PACMAN: others.parse_pacman_log, INSTALLER: others.parse_installer_log,
    UNINSTALLER: others.parse_installer_log,
}  # fmt: skip
_HISTORY_INFO = regex(r"(?:dnf5?|yum)\b.*\bhistory\b")
_OSTREE = regex(r"rpm-ostree\b")


@dataclass(slots=True, eq=False, repr=False)
class Logs:
    """What was read. `looked` are the files and commands that were there; `silent` is why others could not be read."""

    found: list[Transaction] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)
    silent: list[Unknown] = field(default_factory=list)

    def text(self, host: Host, path: str) -> str | None:
        """A log's text; None where it is not there, or (noted) could not be read."""
        try:
            text = host.read(path)
        except Absent:
            return None
        except Unknown as why:
            self.silent.append(why)
            return None
        self.looked.append(path)
        return text


def read(host: Host, zone: str | None, enough: Callable[[Transaction], bool]) -> Logs:
    """All transactions of the driver and the kernel, oldest first, with times of the machine's zone.

    Of each log older files are read until a transaction is `enough` to explain the present state.
    """
    logs = Logs()
    folders = _Folders(host)
    for log, parse in _PARSERS.items():
        explained = any(enough(one) for one in logs.found)
        _family(host, logs, folders.files(log)[: _FEW if explained else MOST_FILES], parse, enough)
    if APT not in logs.looked:
        _family(host, logs, folders.files(TERM), apt.parse_term, enough)
    now = moment_in(host.source.captured_at)
    if now is not None and DNF_RPM not in logs.looked:
        _family(host, logs, folders.files(YUM), lambda text: rpm.parse_yum_log(text, now), enough)
    _recorded(host, logs, now)
    dated = [replace(one, when=one.when.within(zone)) for one in logs.found]
    logs.found = _with_askers(host, logs, _once(dated))
    return logs


class _Folders:
    """The names of logs and of their rotated files, by one look at each folder, or by what a recording has."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._recorded = frozenset(path for path in host.recorded("files") if path.startswith("/var/log/"))
        self._names: dict[str, tuple[str, ...]] = {}

    def files(self, log: str) -> list[str]:
        """The log and its rotated files, newest first."""
        folder, _, base = log.rpartition("/")
        if folder not in self._names:
            try:
                self._names[folder] = self._host.folder(folder)
            except Unknown:
                self._names[folder] = ()
        begins = f"{folder}/{base.partition('.')[0]}"
        names = [f"{folder}/{name}" for name in self._names[folder]]
        names = [path for path in {*names, *self._recorded} if path.startswith(begins)]
        if not names:
            return [log]
        pattern = re.compile(rf"{re.escape(folder)}/{_rotated(base)}")
        return sorted((path for path in names if pattern.fullmatch(path)), key=_age)[:MOST_FILES] or [log]


def _rotated(base: str) -> str:
    """history.log, history.log.2.gz, history.1.log.gz, dnf.log-20251101, history-20251101.xz."""
    stem, _, ending = base.partition(".")
    inner = rf"{re.escape(stem)}\.\d{{1,4}}\.{re.escape(ending)}|" if ending else ""
    return rf"(?:{inner}{re.escape(base)}(?:[.-]\d{{1,8}})?)(?:\.(?:gz|xz|bz2|zst))?"


def _age(path: str) -> tuple[int, int]:
    """The log itself, then numbers upwards, then dates backwards."""
    found = re.search(r"[.-](\d{1,8})(?:\.[a-z]{2,5}\d?){0,2}$", path)
    if not found:
        return (0, 0)
    return (1, int(found[1])) if len(found[1]) < 8 else (2, -int(found[1]))


def _family(host: Host, logs: Logs, files: Sequence[str], parse: Parser, enough: Callable[[Transaction], bool]) -> None:
    for path in files:
        text = logs.text(host, path)
        if text is None:
            continue
        try:
            found = parse(text)
        except ParseError:
            continue
        logs.found += [replace(one, source=path) for one in found]
        if any(enough(one) for one in found):
            return


def _recorded(host: Host, logs: Logs, now: Moment | None) -> None:
    """What a recording has of commands that nvdiag itself does not run: dnf history, rpm-ostree."""
    for command in host.recorded("commands"):
        parse: Parser | None = None
        if _HISTORY_INFO.match(command):
            parse = rpm.parse_history_info
        elif _OSTREE.match(command):
            parse = _ostree(now, command)
        if parse is None:
            continue
        try:
            found = parse(host.run(*shlex.split(command)).stdout)
        except (Unknown, ValueError):  # ParseError among the latter; a quote without its partner, too
            continue
        logs.looked.append(command)
        logs.found += [replace(one, source=command) for one in found]


def _ostree(now: Moment | None, command: str) -> Parser:
    """A deployment is as old as its image; what has no date of its own is of the recording's."""

    def parse(text: str) -> tuple[Transaction, ...]:
        deployments = others.parse_deployments(text) if "Version:" in text else ()
        when = deployments[0][1] if deployments else now
        asked = command if re.match(r"rpm-ostree (?:upgrade|update|rebase|deploy|install|override)\b", command) else ""
        return others.parse_ostree_difference(text, when, asked) if when is not None else ()

    return parse


def _once(found: Iterable[Transaction]) -> list[Transaction]:
    """Each run once, oldest first: the log that says who asked, before the one that only lists packages."""
    kept: list[Transaction] = []
    for one in sorted(found, key=lambda one: (one.tool == "dpkg", one.when.wall)):
        same = next((other for other in kept if _is_same(one, other)), None)
        if same is None:
            kept.append(one)
        else:
            kept[kept.index(same)] = replace(
                same,
                command=same.command or one.command,
                user=same.user or one.user,
                failed=same.failed or one.failed,
            )
    return sorted(kept, key=lambda one: one.when.wall)


def _is_same(one: Transaction, other: Transaction) -> bool:
    near = abs(one.when.wall - other.when.wall) <= SAME_SECONDS or (
        one.when.earliest <= other.when.latest + SAME_SECONDS
        and other.when.earliest <= one.when.latest + SAME_SECONDS
        and one.tool != other.tool
    )
    return near and bool(
        {(change.name, change.new) for change in one.changes}.intersection(
            (change.name, change.new) for change in other.changes
        )
    )


def _with_askers(host: Host, logs: Logs, found: list[Transaction]) -> list[Transaction]:
    """Where a log does not say who asked, another may: unattended-upgrades' own, dnf.log's command lines."""
    unknown = [one for one in found if asked_for(one).kind is Asker.UNKNOWN]
    if any(one.tool in ("dpkg", "apt") for one in unknown):
        runs = _parsed(host, logs, UNATTENDED, apt.parse_unattended)
        found = [_by_unattended(one, runs) for one in found]
    if any(one.tool == "dnf" for one in unknown):
        commands = _parsed(host, logs, DNF, rpm.parse_dnf_log)
        found = [_by_dnf(one, commands) for one in found]
    return found


def _parsed(host: Host, logs: Logs, log: str, parse: Callable[[str], tuple[_Line, ...]]) -> list[_Line]:
    everything: list[_Line] = []
    for path in _Folders(host).files(log)[:4]:
        text = logs.text(host, path)
        try:
            everything += parse(text or "")
        except ParseError:
            continue
    return everything


def _by_unattended(one: Transaction, runs: Sequence[apt.UnattendedRun]) -> Transaction:
    names = {change.name for change in one.changes}
    if asked_for(one).kind is Asker.UNKNOWN and any(
        0 <= one.when.wall - run.when.wall <= 4 * SAME_SECONDS and names & run.packages for run in runs
    ):
        return replace(one, command="unattended-upgrade")
    return one


def _by_dnf(one: Transaction, commands: Sequence[rpm.DnfCommand]) -> Transaction:
    before = [said for said in commands if 0 <= one.when.wall - said.when.wall <= 4 * SAME_SECONDS]
    if one.tool != "dnf" or one.command or not before:
        return one
    return replace(one, command=max(before, key=lambda said: said.when.wall).command)
