"""Pages of Markdown as text for a terminal: wrapped, headings without marks, code as it stands."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

_ITEM = re.compile(r"^(\s*)(?:[-*]|\d{1,3}\.)\s+")
_ESCAPED = re.compile(r"(`[^`]*`)|\\([!-/:-@\[-`{-~])")
_BOLD, _PLAIN = "\033[1m", "\033[0m"


def as_text(markdown: str, *, width: int = 80, bold: bool = False) -> str:
    """The page in lines of at most `width` columns; only code, which is not to be broken, may be longer."""
    return "\n".join(_lines(markdown.rstrip("\n").split("\n"), width, bold)) + "\n"


def _lines(lines: list[str], width: int, bold: bool) -> Iterator[str]:
    paragraph: list[str] = []
    fence = ""
    for line in lines:
        mark = re.match(r"\s*(`{3,})", line)
        if fence or mark:
            yield from _wrapped(paragraph, width)
            paragraph = []
            if mark and (not fence or line.strip() == fence):
                fence = "" if fence else mark[1]
            else:
                yield f"    {line}".rstrip()
        elif line.startswith("#"):
            yield from _wrapped(paragraph, width)
            paragraph = []
            yield from _heading(line, width, bold)
        elif not line.strip():
            yield from _wrapped(paragraph, width)
            paragraph = []
            yield ""
        elif _ITEM.match(line) and paragraph:
            yield from _wrapped(paragraph, width)
            paragraph = [line]
        else:
            paragraph.append(line)
    yield from _wrapped(paragraph, width)


def _heading(line: str, width: int, bold: bool) -> Iterator[str]:
    marks, _, words = line.partition(" ")
    shown = words if len(marks) == 1 else words.upper()
    for part in textwrap.wrap(_unescaped(shown), width) or [""]:
        yield f"{_BOLD}{part}{_PLAIN}" if bold else part


def _wrapped(paragraph: list[str], width: int) -> Iterator[str]:
    """One paragraph or item, with the indentation that it has, two columns in."""
    if not paragraph:
        return
    item = _ITEM.match(paragraph[0])
    indent = "  " + (item[1] if item else paragraph[0][: len(paragraph[0]) - len(paragraph[0].lstrip())])
    hang = "  " + " " * len(item[0]) if item else indent
    words = _unescaped(" ".join(line.strip() for line in paragraph))
    yield from textwrap.wrap(
        words,
        width,
        initial_indent=indent,
        subsequent_indent=hang,
        break_long_words=True,
        break_on_hyphens=False,
    )


def _unescaped(words: str) -> str:
    return _ESCAPED.sub(lambda found: found[1] or found[2], words)
