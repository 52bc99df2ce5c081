"""What could not be told, as a value with its reason."""

from __future__ import annotations


class Unknown(Exception):
    """It should have been possible to tell, and was not; `str()` is the reason, one clause without a full stop."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and str(other) == str(self)

    def __hash__(self) -> int:
        return hash((type(self), str(self)))


class NotApplicable(Unknown):
    """The question does not arise on this machine; `str()` says why."""


class ParseError(ValueError):
    """A text is not of the form that a parser reads; the only error that a parser of `nvdiag.facts` raises."""
