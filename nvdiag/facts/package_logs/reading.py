"""Which package logs a machine has, newest first, and what stands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from nvdiag.facts.clock import moment_in
from nvdiag.facts.package_logs.transaction import Transaction
from nvdiag.host import Absent, Host
from nvdiag.model.regex import regex
from nvdiag.model.unknown import ParseError, Unknown

if TYPE_CHECKING:  # a machine has one distribution's logs
    from nvdiag.facts.package_logs import apt, rpm

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

_PARSERS = {
    APT: "apt.parse_history", DPKG: "apt.parse_dpkg_log", DNF_RPM: "rpm.parse_dnf_rpm_log",
    DNF5: "rpm.parse_dnf5_log", ZYPP: "others.parse_zypp_history", PACMAN: "others.parse_pacman_log",
    INSTALLER: "others.parse_installer_log", UNINSTALLER: "others.parse_installer_log",
}  # fmt: skip
"""The parsers of logs, imported where there is such a log."""


def _by(parser: str) -> Parser:
    """A parser by the names of its module and its own."""

    def parse(text: str) -> tuple[Transaction, ...]:
        module, _, name = parser.partition(".")
        found: Parser = getattr(import_module(f"nvdiag.facts.package_logs.{module}"), name)
        return found(text)

    return parse


_HISTORY_INFO = regex(r"(?:dnf5?|yum)\b.*\bhistory\b")
_OSTREE = regex(r"rpm-ostree\b")


class Logs:
    """What was read. `looked` are the files and commands that were there; `silent` is why others could not be read."""

    def __init__(self) -> None:
        self.found: list[Transaction] = []
        self.looked: list[str] = []
        self.silent: list[Unknown] = []

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
        _family(host, logs, folders.files(log)[: _FEW if explained else MOST_FILES], _by(parse), enough)
    if APT not in logs.looked:
        _family(host, logs, folders.files(TERM), _by("apt.parse_term"), enough)
    if DNF_RPM not in logs.looked:
        _family(host, logs, folders.files(YUM), _of_yum(host), enough)
    _recorded(host, logs)
    dated = [replace(one, when=one.when.within(zone)) for one in logs.found]
    logs.found = _with_askers(host, logs, _once(dated))
    return logs


def _of_yum(host: Host) -> Parser:
    """Old yum's log has no years: its times are the last ones before the machine was looked at."""

    def parse(text: str) -> tuple[Transaction, ...]:
        from nvdiag.facts.package_logs import rpm

        now = moment_in(host.source.captured_at)
        return rpm.parse_yum_log(text, now) if now is not None else ()

    return parse


class _Folders:
    """The names of logs and of their rotated files, by one look at each folder, or by what a recording has."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._recorded = frozenset(path for path in host.recorded("files") if path.startswith("/var/log/"))
        self._names: dict[str, tuple[str, ...]] = {}

    def files(self, log: str) -> list[str]:
        """The log and its rotated files, newest first."""
        folder = log.rpartition("/")[0]
        if folder not in self._names:
            try:
                self._names[folder] = self._host.folder(folder)
            except Unknown:
                self._names[folder] = ()
        paths = {*(f"{folder}/{name}" for name in self._names[folder]), *self._recorded}
        ages = {path: age for path in paths if (age := _age(path, log)) is not None}
        return sorted(ages, key=ages.__getitem__)[:MOST_FILES] or [log]


def _age(path: str, log: str) -> tuple[int, int] | None:
    """What a log and its rotated files are sorted by: itself, then numbers upwards, then dates backwards. Else None.

    history.log, history.log.2.gz, history.1.log.gz, dnf.log-20251101, history-20251101.xz.
    """
    folder, _, base = log.rpartition("/")
    stem, dot, rest = base.partition(".")
    begins, ends = f"{folder}/{stem}", dot + rest
    if not path.startswith(begins):
        return None
    plain = path[len(begins) :]
    packed = next((ending for ending in _PACKED if plain.endswith(ending)), "")
    plain = plain.removesuffix(packed)
    if plain == ends:
        return (0, 0)
    if plain.startswith(ends) and plain[len(ends)] in ".-":
        number, most = plain[len(ends) + 1 :], 8
    elif plain.startswith(".") and plain.endswith(ends):
        number, most = plain[1 : len(plain) - len(ends)], 4
    else:
        return None
    if not (number.isascii() and number.isdigit() and len(number) <= most):
        return None
    return (1, int(number)) if len(number) < 8 else (2, -int(number))


_PACKED = (".gz", ".xz", ".bz2", ".zst")


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


def _recorded(host: Host, logs: Logs) -> None:
    """What a recording has of commands that nvdiag itself does not run: dnf history, rpm-ostree."""
    for command in host.recorded("commands"):
        parse: Parser | None = None
        if _HISTORY_INFO.match(command):
            parse = _by("rpm.parse_history_info")
        elif _OSTREE.match(command):
            parse = _ostree(host, command)
        if parse is None:
            continue
        try:
            found = parse(host.run(*shlex.split(command)).stdout)
        except (Unknown, ValueError):  # ParseError among the latter; a quote without its partner, too
            continue
        logs.looked.append(command)
        logs.found += [replace(one, source=command) for one in found]


def _ostree(host: Host, command: str) -> Parser:
    """A deployment is as old as its image; what has no date of its own is of the recording's."""

    def parse(text: str) -> tuple[Transaction, ...]:
        from nvdiag.facts.package_logs import others

        deployments = others.parse_deployments(text) if "Version:" in text else ()
        when = deployments[0][1] if deployments else moment_in(host.source.captured_at)
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
    unknown = [one for one in found if _asked_by_nobody(one)]
    if any(one.tool in ("dpkg", "apt") for one in unknown):
        from nvdiag.facts.package_logs import apt

        runs = _parsed(host, logs, UNATTENDED, apt.parse_unattended)
        found = [_by_unattended(one, runs) for one in found]
    if any(one.tool == "dnf" for one in unknown):
        from nvdiag.facts.package_logs import rpm

        commands = _parsed(host, logs, DNF, rpm.parse_dnf_log)
        found = [_by_dnf(one, commands) for one in found]
    return found


def _asked_by_nobody(one: Transaction) -> bool:
    """Whether the log does not say who asked."""
    from nvdiag.facts.package_logs.asking import Asker, asked_for

    return asked_for(one).kind is Asker.UNKNOWN


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
    if _asked_by_nobody(one) and any(
        0 <= one.when.wall - run.when.wall <= 4 * SAME_SECONDS and names & run.packages for run in runs
    ):
        return replace(one, command="unattended-upgrade")
    return one


def _by_dnf(one: Transaction, commands: Sequence[rpm.DnfCommand]) -> Transaction:
    before = [said for said in commands if 0 <= one.when.wall - said.when.wall <= 4 * SAME_SECONDS]
    if one.tool != "dnf" or one.command or not before:
        return one
    return replace(one, command=max(before, key=lambda said: said.when.wall).command)
