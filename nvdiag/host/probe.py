"""A probe's child as its parent sees it: started before there is any thread, waited for within a deadline."""

from __future__ import annotations

import os
import time

from nvdiag.host import children
from nvdiag.host.base import Json
from nvdiag.probes.memory import last_words, memory_file
from nvdiag.probes.starter import Starter


class Probing(children.Started):
    """A probe's child, forked before this process has any thread, and its answer once it is asked for."""

    def __init__(self, name: str, starter: Starter | None = None) -> None:
        self._answer: dict[str, Json] | None = None
        self._name = name
        self._since = time.monotonic()
        asked = starter.start(name) if starter is not None else None
        super().__init__(starter, asked[0] if asked is not None else None)
        if asked is not None:
            self._memory = asked[1]
        else:
            self.begin()

    def begin(self) -> None:
        from nvdiag.probes import child

        self._memory = memory_file("probe")
        self.pid = child.start(self._name, self._memory)

    def answer(self, until: float) -> dict[str, Json]:
        """The probe's document; with `error` where the child hung, crashed or failed. Waits until `until`."""
        if self._answer is None:
            self._answer = self._reading(self.ended(until))
            os.close(self._memory)
        return self._answer

    def _reading(self, outcome: children.Ended | children.Overdue) -> dict[str, Json]:
        document, stage, spoke = last_words(children.last_written(self._memory))
        waited = time.monotonic() - self._since
        if isinstance(outcome, children.Overdue):
            return {
                **document,
                "error": "hung",
                "stage": stage,
                "state": outcome.state,
                "left_behind": outcome.survived_kill,
                "silent_seconds": round(max(0.0, waited - spoke), 1),
            }
        if outcome.code < 0:
            return {**document, "error": "crashed", "stage": stage, "signal": signal_name(-outcome.code)}
        if outcome.code > 0:
            return {**document, "error": "failed", "stage": stage, "exit": outcome.code}
        return document


def signal_name(number: int) -> str:
    """SIGSEGV for 11; "signal 99" for a number that has no name."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
