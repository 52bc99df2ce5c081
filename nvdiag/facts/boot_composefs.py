"""Which deployment of an image without ostree boots next: bootc's composefs backend, whose root is a read-only image.

Its entries have the option composefs=DIGEST; `sort-key` bootc-OS-0 is the one that boots, -1 the one before (bootc,
bootc_composefs/boot.rs). What another image holds cannot be read without mounting it, so only of the one that runs is
it known what it loads.
"""

from __future__ import annotations

from nvdiag.facts import reading
from nvdiag.facts.boot_entries import BootEntry, entries_in
from nvdiag.facts.boot_grub import ENTRIES, Booting
from nvdiag.host import Host
from nvdiag.model.regex import regex
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import KernelRelease

STAGED = "/run/composefs/staged-deployment"
COMMAND_LINE = "/proc/cmdline"
_DIGEST = regex(r"(?:^|\s)composefs=\??([0-9a-f]{64,128})(?=\s|$)")
_TELLS = "`sudo bootc status` shows it"


def next_by_composefs(host: Host) -> Booting:
    """The deployment that boots next, where that is the one that runs. Unknown."""
    if reading.is_there(host, STAGED):
        raise Unknown(f"an image is staged for the next boot, and its modules cannot be read from here: {_TELLS}")
    running = _digest(" ".join(host.lines_with("composefs=", COMMAND_LINE)))
    try:
        entries = [one for one in entries_in(host, ENTRIES) if _digest(one.options)]
    except Unknown as why:
        raise Unknown(f"which image boots next stands in {why}") from why
    if not entries:
        raise Unknown(f"{ENTRIES} has no entry of an image, as with unified kernel images: {_TELLS}")
    first = min(entries, key=_order)
    if _digest(first.options) != running:
        raise Unknown(f"another image than the one that runs boots next, and its modules cannot be read: {_TELLS}")
    release = KernelRelease(host.read("/proc/sys/kernel/osrelease").strip())
    return Booting(release, "the image that runs boots again", first)


def _digest(options: str) -> str:
    found = _DIGEST.search(options)
    return found[1] if found else ""


def _order(entry: BootEntry) -> tuple[bool, str]:
    return (not entry.sort_key, entry.sort_key)
