"""What an input says never gets out of its word in a command that nvdiag advises."""

from __future__ import annotations

import functools
import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from nvdiag.cli import running
from nvdiag.facts.messages import messages_in
from nvdiag.host import Host
from nvdiag.host.snapshot import SnapshotHost
from nvdiag.knowledge.messages import Message, messages
from tests.checks.pasting import saying
from tests.scenarios import reports
from tests.test_snapshot_is_whole import LIVE, PASTES, recorded, told

PLANTS = {
    ";touch${IFS}PWNED": ";touch${IFS}PWNED",
    "; rm -rf ~ PWNED": "; rm -rf ~ PWNED",
    "$(touch${IFS}PWNED)": "$(touch${IFS}PWNED)",
    "`PWNED`": "`PWNED`",
    "|PWNED": "|PWNED",
    "&PWNED&": "&PWNED&",
    "';PWNED;'": "';PWNED;'",
    '";PWNED;"': '";PWNED;"',
    "\nPWNED\n": "",
    ">PWNED": ">PWNED",
}
"""What is planted, and what of it has to stand in one word if any of it is in a command."""


@functools.cache
def choice() -> running.Choice:
    return running.chosen((), ())


def advised(host: Host) -> list[str]:
    """All commands of all remedies, also of findings that follow from others."""
    diagnosis = running.diagnosed(running.begun(host), choice())
    failed = [one.finding for one in diagnosis.findings if one.finding.id == "check-failed"]
    assert [one.title for one in failed if not one.subject.startswith("probe ")] == []
    return [command for one in diagnosis.findings for remedy in one.finding.remedies for command in remedy.commands]


def words(command: str) -> list[str]:
    """The words and signs of a command line, as a shell takes it apart; nothing is a comment."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


def escaped(command: str, plant: str) -> bool:
    """Whether a part of a plant is more than a piece of one word; in double quotes a shell still looks for $ and `."""
    if "PWNED" not in command:
        return False
    if "\n" in plant:
        return "\n" in re.sub(r"'[^']*'", "", command)
    try:
        said = words(command)
    except ValueError:
        return True
    whole = all(PLANTS[plant] in word for word in said if "PWNED" in word)
    open_to_the_shell = re.sub(r"'[^']*'|\"'\"", "", command)
    return not whole or any(sign in open_to_the_shell for sign in ("$(touch", "`PWNED", "${IFS}"))


def test_the_oracle_knows_good_from_bad() -> None:
    for plant in PLANTS:
        assert not escaped(f"ls {shlex.quote(f'/a{plant}')} | cat", plant)
        assert escaped(f"ls /a{plant} | cat", plant)
        assert plant == '";PWNED;"' or escaped(f'ls "/a{plant}" | cat', plant) or plant[0] in ";|&'\n>"
    assert escaped('ls "/a$(touch${IFS}PWNED)"', "$(touch${IFS}PWNED)")


def changed(value: Any, old: str, new: str) -> Any:
    """A document with a word replaced wherever it stands, in keys, too: as a machine has it that is called so."""
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, list):
        return [changed(one, old, new) for one in value]
    if isinstance(value, dict):
        return {changed(key, old, new): changed(one, old, new) for key, one in value.items()}
    return value


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from texts(one)


def names_in(document: Any) -> list[str]:
    """The words of a document that an attacker may choose: files, packages, kernels, addresses, names of GPUs."""
    found = {word for text in texts(document) for word in re.findall(r"[\w.+~:-]{3,80}", text[:20_000])}
    return sorted(found - {*document, "exit", "stdout", "stderr", "error"})


ADVISED = ("mismatch on the disk too", "module not loaded", "Debian", "Rocky", "openSUSE", "Arch", "WSL", "Docker")
"""Machines that between them are given the commands of every distribution."""


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ADVISED)
def test_no_name_on_a_machine_gets_out_of_its_word(name: str, every: int) -> None:
    document = recorded(LIVE[name]())
    for number, word in enumerate(names_in(document)[::every]):
        plant = list(PLANTS)[number % len(PLANTS)]
        new = f"{word}{plant}" if number // len(PLANTS) % 2 else f"{word[:-1]}{plant}{word[-1]}"
        host = SnapshotHost(changed(document, word, new), "hostile")
        assert [command for command in advised(host) if escaped(command, plant)] == []


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, str):
        yield path
    elif isinstance(value, (list, dict)):
        for key, one in enumerate(value) if isinstance(value, list) else value.items():
            yield from leaves(one, (*path, key))


def planted_at(document: Any, path: tuple[Any, ...], plant: str) -> Any:
    copy = json.loads(json.dumps(document))
    place = copy
    for step in path[:-1]:
        place = place[step]
    text = place[path[-1]]
    place[path[-1]] = f"{text.rstrip()}{plant}{text[len(text.rstrip()) :]}"
    return copy


@pytest.mark.parametrize("name", ADVISED)
def test_no_answer_of_a_machine_gets_out_of_its_word(name: str) -> None:
    document = recorded(LIVE[name]())
    for number, path in enumerate(leaves(document)):
        plant = list(PLANTS)[number % len(PLANTS)]
        host = SnapshotHost(planted_at(document, path, plant), "hostile")
        assert [command for command in advised(host) if escaped(command, plant)] == [], path


def planted_messages(message: Message) -> Iterator[tuple[str, str]]:
    """Texts in which a message says a plant in what its pattern takes out of it."""
    example = message.example
    said = next(one for one in messages_in(example, "x", (message,)))
    for value in sorted({value for value in said.groups.values() if len(value) > 1}):
        for number, plant in enumerate(PLANTS):
            new = (f"{value}{plant}", f"{value[0]}{plant}{value[1:]}", plant)[number % 3]
            text = example.replace(value, new)
            again = next(messages_in(text, "x", (message,)), None)
            if again is not None and any("PWNED" in one for one in again.groups.values()):
                yield text, plant


@pytest.mark.parametrize("message", [one for one in messages() if "(?P<" in one.pattern], ids=lambda one: one.name)
def test_nothing_that_a_message_says_gets_out_of_its_word(message: Message) -> None:
    for text, plant in planted_messages(message):
        assert [command for command in advised(saying(text)) if escaped(command, plant)] == [], text


@pytest.mark.parametrize("name", PASTES)
def test_nothing_in_a_paste_gets_out_of_its_word(name: str) -> None:
    for number, word in enumerate(names_in({"": PASTES[name]})):
        plant = list(PLANTS)[number % len(PLANTS)]
        host = told(PASTES[name].replace(word, f"{word}{plant}").encode())
        for one in (host, *host.others()):
            assert [command for command in advised(one) if escaped(command, plant)] == [], word


@pytest.mark.slow
def test_nothing_in_a_report_gets_out_of_its_word() -> None:
    text = reports.text(*reports.but(reports.MODULES, reports.NO_MODULES)).decode()
    for number, word in enumerate(names_in({"": text})):
        plant = list(PLANTS)[number % len(PLANTS)]
        host = told(text.replace(word, f"{word}{plant}").encode())
        assert [command for command in advised(host) if escaped(command, plant)] == [], word
