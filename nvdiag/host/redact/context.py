"""Where in a text a secret stands: a pattern whose named groups are what is to be replaced."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

KINDS = ("secret", "token", "maybe", "serial", "user", "host")
"""What groups are named after, with a number behind it or none.

A `secret` is one whatever it is; a `token` is none where it is a small number or very short; a `maybe` is one only
where it does not look like a word.
"""


@dataclass(frozen=True, slots=True)
class Context:
    """A place. One of `hints`, which are in small letters, is in every text that has it; none: any text may have it."""

    pattern: re.Pattern[str]
    hints: tuple[str, ...] = ()

    def may_be_in(self, small: str) -> bool:
        """Whether a text, given in small letters, can have such a place."""
        return not self.hints or any(hint in small for hint in self.hints)

    def found(self, text: str) -> Iterator[tuple[str, str]]:
        """The kind and the words of each group, in the text's order."""
        for found in self.pattern.finditer(text):
            yield from ((kind, text[start:end]) for start, end, kind in _spans(found))

    def replaced(self, text: str, stand_in: Callable[[str, str], str]) -> str:
        """The text with each of its groups replaced by what `stand_in` says for its kind and its words."""

        def anew(found: re.Match[str]) -> str:
            pieces, at = [], found.start()
            for start, end, kind in _spans(found):
                pieces += [text[at:start], stand_in(kind, text[start:end])]
                at = end
            return "".join((*pieces, text[at : found.end()]))

        return self.pattern.sub(anew, text)


def _spans(found: re.Match[str]) -> list[tuple[int, int, str]]:
    """Where its groups are, in order, each with its kind."""
    named = ((name, name.rstrip("0123456789")) for name, words in found.groupdict().items() if words)
    return sorted((*found.span(name), kind) for name, kind in named if kind in KINDS)
