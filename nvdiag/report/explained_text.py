"""What a pasted text says, as a page of Markdown and as data. Nothing of the text is printed as it came."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from nvdiag.facts.messages import Said
from nvdiag.facts.recognised import Recognised
from nvdiag.knowledge import pages
from nvdiag.knowledge.topics import Topic
from nvdiag.model.finding import Confidence
from nvdiag.report import explained
from nvdiag.report.printable import printable

_LONGEST = 400
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def page(found: Recognised) -> str:
    """What each recognised message proves or suggests, and the page of what is the most certain among it."""
    lines = ["# What this text says", ""]
    for one in found.said:
        lines += _said(one)
    if found.topics:
        lines += ["It names:" if not found.said else "It names, too:", ""]
        lines += [f"- `{one.key}`: {escaped(one.summary)}" for one in found.topics]
        lines.append("")
    lead = leading(found)
    if lead is None:
        lines += ["More:", "", *(f"- `nvdiag explain {name}`" for name in _names(found)), ""]
        return "\n".join(lines).rstrip("\n") + "\n"
    others = [name for name in _names(found) if name != lead.key]
    if others:
        lines += ["More:", "", *(f"- `nvdiag explain {name}`" for name in others), ""]
    return "\n".join([*lines, explained.page(lead)])


def data(found: Recognised) -> dict[str, object]:
    """The same as a JSON object."""
    return {
        "messages": [
            {
                "name": one.message.name,
                "by": one.message.by,
                "says": one.told,
                "excerpt": one.text,
                "proves": one.message.proves,
                "confidence": one.message.confidence.value if one.message.proves else None,
                "suggests": list(one.message.suggests),
            }
            for one in found.said
        ],
        "topics": [explained.data(one) for one in found.topics],
    }


def leading(found: Recognised) -> Topic | None:
    """What the text is most certainly about: what a message proves, else its only topic, else its only suggestion."""
    for one in found.said:
        if one.message.proves is not None and (topic := _topic(one.message.proves)):
            return topic
    if found.topics:
        return found.topics[0]
    suggested = _names(found)
    return _topic(suggested[0]) if len(suggested) == 1 else None


def escaped(text: str) -> str:
    """Foreign words as plain text of Markdown, on one line, without control characters."""
    return _SPECIAL.sub(r"\\\1", printable(text[:_LONGEST]))


def _said(one: Said) -> Iterator[str]:
    words = printable(one.text[:_LONGEST])
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", words)), 3)
    yield from (f"{fence}text", words, fence, "")
    told = escaped(one.told)
    yield f"{told[:1].upper()}{told[1:]} (by {escaped(one.message.by)})."
    if one.message.proves:
        sure = "It shows" if one.message.confidence is Confidence.CERTAIN else "It most likely shows"
        yield f"{sure} `{one.message.proves}`{_summary(one.message.proves)}."
    if one.message.suggests:
        also = ", ".join(f"`{name}`" for name in one.message.suggests)
        alone = "It is also seen with" if one.message.proves else "Alone it decides nothing; it is seen with"
        yield f"{alone} {also}."
    yield ""


def _summary(identifier: str) -> str:
    page_of = pages.page(identifier)
    return f": {page_of.summary.rstrip('.')}" if page_of else ""


def _topic(identifier: str) -> Topic | None:
    found = pages.page(identifier)
    if found is None:
        return None
    return Topic(kind="finding", key=found.id, number=None, names=(), summary=found.summary, row=found)


def _names(found: Recognised) -> Sequence[str]:
    """What of it has a page of its own, as one would ask for it."""
    proved = [one.message.proves for one in found.said if one.message.proves]
    suggested = [name for one in found.said for name in one.message.suggests]
    named = dict.fromkeys((*proved, *(one.key for one in found.topics), *suggested))
    return [name for name in named if " " in name or pages.page(name)]
