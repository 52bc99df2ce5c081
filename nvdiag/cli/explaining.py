"""`nvdiag explain`: from words to pages, in each format. Exit 2 where nothing is known of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from nvdiag.cli import running
from nvdiag.facts.recognised import recognised
from nvdiag.knowledge import topics
from nvdiag.knowledge.topics import Topic
from nvdiag.model.text import as_json
from nvdiag.report import explained, explained_text, plain_pages
from nvdiag.report.printable import obeyed_by_nobody

FORMATS = ("terminal", "json", "markdown")


def explanation(what: str | None, form: str = "terminal") -> str:
    """The page of what these words name, of what a pasted text says, or a list of all that has a page."""
    if what is None:
        return _listing(topics.topics(), form)
    found = topics.named(what)
    if len(found) == 1:
        return _page(found[0], form)
    if found:
        return _several(found, form)
    kind = topics.kind_named(what)
    if kind is not None:
        return _of_kind(kind, form)
    return _text(what, form)


def _listing(found: Sequence[Topic], form: str) -> str:
    if form == "json":
        return as_json({"topics": [_brief(one) for one in found]})
    if form == "markdown":
        return "\n".join(f"- `{one.key}`: {explained_text.escaped(one.summary)}" for one in found) + "\n"
    return explained.listing(found)


def _of_kind(kind: str, form: str) -> str:
    found = topics.of_kind(kind)
    return explained.catalogue(kind, found) if form == "markdown" and kind != "finding" else _listing(found, form)


def _page(topic: Topic, form: str) -> str:
    if form == "json":
        return as_json({"topics": [explained.data(topic)]})
    return _shown(explained.page(topic), form)


def _several(found: Sequence[Topic], form: str) -> str:
    """A number or a name that means several things: all of them, page after page."""
    if form == "json":
        return as_json({"topics": [explained.data(one) for one in found]})
    return _shown("\n".join(explained.page(one) for one in found), form)


def _text(what: str, form: str) -> str:
    found = recognised(what)
    if not found.said and not found.topics:
        _nothing(what)
    if form == "json":
        return as_json(explained_text.data(found))
    return _shown(explained_text.page(found), form)


def _nothing(what: str) -> NoReturn:
    asked = topics.spoken(what)
    if asked is not None:
        running.fail(f"there is no page for {asked[0]} {asked[1]}; `nvdiag explain {asked[0]}` lists those there are")
    near = topics.near(what)
    hint = f"did you mean {' or '.join(near)}?" if near else "`nvdiag explain` lists them all"
    words = what if len(what) <= 80 else f"{what[:80]}…"
    running.fail(f"there is no page for {words}; {hint}")


def _brief(topic: Topic) -> dict[str, object]:
    return {
        "kind": topic.kind,
        "key": topic.key,
        "number": topic.number,
        "names": list(topic.names),
        "summary": topic.summary,
    }


def _shown(markdown: str, form: str) -> str:
    text = markdown if form == "markdown" else plain_pages.as_text(markdown, bold=_bold())
    return obeyed_by_nobody(text)


def _bold() -> bool:
    drawn = sys.stdout is not None and sys.stdout.isatty()
    return drawn and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
