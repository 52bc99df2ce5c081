"""A long text in which many short literals are looked for: most are known not to be there without a search."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, islice

from nvdiag.facts.log_lines import LogLine, bare
from nvdiag.model.regex import regex

_MOST_LOOKED_AT = 2000
_MOST_PLACES = 50_000
_CHUNK = 1 << 20
_NUMBER = regex(r"\d{2,9}$")


class SearchedText:
    """A text and its lines, made ready for many searches."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self._small = text.lower()
        self._starts = list(accumulate((len(line) + 1 for line in self._small.split("\n")), initial=0))
        self._words = _Words(self._small)
        self._bare: dict[int, LogLine] = {}
        self._with: dict[tuple[str, ...], list[int]] = {}
        self._at: dict[str, list[int] | None] = {}

    def bare(self, index: int) -> LogLine:
        """A line without its logger's prefixes."""
        if index not in self._bare:
            self._bare[index] = bare(self.lines[index])
        return self._bare[index]

    def lines_with(self, literals: tuple[str, ...]) -> list[int]:
        """The numbers of the lines in which one of these stands, each once, in order, the first 2000."""
        if literals not in self._with:
            self._with[literals] = self._search(literals)
        return self._with[literals]

    def _search(self, literals: Sequence[str]) -> list[int]:
        kept: set[int] = set()
        for literal in literals:
            if not self._words.may_hold(literal):
                continue
            for index in self._lines_with_one(literal):
                if len(kept) >= _MOST_LOOKED_AT:
                    break
                kept.add(index)
        return sorted(kept)

    def _lines_with_one(self, literal: str) -> Iterator[int]:
        number = _NUMBER.search(literal)
        places = self._numbers(number[0]) if number else None
        if number and places is not None:  # ": 803", "code=803", "(803": many literals share a number
            for position in places:
                if position >= number.start() and self._small.startswith(literal, position - number.start()):
                    yield self._line_at(position)
            return
        position = self._small.find(literal)
        while position >= 0:
            index = self._line_at(position)
            yield index
            position = self._small.find(literal, self._starts[index + 1])

    def _numbers(self, number: str) -> list[int] | None:
        """Where the digits of a number stand; None where that is nearly everywhere."""
        if number not in self._at:
            places = [found.start() for found in islice(re.finditer(number, self._small), _MOST_PLACES + 1)]
            self._at[number] = places if len(places) <= _MOST_PLACES else None
        return self._at[number]

    def _line_at(self, position: int) -> int:
        return bisect_right(self._starts, position) - 1


class _Words:
    """All words of a text: most literals have one that is not among them, and need not be searched for."""

    def __init__(self, text: str) -> None:
        words = text.encode("utf-8", "replace").translate(_BETWEEN_WORDS)
        found: set[bytes] = set()
        for start in range(0, len(words), _CHUNK):  # a word across the border is whole in one of the two chunks
            found.update(words[start : start + _CHUNK + 200].split())
        self._joined = b"\n".join(sorted(found)).decode("ascii")
        self._forwards = self._joined.split("\n")
        self._backwards = sorted(word[::-1] for word in self._forwards)
        self._all = frozenset(self._forwards)

    def may_hold(self, literal: str) -> bool:
        """False where a word of the literal is certainly not in the text; its first and last may be parts of words."""
        for word, first, last in _words_of(literal):
            if first and last:
                there = word in self._joined
            elif first:
                there = _begins(self._backwards, word[::-1])
            elif last:
                there = _begins(self._forwards, word)
            else:
                there = word in self._all
            if not there:
                return False
        return True


_BETWEEN_WORDS = bytes(sign if chr(sign) in "abcdefghijklmnopqrstuvwxyz0123456789_" else 32 for sign in range(256))
"""A translation that leaves words alone."""


@lru_cache(maxsize=4096)
def _words_of(literal: str) -> tuple[tuple[str, bool, bool], ...]:
    """The words of a literal, each with whether the literal begins and ends with it."""
    found = re.finditer(r"[a-z0-9_]+", literal)
    return tuple((word[0], word.start() == 0, word.end() == len(literal)) for word in found)


def _begins(words: Sequence[str], start: str) -> bool:
    """Whether one of the sorted words begins so."""
    index = bisect_left(words, start)
    return index < len(words) and words[index].startswith(start)
