"""A search through a long text finds what one line after the other would, however much it passes over."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvdiag.facts.searched import SearchedText
from nvdiag.knowledge.messages import messages

LITERALS = sorted({row.literals for row in messages()})
WORDS = sorted({literal for literals in LITERALS for literal in literals})


def _line_by_line(text: str, literals: tuple[str, ...]) -> list[int]:
    lines = text.lower().split("\n")
    return [index for index, line in enumerate(lines) if any(literal in line for literal in literals)]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.sampled_from([*WORDS, "\n", " ", "2", "36", "x", "É", "İ", "\ud800"]), max_size=40).map("".join),
    st.sampled_from(LITERALS),
    st.sampled_from(WORDS),
)
def test_the_lines_that_hold_a_literal_are_found(text: str, literals: tuple[str, ...], one: str) -> None:
    text = f"{text}{one.upper()}\n{one[1:]}\n{one[:-1]}"
    searched = SearchedText(text)
    for wanted in (literals, (one,)):
        assert searched.lines_with(wanted) == _line_by_line(text, wanted)


@pytest.mark.parametrize("others", [3, 60_000])
def test_a_number_is_found_among_many_like_it(others: int) -> None:
    text = "36 1360 x36\n" * others + "error: 36\n"
    assert SearchedText(text).lines_with((": 36",)) == [others]


def test_the_first_lines_are_looked_at_where_a_literal_is_everywhere() -> None:
    assert SearchedText("step 1\n" * 5000).lines_with(("step ",)) == [*range(2000)]
