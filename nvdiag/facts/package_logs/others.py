"""Logs of zypper, pacman and rpm-ostree, and of NVIDIA's installer, whose run is a transaction like any other."""

from __future__ import annotations

import re
from dataclasses import replace

from nvdiag.facts.clock import Moment, moment_in
from nvdiag.facts.package_logs.transaction import RUN_FILE, Change, Transaction, relevant, role_of
from nvdiag.model.regex import regex
from nvdiag.model.unknown import ParseError

RUN_SECONDS = 1800
_ZYPP = regex(
    r"^(?P<when>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\|(?P<act>command|install|remove) ?\|(?P<rest>.{0,2000})$", re.M
)
_PACMAN = regex(
    r"^\[(?P<when>\d{4}-\d\d-\d\d[T ][\d:]{5,8}(?:[+-]\d{4})?)\] (?:\[(?P<by>[A-Z-]{3,20})\] )?"
    r"(?:Running '(?P<command>[^'\n]{1,1000})'|(?P<act>upgraded|downgraded|installed|removed|reinstalled)"
    r" (?P<name>[\w@.+-]{1,150}) \((?P<versions>[^()\n]{1,300})\)|(?P<mark>transaction \w{5,12}))",
    re.M,
)
_DIFFERENCE = regex(r"^  (?P<name>[\w.+-]{2,150}) (?P<old>\S{1,120}) -> (?P<new>\S{1,120})$", re.M)
_CREATED = regex(r"^creation time: (.{20,30})$", re.M)
_COMPLETE = regex(
    r"^-> Installation of .{1,120}?\(version: ([0-9.]{3,20})\) is\s{1,20}now\s{1,20}complete", re.M | re.S
)
_UNINSTALLED = regex(
    r"Uninstallation of existing driver: .{1,120}?\((?:\d\.\d-\d{1,9} \()?([0-9.]{3,20})\){1,2} is\s{1,20}complete",
    re.S,
)
_VERSION = regex(r"^(?:installer version: |-> Installing NVIDIA driver version )([0-9.]{3,20}?)\.?$", re.M)
_ARGUMENTS = regex(r"^nvidia-installer command line:\n((?:    \S.{0,300}\n){1,60})", re.M)


def parse_zypp_history(text: str) -> tuple[Transaction, ...]:
    """/var/log/zypp/history: fields between bars. An upgrade is an install line; the old version is the one before."""
    versions: dict[str, str] = {}
    found: list[Transaction] = []
    command, user, last, seen = "", "", 0, False
    for one in _ZYPP.finditer(text):
        seen = True
        when, fields = moment_in(one["when"]), one["rest"].split("|")
        if when is None:
            continue
        if one["act"] == "command":
            user = fields[0].partition("@")[0]
            command = " ".join(re.findall(r"'([^']{0,300})'", "|".join(fields[1:])))
            last = 0
            continue
        if len(fields) < 2 or role_of(fields[0]) is None:
            continue
        name, version = fields[0], fields[1]
        change = Change(name, versions.get(name) if one["act"] == "install" else version, version)
        if one["act"] == "remove":
            change = replace(change, new=None)
            versions.pop(name, None)
        else:
            versions[name] = version
        if found and 0 <= when.wall - last <= RUN_SECONDS:
            found[-1] = replace(found[-1], changes=relevant((*found[-1].changes, change)))
        else:
            found.append(Transaction(when=when, changes=(change,), tool="zypper", command=command, user=user))
        last = when.wall
    if text.strip() and not seen:
        raise ParseError("no line is of the form that zypp's history has")
    return tuple(found)


def parse_pacman_log(text: str) -> tuple[Transaction, ...]:
    """pacman.log: a line for each package, between "transaction started" and "transaction completed"."""
    found: list[Transaction] = []
    command, is_open, seen = "", False, False
    for one in _PACMAN.finditer(text):
        seen = True
        when = moment_in(one["when"])
        if one["command"]:
            command, is_open = one["command"], False
        elif one["mark"]:
            is_open = False
        elif when is not None and role_of(one["name"]) is not None:
            change = _pacman_change(one["act"], one["name"], one["versions"])
            if is_open and 0 <= when.wall - found[-1].when.wall <= RUN_SECONDS:
                found[-1] = replace(found[-1], changes=relevant((*found[-1].changes, change)))
            else:
                found.append(Transaction(when=when, changes=(change,), tool="pacman", command=command))
            is_open = True
    if text.strip() and not seen and not re.search(r"^\[\d{4}-\d\d-\d\d[T ]\d\d:\d\d", text, re.M):
        raise ParseError("no line is of the form that pacman.log has")
    return tuple(found)


def _pacman_change(act: str, name: str, versions: str) -> Change:
    old, _, new = versions.partition(" -> ")
    if act == "removed":
        return Change(name, old, None)
    if act == "installed":
        return Change(name, None, old)
    return Change(name, old, new or old)


def parse_ostree_difference(text: str, when: Moment, command: str) -> tuple[Transaction, ...]:
    """What `rpm-ostree upgrade`, `rpm-ostree db diff` and `rpm-ostree status -v` print of packages that differ."""
    changes = relevant(Change(one["name"], one["old"], one["new"]) for one in _DIFFERENCE.finditer(text))
    return (Transaction(when=when, changes=changes, tool="rpm-ostree", command=command),) if changes else ()


def parse_deployments(text: str) -> tuple[tuple[str, Moment, bool], ...]:
    """`rpm-ostree status` and `history`: a deployment's version, when its image was made, whether it is booted."""
    rows = re.findall(
        r"^(?P<mark>[ *\u25cf]) ?\S.{0,300}\n(?:[ \t]{4,40}\S.{0,300}\n){0,6}?[ \t]{4,40}Version: (?P<version>\S{1,80})"
        r" \((?P<when>[^()\n]{10,40})\)",
        text,
        re.M,
    )
    found = ((version, moment_in(when), mark in ("*", "\u25cf")) for mark, version, when in rows)
    if text.strip() and "Version:" not in text:
        raise ParseError("no deployment with a version is in it")
    return tuple((version, when, booted) for version, when, booted in found if when is not None)


def parse_installer_log(text: str) -> tuple[Transaction, ...]:
    """nvidia-installer.log and nvidia-uninstall.log: one run, which begins the file anew."""
    created = _CREATED.search(text[:4000])
    when = moment_in(created[1]) if created else None
    if when is None:
        raise ParseError("no creation time is at the head of the installer's log")
    complete, uninstalled = _COMPLETE.search(text), _UNINSTALLED.search(text)
    wanted = _VERSION.search(text)
    old = uninstalled[1] if uninstalled else None
    new = complete[1] if complete else None
    if old is None and new is None and wanted is None:
        return ()
    arguments = _ARGUMENTS.search(text)
    return (
        Transaction(
            when=when,
            changes=(Change(RUN_FILE, old, new if old or new else wanted[1] if wanted else None),),
            tool="nvidia-installer",
            command=" ".join(arguments[1].split()) if arguments else "",
            failed=new is None and old is None,
        ),
    )
