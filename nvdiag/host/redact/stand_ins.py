"""What secrets are replaced by: stand-ins of the same form, each secret always by the same one."""

from __future__ import annotations

import re
from collections.abc import Callable

from nvdiag.model.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class _Form:
    """How the stand-ins of a kind look: `make` writes the one of a number, `pattern` knows them, `hint` is in each."""

    make: Callable[[int], str]
    pattern: re.Pattern[str]
    hint: str
    base: int = 10


_FORMS = {
    "uuid": _Form(
        lambda number: f"00000000-0000-4000-8000-{number:012x}",
        re.compile(r"\b00000000-0000-4000-8000-([0-9a-f]{12})\b"),
        "00000000-0000-4000-8000-",
        16,
    ),
    "mac": _Form(
        lambda number: f"02:00:00:00:{number >> 8 & 255:02x}:{number & 255:02x}",
        re.compile(r"\b02:00:00:00:([0-9a-f]{2}:[0-9a-f]{2})\b"),
        "02:00:00:00:",
        16,
    ),
    "ipv4": _Form(lambda number: f"192.0.2.{number}", re.compile(r"\b192\.0\.2\.(\d{1,6})\b"), "192.0.2."),
    "ipv6": _Form(
        lambda number: f"2001:db8::{number:x}", re.compile(r"\b2001:db8::([0-9a-f]{1,4})\b"), "2001:db8::", 16
    ),
    "serial": _Form(lambda number: f"{number:010d}", re.compile(r"\b(0000\d{6})\b"), "0000"),
    "machine": _Form(lambda number: f"{number:032x}", re.compile(r"\b(0{24}[0-9a-f]{8})\b"), "0" * 24, 16),
    "mail": _Form(
        lambda number: f"mail{number}@example.org", re.compile(r"\bmail(\d{1,6})@example\.org\b"), "@example.org"
    ),
    "user": _Form(lambda number: f"user{number}", re.compile(r"\buser(\d{1,6})\b"), "user"),
    "host": _Form(lambda number: f"host{number}", re.compile(r"\bhost(\d{1,6})\b"), "host"),
    "secret": _Form(lambda number: f"REDACTED-{number}", re.compile(r"\bREDACTED-(\d{1,6})\b"), "REDACTED-"),
}


class StandIns:
    """The stand-ins of one document, numbered in the order in which the secrets are met.

    What looks like a stand-in stands for itself: so redacting twice changes nothing more.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._given: set[str] = set()
        self._counts = dict.fromkeys(_FORMS, 0)

    def keep_clear_of(self, text: str) -> None:
        """Never give out what stands in this text already."""
        for kind, form in _FORMS.items():
            if form.hint in text:
                for found in form.pattern.finditer(text):
                    number = int(found[1].replace(":", ""), form.base)
                    self._counts[kind] = max(self._counts[kind], number)

    def has(self, kind: str, secret: str) -> bool:
        """Whether a secret was met."""
        return (kind, secret) in self._known

    def of(self, kind: str, secret: str) -> str:
        """The stand-in of a secret."""
        if (kind, secret) not in self._known:
            form = _FORMS[kind]
            if form.pattern.fullmatch(secret) and secret not in self._given:
                self._known[kind, secret] = secret
            else:
                self._counts[kind] += 1
                self._known[kind, secret] = form.make(self._counts[kind])
            self._given.add(self._known[kind, secret])
        return self._known[kind, secret]

    def is_of_another_kind(self, kind: str, words: str) -> bool:
        """Whether words in the place of one kind are a stand-in of another: a redacted token where a user stands."""
        return any(form.pattern.fullmatch(words) for other, form in _FORMS.items() if other != kind)

    def of_beginning(self, kind: str, secret: str) -> str:
        """The stand-in of what a secret begins with: the secret's own, where that was met."""
        whole = (known for (one, text), known in self._known.items() if one == kind and text.startswith(secret))
        return next(whole, None) or self.of(kind, secret)
