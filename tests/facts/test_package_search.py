"""The package manager's list is begun early where the driver is in pieces, and nowhere else."""

from __future__ import annotations

import pytest

from nvdiag.engine import Facts
from nvdiag.facts.packages import DPKG, RPM, PackageSearch
from nvdiag.host import Host
from nvdiag.host.record import RecordingHost
from tests.scenarios import machines
from tests.scenarios.tree import Tree, TreeHost

OLD, NEW = "570.169", "570.172.08"


class Starting(TreeHost):
    """A scenario that keeps what is started on it."""

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        self.started: list[tuple[str, ...]] = []

    def start_command(self, *argv: str) -> None:
        self.started.append(argv)


@pytest.mark.parametrize(
    ("tree", "started"),
    [
        (machines.ubuntu_dkms(OLD, NEW, NEW), [DPKG]),
        (machines.ubuntu_dkms(None), [DPKG]),
        (machines.ubuntu_dkms(NEW, NEW, None), [DPKG]),
        (machines.rpm_machine("rocky", OLD, NEW, NEW), [RPM]),
        (machines.ubuntu_dkms(NEW, NEW, NEW), []),
    ],
)
def test_it_is_begun_where_module_and_libraries_do_not_fit(tree: Tree, started: list[tuple[str, ...]]) -> None:
    host = Starting(tree)
    Facts({Host: RecordingHost(host)})[PackageSearch]
    assert host.started == started
    assert not [question for question in host.asked if "dpkg" in question or "rpm" in question]
