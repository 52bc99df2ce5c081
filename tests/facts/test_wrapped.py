"""Messages that were broken on their way: by a narrow terminal, by a mail, by a logger that draws boxes."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvdiag.facts.wrapped import whole_lines
from nvdiag.knowledge.messages import Message, messages
from tests.checks.diagnosing import first, ids
from tests.checks.pasting import saying

ARCH = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
OLD = "RuntimeError: The NVIDIA driver on your system is too old (found version 10010). Please update your GPU driver"


@pytest.mark.parametrize(("text", "identifier"), [(ARCH, "gpu-arch-not-in-build"), (OLD, "driver-too-old-for-cuda")])
@pytest.mark.parametrize("width", [56, 64, 72])
def test_a_message_that_was_wrapped_is_known(text: str, identifier: str, width: int) -> None:
    assert first(saying("\n".join(textwrap.wrap(text, width)))).id == identifier
    assert (
        first(saying("\n".join(text[start : start + width] for start in range(0, len(text), width)))).id == identifier
    )


def _at_80(row: Message) -> str:
    lines = row.example.strip("\n").split("\n")
    return "\n".join(line[start : start + 80] for line in lines for start in range(0, len(line), 80))


@pytest.mark.parametrize(
    "name", ["cuda-805", "torch-arch-not-compatible", "cli-version-mismatch", "apex-nvcc-mismatch"]
)
def test_a_terminal_of_80_columns_hides_nothing(name: str) -> None:
    row = next(one for one in messages() if one.name == name)
    assert row.proves in ids(saying(_at_80(row)))


def test_a_logger_may_indent_what_goes_on() -> None:
    text = (
        f"12:00:00 ERROR    API error: CUDA error: no kernel image is available for execution on\n{' ' * 18}the device"
    )
    assert first(saying(text)).id == "gpu-arch-not-in-build"


@pytest.mark.parametrize(
    "lines",
    [
        ["short", "lines"],
        ["x" * 70, ""],
        ["x" * 70, '  File "a.py", line 3'],
        ["x" * 70, "RuntimeError: words"],
        ["x" * 70, "[   12.345] words"],
        ["x" * 70, "| a | table |"],
        ["word " * 12, "there was room", "y" * 90],
    ],
)
def test_a_line_that_ended_by_itself_is_not_joined(lines: list[str]) -> None:
    assert [*whole_lines(lines)] == []


def test_words_are_joined_without_a_blank_only_where_the_line_is_full() -> None:
    full, with_room = "x" * 70, "x" * 66
    assert [text for _, text in whole_lines([full, "y more", full])] == [f"{full} y more", f"{full}y more"]
    assert [text for _, text in whole_lines([with_room, "yyyyyy more", full])] == [f"{with_room} yyyyyy more"]


def test_a_message_that_is_whole_is_told_once() -> None:
    text = f"{ARCH}\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."
    assert len(first(saying(text)).evidence) == 1


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(alphabet="ab .\t", max_size=120), max_size=12))
def test_any_lines_can_be_looked_at(lines: list[str]) -> None:
    assert all(0 <= index < len(lines) and text for index, text in whole_lines(lines))
