"""Running all checks on a scenario, and saying briefly what they found."""

from __future__ import annotations

from nvdiag.cli import running
from nvdiag.host import Host
from nvdiag.model.diagnosis import Diagnosis
from nvdiag.model.finding import Finding
from tests.scenarios.tree import Tree


def diagnosed(machine: Tree | Host) -> Diagnosis:
    """All built-in checks on a machine."""
    host = machine.host() if isinstance(machine, Tree) else machine
    return running.diagnosed(running.begun(host), running.chosen((), ()))


def ids(machine: Tree | Host) -> list[str]:
    """The ids found, in the report's order."""
    return [ranked.finding.id for ranked in diagnosed(machine).findings]


def first(machine: Tree | Host) -> Finding:
    """The finding that stands first."""
    return diagnosed(machine).findings[0].finding
