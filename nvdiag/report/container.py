"""The container around nvdiag, for the JSON report: its engine, and what only its host can tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvdiag.facts.container_view import ContainerLibraries, ContainerStart
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
        "start": _start(fact(facts, ContainerStart)),
        "libraries": _libraries(fact(facts, ContainerLibraries)),
    }


def _start(start: ContainerStart | Unknown) -> Json:
    """What the container was started with; None where this is none."""
    if isinstance(start, Unknown):
        return None
    return {
        "visible_devices": start.visible,
        "driver_capabilities": None if start.capabilities is None else list(start.capabilities),
        "requires": dict(start.requires),
        "requirements_checked": start.required,
        "user_namespace": start.maps_users,
        "shared_memory_bytes": start.shared_memory,
    }


def _libraries(origins: ContainerLibraries | Unknown) -> Json:
    """Where each driver library that a program gets comes from; None where this is no container."""
    if isinstance(origins, Unknown):
        return None
    return {
        "libnvidia-ml": origins.nvml.value if origins.nvml else None,
        "libcuda": origins.libcuda.value if origins.libcuda else None,
        "mounted": [{"file": one.point, "from": one.root} for one in origins.injected],
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
