"""Where in a text a secret stands: a pattern whose named groups are what is to be replaced."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from nvdiag.model.dataclass import dataclass

KINDS = ("secret", "token", "maybe", "serial", "machine", "user", "host")
"""What groups are named after, with a number behind it or none.

A `secret` is one whatever it is; a `token` is none where it is a small number or very short; a `maybe` is one only
where it does not look like a word.
"""

_LONG = 4096


@dataclass(frozen=True, slots=True)
class Context:
    """A place. One of `hints`, which are in small letters, is in every text that has it; none: any text may have it.

    Where the place is within one `line`, only lines with a hint are searched: most of a long log has none.
    """

    pattern: re.Pattern[str]
    hints: tuple[str, ...] = ()
    line: bool = True

    def found(self, text: str, small: str) -> Iterator[tuple[str, str]]:
        """The kind and the words of each group, in the text's order; `small` is the text in small letters."""
        for start, end in self._pieces(text, small):
            for found in self.pattern.finditer(text[start:end]):
                yield from ((kind, found.string[begin:stop]) for begin, stop, kind in _spans(found))

    def replaced(self, text: str, small: str, stand_in: Callable[[str, str], str]) -> str:
        """The text with each of its groups replaced by what `stand_in` says for its kind and its words."""

        def anew(found: re.Match[str]) -> str:
            pieces, at = [], found.start()
            for start, end, kind in _spans(found):
                pieces += [found.string[at:start], stand_in(kind, found.string[start:end])]
                at = end
            return "".join((*pieces, found.string[at : found.end()]))

        whole, at = [], 0
        for start, end in self._pieces(text, small):
            whole += [text[at:start], self.pattern.sub(anew, text[start:end])]
            at = end
        return "".join((*whole, text[at:])) if whole else text

    def _pieces(self, text: str, small: str) -> Iterator[tuple[int, int]]:
        """Where to search: from the beginning to the end of each piece, in order."""
        present = [hint for hint in self.hints if hint in small]
        if self.hints and not present:
            return
        if not present or not self.line or len(text) < _LONG or len(small) != len(text):
            yield 0, len(text)
            return
        lines: set[tuple[int, int]] = set()
        for hint in present:
            position = small.find(hint)
            while position >= 0:
                start, end = text.rfind("\n", 0, position) + 1, text.find("\n", position)
                end = len(text) if end < 0 else end
                lines.add((start, end))
                position = small.find(hint, end)
        yield from sorted(lines)


def _spans(found: re.Match[str]) -> list[tuple[int, int, str]]:
    """Where its groups are, in order, each with its kind."""
    named = ((name, name.rstrip("0123456789")) for name, words in found.groupdict().items() if words)
    return sorted((*found.span(name), kind) for name, kind in named if kind in KINDS)
