"""Lines of text of which parts have a style, in rich's words. rich itself is only wanted where there is colour."""

from __future__ import annotations

import io
from collections.abc import Iterable


class Line:
    """One line of a report; `plain` is its text, and `spans` are styles with the places where they begin and end."""

    def __init__(self, plain: str = "", style: str = "") -> None:
        self.plain = ""
        self.spans: list[tuple[str, int, int]] = []
        self.append(plain, style)

    def append(self, text: str, style: str = "") -> None:
        """Add text at the end."""
        start = len(self.plain)
        self.plain += text
        self.stylize(style, start)

    def stylize(self, style: str, start: int, end: int | None = None) -> None:
        """Give a part of the line a style besides those that it has; `end` is the line's own by default."""
        end = len(self.plain) if end is None else end
        if style and start < end:
            self.spans.append((style, start, end))


def coloured(lines: Iterable[Line], width: int) -> str:
    """The lines with the colours of a terminal, each with its end."""
    from rich.console import Console
    from rich.text import Text

    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=True,
        no_color=False,
        color_system="standard",
        markup=False,
        highlight=False,
        emoji=False,
    )
    for line in lines:
        text = Text(line.plain)
        for style, start, end in line.spans:
            text.stylize(style, start, end)
        console.print(text, overflow="ignore", no_wrap=True, crop=False, soft_wrap=True)
    return stream.getvalue()


def plain(lines: Iterable[Line]) -> str:
    """The lines as they are, each with its end."""
    return "".join(f"{line.plain}\n" for line in lines)
