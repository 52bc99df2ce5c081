"""The container around nvdiag, for the JSON report: its engine, and what only its host can tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.report.container_host import of_the_host
from nvdiag.report.shown import fact

Json = Any


def container(facts: Mapping[type[object], object]) -> dict[str, Json]:
    """The member `container` of the report's facts."""
    around = fact(facts, Surroundings)
    if isinstance(around, Unknown):
        return {"not_applicable" if isinstance(around, NotApplicable) else "unknown": str(around)}
    return {
        "engine": around.container,
        "described": around.described or None,
        "host": _host(around),
        **of_the_host(facts),
    }


def _host(around: Surroundings) -> Json:
    """What only the system outside can tell, and the command to run there; None where this is the host itself."""
    if not around.host:
        return None
    if around.host == "Windows":
        return {"who": "Windows", "tells": ["whether its driver works", "its driver's release"], "run": ["nvidia-smi"]}
    return {
        "who": around.host,
        "tells": [
            "which kernel module is installed and boots next",
            "what the kernel's log says of the driver",
            "which programs of other containers use the GPUs",
            "how the engine is set up for GPUs",
        ],
        "run": ["nvdiag"],
    }
