"""The known messages in the texts that were handed over: pasted words, outputs of commands, logs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import accumulate, islice
from typing import TYPE_CHECKING

from nvdiag.facts.present_log import PresentLog, TellingLog
from nvdiag.host import Host
from nvdiag.host.base import IN_WORDS
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import NotApplicable, Unknown

if TYPE_CHECKING:  # most machines that are looked at have no text, and need none of this
    from nvdiag.facts.searched import SearchedText
    from nvdiag.knowledge.messages import Message

_MOST_OF_ONE = 24
"""How often one message is kept from one text; the first ones are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message that was found. `text` are its words, on one line; `source` is where they stood, `line` their place.

    `groups` has what the pattern took out of it; `since_boot` the seconds since boot where the kernel's clock is there.
    """

    message: Message
    text: str
    source: str
    line: int
    groups: Mapping[str, str]
    since_boot: float | None = None

    @property
    def told(self) -> str:
        """What it says, in nvdiag's words."""
        return self.message.told(self.groups)

    @property
    def in_words(self) -> bool:
        """Whether no command printed it: it is told in a person's words, or as the heading of a text."""
        return self.source == IN_WORDS

    @property
    def evidence(self) -> Evidence:
        return Evidence(source=self.source, excerpt=self.text)


@dataclass(frozen=True, slots=True)
class AnyText:
    """There is text in which messages may be: some was handed over, or the kernel log tells something."""

    @classmethod
    def collect(cls, host: Host, log: TellingLog | Unknown) -> AnyText:
        if not host.handed_texts() and isinstance(log, Unknown):
            raise NotApplicable(str(log))
        return cls()


@dataclass(frozen=True, slots=True)
class Messages:
    """All messages that were found, in the order of the texts; of a kernel log, those that still hold.

    `sources` are where the texts stood, each once: the commands that printed them, among others.
    """

    said: tuple[Said, ...]
    sources: tuple[str, ...] = ()

    @classmethod
    def collect(cls, host: Host, text: AnyText, log: PresentLog | Unknown) -> Messages:
        from bisect import bisect_right

        texts = host.handed_texts()
        found: list[Said] = []
        ends = list(accumulate(text.count("\n") + 1 for _, text in texts))
        sources = [source for source, _ in texts]
        if texts:
            joined = "\n".join(text for _, text in texts)
            heard = [*messages_in(joined, "")]
            heard += _of_broken_lines(joined.split("\n"), {(one.message.name, one.line) for one in heard})
            found += [replace(said, source=sources[bisect_right(ends, said.line)]) for said in heard]
        if isinstance(log, PresentLog):
            found += [replace(said, line=said.line + (ends[-1] if ends else 0)) for said in _of_log(log)]
            sources.append(log.source)
        return cls(tuple(sorted(found, key=lambda said: said.line)), tuple(dict.fromkeys(sources)))

    def proving(self, identifier: str) -> tuple[Said, ...]:
        """Those that support this finding by themselves."""
        return tuple(one for one in self.said if one.message.proves == identifier)

    def suggesting(self, identifier: str) -> tuple[Said, ...]:
        """Those that are also seen with this finding."""
        return tuple(one for one in self.said if identifier in one.message.suggests)

    def named(self, *names: str) -> tuple[Said, ...]:
        """Those of these names in the table."""
        return tuple(one for one in self.said if one.message.name in names)


def _of_log(log: PresentLog) -> Iterator[Said]:
    from nvdiag.knowledge.kernel_messages import kernel_messages

    for said in messages_in(log.text, log.source, kernel_messages()):
        if not log.refutes(said.message.proves, said.line, said.text):
            yield said


def messages_in(text: str, source: str, among: Sequence[Message] = ()) -> Iterator[Said]:
    """The known messages in a text (of `among` alone where it is given), each at most 24 times.

    Takes time in proportion to the text's length.
    """
    from nvdiag.facts.searched import SearchedText
    from nvdiag.knowledge.messages import messages

    searched = SearchedText(text)
    for message in among or messages():
        found = (_said(message, searched, index, source) for index in searched.lines_with(message.literals))
        yield from islice((said for said in found if said is not None), _MOST_OF_ONE)


_APART = "\n" * 16
"""More lines than any message has: what is found in one place does not run on into the next."""


def _of_broken_lines(lines: Sequence[str], known: Set[tuple[str, int]]) -> Iterator[Said]:
    """The messages that are there only once broken lines are whole."""
    from nvdiag.facts.wrapped import whole_lines
    from nvdiag.knowledge.messages import messages

    whole = [*whole_lines(lines)]
    among = tuple(message for message in messages() if message.proves)
    for said in messages_in(_APART.join(text for _, text in whole), "", among) if whole else ():
        line = whole[said.line // len(_APART)][0]
        if not any((said.message.name, near) in known for near in range(line, line + 7)):
            yield replace(said, line=line)


def _said(message: Message, searched: SearchedText, index: int, source: str) -> Said | None:
    from nvdiag.knowledge.messages import LONGEST_LINE

    first = searched.bare(index)
    window = [first.text[:LONGEST_LINE]]
    for following in range(index + 1, min(index + message.lines, len(searched.lines))):
        window.append(_continued(searched.bare(following).text[:LONGEST_LINE]))
    parts = [part.strip() for part in window if part.strip()]
    text = " ".join(parts)
    found = message.search(text)
    if not found:
        return None
    while len(parts) > 1 and found.end() <= len(text) - len(parts[-1]):  # a line that is no part of it
        text = text[: -len(parts.pop()) - 1]
    return Said(
        message=message,
        text=_excerpt(text, found),
        source=source,
        line=index,
        groups={name: value.strip() for name, value in found.groupdict().items() if value},
        since_boot=first.since_boot,
    )


def _continued(text: str) -> str:
    """A further line of a message: the kernel module begins each with its own name."""
    return re.sub(r"^\s{0,80}(?:NVRM:)?\s{0,80}", "", text)


def _excerpt(text: str, found: re.Match[str]) -> str:
    """The words that matched, with a little before and after where the line is long."""
    start = max(0, found.start() - 80)
    end = min(len(text), found.end() + 120)
    return f"{'…' if start else ''}{text[start:end].strip()}{'…' if end < len(text) else ''}"[:400]
