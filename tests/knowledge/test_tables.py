"""A table is read as TOML from a checkout, and as the JSON that is built of it from what is installed."""

from __future__ import annotations

import json

import pytest

from nvdiag.knowledge import _tables
from nvdiag.knowledge.jetson import lines_of


def test_a_built_table_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    written = _tables.data("nvdiag.knowledge", "jetson.toml")
    expected = [*lines_of(_tables.Table("jetson.toml", written, ("line",)))]
    built = {"jetson.json": json.dumps(_tables.parse(written))}
    monkeypatch.setattr(_tables, "data", lambda package, path: built[path])
    assert [*lines_of(_tables.read("jetson.toml", "line"))] == expected


def test_a_built_table_that_is_damaged_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tables, "data", lambda package, path: '{"line": [')
    with pytest.raises(_tables.MalformedTable, match=r"jetson\.toml"):
        _tables.read("jetson.toml", "line")
