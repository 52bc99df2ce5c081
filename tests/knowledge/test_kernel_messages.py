"""The words by which a kernel log is seen to hold no known message."""

from __future__ import annotations

import pytest

from nvdiag.knowledge import kernel_messages as kernel
from nvdiag.knowledge.messages import Message, messages

TELLING = [
    one
    for one in messages()
    if one.by in kernel.SPEAKERS
    and (one.proves or (one.suggests and not one.context))
    and one.name not in kernel.SAID_IN_HEALTH
]


def test_the_words_are_those_of_the_tables() -> None:
    expected = sorted({word for one in TELLING for word in one.literals})
    assert list(kernel.WORDS) == expected, "put this list into nvdiag/knowledge/kernel_messages.py"


def test_the_messages_are_all_of_the_kernels_speakers() -> None:
    assert kernel.kernel_messages() == tuple(one for one in messages() if one.by in kernel.SPEAKERS)
    assert {one.by for one in messages()} >= kernel.SPEAKERS
    assert {one.name for one in kernel.kernel_messages()} >= kernel.SAID_IN_HEALTH


@pytest.mark.parametrize("message", TELLING, ids=lambda one: one.name)
def test_a_log_with_a_message_is_looked_at(message: Message) -> None:
    assert kernel.may_tell(message.example.lower())


@pytest.mark.parametrize(
    "line",
    [
        "nvidia: module verification failed: signature and/or required key missing - tainting kernel",
        "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.172.08  Release Build  (dvs-builder@U22)",
        "nvidia-modeset: Loading NVIDIA UNIX Open Kernel Mode Setting Driver for x86_64  570.172.08",
        "nvidia: loading out-of-tree module taints kernel.",
        "pci 0000:01:00.0: BAR 1 [mem 0x6000000000-0x67ffffffff 64bit pref]: assigned",
        "PM: suspend exit",
    ],
)
def test_a_quiet_log_is_not(line: str) -> None:
    assert not kernel.may_tell(line.lower())
