"""The few lines of a long text that are wanted, without a look at all the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import AnyStr


def lines_holding(wanted: AnyStr, text: AnyStr, newline: AnyStr) -> Iterator[tuple[int, AnyStr]]:
    """Each line in which `wanted` stands, without its end, and where in the text it begins; each once, in order."""
    position = text.find(wanted)
    while position >= 0:
        start, end = text.rfind(newline, 0, position) + 1, text.find(newline, position)
        if end < 0:
            end = len(text)
        yield start, text[start:end]
        position = text.find(wanted, end)
