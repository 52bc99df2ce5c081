"""Which deployment of an ostree system boots next: its kernel and its root, whose /usr is not the one that runs.

Each deployment has an entry of the Boot Loader Specification; the one with the highest version boots. Its option
ostree=/ostree/boot.N/OS/CHECKSUM/I is a link to the deployment's folder. A staged deployment gets its entry only while
the system shuts down (ostree-finalize-staged.service), so it is looked for first.
"""

from __future__ import annotations

import posixpath
import re

from nvdiag.facts import reading
from nvdiag.facts.boot_entries import BootEntry, entries_in, kernel_of
from nvdiag.facts.boot_grub import ENTRIES, Booting
from nvdiag.host import Absent, Host
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import KernelRelease

STAGED = "/run/ostree/staged-deployment"
DEPLOYMENTS = "/ostree/deploy"


def next_by_ostree(host: Host) -> Booting:
    """The deployment that boots next. Unknown."""
    if staged := _staged(host):
        release = _kernel_in(host, staged)
        return Booting(release, f"a deployment is staged, {_short(staged)}", None, staged)
    try:
        entries = [one for one in entries_in(host, ENTRIES) if "ostree=" in one.options]
    except Unknown as why:
        raise Unknown(f"which deployment boots next stands in {why}") from why
    if not entries:
        raise Unknown(f"{ENTRIES} has no entry of a deployment")
    entry = max(entries, key=_version)
    root = _root(host, entry)
    return Booting(kernel_of(host, entry, ()), f"the deployment that boots first, {_short(root)}", entry, root)


def _version(entry: BootEntry) -> int:
    return int(entry.version) if re.fullmatch(r"[0-9]{1,9}", entry.version) else 0


def _root(host: Host, entry: BootEntry) -> str:
    """The deployment's folder, by the link that its option names."""
    path = re.search(r"ostree=(/\S{1,400})", entry.options)
    if path is None:
        raise Unknown(f"the entry {entry.id[:60]!r} names no deployment")
    target = reading.link(host, path[1])
    if target is None:
        raise Unknown(f"{path[1]}, which leads to the deployment that boots next, is no link that can be read")
    return posixpath.normpath(posixpath.join(posixpath.dirname(path[1]), target))


def _staged(host: Host) -> str | None:
    """The folder of a staged deployment; None for none. Unknown where one is there and cannot be told."""
    try:
        text = host.read(STAGED)
    except Absent:
        return None
    except Unknown:
        if reading.is_there(host, STAGED):
            raise Unknown(f"a deployment is staged, and {STAGED} cannot be read") from None
        return None
    for checksum in dict.fromkeys(re.findall(r"[0-9a-f]{64}", text)):
        for system in reading.names(host, DEPLOYMENTS):
            folder = f"{DEPLOYMENTS}/{system}/deploy"
            for name in reading.names(host, folder):
                if re.fullmatch(rf"{checksum}\.\d{{1,4}}", name):
                    return f"{folder}/{name}"
    raise Unknown("a deployment is staged, and its folder cannot be told")


def _kernel_in(host: Host, root: str) -> KernelRelease:
    names = [name for name in reading.names(host, f"{root}/usr/lib/modules") if re.match(r"\d+\.\d+", name)]
    if len(names) != 1:
        raise Unknown(f"the deployment {_short(root)} has {len(names) or 'no'} kernels")
    return KernelRelease(names[0])


def _short(root: str) -> str:
    """A deployment's name as ostree abbreviates it."""
    return root.rpartition("/")[2][:10]
