"""Making foreign text harmless: for a terminal, and for CI systems, which obey certain lines of a log."""

from __future__ import annotations

import re

from nvdiag.unsaid import without_secrets

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""C0 and C1 controls but tab and newline; marks that turn the direction of text, break lines or are not seen; lone
surrogates; what is no character."""
_COMMAND = re.compile(r"##(?=[a-z]{0,20}\[)", re.I)
"""A command of a CI system anywhere in a line: ##[error], ##vso[…], ##teamcity[…]."""
_COMMAND_LINE = re.compile(r"^(\s*):(?=:)", re.M)
"""A command of GitHub's runner: a line that begins with two colons, whatever blanks stand before them."""


def printable(text: str) -> str:
    """The text without secrets, every control character shown as a replacement character, and newlines as spaces."""
    shown = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", without_secrets(text)).replace("\n", " ").replace("\t", " ")
    return _COMMAND.sub("# #", shown)


def obeyed_by_nobody(text: str) -> str:
    """A whole report in which no line is a command for the CI system whose log it stands in."""
    return _COMMAND_LINE.sub(r"\1: ", _COMMAND.sub("# #", text))
