"""Starting the children that a check waits for before anything else is imported.

A plain `nvdiag check` waits for NVML, whose child takes about as long as importing click and the checks. So the child
is started first, and the parent imports while it works; likewise the children that are wanted where the module and the
libraries do not fit. A command line that turns out to be wrong costs nothing: the children only look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nvdiag.engine import Facts
    from nvdiag.probes.starter import Starter

_NOT_YET = ("--from", "--env-of", "--help", "-h", "--version")
"""Options with which no probe of this process, as it is, is wanted."""

_started: list[Facts] = []


def begin(arguments: Sequence[str]) -> None:
    """Start the probes where these arguments of `nvdiag` ask for a check of this machine."""
    if arguments[0] == "check" and not any(word.startswith(_NOT_YET) for word in arguments):
        from nvdiag.probes.starter import Starter

        try:
            starter = Starter()
        except OSError:  # as many processes as there may be: what still can be forked is forked where it is wanted
            starter = None
        _started.append(_live_facts(None, starter))


def live_facts(deadline: float | None) -> Facts:
    """The facts of this machine with its children under way: the ones that `begin` started, or new ones.

    Here begins what options have a say in: which Python environment is looked at.
    """
    from nvdiag.facts.toolkits import ToolkitSearch
    from nvdiag.host import Host

    facts = _started.pop() if _started else _live_facts(deadline)
    if deadline is not None:
        facts[Host].limit(deadline)
    facts[ToolkitSearch]
    return facts


def _live_facts(deadline: float | None, starter: Starter | None = None) -> Facts:
    from nvdiag.engine import Facts
    from nvdiag.facts.probing import Probes
    from nvdiag.facts.search_path import LDCONFIG
    from nvdiag.host import Host
    from nvdiag.host.live import LiveHost

    machine = LiveHost(deadline, starter)
    machine.start_command(*LDCONFIG)
    facts = Facts({Host: machine})
    facts[Probes]
    from nvdiag.facts.holders import HolderSearch
    from nvdiag.facts.packages import PackageSearch

    for kind in (PackageSearch, HolderSearch):
        facts[kind]
    return facts
