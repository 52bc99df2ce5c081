"""A run of a package manager, DKMS or akmods that is under way now: what it changes is not done yet."""

from __future__ import annotations

import re

from nvdiag.facts import reading
from nvdiag.facts.disagreement import Disagreement
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import NotApplicable

RUNS = frozenset({
    "apt", "apt-get", "aptitude", "dpkg", "dnf", "dnf5", "dnf-3", "yum", "rpm", "zypper", "pacman", "dkms", "akmods",
    "akmodsbuild", "akmodsinit", "update-initramf", "mkinitramfs", "dracut", "mkinitcpio", "depmod", "nvidia-installe",
    "rpm-ostree", "bootc", "transactional-u",
})  # fmt: skip
"""Names in /proc/PID/comm, cut to 15 letters by the kernel (proc_pid_comm(5))."""

_STAYS = frozenset({"unattended-upgr", "packagekitd"})
"""Names of services that wait for most of their time: they count only while they hold a lock."""

DPKG_JOURNAL = "/var/lib/dpkg/updates"
LOCKS = "/proc/locks"
_MOST = 50_000


@dataclass(frozen=True, slots=True)
class PackageRun:
    """The processes that change packages, modules or the initramfs now, by name and number; empty for none.

    `interrupted` is set where dpkg was stopped in the middle and nothing runs that would go on.
    """

    running: tuple[tuple[str, int], ...]
    interrupted: bool = False

    @classmethod
    def collect(cls, host: Host, doubt: Disagreement) -> PackageRun:
        if host.source.kind in ("paste", "bug-report"):
            raise NotApplicable("what runs now is not in a text")
        own = reading.link(host, "/proc/self/ns/mnt")
        running: list[tuple[str, int]] = []
        for name in host.folder("/proc")[:_MOST]:
            if not name.isascii() or not name.isdigit():
                continue
            comm = (reading.text(host, f"/proc/{name}/comm") or "").strip()
            if comm in RUNS or (comm in _STAYS and _holds_a_lock(host, name)):
                theirs = reading.link(host, f"/proc/{name}/ns/mnt")
                if theirs is None or own is None or theirs == own:  # in a container it changes that alone
                    running.append((comm, int(name)))
        journal = [name for name in reading.names(host, DPKG_JOURNAL) if name.isascii() and name.isdigit()]
        return cls(tuple(running), bool(journal) and not running)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Each process, or dpkg's journal."""
        seen = tuple(Evidence(source=f"/proc/{pid}/comm", excerpt=name) for name, pid in self.running)
        return seen or (Evidence(source=DPKG_JOURNAL, excerpt="dpkg was interrupted"),)


def _holds_a_lock(host: Host, pid: str) -> bool:
    return re.search(rf"\bWRITE {pid} ", reading.text(host, LOCKS) or "") is not None
