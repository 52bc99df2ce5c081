"""GPUs that failed boot after boot, as far as a recording's logs reach back: a start anew did not cure them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nvdiag.facts.log_lines import bare
from nvdiag.facts.pci import normal_address
from nvdiag.facts.xid import parse_xid
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable, ParseError

SEVERE = frozenset({48, 62, 64, 95, 140, 143})
"""Xids after which a GPU is reset, and which come back after that only where its board, power or slot is at fault:
double-bit errors, a halted micro-controller, a failed row remapping, errors that were not contained, a start that the
firmware refuses (NVIDIA, XID Errors, "GPU memory errors" and the catalogue)."""

_FAULT = regex(r"Xid \(|RmInitAdapter failed")
_INIT = regex(r"GPU ([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]): RmInitAdapter failed")
_MOST = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingGpu:
    """One GPU: in how many earlier boots it failed, whether it did in this one, and a line of each."""

    address: str
    earlier: int
    now: bool
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class EarlierBoots:
    """The GPUs that failed in an earlier boot, with one of the severe Xids in some boot. NotApplicable without logs."""

    failing: tuple[FailingGpu, ...]

    @classmethod
    def collect(cls, host: Host) -> EarlierBoots:
        earlier = host.earlier_texts()
        if not earlier:
            raise NotApplicable("no log of an earlier boot is looked at")
        boots = [(source, _faults(text, source)) for source, text in earlier]
        now: dict[str, _Fault] = {}
        for source, text in host.texts():
            for address, fault in _faults(text, source).items():
                now[address] = max(now.get(address, fault), fault, key=lambda one: one.severe)
        addresses = dict.fromkeys(address for _, faults in boots for address in faults)
        found = (_failing(address, boots, now.get(address)) for address in addresses)
        return cls(tuple(one for one in found if one is not None))


@dataclass(frozen=True, slots=True)
class _Fault:
    severe: bool
    evidence: Evidence


def _failing(address: str, boots: Sequence[tuple[str, Mapping[str, _Fault]]], now: _Fault | None) -> FailingGpu | None:
    """Boots are counted in the source that has most of them: the same boot stands in a journal and in a file."""
    by_source: dict[str, list[_Fault]] = {}
    for source, faults in boots:
        if address in faults:
            by_source.setdefault(_kind(source), []).append(faults[address])
    most = max(by_source.values(), key=len)
    if not any(fault.severe for fault in (*most, *((now,) if now else ()))):
        return None
    shown = [*([now] if now else []), *reversed(most)]
    return FailingGpu(
        address=address,
        earlier=len(most),
        now=now is not None,
        evidence=tuple(fault.evidence for fault in sorted(shown, key=lambda one: not one.severe)[:4]),
    )


def _kind(source: str) -> str:
    return "journalctl" if source.startswith("journalctl") else source


def _faults(text: str, source: str) -> dict[str, _Fault]:
    """By GPU, the first severe fault of a boot, else its first failed start."""
    found: dict[str, _Fault] = {}
    for line in _lines(text):
        words = bare(line).text.strip()
        address, severe = _read(words)
        if address is not None and (address not in found or (severe and not found[address].severe)):
            found[address] = _Fault(severe, Evidence(source=source, excerpt=words[:300]))
    return found


def _lines(text: str) -> Iterator[str]:
    position = 0
    for _ in range(_MOST):
        match = _FAULT.search(text, position)
        if match is None:
            return
        start = text.rfind("\n", 0, match.start()) + 1
        end = text.find("\n", match.end())
        position = len(text) if end < 0 else end
        yield text[max(start, match.start() - 400) : min(position, match.end() + 400)]


def _read(words: str) -> tuple[str | None, bool]:
    """The GPU of a line and whether it is severe; no GPU for another Xid."""
    if init := _INIT.search(words):
        return normal_address(init[1]), False
    try:
        xid = parse_xid(words)
    except ParseError:
        return None, False
    return (xid.address, True) if xid.number in SEVERE else (None, False)
