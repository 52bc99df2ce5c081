"""What all tests share: no test reaches the real machine unless it says so."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_live_host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """LiveHost raises, but in tests marked `live`: a test that looks at this machine proves nothing elsewhere."""
    if request.node.get_closest_marker("live"):
        return
    from nvdiag.host.live import LiveHost

    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("this test reached the real machine; mark it `live` if it means to")

    monkeypatch.setattr(LiveHost, "__init__", refuse)
