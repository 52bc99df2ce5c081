"""The picture of the demo in the README: the terminal's report as an SVG that loads nothing.

python -m tests.scenarios.picture      (`make docs` runs it)
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.text import Text

from nvdiag.cli import running
from nvdiag.report import terminal

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "demo.svg"
_WIDTH = 82
_DOTS = "      …"


def picture() -> str:
    """What `nvdiag demo` prints on a terminal with colours, with dots for what is too long for a picture."""
    diagnosis = running.diagnosed(running.begun(running.demo_host()), running.chosen((), ()))
    console = Console(
        file=io.StringIO(),
        record=True,
        width=_WIDTH,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    for line in _shown(terminal.render(diagnosis, terminal.Look(colour=True)).splitlines()):
        console.print(Text.from_ansi(line), soft_wrap=True)
    drawn = console.export_svg(title="nvdiag demo", unique_id="nvdiag")
    without_fonts = re.sub(r"\n *@font-face \{.*?\n *\}", "", drawn, flags=re.S)  # rich would have them fetched
    return "\n".join(line.rstrip() for line in without_fonts.splitlines()) + "\n"


def _shown(lines: list[str]) -> Iterator[str]:
    """The stack, the finding with its first evidence and its first two remedies, and the conclusion."""
    plain = [Text.from_ansi(line).plain for line in lines]
    evidence = [number for number, line in enumerate(plain) if line.startswith("  --> ")]
    detail = next(number for number, line in enumerate(plain) if line.startswith("  = "))
    third = [number for number, line in enumerate(plain) if line.startswith("  fix: ")][2]
    yield from (*lines[: evidence[1]], _DOTS, *lines[detail:third], _DOTS, "")
    yield next(line for line in reversed(lines) if line.strip())


def words(svg: str) -> list[str]:
    """What stands in a picture, line by line: rich may draw it otherwise in another release."""
    rows: dict[float, dict[float, str]] = {}
    for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if "clip-path" in one.attrib:
            rows.setdefault(float(one.attrib["y"]), {})[float(one.attrib["x"])] = "".join(one.itertext())
    return [" ".join("".join(text for _, text in sorted(row.items())).split()) for _, row in sorted(rows.items())]


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
