"""Machines of which nothing is known but what a text says."""

from __future__ import annotations

from nvdiag.host.paste import PasteHost, hosts_of
from nvdiag.host.snapshot import SnapshotHost


def saying(*texts: str) -> SnapshotHost:
    """A recording that holds these messages and nothing else."""
    return SnapshotHost({"nvdiag_snapshot": 1, "captured_at": "", "messages": list(texts)}, "a text")


def pasted(text: str) -> PasteHost:
    """The first machine of a pasted text; its other parts go with it."""
    return hosts_of(text.encode(), "a text")[0]
