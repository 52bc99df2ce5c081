"""Pasted bytes as plain lines: without colours, quoting, markup and what loggers do to newlines."""

from __future__ import annotations

import html
import json
import re
import textwrap

_ESCAPES = re.compile(
    r"\x1b\[[0-?]{0,40}[ -/]{0,10}[@-~]"  # CSI: colours and cursor movements
    r"|\x1b\][^\x07\x1b\n]{0,500}(?:\x07|\x1b\\)"  # OSC: titles and links
    r"|\x1b[PX^_][^\x1b\n]{0,500}\x1b\\"
    r"|\x1b[ -/]{0,3}[0-~]?"
)
_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127, *range(0x80, 0xA0), 0xFEFF, 0x200B))
_TYPOGRAPHY = (
    ("\u2018", "'"), ("\u2019", "'"), ("\u201b", "'"), ("\xb4", "'"), ("\u201c", '"'), ("\u201d", '"'),
    ("\u201e", '"'), ("\xa0", " "), ("\u202f", " "), ("\u2009", " "), ("\u2010", "-"), ("\u2011", "-"),
    ("\u2212", "-"), ("\xad", ""), ("\u200c", ""), ("\u200d", ""), ("\u2060", ""),
)  # fmt: skip
"""What word processors and locales make of quotes, blanks and hyphens: faster one by one than as a translation."""
_DASHES = re.compile(r"(?<!\S)[\u2013\u2014](?=[a-z]{2})")
"""What they make of the two hyphens before an option."""
_QUOTED = re.compile(r"^[ \t]{0,8}>(?!>>)(?:[ \t]{0,3}>(?!>>)){0,8} ?")
_BREAK = re.compile(r"<br ?/?>|</(?:p|div|li)>|<p>", re.I)
_SERVICE = re.compile(r"^(?P<name>[\w.-]{1,60} {1,40}\|)(?: |$)")
"""What docker compose puts before each line: the service's name."""
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6,9}Z ")
"""What docker, kubectl and GitHub's runners put before each line when they are asked for times."""
_TAG = re.compile(r"</?(?:details|summary|pre|code|p|b|i|em|strong|br|div|span|kbd|tt)\b[^<>\n]{0,80}>", re.I)
_ENTITY = re.compile(r"&(?:#\d{1,6}|#x[0-9a-f]{1,6}|[a-z]{2,8});", re.I)


def lines_of(data: bytes) -> list[str]:
    """The text's lines. Never fails: bytes that are no UTF-8 (or UTF-16 with its mark) are replaced."""
    text = _decoded(data)
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    text = text.replace("\r\n", "\n")
    if not text.isascii():
        text = _typed(text)
    if _holds_controls(text):
        text = text.translate(_CONTROLS)
    found: list[str] = []
    for raw in text.split("\n"):
        line = _STAMP.sub("", raw) if raw.startswith("20") else raw
        if _may_be_unusual(line) and _UNUSUAL.search(line):
            found += _plain(line)
        else:
            found.append(line.rstrip())
    text = "\n".join(_without_service(found))
    if "\n\n" in text:
        text = _GAPS.sub(lambda gaps: gaps[0].replace("\n\n", "\n"), text)
    return _INDENTED.sub(lambda block: textwrap.dedent(block[0]), f"\n\n{text}")[2:].split("\n")


_GAPS = re.compile(r"^(?:[^\n]+\n\n){6,}", re.M)
"""Lines that a form or a mail set apart by an empty one after each."""
_INDENTED = re.compile(r"\n\n(?=    |\t)(?:(?:    |\t)[^\n]*(?:\n|\Z)|\n)+")
"""A block of code that Markdown has by its indentation."""


def _without_service(lines: list[str]) -> list[str]:
    """The lines of a compose log without the service's name, which stands before several in a row."""
    names = [found["name"] if "|" in line and (found := _SERVICE.match(line)) else "" for line in lines]
    if not any(names):
        return lines
    return [
        line[len(name) :].removeprefix(" ") if name and names[max(0, index - 2) : index + 3].count(name) >= 3 else line
        for index, (line, name) in enumerate(zip(lines, names, strict=True))
    ]


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\u200b]")
_UNUSUAL = re.compile(r'^[ \t]{0,8}>|\r|#012|<[a-z/]|&[a-z#]|^\{"', re.I)
"""What most lines of a long log have not, so that they pass at once."""


def _holds_controls(text: str) -> bool:
    if text.isascii():
        return bool(text.encode("ascii").translate(None, _PRINTED))
    return _CONTROL.search(text) is not None


_PRINTED = bytes((*b"\t\n\r", *range(32, 127)))


def _may_be_unusual(line: str) -> bool:
    """Whether a line has a sign of those in _UNUSUAL: asked first, since it costs a tenth."""
    return ">" in line[:9] or "<" in line or "&" in line or "\r" in line or "#012" in line or line.startswith('{"')


def _typed(text: str) -> str:
    """The signs that were typed, for those that look like them."""
    for written, typed in _TYPOGRAPHY:
        text = text.replace(written, typed)
    return _DASHES.sub("--", text) if "\u2013" in text or "\u2014" in text else text


def _decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):  # PowerShell's redirection
        return data.decode("utf-16", "replace")
    return data.decode("utf-8", "replace")


def _plain(line: str) -> list[str]:
    """One line as the program printed it; more where a logger had joined several."""
    line = _QUOTED.sub("", line)
    line = line.rstrip("\r").rpartition("\r")[2]  # a progress line: what was drawn last stays
    if line.startswith('{"'):
        line = _of_json(line)
    if "<" in line:
        line = _TAG.sub("", _BREAK.sub("\n", line))
    if "&" in line and _ENTITY.search(line):
        line = _typed(html.unescape(line))
    if "#012" in line:  # rsyslog writes a newline so, and a tab as #011
        return [part.rstrip() for part in line.replace("#011", "\t").split("#012")]
    return [part.rstrip() for part in line.split("\n")]


def _of_json(line: str) -> str:
    """The words in a line of docker's json-file log, or of another logger that writes an object a line."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return line
    for name in ("log", "message", "msg", "MESSAGE"):
        if isinstance(entry, dict) and isinstance(entry.get(name), str):
            return str(entry[name]).rstrip("\n")
    return line
