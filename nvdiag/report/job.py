"""What a job's processes go by, for the JSON report: chosen devices, MPS, shared memory, the driver's PTX compiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nvdiag.facts.device_choice import DeviceChoice
from nvdiag.facts.driver_companions import PtxCompiler
from nvdiag.facts.mps import MpsDaemon
from nvdiag.facts.shared_memory import SharedMemory
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.report.shown import fact

Json = Any


def job(facts: Mapping[type[object], object]) -> dict[str, Json]:
    """The member `job` of `facts`; each of its members is what was read, or why nothing was."""
    return {
        "job": {
            "visible_devices": _or_why(
                fact(facts, DeviceChoice),
                lambda one: {
                    "value": one.value,
                    "named": one.named,
                    "ends_at": one.word or None,
                    "counted_by_cuda": one.sees,
                },
            ),
            "mps": _or_why(
                fact(facts, MpsDaemon),
                lambda one: {"folder": one.folder, "named": one.named, "answers": one.answers, "owner": one.owner},
            ),
            "shared_memory": _or_why(
                fact(facts, SharedMemory), lambda one: {"size_bytes": one.size, "used_bytes": one.used}
            ),
            "ptx_compiler": _or_why(
                fact(facts, PtxCompiler),
                lambda one: {
                    "path": one.choice.taken.path if one.choice.taken else None,
                    "release": one.choice.taken.release.text if one.choice.taken and one.choice.taken.release else None,
                },
            ),
        }
    }


def _or_why(value: Any, show: Callable[[Any], Json]) -> Json:
    if isinstance(value, Unknown):
        return {"not_applicable" if isinstance(value, NotApplicable) else "unknown": str(value)}
    return show(value)
