"""The lines of a text that hold something are found as looking at every line would find them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from nvdiag.model.lines import lines_holding


@given(some.text("ab\n", max_size=60), some.text("ab", min_size=1, max_size=3))
def test_lines_are_found_once_and_in_order(text: str, wanted: str) -> None:
    lines = text.split("\n")
    starts = [sum(len(line) + 1 for line in lines[:index]) for index in range(len(lines))]
    expected = [(start, line) for start, line in zip(starts, lines, strict=True) if wanted in line]
    assert list(lines_holding(wanted, text, "\n")) == expected
    found = lines_holding(wanted.encode(), text.encode(), b"\n")
    assert [(start, line.decode()) for start, line in found] == expected
