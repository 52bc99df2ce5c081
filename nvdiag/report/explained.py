"""What nvdiag knows of one topic, as a page of Markdown and as data; and lists of topics."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from nvdiag.knowledge.cuda_errors import CudaError
from nvdiag.knowledge.nvml import NvmlError
from nvdiag.knowledge.pages import Page
from nvdiag.knowledge.smi_exit_codes import SmiExitCode
from nvdiag.knowledge.sxid import Sxid
from nvdiag.knowledge.topics import KINDS, Topic
from nvdiag.knowledge.xid import CAUSES, FAULTS, Xid

Json = object
_TITLES = {
    "xid": "Xid {}",
    "sxid": "SXid {}",
    "nvml": "NVML error {}",
    "cuda": "CUDA error {}",
    "nvidia-smi": "nvidia-smi exit code {}",
}


def page(topic: Topic) -> str:
    """The topic's page in Markdown, with a final newline; a finding's own page as it is written."""
    row = topic.row
    if isinstance(row, Page):
        return row.body
    lines = [f"# {title(topic)}: {_first_line(topic)}", ""]
    if topic.names:
        lines += [f"NVIDIA's name: {', '.join(f'`{name}`' for name in topic.names)}.", ""]
    for heading, body in sections(topic).items():
        lines += [f"## {heading}", "", *([body] if isinstance(body, str) else [f"- {one}" for one in body]), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def title(topic: Topic) -> str:
    """What a topic is called in a heading."""
    return topic.key if topic.number is None else _TITLES[topic.kind].format(topic.number)


def sections(topic: Topic) -> Mapping[str, str | Sequence[str]]:
    """The parts of a page of a table's row: text, or the lines of a list; those of a finding as its page has them."""
    match topic.row:
        case Page() as row:
            return row.sections
        case Xid() as row:
            return _of_xid(row)
        case Sxid() as row:
            return _of_sxid(row)
        case NvmlError() | CudaError() | SmiExitCode() as row:
            return _of_error(row)


def data(topic: Topic) -> dict[str, Json]:
    """The topic as a JSON object. `page` is its page in Markdown."""
    row = topic.row
    return {
        "kind": topic.kind,
        "key": topic.key,
        "number": topic.number,
        "names": list(topic.names),
        "summary": topic.summary,
        "findings": list(findings(topic)),
        "sections": {name: body if isinstance(body, str) else list(body) for name, body in sections(topic).items()},
        "sources": [] if isinstance(row, Page) else list(row.source),
        "page": page(topic),
    }


def findings(topic: Topic) -> tuple[str, ...]:
    """The ids of nvdiag's findings that speak of a topic."""
    match topic.row:
        case Page() as row:
            return (row.id,)
        case Xid() as row:
            return (row.finding,)
        case Sxid():
            return ("gpu-hardware-fault", "xid-reported")
        case NvmlError() | CudaError() | SmiExitCode() as row:
            return row.findings


def listing(topics: Sequence[Topic]) -> str:
    """The topics as a list for a terminal: keys, and what each is, under a heading for each kind."""
    lines: list[str] = []
    for kind, group in groupby(topics, key=lambda one: one.kind):
        lines += [KINDS[kind], ""]
        for one in group:
            if one.number is None:
                lines += [f"  {one.key}", *_wrapped(one.summary, " " * 6)]
            else:
                lines += _wrapped(f"{one.key:<15} {one.summary}", "  ", " " * 18)
        lines.append("")
    return "\n".join(lines)


def catalogue(kind: str, topics: Sequence[Topic]) -> str:
    """All topics of one kind as one document in Markdown: a table, then what there is to say of each."""
    lines = [f"# {KINDS[kind]}", "", "| | NVIDIA's name | what it is |", "| --- | --- | --- |"]
    for one in topics:
        names = ", ".join(f"`{name}`" for name in one.names)
        lines.append(f"| `{one.key}` | {names} | {_cell(one)} |")
    if kind == "sxid":
        return "\n".join([*lines, "", *_classes(topics)]).rstrip("\n") + "\n"
    for one in topics:
        lines += ["", page(one).replace("\n#", "\n##").replace("# ", "## ", 1).rstrip("\n")]
    return "\n".join(lines) + "\n"


