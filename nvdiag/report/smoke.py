"""The smoke test in reports: a line for each GPU, and all of it for the JSON report."""

from __future__ import annotations

from typing import Any

from nvdiag.facts.smoke import Smoke
from nvdiag.facts.smoke_trials import Outcome, Trial

Json = Any


def data(smoke: Smoke) -> Json:
    """Each GPU's trial, in CUDA's order."""
    return {"mps": smoke.mps, "gpus": [_gpu(trial) for trial in smoke.trials]}


def line(trial: Trial) -> str:
    """One GPU's trial in a line."""
    stage = trial.trouble.stage if trial.trouble else trial.steps[-1].call if trial.steps else "its start"
    said = {
        Outcome.PASSED: f"ran a kernel in {trial.seconds:.2f} s",
        Outcome.WRONG: "ran a kernel with a wrong result",
        Outcome.UNKNOWN: "cannot be told of",
    }.get(trial.outcome, f"{trial.outcome.value} in {stage}")
    return f"smoke test: {trial.gpu} {said}"


def _gpu(trial: Trial) -> dict[str, Json]:
    wrong, trouble = trial.wrong, trial.trouble
    return {
        "ordinal": trial.ordinal,
        "address": trial.address,
        "name": trial.name,
        "compute_mode": trial.compute_mode,
        "result": trial.outcome.value,
        "why": trial.why,
        "seconds": trial.seconds,
        "steps": [
            {"call": step.call, "result": step.result, "name": step.name, "seconds": step.seconds}
            for step in trial.steps
        ],
        "stage": trouble.stage if trouble else None,
        "signal": trouble.signal if trouble and trouble.signal else None,
        "jit_log": trial.jit_log,
        "wrong": wrong._asdict() if wrong else None,
    }
