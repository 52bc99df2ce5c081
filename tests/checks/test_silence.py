"""What a recording does not say is no fault: no missing entry makes a healthy machine a broken one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nvdiag.host import Host
from nvdiag.host.snapshot import SnapshotHost
from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed
from tests.checks.test_healthy import HEALTHY
from tests.scenarios import containers_host
from tests.scenarios.reboots import SCENARIOS as REBOOTS
from tests.test_snapshot_is_whole import recorded

WELL: dict[str, Callable[[], Host]] = {
    **{name: machine.host for name, machine in HEALTHY.items()},
    "a node of the GPU Operator": lambda: containers_host.gpu_operator_node().host(),
    "ostree": REBOOTS["ostree-well"].tree.host,
}


def claimed(host: Host) -> set[str]:
    """What is claimed with confidence."""
    found = (ranked.finding for ranked in diagnosed(host).findings)
    return {one.key for one in found if one.severity is not Severity.INFO and one.confidence is not Confidence.POSSIBLE}


def silenced(document: dict[str, Any], every: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The document without one of its entries, for each `every`th of them."""
    entries = [(section, key) for section, said in document.items() if isinstance(said, dict) for key in said]
    for section, key in entries[::every]:
        yield (
            f"{section} {key}",
            {**document, section: {one: document[section][one] for one in document[section] if one != key}},
        )


@pytest.mark.parametrize("every", [97, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("machine", WELL.values(), ids=WELL)
def test_a_missing_entry_makes_no_claim(machine: Callable[[], Host], every: int) -> None:
    document = recorded(machine())
    for entry, rest in silenced(document, every):
        assert claimed(SnapshotHost(rest, "input")) == set(), entry


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("docker", ("files", "/sys/module/nvidia_uvm/version")),
        ("a node of the GPU Operator", ("stats", "/run/nvidia/driver/usr")),
        (
            "ostree",
            ("links", f"/ostree/deploy/fedora/deploy/{'b' * 64}.0/usr/lib64/libnvidia-ml.so.1"),
        ),
    ],
)
def test_the_entries_that_once_made_one(name: str, entry: tuple[str, str]) -> None:
    document = recorded(WELL[name]())
    section, key = entry
    del document[section][key]
    assert claimed(SnapshotHost(document, "input")) == set()
