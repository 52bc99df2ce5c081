"""Systems whose driver is somebody else's, for the JSON report: what was read of WSL, of vGPU and of a Jetson."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvdiag.facts.jetson import JetsonStack
from nvdiag.facts.vgpu import VirtualGpus
from nvdiag.facts.wsl import WslSetup
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.report.shown import fact

Json = Any


def elsewhere(facts: Mapping[type[object], object]) -> dict[str, Json]:
    """The members of `system` that tell of such a system."""
    wsl, virtual, jetson = fact(facts, WslSetup), fact(facts, VirtualGpus), fact(facts, JetsonStack)
    return {
        "wsl": _why(wsl) if isinstance(wsl, Unknown) else _wsl(wsl),
        "vgpu": _why(virtual) if isinstance(virtual, Unknown) else _vgpu(virtual),
        "jetson": _why(jetson) if isinstance(jetson, Unknown) else _jetson(jetson),
    }


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


def _vgpu(virtual: VirtualGpus) -> dict[str, Json]:
    return {
        "guests": list(virtual.guests),
        "passed_through": virtual.passed_through,
        "hosting": virtual.hosting,
        "guest_driver": virtual.gridd,
        "licensed": virtual.licensed,
        "product": virtual.product,
        "guest_releases": [release.text for release in virtual.drivers],
        "evidence": [{"source": one.source, "excerpt": one.excerpt} for one in virtual.evidence],
    }


def _jetson(stack: JetsonStack) -> dict[str, Json]:
    return {
        "l4t": stack.release.text if stack.release else None,
        "model": stack.model,
        "packages": {name: release.text for name, release in stack.parts},
        "kernel": stack.kernel,
        "desktop_packages": list(stack.desktop),
        "library_folders": list(stack.folders),
        "nvmap": stack.nvmap,
    }
