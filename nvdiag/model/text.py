"""Small matters of wording that findings and reports share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence


def listed(words: Sequence[str], last: str = "and") -> str:
    """Words as one writes a list: `a`, `a and b`, `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def as_json(value: object) -> str:
    """A value as JSON with a final newline, all in ASCII; no line of it is a command for a CI system.

    What holds no further list or object is on one line, all else is indented.
    """
    text = _laid_out(value, "\n").replace("\x7f", "\\u007f")
    if "##" in text:
        text = re.sub(r"##(?=[a-z]{0,20}\[)", r"#\\u0023", text, flags=re.IGNORECASE)
    return text + "\n"


def _laid_out(value: object, line: str) -> str:
    """JSON behind the line break with which the line before ends, and the value's own indentation."""
    inner = f"{line} "
    if isinstance(value, dict) and _holds_more(value.values()):
        rows = (f"{inner}{json.dumps(str(key))}: {_laid_out(one, inner)}" for key, one in value.items())
        return f"{{{','.join(rows)}{line}}}"
    if isinstance(value, (list, tuple)) and _holds_more(value):
        return f"[{','.join(f'{inner}{_laid_out(one, inner)}' for one in value)}{line}]"
    return json.dumps(value)


def _holds_more(values: Iterable[object]) -> bool:
    for one in values:  # noqa: SIM110 - a generator takes three times as long, and a report has a thousand rows
        if isinstance(one, (dict, list, tuple)):
            return True
    return False
