"""Making foreign text harmless for a terminal: what nvdiag read may hold escape sequences."""

from __future__ import annotations

import re

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
"""C0 and C1 controls but tab and newline; marks that turn the direction of text, break lines or are not seen; lone
surrogates."""


def printable(text: str) -> str:
    """The text with every control character shown as a replacement character, and newlines as spaces."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text).replace("\n", " ").replace("\t", " ")
