"""`nvdiag explain`: every id, number, name and message has its page, in each format, and nothing else has one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from nvdiag import catalogue
from nvdiag.knowledge.messages import messages
from nvdiag.knowledge.pages import page_ids
from nvdiag.knowledge.topics import KINDS, Topic, named, topics
from nvdiag.report import explained, plain_pages
from tests.cli.calling import call, one_line, process

ALL = topics()
IDS = sorted({identifier for one in catalogue.built_in() for identifier in one.ids})
ROWS = [one for one in ALL if one.kind != "finding"]


def page(*words: str) -> str:
    result = call("explain", *words)
    assert (result.exit_code, result.stderr) == (0, ""), words
    return result.stdout


def too_long(text: str) -> list[str]:
    """Lines of more than 80 columns that are no code: that is not to be broken."""
    return [line for line in text.splitlines() if len(line) > 80 and not line.startswith("    ")]


def test_each_row_of_each_table_is_a_topic_of_its_own() -> None:
    keys = [one.key for one in ALL]
    assert len(set(keys)) == len(keys)
    counts = {kind: sum(1 for one in ALL if one.kind == kind) for kind in KINDS}
    assert counts.pop("cuda") >= 49
    assert counts == {"finding": len(page_ids()), "xid": 176, "sxid": 399, "nvml": 32, "nvidia-smi": 15}


@pytest.mark.parametrize("identifier", IDS)
def test_every_id_of_the_list_has_a_page(identifier: str) -> None:
    text = page(identifier)
    assert text.startswith(f"{identifier}\n")
    assert "WHAT TO DO" in text
    assert too_long(text) == []


@pytest.mark.parametrize("topic", ROWS, ids=lambda topic: topic.key)
def test_every_row_is_found_by_its_number(topic: Topic) -> None:
    text = page(topic.key)
    assert explained.title(topic) in text
    assert too_long(text) == []
    assert all(name in text for name in topic.names)
    assert "WHAT IT MEANS" in text
    assert "SOURCES" in text


@pytest.mark.parametrize("topic", [one for one in ROWS if one.names], ids=lambda topic: topic.key)
def test_every_row_is_found_by_its_names(topic: Topic) -> None:
    for name in topic.names:
        for words in (name, name.lower()):
            assert explained.title(topic) in page(words)


@pytest.mark.parametrize(
    ("words", "title"),
    [
        (("xid 79",), "Xid 79"),
        (("xid", "79"), "Xid 79"),
        (("XID 79",), "Xid 79"),
        (("xid79",), "Xid 79"),
        (("Xid: 79",), "Xid 79"),
        (("xid error 79",), "Xid 79"),
        (("sxid 12028",), "SXid 12028"),
        (("cuda 803",), "CUDA error 803"),
        (("CUDA error 803",), "CUDA error 803"),
        (("cuda driver error 803",), "CUDA error 803"),
        (("CUDA_ERROR_NO_DEVICE",), "CUDA error 100"),
        (("cudaErrorNoDevice",), "CUDA error 100"),
        (("nvml 18",), "NVML error 18"),
        (("NVML_ERROR_LIB_RM_VERSION_MISMATCH",), "NVML error 18"),
        (("LIB_RM_VERSION_MISMATCH",), "NVML error 18"),
        (("nvidia-smi 9",), "nvidia-smi exit code 9"),
        (("nvidia-smi exit code 9",), "nvidia-smi exit code 9"),
        (("smi 255",), "nvidia-smi exit code 255"),
        (("GPU_HAS_FALLEN_OFF_THE_BUS",), "Xid 79"),
        (("GSP_RPC_TIMEOUT",), "Xid 119"),
        (("HW_NPORT_EGRESS_PRIVRSPERR",), "SXid 12028"),
    ],
)
def test_a_topic_is_found_as_people_write_it(words: tuple[str, ...], title: str) -> None:
    assert page(*words).startswith(f"{title}:")


def test_a_bare_number_shows_all_that_have_it() -> None:
    text = page("18")
    assert "Xid 18:" in text
    assert "NVML error 18:" in text
    assert "nvidia-smi exit code 18:" in text


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "finding"])
def test_a_kind_alone_lists_its_topics(kind: str) -> None:
    text = page(kind)
    assert too_long(text) == []
    assert KINDS[kind] in text
    for one in ALL:
        assert (f"  {one.key} " in text) == (one.kind == kind)


def test_nothing_lists_everything() -> None:
    text = page()
    assert too_long(text) == []
    assert {one.key for one in ALL if one.number is None} <= set(text.split())
    assert all(f"  {one.key} " in text for one in ROWS)


PROVING = [one for one in messages() if one.proves and not named(one.example)]
"""The messages that are not an error's own words, which lead to that error's page."""


@pytest.mark.parametrize("message", PROVING, ids=lambda one: one.name)
def test_a_pasted_message_shows_what_it_proves_and_its_page(message: Any) -> None:
    text = page(message.example)
    assert f"`{message.proves}`" in text
    assert f"\n{message.proves}\n" in text


def test_a_message_that_proves_nothing_names_what_it_is_seen_with() -> None:
    for message in messages():
        if not message.proves:
            text = " ".join(page(message.example).split())
            assert all(f"`{name}`" in text for name in message.suggests), message.name


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("[ 12.5] NVRM: Xid (PCI:0000:3b:00): 31, pid=4711, name=python3, Ch 00000008", "Xid 31"),
        ("nvidia-nvswitch3: SXid (PCI:0000:cd:00.0): 20034, Fatal, Link 24 LTSSM Fault Up", "SXid 20034"),
        ("RuntimeError: CUDA error: an illegal memory access was encountered", "CUDA error 700"),
        ("cuInit() returned 803", "CUDA error 803"),
        ("my node was drained because of XID error 79, what now?", "Xid 79"),
        ("torch.cuda failed: CUDA error code=802(cudaErrorSystemNotReady)", "CUDA error 802"),
        ("pynvml.NVMLError_GpuIsLost: GPU is lost", "NVML error 15"),
        ("nvidia-smi failed, exit code 14", "nvidia-smi exit code 14"),
        ("--- last words: NVRM: Xid (PCI:0000:3b:00): 62, pid=1, x", "Xid 62"),
    ],
)
def test_an_error_in_a_text_leads_to_its_page(text: str, title: str) -> None:
    """As the page itself, or by the words that lead to it where a message in the text says more."""
    shown = page(text)
    assert shown.startswith("What this text says\n")
    asked = title.replace(" error", "").replace(" exit code", "")
    assert f"\n{title}:" in shown or f"`{asked[:1].lower()}{asked[1:].lower()}`" in shown


def test_words_that_two_libraries_share_are_told_apart_by_the_text() -> None:
    assert "NVML error 999" not in page("CUDA driver call failed: unknown error")
    assert "CUDA error 999" not in page("nvmlInit failed: Unknown Error, says NVML")


def test_words_within_other_words_are_not_named() -> None:
    assert "nvml 6" not in page("NVML Shared Library Not Found")


# Other formats


@pytest.mark.parametrize("topic", ALL, ids=lambda topic: topic.key)
def test_every_page_is_markdown_and_json_too(topic: Topic) -> None:
    markdown = page(topic.key, "--format", "markdown")
    assert markdown == explained.page(topic)
    assert markdown.startswith("# ")
    assert markdown.count("```") % 2 == 0
    assert page(topic.key) == plain_pages.as_text(markdown)
    (shown,) = json.loads(page(topic.key, "--format", "json"))["topics"]
    assert (shown["kind"], shown["key"], shown["names"]) == (topic.kind, topic.key, list(topic.names))
    assert shown["page"] == markdown
    assert shown["sections"]


def test_the_json_of_an_xid_has_all_that_its_row_has() -> None:
    (shown,) = json.loads(page("xid 119", "--format", "json"))["topics"]
    assert shown["number"] == 119
    assert shown["findings"] == ["gpu-reset-required"]
    assert any("RESET_GPU" in one for one in shown["sections"]["What NVIDIA says to do"])
    assert len(shown["sources"]) == 3


def test_the_json_of_a_text_has_messages_and_topics() -> None:
    shown = json.loads(page("Failed to initialize NVML: Driver/library version mismatch", "--format", "json"))
    assert {one["proves"] for one in shown["messages"]} == {"driver-library-mismatch"}
    assert "nvml 18" in {one["key"] for one in shown["topics"]}


def test_the_json_of_a_list_names_everything() -> None:
    assert len(json.loads(page("--format", "json"))["topics"]) == len(ALL)
    assert len(json.loads(page("xid", "--format", "json"))["topics"]) == 176


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "finding"])
def test_a_kind_in_markdown_is_a_document_with_every_row(kind: str) -> None:
    text = page(kind, "--format", "markdown")
    assert text.startswith(f"# {KINDS[kind]}\n")
    assert text.count("\n# ") == 0
    for one in ALL:
        if one.kind == kind:
            assert f"| `{one.key}` |" in text
            assert all(f"`{name}`" in text for name in one.names)


# What is not known, and what is not to be printed


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("driver-libary-mismatch", "driver-library-mismatch"),
        ("CUDA_ERROR_NO_DEVISE", "CUDA_ERROR_NO_DEVICE"),
        ("cudaErorNoDevice", "cudaErrorNoDevice"),
        ("NVML_ERROR_GPU_IS_LOS", "NVML_ERROR_GPU_IS_LOST"),
        ("gpu-reset-requird", "gpu-reset-required"),
    ],
)
def test_a_typing_error_gets_the_nearest_names(words: str, near: str) -> None:
    result = call("explain", words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"did you mean {near}" in one_line(result.stderr)


@pytest.mark.parametrize("words", ["xid 999", "cuda 12345", "nvml 31", "sxid 5", "nvidia-smi 77"])
def test_a_number_that_no_table_has_names_the_list(words: str) -> None:
    result = call("explain", words)
    assert (result.exit_code, result.stdout) == (2, "")
    kind = words.split(maxsplit=1)[0]
    assert f"`nvdiag explain {kind}` lists those there are" in one_line(result.stderr)


HOSTILE = "\x1b]0;owned\x07\x1b[31mNVRM: Xid (PCI:0000:3b:00): 31, pid=1, name=\u202e`[x](y)\x1b[0m, Ch 1"


@pytest.mark.parametrize("form", ["terminal", "markdown", "json"])
@pytest.mark.parametrize(
    "text",
    [
        HOSTILE,
        "\x1b[31mFailed to initialize NVML: Driver/library version mismatch\x1b[0m ```\n# heading\n<script>",
        "API mismatch: the client has the version 570.172.08, but this kernel module has the version 570.169.\x9b31m",
    ],
)
def test_nothing_of_a_text_reaches_the_terminal_as_it_came(text: str, form: str) -> None:
    shown = page(text, "--format", form)
    assert not any(mark in shown for mark in "\x1b\x07\x9b\u202e")
    if form == "markdown":
        assert "\n# heading" not in shown
        assert "\n<script>" not in shown
        assert len(re.findall("^`{3,}", shown, re.MULTILINE)) % 2 == 0


def test_an_unknown_text_is_one_short_line() -> None:
    result = call("explain", "\x1b[31m" + "no such words " * 500)
    assert result.exit_code == 2
    assert "\x1b" not in one_line(result.stderr)
    assert len(result.stderr) < 250


def test_a_long_text_is_explained() -> None:
    assert "Xid 31" in page("noise\n" * 10_000 + "NVRM: Xid (PCI:0000:3b:00): 31, pid=4711, name=python3, Ch 00000008")


def test_an_unknown_format_is_wrong_usage() -> None:
    result = process("explain", "xid 79", "--format", "html")
    assert (result.returncode, result.stdout) == (2, "")


def test_a_page_is_plain_where_no_terminal_shows_it() -> None:
    assert "\x1b" not in process("explain", "xid", "79").stdout
    assert "\x1b[1mXid 79" in plain_pages.as_text("# Xid 79\n", bold=True)
