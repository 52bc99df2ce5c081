"""A probe's child as its parent sees it: started before there is any thread, waited for within a deadline."""

from __future__ import annotations

import os
import time

from nvdiag.host import children
from nvdiag.host.base import Json


class Probing:
    """A probe's child, forked before this process has any thread, and its answer once it is asked for."""

    def __init__(self, name: str) -> None:
        from nvdiag.probes import child

        self._answer: dict[str, Json] | None = None
        self._memory = children.memory_file("probe")
        self._started = time.monotonic()
        self.pid = child.start(name, self._memory)

    def answer(self, until: float) -> dict[str, Json]:
        """The probe's document; with `error` where the child hung, crashed or failed. Waits until `until`."""
        if self._answer is None:
            outcome = children.wait(self.pid, until)
            self._answer = self._reading(outcome)
            os.close(self._memory)
        return self._answer

    def _reading(self, outcome: children.Ended | children.Overdue) -> dict[str, Json]:
        from nvdiag.probes import child

        document, stage, spoke = child.last_words(children.last_written(self._memory))
        waited = time.monotonic() - self._started
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
            return {**document, "error": "crashed", "stage": stage, "signal": child.signal_name(-outcome.code)}
        if outcome.code > 0:
            return {**document, "error": "failed", "stage": stage, "exit": outcome.code}
        return document
