"""The pages that explain each finding at length: Markdown with a few lines of TOML before it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from nvdiag.knowledge._tables import data, parse
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import FindingClass

PACKAGE = "nvdiag.checks"
"""Where the pages are: beside the checks that report the findings, in the folder `pages`."""

AREAS = frozenset(
    (
        "container",
        "cuda",
        "device",
        "driver",
        "engine",
        "environment",
        "frameworks",
        "libraries",
        "llama",
        "requirements",
    )
)
"""The areas that findings belong to."""

SECTIONS = (
    "What it means",
    "How it looks",
    "Causes",
    "What to do",
    "Prevention",
    "Not to be confused with",
)
"""The sections of a page, in their order."""


class MalformedPage(ValueError):
    """A page of nvdiag's own is not of its form; the message names the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What nvdiag knows of one finding. `body` is the whole page in Markdown, `sections` its parts by heading."""

    id: str
    area: str
    kind: FindingClass
    summary: str
    body: str
    sections: Mapping[str, str]


def page(identifier: str, package: str = PACKAGE) -> Page | None:
    """The page of a finding's id; None where there is none."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", identifier):
        return None
    try:
        text = data(package, f"pages/{identifier}.md")
    except OSError:
        return None
    return page_of(identifier, text)


@lru_cache(maxsize=4)
def page_ids(package: str = PACKAGE) -> tuple[str, ...]:
    """The ids that have a page, in alphabetical order."""
    from importlib.resources import files

    folder = files(package) / "pages"
    if not folder.is_dir():
        return ()
    return tuple(sorted(file.name.removesuffix(".md") for file in folder.iterdir() if file.name.endswith(".md")))


def page_of(identifier: str, text: str) -> Page:
    """Read a page; MalformedPage where something is missing, empty, unknown or out of order."""
    parts = re.fullmatch(r"\+\+\+\n(.*?)\n\+\+\+\n+(.*)", text, re.DOTALL)
    if parts is None:
        raise MalformedPage(f"{identifier}: does not begin with lines of TOML between +++")
    try:
        front = parse(parts[1])
    except ValueError as error:
        raise MalformedPage(f"{identifier}: {error}") from error
    if set(front) != {"area", "class", "summary"}:
        raise MalformedPage(f"{identifier}: says {sorted(front)}, not area, class and summary")
    if front["area"] not in AREAS:
        raise MalformedPage(f"{identifier}: no such area: {front['area']}")
    if front["class"] not in {kind.value for kind in FindingClass}:
        raise MalformedPage(f"{identifier}: no such class: {front['class']}")
    if not isinstance(front["summary"], str) or not front["summary"].strip():
        raise MalformedPage(f"{identifier}: has no summary")
    body = parts[2].strip() + "\n"
    return Page(
        id=identifier,
        area=front["area"],
        kind=FindingClass(front["class"]),
        summary=front["summary"],
        body=body,
        sections=_sections(identifier, body),
    )


def _sections(identifier: str, body: str) -> dict[str, str]:
    """The text under each heading of the second level; headings inside fenced code are none."""
    lines = body.splitlines()
    if lines[0] != f"# {identifier}":
        raise MalformedPage(f"{identifier}: its title is not its id: {lines[0]}")
    found: dict[str, list[str]] = {}
    current: list[str] = []
    fenced = False
    for line in lines[1:]:
        fenced ^= line.lstrip().startswith("```")
        if line.startswith("## ") and not fenced:
            current = found.setdefault(line.removeprefix("## "), [])
        else:
            current.append(line)
    if tuple(found) != SECTIONS:
        raise MalformedPage(f"{identifier}: its sections are {list(found)}")
    sections = {name: "\n".join(text).strip() for name, text in found.items()}
    if empty := [name for name, text in sections.items() if not text]:
        raise MalformedPage(f"{identifier}: nothing under {empty[0]}")
    return sections
