"""Who asked for a transaction, as far as its command line and the user's name tell."""

from __future__ import annotations

import re
from enum import Enum

from nvdiag.facts.package_logs.transaction import Transaction
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex


class Asker(Enum):
    """What kind of program or person started a package manager."""

    UNATTENDED_UPGRADES = "unattended-upgrades"
    DNF_AUTOMATIC = "dnf-automatic"
    DESKTOP = "desktop updater"
    RELEASE_UPGRADE = "release upgrade"
    ANSIBLE = "ansible"
    PUPPET = "puppet"
    CLOUD_INIT = "cloud-init"
    INSTALLER = "NVIDIA's installer"
    PERSON = "person or script"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked, and how that is told in a sentence: "unattended-upgrades", "alice, with `apt upgrade`"."""

    kind: Asker
    words: str


_PROGRAMS = (
    (Asker.UNATTENDED_UPGRADES, regex(r"unattended-upgrade"), "unattended-upgrades"),
    (Asker.DNF_AUTOMATIC, regex(r"dnf-automatic|dnf5? automatic|yum-cron"), "dnf-automatic"),
    (Asker.DESKTOP, regex(r"^aptdaemon role"), "a desktop's updater (aptdaemon)"),
    (Asker.DESKTOP, regex(r"^packagekit role|packagekitd"), "a desktop's updater (PackageKit)"),
    (Asker.DESKTOP, regex(r"/YaST2/|\by2start\b|\bmyrlyn\b"), "YaST or another desktop tool"),
    (Asker.RELEASE_UPGRADE, regex(r"release-upgrade|system-upgrade"), "a release upgrade"),
    (Asker.ANSIBLE, regex(r"ansible", re.I), "ansible"),
)  # fmt: skip
_OF_ANSIBLE = regex(r"apt-get -y +-o Dpkg::Options::=--force-confdef +-o Dpkg::Options::=--force-confold ")
"""The order in which ansible's apt module writes its options; a person seldom does."""
_OF_PUPPET = regex(r"apt-get -q -y -o DPkg::Options::=--force-confold ")
_OF_CLOUD_INIT = regex(r"Dpkg::Options::=--force-confold --option=Dpkg::options::=--force-unsafe-io")


def asked_for(transaction: Transaction) -> Asked:
    """Who asked for it. A command line that looks like a program's own is told as probable."""
    command, user = transaction.command, transaction.user
    for kind, pattern, words in _PROGRAMS:
        if pattern.search(command) or (kind is Asker.ANSIBLE and pattern.search(user)):
            return Asked(kind, f"{words}, for {user}" if user and kind is not Asker.ANSIBLE else words)
    for kind, pattern, words in (
        (Asker.ANSIBLE, _OF_ANSIBLE, "probably ansible, by its options"),
        (Asker.PUPPET, _OF_PUPPET, "probably Puppet, by its options"),
        (Asker.CLOUD_INIT, _OF_CLOUD_INIT, "cloud-init, by its options"),
    ):
        if pattern.search(command):
            return Asked(kind, f"{words}, as {user}" if user else words)
    if transaction.tool == "nvidia-installer":
        return Asked(Asker.INSTALLER, f"NVIDIA's installer (`{_cut(command)}`)" if command else "NVIDIA's installer")
    if not command and not user:
        return Asked(Asker.UNKNOWN, "")
    if not command:
        return Asked(Asker.PERSON, user)
    return Asked(Asker.PERSON, f"{user}, with `{_cut(command)}`" if user else f"`{_cut(command)}`")


def _cut(command: str) -> str:
    return command if len(command) <= 80 else f"{command[:79]}…"
