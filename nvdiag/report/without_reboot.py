"""What can be done about a mismatch without a reboot, for the JSON report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvdiag.facts.holders import ModuleHolders
from nvdiag.facts.update_guards import UpdateGuards
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.report.shown import fact

Json = Any


def without_reboot(facts: Mapping[type[object], object]) -> dict[str, Json]:
    """The members of `driver` that say what holds its modules, and what keeps its packages."""
    holders, guards = fact(facts, ModuleHolders), fact(facts, UpdateGuards)
    return {
        "holders": _why(holders) if isinstance(holders, Unknown) else _holders(holders),
        "updates": _why(guards) if isinstance(guards, Unknown) else _guards(guards),
    }


def _why(unknown: Unknown) -> dict[str, Json]:
    return {"not_applicable" if isinstance(unknown, NotApplicable) else "unknown": str(unknown)}


def _holders(holders: ModuleHolders) -> dict[str, Json]:
    return {
        "processes": [
            {
                "pid": one.pid,
                "name": one.name,
                "user": one.user,
                "state": one.state,
                "stuck": one.stuck,
                "seen": one.seen,
                "home": one.place.home.value,
                "place": one.place.name,
                "nodes": list(one.nodes),
                "old_libraries": list(one.old_libraries),
            }
            for one in holders.processes
        ],
        "not_seen": holders.refused,
        "why_not_seen": holders.why_blind,
        "services": list(holders.services),
        "unload_order": list(holders.modules),
        "users_beyond_modules": dict(holders.counts),
        "console": holders.console.framebuffer if holders.console else None,
    }


def _guards(guards: UpdateGuards) -> dict[str, Json]:
    return {
        "kept": dict(guards.kept),
        "loose": list(guards.loose),
        "kernels": list(guards.kernels),
        "automatic": None
        if guards.automatic is None
        else {"source": guards.automatic.source, "excerpt": guards.automatic.excerpt},
    }
