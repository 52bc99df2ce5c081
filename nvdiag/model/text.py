"""Small matters of wording that findings and reports share."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence


def listed(words: Sequence[str], last: str = "and") -> str:
    """Words as one writes a list: `a`, `a and b`, `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def as_json(value: object) -> str:
    """A value as indented JSON with a final newline, all in ASCII; no line of it is a command for a CI system."""
    text = json.dumps(value, indent=1, ensure_ascii=True).replace("\x7f", "\\u007f")
    return re.sub(r"##(?=[a-z]{0,20}\[)", r"#\\u0023", text, flags=re.IGNORECASE) + "\n"
