"""Wording that findings and reports share."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from nvdiag.model.text import as_json, listed

LEAVES = some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text()
VALUES = some.recursive(LEAVES, lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner))


@pytest.mark.parametrize(
    ("words", "told"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_words_are_listed_as_one_writes_them(words: list[str], told: str) -> None:
    assert listed(words) == told


@given(VALUES)
def test_json_says_the_value_and_nothing_but_ascii(value: Any) -> None:
    text = as_json(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert text.endswith("\n")
    assert "##[" not in text


def test_json_has_a_line_for_what_holds_nothing_further() -> None:
    value = {"name": "a", "rows": [{"name": "b", "size": 1}, {"name": "c", "size": 2}], "none": [], "deep": {"d": [1]}}
    assert as_json(value).splitlines() == [
        "{",
        ' "name": "a",',
        ' "rows": [',
        '  {"name": "b", "size": 1},',
        '  {"name": "c", "size": 2}',
        " ],",
        ' "none": [],',
        ' "deep": {',
        '  "d": [1]',
        " }",
        "}",
    ]
