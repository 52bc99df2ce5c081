"""What a pasted text names: known messages, Xids and SXids, and errors by their names, numbers and words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.facts.kernel_log import LoggedXid, xids_in
from nvdiag.facts.messages import Said, messages_in
from nvdiag.knowledge.cuda_errors import CudaError
from nvdiag.knowledge.nvml import NvmlError
from nvdiag.knowledge.topics import Topic, named, of_kind
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex

_MOST = 12
_LONGEST = 200_000
_NAMES = regex(r"\b(?:CUDA_ERROR_[A-Z0-9_]{2,60}|cudaError[A-Z][A-Za-z0-9]{2,60}|NVML_[A-Z0-9_]{2,60})\b")
_NUMBERS = (
    ("xid", re.compile(r"\bXid(?: error)?(?: code)?[ :=#-]{1,3}(\d{1,3})\b", re.IGNORECASE)),
    ("sxid", re.compile(r"\bSXid(?: error)?(?: code)?[ :=#-]{1,3}(\d{5})\b", re.IGNORECASE)),
    ("cuda", re.compile(r"\bCUDA(?: driver| runtime)? error(?: code)?[ :=#(]{1,4}(\d{1,3})\b", re.IGNORECASE)),
    (
        "cuda",
        re.compile(r"\bcu(?:da)?[A-Z]\w{2,60}(?:\(\))? (?:returned|failed with)(?: error)?[ :=(]{1,3}(\d{1,3})\b"),
    ),
    ("nvml", re.compile(r"\bNVML(?: error| return)?(?: code)?[ :=#(]{1,4}(\d{1,3})\b", re.IGNORECASE)),
    ("nvml", re.compile(r"\bnvml[A-Z]\w{2,60}(?:\(\))? (?:returned|failed with)(?: error)?[ :=(]{1,3}(\d{1,3})\b")),
    ("nvidia-smi", re.compile(r"\bnvidia-smi\b.{0,40}\bexit(?:ed)?(?: with)?(?: code| status)?[ :=]{1,3}(\d{1,3})\b")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """What was found in a text, each once, in the order of certainty; both are empty where nothing is known."""

    said: tuple[Said, ...]
    topics: tuple[Topic, ...]


def recognised(text: str) -> Recognised:
    """What a pasted text names. The first 200,000 characters are looked at."""
    words = text[:_LONGEST]
    said: dict[str, Said] = {}
    for one in messages_in(words, "the text"):
        said.setdefault(one.message.name, one)
    surest = sorted(said.values(), key=lambda one: (one.message.proves is None, one.message.confidence.value))
    found = dict.fromkeys(one for part in (_logged, _names, _numbers, _library_texts) for one in part(words))
    return Recognised(said=tuple(surest[:_MOST]), topics=tuple(found)[:_MOST])


def _logged(text: str) -> Iterator[Topic]:
    for one in xids_in(text, "the text"):
        yield from named(f"xid {one.xid.number}" if isinstance(one, LoggedXid) else f"sxid {one.sxid.number}")


def _names(text: str) -> Iterator[Topic]:
    for found in _NAMES.finditer(text):
        yield from named(found[0])


def _numbers(text: str) -> Iterator[Topic]:
    for kind, pattern in _NUMBERS:
        for found in pattern.finditer(text):
            yield from named(f"{kind} {found[1]}")


def _library_texts(text: str) -> Iterator[Topic]:
    """Errors by the words that NVIDIA's libraries have for them; a single word counts only as the whole text.

    Where both libraries have the words, the one that the text speaks of; no words that stand within others found.
    """
    small = " ".join(text.lower().split())
    found: dict[Topic, str] = {}
    for one in (*of_kind("nvml"), *of_kind("cuda")):
        words = one.row.library_text.lower() if isinstance(one.row, (NvmlError, CudaError)) else ""
        if words and (small == words or (" " in words and words in small)):
            found[one] = words
    spoken = {kind for kind in ("nvml", "cuda") if kind in small or (kind == "nvml" and "nvidia-smi" in small)}
    for one, words in found.items():
        twins = {other.kind for other, same in found.items() if same == words}
        within = any(words != other and words in other for other in found.values())
        if not within and (len(twins) == 1 or len(spoken) != 1 or one.kind in spoken):
            yield one
