"""The Xids of a kernel log as data, lines that repeat counted."""

from __future__ import annotations

from collections.abc import Sequence

from nvdiag.facts.kernel_log import LoggedXid


def logged_xids(logged: Sequence[LoggedXid]) -> list[dict[str, object]]:
    """One entry for each number of each process on each GPU in each text, in the order of their first lines."""
    groups: dict[tuple[object, ...], list[LoggedXid]] = {}
    for one in logged:
        xid = one.xid
        key = (xid.number, xid.address, xid.where, xid.pid, xid.name, one.line.source)
        groups.setdefault(key, []).append(one)
    times = {
        key: [one.line.since_boot for one in group if one.line.since_boot is not None] for key, group in groups.items()
    }
    return [
        {
            "number": group[0].xid.number,
            "address": group[0].xid.address,
            "where": group[0].xid.where,
            "pid": group[0].xid.pid,
            "name": group[0].xid.name,
            "source": group[0].line.source,
            "count": len(group),
            "first_since_boot": times[key][0] if times[key] else None,
            "last_since_boot": times[key][-1] if times[key] else None,
        }
        for key, group in groups.items()
    ]