def _wrapped(words: str, indent: str, hang: str = "") -> list[str]:
    return textwrap.wrap(
        words, 80, initial_indent=indent, subsequent_indent=hang or indent, break_on_hyphens=False, drop_whitespace=True
    )


def _classes(topics: Sequence[Topic]) -> Iterator[str]:
    kinds = {one.row.kind.name: one.row.kind for one in topics if isinstance(one.row, Sxid) and one.row.kind}
    for kind in kinds.values():
        numbers = [str(one.number) for one in topics if isinstance(one.row, Sxid) and one.row.kind == kind]
        yield from (f"## {kind.name}", "", kind.meaning, kind.remedy, "", f"{', '.join(numbers)}.", "")


def _cell(topic: Topic) -> str:
    row = topic.row
    kind = f" ({row.kind.name})" if isinstance(row, Sxid) and row.kind else ""
    return topic.summary.replace("|", "\\|") + kind


def _first_line(topic: Topic) -> str:
    return topic.summary.rstrip(".")


def _of_xid(row: Xid) -> dict[str, str | Sequence[str]]:
    parts: dict[str, str | Sequence[str]] = {
        "What it means": " ".join(part for part in (row.meaning, row.note) if part)
    }
    fault = FAULTS[row.fault]
    parts["Whose fault it is"] = f"{fault[0].upper()}{fault[1:]}."
    if row.causes:
        parts["Possible causes, as NVIDIA lists them"] = [CAUSES[cause] for cause in row.causes]
    parts["What NVIDIA says to do"] = [
        f"At once: {row.immediate.says} (`{row.immediate.token}`)",
        f"To find the cause: {row.investigatory.says} (`{row.investigatory.token}`)",
    ]
    if row.unused:
        seen = "NVIDIA's catalogue for Ampere and newer lists the number as unused; older GPUs may write it."
    elif row.products:
        seen = f"NVIDIA lists it for {', '.join(row.products)}, which stand for their generations."
    else:
        seen = "It is newer than NVIDIA's catalogue, which ends at 172; only the driver's header names it."
    if row.summed_up_since:
        seen += f" From driver branch {row.summed_up_since} on an Xid 154 follows it and names what the GPU needs."
    parts["Where it is seen"] = seen
    return parts | {"See also": _see((row.finding,)), "Sources": row.source}


def _of_sxid(row: Sxid) -> dict[str, str | Sequence[str]]:
    if row.kind is None:
        meaning = (
            "NVIDIA's guide does not have the number. The line itself says whether it is fatal, and for which link."
        )
        remedy = "Fatal: see whether a GPU was reset or lost at that time; if not, restart the machine. Else watch it."
        parts = {"What it means": meaning, "What to do": remedy}
    else:
        parts = {
            "What it means": f"NVIDIA counts it as {row.kind.name}. {row.kind.meaning}",
            "What to do": row.kind.remedy,
        }
    whose = "The NVSwitch, a link of it, or the GPU at the other end; rarely a program."
    seen = _see(("gpu-hardware-fault", "xid-reported"))
    return {**parts, "Whose fault it is": whose, "See also": seen, "Sources": row.source}


def _of_error(row: NvmlError | CudaError | SmiExitCode) -> dict[str, str | Sequence[str]]:
    said = row.says if isinstance(row, SmiExitCode) else row.library_text
    meaning = row.meaning
    if isinstance(row, SmiExitCode) and not row.manual:
        meaning += " The manual page does not name this code: it is the number of NVML's error."
    parts: dict[str, str | Sequence[str]] = {"What it means": meaning}
    if said:
        parts["How it looks"] = f"```text\n{said}\n```"
    if row.causes:
        parts["Causes"] = row.causes
    parts["What to do"] = row.remedy
    if row.findings:
        parts["See also"] = _see(row.findings)
    return parts | {"Sources": row.source}


def _see(identifiers: Sequence[str]) -> list[str]:
    return [f"`nvdiag explain {identifier}`" for identifier in identifiers]
