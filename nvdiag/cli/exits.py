"""How a run ends: with what it found, or before it came to that."""

from __future__ import annotations


class Judged(SystemExit):
    """The exit of a run that came to a report; its code is what the report's form has for what was found."""
