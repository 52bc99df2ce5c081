"""Running nvdiag itself in a rig, as a person would, and reading its JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from tests.rigs import rig

PROJECT = Path(__file__).resolve().parents[2]


def check(machine: rig.Machine, *options: str, trace: bool = False) -> tuple[dict[str, Any], rig.Result]:
    """The JSON report of `nvdiag check` on a machine, and what the process left behind."""
    dressed = dataclasses.replace(machine, env={"PYTHONPATH": str(PROJECT), **machine.env})
    argv = [sys.executable, "-m", "nvdiag", "check", "--format", "json", *options]
    result = rig.run(dressed, *argv, trace=trace)
    assert "Traceback" not in result.stderr, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    return report, result


def found(report: dict[str, Any]) -> list[str]:
    """The ids of a report's errors, in its order."""
    return [finding["id"] for finding in report["findings"] if finding["severity"] == "error"]
