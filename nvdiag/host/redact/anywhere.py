"""Names and secrets that are looked for wherever they may stand, once a place has told of them."""

from __future__ import annotations

import re
from functools import lru_cache

MARK = "\ufdd0"
"""Stands around each stand-in while a text is worked on, so that it is not taken for a name. It is no character."""

_MOST = 256


class Anywhere:
    """Words and their stand-ins, looked for as whole words; those that are distinctive within longer ones, too."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}
        self._any_case: set[str] = set()

    def add(self, word: str, stand_in: str, *, any_case: bool = False) -> None:
        """Look for this word, too; what comes after the first 256 is not looked for."""
        if len(self._words) < _MOST:
            self._words.setdefault(word, stand_in)
            if any_case:
                self._any_case.add(word)
                self._words.setdefault(word.lower(), stand_in)

    def replaced(self, text: str) -> str:
        """The text with the marked stand-ins in the words' places."""
        if not self._words:
            return text
        small = text.lower() if self._any_case else ""
        present = tuple(
            (word, word in self._any_case)
            for word in self._words
            if word in text or (word in self._any_case and word.lower() in small)
        )
        return _pattern(present).sub(self._one, text) if present else text

    def _one(self, found: re.Match[str]) -> str:
        return f"{MARK}{self._words.get(found[0]) or self._words[found[0].lower()]}{MARK}"


@lru_cache(maxsize=64)
def _pattern(words: tuple[tuple[str, bool], ...]) -> re.Pattern[str]:
    return re.compile("|".join(_of(word, any_case) for word, any_case in sorted(words, key=lambda one: -len(one[0]))))


def _of(word: str, any_case: bool) -> str:
    """A word of its own: a person's also in jupyter-ada.service, a machine's in hal9000-data if it is distinctive."""
    distinctive = len(word) > 7 or (len(word) > 4 and re.search(r"[A-Za-z].*\d|\d.*[A-Za-z]", word))
    letters = "A-Za-z0-9" if distinctive else r"\w\-" if any_case else r"\w"
    # behind \n as a text within a text has it, the n is no letter of the word
    begins = rf"(?:(?<![{letters}{MARK}])|(?<=\\[nrt]))"
    return rf"{begins}{'(?i:' if any_case else '(?:'}{re.escape(word)})(?![{letters}])"
