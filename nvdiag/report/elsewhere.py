"""Systems whose driver is somebody else's, for the JSON report: what was read of WSL's setup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvdiag.facts.wsl import WslSetup
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.report.shown import fact

Json = Any


def elsewhere(facts: Mapping[type[object], object]) -> dict[str, Json]:
    """The members of `system` that tell of such a system."""
    wsl = fact(facts, WslSetup)
    return {"wsl": _why(wsl) if isinstance(wsl, Unknown) else _wsl(wsl)}


def _why(unknown: Unknown) -> dict[str, Json]:
    return {"not_applicable" if isinstance(unknown, NotApplicable) else "unknown": str(unknown)}


def _wsl(setup: WslSetup) -> dict[str, Json]:
    return {
        "generation": setup.generation,
        "device": None if isinstance(setup.dxg, Unknown) else setup.dxg,
        "libraries": list(setup.libraries) if isinstance(setup.libraries, tuple) else None,
        "adapters": setup.adapters,
        "driver_store": None if setup.stored is None else list(setup.stored),
        "settings": dict(setup.settings),
    }
