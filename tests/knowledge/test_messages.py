"""The tables of messages: every row recognises its own example, names findings that exist, and takes linear time."""

import re
import sys

import pytest

from nvdiag.catalogue import built_in
from nvdiag.facts.messages import messages_in
from nvdiag.knowledge.messages import LONGEST_LINE, Message, messages

if sys.version_info >= (3, 11):
    from re import _constants as constants  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]
else:
    import sre_constants as constants
    import sre_parse as parser

ROWS = messages()
IDS = {identifier for one in built_in() for identifier in one.ids}


def by_name(message: Message) -> str:
    return message.name


@pytest.mark.parametrize("message", ROWS, ids=by_name)
def test_a_message_is_found_in_its_own_example(message: Message) -> None:
    found = [said for said in messages_in(message.example, "example") if said.message is message]
    assert found
    assert "unknown" not in found[0].told
    assert "{" not in found[0].told


@pytest.mark.parametrize("message", ROWS, ids=by_name)
def test_a_message_is_found_in_a_log_too(message: Message) -> None:
    lines = message.example.strip("\n").split("\n")
    for prefix in ("Oct 16 22:58:02 gpu-1 kernel: [  27.177056] ", "[Sun Mar 29 19:20:37 2026] ", "trainer-1  | "):
        text = "\n".join(prefix + line for line in lines)
        assert [said for said in messages_in(text, "log") if said.message is message], prefix


@pytest.mark.parametrize("message", ROWS, ids=by_name)
def test_what_an_example_proves_is_not_contradicted_by_another_row(message: Message) -> None:
    proved = {said.message.proves for said in messages_in(message.example, "example")} - {None}
    assert len(proved) <= 1
    assert message.proves is None or proved == {message.proves}


@pytest.mark.parametrize("message", ROWS, ids=by_name)
def test_a_message_names_findings_that_some_check_reports(message: Message) -> None:
    named = {*message.suggests, *({message.proves} if message.proves else ())}
    assert named <= IDS
    assert message.proves not in message.suggests
    assert message.proves or message.suggests, "a row that neither proves nor suggests anything"


@pytest.mark.parametrize("message", ROWS, ids=by_name)
def test_what_a_message_says_is_one_clause(message: Message) -> None:
    assert not message.says.endswith(".")
    assert len(message.says) <= 140
    assert set(re.findall(r"\{(\w+)\}", message.says)) <= set(re.compile(message.pattern).groupindex)


def unbounded(pattern: object, inside: bool = False) -> bool:
    """Whether a repeat without a near limit holds another one: the form that takes exponential or quadratic time."""
    for operation, value in pattern:  # type: ignore[attr-defined]
        if operation in (constants.MAX_REPEAT, constants.MIN_REPEAT):
            _, most, body = value
            long = most > 400
            if (long and inside) or unbounded(body, inside or long):
                return True
        elif operation is constants.SUBPATTERN:
            if unbounded(value[3], inside):
                return True
        elif operation is constants.BRANCH:
            if any(unbounded(branch, inside) for branch in value[1]):
                return True
        elif operation in (constants.ASSERT, constants.ASSERT_NOT) and unbounded(value[1], inside):
            return True
    return False


@pytest.mark.parametrize("message", ROWS, ids=by_name)
def test_no_repeat_without_a_limit_holds_another(message: Message) -> None:
    assert not unbounded(parser.parse(message.pattern))


@pytest.mark.parametrize("size", [60_000, pytest.param(1_000_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("message", ROWS, ids=by_name)
def test_a_megabyte_of_a_messages_own_beginning_is_looked_through(message: Message, size: int) -> None:
    """The example without its end, again and again: on one line, and on many that all have the literal."""
    begun = " ".join(message.example.split())[:-1]
    for between in (" ", "\n"):
        text = f"{begun}{between}" * (size // (len(begun) + 1))
        assert all(len(said.text) <= 400 for said in messages_in(text, "x", (message,)))
    line = (begun * (LONGEST_LINE // len(begun) + 1))[:LONGEST_LINE]
    message.search(" ".join([line] * message.lines))
