"""Lines that a terminal, a mail or a logger of fixed width broke, put together again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nvdiag.model.regex import regex

_SHORTEST = 50
"""Characters of a line that may have been broken: nobody's terminal is narrower."""
_LONGEST = 320
_AROUND = 12
"""How many lines before and after tell how wide the text is."""
_MOST_JOINED = 6
_BEGINS = regex(
    r"\s{0,80}(?:File \"|Traceback |[\w.-]{1,40}@[\w.-]{1,60}|[$#>|+=*-]|\[ {0,9}\d|\d{4}-\d\d-|\d\d:\d\d"
    r"|[A-Z][a-z]{2} {1,2}\d|(?:[\w.]{1,60})?(?:Error|Warning|Exception): |NVRM: |I\d{4} "
    r"|(?:INFO|WARN|ERROR|DEBUG)\w{0,4}\b)"
)
"""How a line begins that goes on with nothing."""


def whole_lines(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """What runs over several lines as one, with the number of its first line. Both with and without a blank between.

    A line is taken for broken where the first word of the next one had no room in the width that the lines around have.
    """
    lengths = [len(line) if len(line) <= _LONGEST else 0 for line in lines]
    index = 0
    while index < len(lines) - 1:
        end = index
        while end - index < _MOST_JOINED and end + 1 < len(lines) and _goes_on(lines, lengths, end):
            end += 1
        if end > index:
            parts = [lines[index].strip(), *(line.strip() for line in lines[index + 1 : end + 1])]
            yield index, " ".join(parts)
            if {len(line.rstrip()) for line in lines[index:end]} == {_width(lengths, index)}:  # cut within words
                yield index, "".join(parts)
        index = max(end, index + 1)


def _goes_on(lines: Sequence[str], lengths: Sequence[int], index: int) -> bool:
    length = lengths[index]
    if length < _SHORTEST:
        return False
    following = lines[index + 1]
    if not following or following.isspace() or _BEGINS.match(following):
        return False
    return length + 1 + len(following.split(None, 1)[0]) > _width(lengths, index)


def _width(lengths: Sequence[int], index: int) -> int:
    """How wide the text is around a line."""
    return max(lengths[max(0, index - _AROUND) : index + _AROUND + 1])
