"""What all tests share: no test reaches the real machine unless it says so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache

import pytest

from nvdiag.knowledge.pages import page
from nvdiag.model.finding import Finding, FindingClass

HOW_SEEN_DECIDES = {
    "device-nodes-forbidden": {"configuration", "environment"},  # the nodes' mode, or this container's cgroup
    "gpu-init-failed": {"configuration", "environment", "hardware"},
    "libcuda-stub-loaded": {"configuration", "environment"},  # for every program, or for one that was linked with it
    "probe-hung": {"configuration", "hardware"},  # slow, or stuck in the kernel
    "requirement-not-met": {"configuration", "hardware", "application", "environment"},  # of what was required
    "requirement-unknown": {"configuration", "environment"},
    "xid-reported": {"configuration", "hardware", "application"},  # by NVIDIA's table of Xids
}
"""The findings whose class is not always that of their page."""


@pytest.fixture(autouse=True, scope="session")
def _each_finding_is_of_its_pages_class() -> Iterator[None]:
    """Whatever finding nvdiag makes in whatever test: a mismatch that is told as hardware sends a machine to repair."""
    made = Finding.__post_init__
    wrong: set[str] = set()

    def look(self: Finding) -> None:
        made(self)
        if sys._getframe(2).f_globals["__name__"].startswith("nvdiag.") and self.kind.value not in _classes(self.id):
            wrong.add(f"{self.id} is {self.kind.value}: {self.title}")  # to raise here would be a check that failed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Finding, "__post_init__", look)
        yield
    assert not wrong


@cache
def _classes(identifier: str) -> set[str]:
    """What a finding may be told as; one of a plug-in, which has no page, as anything."""
    one = page(identifier)
    return HOW_SEEN_DECIDES.get(identifier) or ({one.kind.value} if one else {kind.value for kind in FindingClass})


@pytest.fixture(autouse=True)
def _no_live_host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """LiveHost raises, but in tests marked `live`: a test that looks at this machine proves nothing elsewhere."""
    if request.node.get_closest_marker("live"):
        return
    from nvdiag.host.live import LiveHost

    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("this test reached the real machine; mark it `live` if it means to")

    monkeypatch.setattr(LiveHost, "__init__", refuse)
