"""What one GPU did when it was tried: read from the document of its probe, `nvdiag.probes.smoke`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from nvdiag.facts.pci import normal_address
from nvdiag.facts.probing import ProbeTrouble, probe_trouble
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown

_OF_A_FAILED_GPU = frozenset({3, 101, 214, 220, 226, 304, 999})
"""CUresults of a GPU that is lost or faulty: not initialised, invalid device, uncorrectable ECC or NVLink, contained,
operating system, unknown (cuda.h). From 700 to 720 are those of a kernel that was ended."""


class Outcome(Enum):
    """What became of a trial."""

    PASSED = "passed"
    FAILED = "failed"
    WRONG = "wrong result"
    HUNG = "hung"
    CRASHED = "crashed"
    UNKNOWN = "cannot tell"


class Step(NamedTuple):
    """A call of libcuda's, what it answered (a CUresult), its name where that is not 0, and how long it took."""

    call: str
    result: int
    name: str | None
    seconds: float


class Wrong(NamedTuple):
    """How many of the words that came back are not right, and the first of those."""

    words: int
    compared: int
    word: int
    wanted: int
    got: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One GPU's. `address` is its PCI address, `compute_mode` CUDA's number for it, both None where CUDA did not say.

    `jit_log` has the words of the driver's compiler where that fails; `why` is the reason where nothing can be told.
    """

    ordinal: int
    outcome: Outcome
    name: str | None = None
    address: str | None = None
    compute_mode: int | None = None
    steps: tuple[Step, ...] = ()
    wrong: Wrong | None = None
    jit_log: str = ""
    trouble: ProbeTrouble | None = None
    why: str = ""

    @property
    def gpu(self) -> str:
        """The GPU in a sentence."""
        return f"the GPU at {self.address}" if self.address else f"CUDA's device {self.ordinal}"

    @property
    def suspect(self) -> bool:
        """Whether it did what a GPU does that has failed, and not what any does that is full or another's."""
        if self.outcome is Outcome.FAILED:
            return self.steps[-1].result in _OF_A_FAILED_GPU or 700 <= self.steps[-1].result < 721
        return self.outcome in (Outcome.WRONG, Outcome.HUNG, Outcome.CRASHED)

    @property
    def seconds(self) -> float:
        """How long the calls took."""
        return round(sum(step.seconds for step in self.steps), 3)


def trial(host: Host, probe: str, ordinal: int) -> Trial:
    """The answer of a GPU's probe, waited for here."""
    try:
        return parse_trial(host.probe(probe), probe, ordinal)
    except Unknown as why:
        return Trial(ordinal=ordinal, outcome=Outcome.UNKNOWN, why=str(why))


def parse_trial(document: Mapping[str, Any], probe: str, ordinal: int) -> Trial:
    """The trial in a probe's document; fields of another type than expected count as not answered."""
    steps = tuple(_steps(document.get("steps")))
    trouble = probe_trouble(probe, document) if isinstance(document.get("error"), str) else None
    wrong = _wrong(document)
    name, address, mode = (document.get(key) for key in ("name", "address", "compute_mode"))
    outcome, why = _outcome(document, steps, wrong, trouble)
    return Trial(
        ordinal=ordinal,
        outcome=outcome,
        name=name if isinstance(name, str) else None,
        address=normal_address(address) if isinstance(address, str) else None,
        compute_mode=mode if isinstance(mode, int) else None,
        steps=steps,
        wrong=wrong,
        jit_log=str(document.get("jit_log") or ""),
        trouble=trouble,
        why=why,
    )


def _outcome(
    document: Mapping[str, Any], steps: tuple[Step, ...], wrong: Wrong | None, trouble: ProbeTrouble | None
) -> tuple[Outcome, str]:
    if trouble is not None:
        known = {"hung": Outcome.HUNG, "crashed": Outcome.CRASHED}
        return known.get(trouble.error, Outcome.UNKNOWN), f"its probe {trouble.error} in {trouble.stage}"
    if wrong is not None:
        return Outcome.WRONG, ""
    if steps and steps[-1].result != 0:
        return Outcome.FAILED, ""
    compared = document.get("compared")
    if document.get("wrong") == 0 and isinstance(compared, int) and compared > 0:
        return Outcome.PASSED, ""
    return Outcome.UNKNOWN, str(document.get("dlopen_error") or "its probe's answer says nothing")


def _steps(told: object) -> list[Step]:
    rows = [row for row in told if isinstance(row, dict)] if isinstance(told, list) else []
    found = []
    for row in rows:
        call, result, name, seconds = (row.get(key) for key in Step._fields)
        if isinstance(call, str) and isinstance(result, int):
            took = float(seconds) if isinstance(seconds, (int, float)) and 0 <= seconds < 1e9 else 0.0
            found.append(Step(call, result, name if isinstance(name, str) else None, took))
    return found


def _wrong(document: Mapping[str, Any]) -> Wrong | None:
    words, compared, first = (document.get(key) for key in ("wrong", "compared", "first_wrong"))
    if not isinstance(words, int) or not isinstance(compared, int) or not isinstance(first, dict) or words < 1:
        return None
    word, wanted, got = (first.get(key) for key in ("word", "wanted", "got"))
    if not (isinstance(word, int) and isinstance(wanted, int) and isinstance(got, int)):
        return None
    return Wrong(words, compared, word, wanted, got)
