"""All that nvdiag can explain, under one kind of name: findings, Xids, SXids, NVML's and CUDA's errors, exit codes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from nvdiag.knowledge import pages
from nvdiag.knowledge.cuda_errors import CudaError, cuda_errors
from nvdiag.knowledge.nvml import NvmlError, nvml_errors
from nvdiag.knowledge.smi_exit_codes import SmiExitCode, smi_exit_codes
from nvdiag.knowledge.sxid import Sxid, sxids
from nvdiag.knowledge.xid import Xid, xids
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex

KINDS: Mapping[str, str] = {
    "finding": "Findings of nvdiag",
    "xid": "Xids of the kernel log",
    "sxid": "SXids of NVSwitches",
    "nvml": "Errors of NVML",
    "cuda": "Errors of CUDA",
    "nvidia-smi": "Exit codes of nvidia-smi",
}
"""The kinds of topics, in the order of lists, each with its heading."""

_SPOKEN = regex(
    r"(?P<kind>s?xid|cuda(?:error)?|nvml|nvidia[- _]?smi|smi)"
    r"(?:[ _](?:driver|runtime|error|errors|return|exit|code|status|number|value))*[ :=#(]*(?P<number>\d{1,7})\)?"
)
_PREFIXES = ("ROBUST_CHANNEL_", "HW_", "CUDA_ERROR_", "NVML_ERROR_", "NVML_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One thing that has a page. `key` names it on the command line ("xid 79"), `names` are NVIDIA's names for it."""

    kind: str
    key: str
    number: int | None
    names: tuple[str, ...]
    summary: str
    row: pages.Page | Xid | Sxid | NvmlError | CudaError | SmiExitCode


@lru_cache(maxsize=1)
def topics() -> tuple[Topic, ...]:
    """All of them, kind by kind."""
    found = [
        Topic(kind="finding", key=page.id, number=None, names=(), summary=page.summary, row=page)
        for page in map(pages.page, pages.page_ids())
        if page is not None
    ]
    found += [_numbered("xid", one.number, one.names, one.title, one) for one in xids()]
    found += [_numbered("sxid", one.number, (one.name,), one.title, one) for one in sxids()]
    found += [
        _numbered("nvml", one.number, (one.constant,), one.library_text or one.meaning, one) for one in nvml_errors()
    ]
    for error in cuda_errors():
        names = tuple(name for name in (error.driver_name, error.runtime_name) if name)
        found.append(_numbered("cuda", error.number, names, error.title, error))
    found += [_numbered("nvidia-smi", one.number, (), one.title, one) for one in smi_exit_codes()]
    return tuple(found)


def named(words: str) -> tuple[Topic, ...]:
    """The topics that these words name: an id, a kind with a number, a bare number, or a name of NVIDIA's."""
    page = pages.page(words)
    if page is not None:
        return (Topic(kind="finding", key=page.id, number=None, names=(), summary=page.summary, row=page),)
    asked = spoken(words)
    if asked is not None:
        return tuple(one for one in topics() if (one.kind, one.number) == asked)
    plain = " ".join(words.split())
    if re.fullmatch(r"[0-9]{1,7}", plain):
        return tuple(one for one in topics() if one.number == int(plain))
    return _by_name().get(plain.upper(), ())


def spoken(words: str) -> tuple[str, int] | None:
    """The kind and number of words such as `xid 79`, `CUDA error 803` or `nvidia-smi exit code 9`."""
    found = _SPOKEN.fullmatch(" ".join(words.lower().split()))
    if found is None:
        return None
    kind = {"cudaerror": "cuda"}.get(found["kind"], found["kind"])
    return "nvidia-smi" if kind.endswith("smi") else kind, int(found["number"])


def kind_named(words: str) -> str | None:
    """The kind that a word such as `xid`, `xids`, `findings` or `nvidia-smi` names as a whole."""
    word = words.strip().lower()
    return next((kind for kind in KINDS if word in (kind, f"{kind}s", f"{kind} errors")), None)


def of_kind(kind: str) -> tuple[Topic, ...]:
    """All topics of a kind."""
    return tuple(one for one in topics() if one.kind == kind)


def near(words: str) -> tuple[str, ...]:
    """The names that are most like these words; none where nothing is like them."""
    from difflib import get_close_matches

    word = " ".join(words.split())[:60]
    known = {name.lower(): name for one in topics() for name in (one.key, *one.names)}
    return tuple(known[name] for name in get_close_matches(word.lower(), known, n=3, cutoff=0.72))


@lru_cache(maxsize=1)
def _by_name() -> Mapping[str, tuple[Topic, ...]]:
    """Topics by their names in capitals, with and without the prefixes that people leave out."""
    found: dict[str, tuple[Topic, ...]] = {}
    for one in topics():
        for name in one.names:
            for prefix in ("", *_PREFIXES):
                short = name.upper().removeprefix(prefix)
                if one not in found.get(short, ()):
                    found[short] = (*found.get(short, ()), one)
    return found


def _numbered(
    kind: str, number: int, names: tuple[str, ...], summary: str, row: Xid | Sxid | NvmlError | CudaError | SmiExitCode
) -> Topic:
    return Topic(kind=kind, key=f"{kind} {number}", number=number, names=names, summary=summary, row=row)
