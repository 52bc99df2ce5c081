"""What a host has to give containers GPUs by, for the JSON report: engines, toolkit, CDI, driver container."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nvdiag.facts.cdi import CdiSpecification, CdiSpecifications
from nvdiag.facts.container_engines import ContainerEngines
from nvdiag.facts.container_toolkit import ContainerToolkit
from nvdiag.facts.driver_container import DriverContainer
from nvdiag.facts.engine_settings import Engine
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.report.shown import fact

Json = Any


def of_the_host(facts: Mapping[type[object], object]) -> dict[str, Json]:
    """The members of `container` that a host has; in a container each says why it does not apply."""
    return {
        "engines": _or_why(fact(facts, ContainerEngines), lambda one: [_engine(engine) for engine in one.engines]),
        "toolkit": _or_why(fact(facts, ContainerToolkit), _toolkit),
        "cdi": _or_why(fact(facts, CdiSpecifications), _cdi),
        "driver_container": _or_why(fact(facts, DriverContainer), _driver_container),
    }


def _or_why(value: Any, show: Callable[[Any], Json]) -> Json:
    if isinstance(value, Unknown):
        return {"not_applicable" if isinstance(value, NotApplicable) else "unknown": str(value)}
    return show(value)


def _engine(engine: Engine) -> dict[str, Json]:
    return {
        "name": engine.name,
        "config": engine.config,
        "runtimes": dict(engine.runtimes),
        "missing_runtimes": list(engine.gone),
        "default_runtime": engine.default or None,
        "cdi": engine.cdi,
        "cgroup_driver": engine.cgroup or None,
        "hooks": list(engine.hooks),
        "trouble": engine.malformed or engine.unread or None,
    }


def _toolkit(toolkit: ContainerToolkit) -> dict[str, Json]:
    return {
        "version": toolkit.version.text if toolkit.version else None,
        "programs": dict(toolkit.programs),
        "mode": toolkit.mode or None,
        "no_cgroups": toolkit.no_cgroups,
        "ldconfig": toolkit.ldconfig or None,
        "root": toolkit.root or None,
        "trouble": toolkit.malformed or None,
    }


def _cdi(specifications: CdiSpecifications) -> dict[str, Json]:
    return {
        "specifications": [_specification(one) for one in specifications.found],
        "conflicts": [
            {"device": device, "files": [first, second]} for device, first, second in specifications.conflicts
        ],
        "not_read": list(specifications.unread),
    }


def _specification(one: CdiSpecification) -> dict[str, Json]:
    document = one.document
    return {
        "path": one.path,
        "version": document.version if document else None,
        "kind": document.kind if document else None,
        "devices": list(document.devices) if document else [],
        "in_use": one.in_use,
        "releases": [release.text for release in one.releases],
        "missing_files": [*one.gone, *one.lost_hooks],
        "trouble": one.malformed or None,
    }


def _driver_container(container: DriverContainer) -> dict[str, Json]:
    return {
        "release": container.release.text if container.release else None,
        "validations": list(container.validations),
    }
