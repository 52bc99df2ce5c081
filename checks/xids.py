"""Xids and SXids of the kernel log: what asks for a repair, for a reset, or for a look at a program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nvdiag.checks import _said
from nvdiag.checks._gpu_remedies import REBOOT, repair, reset
from nvdiag.checks._xid_verdicts import (
    FAULT,
    LOST,
    REPORTED,
    RESET,
    Verdict,
    all_of,
    failed_init,
    first_loss,
    of_the_past,
)
from nvdiag.engine import check
from nvdiag.facts.kernel_log import KernelLog, LoggedSxid, LoggedXid
from nvdiag.facts.messages import Messages
from nvdiag.knowledge.sxid import sxid
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Risk, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown

_MOST_GPUS = 64
_MOST_EVIDENCE = 8
_FOLLOWS = frozenset({"gpu-init-failed", "no-cuda-device"})


@check(FAULT, RESET, REPORTED, area="device")
def no_xid_asks_for_anything(log: KernelLog) -> Iterator[Finding]:
    """No Xid in the kernel log asks for a repair, a reset or a look at a program."""
    gpus: dict[str, list[LoggedXid]] = {}
    for logged in log.xids:
        gpus.setdefault(logged.gpu, []).append(logged)
    losses = {gpu: first_loss(log, gpu, xids) for gpu, xids in gpus.items()}
    for gpu, xids in list(gpus.items())[:_MOST_GPUS]:
        loss = losses[gpu]
        elsewhere = any(place is not None for other, place in losses.items() if other != gpu)
        verdicts = all_of([one for one in xids if loss is None or one.line.place < loss], peer_lost=elsewhere)
        told = (one if log.started_after(gpu, one.logged.line) is None else of_the_past(one) for one in verdicts)
        kept = [one for one in told if one.identifier != LOST]
        if kept:
            yield _finding(log, gpu, kept, lost=loss is not None, alone=len(gpus) == 1)


def _finding(log: KernelLog, gpu: str, verdicts: Sequence[Verdict], *, lost: bool, alone: bool) -> Finding:
    first = min(verdicts, key=lambda one: one.weight)
    evidence = _evidence(sorted(verdicts, key=lambda one: one.weight))
    asks = _title(first)
    detail = _detail(first, verdicts)
    identifier, severity, confidence = first.identifier, first.severity, first.confidence
    init = failed_init(log, gpu, first.logged.line, alone) if identifier == RESET else None
    if lost and severity is Severity.ERROR:
        severity, confidence = Severity.WARNING, Confidence.LIKELY
        detail = f"It came before the GPU was lost, which is the graver trouble. {detail}"
    elif init is not None and severity is Severity.ERROR:
        identifier, confidence = FAULT, Confidence.LIKELY
        asks += ", and after it the GPU could not be initialised"
        evidence = (*evidence[: _MOST_EVIDENCE - 1], init.line.evidence)
    return Finding(
        id=identifier,
        subject=gpu,
        severity=severity,
        confidence=confidence,
        kind=_kind(identifier, first),
        title=asks,
        detail=detail,
        evidence=evidence,
        remedies=_remedies(identifier, first, gpu),
        explains=frozenset() if identifier == REPORTED else _FOLLOWS,
        layers=(Layer.GPU,),
    )


def _title(one: Verdict) -> str:
    xid = one.logged.xid
    where = f" on {one.logged.gpu}" if one.logged.gpu else ""
    by = f" of {xid.name} ({xid.pid})" if xid.name and xid.pid else f" of process {xid.pid}" if xid.pid else ""
    if xid.recovery is not None:
        return f"Xid {xid.number}{where}: {one.words}"
    told = one.row.title if one.row else "a number newer than what nvdiag knows"
    return f"Xid {xid.number}{where}{by}: {told}{f' ({one.words})' if one.words else ''}"


def _detail(first: Verdict, verdicts: Sequence[Verdict]) -> str:
    row = first.row
    if row is None:
        return "NVIDIA named it after nvdiag's table was made. The words of the line and NVIDIA's own list say more."
    said = [row.meaning, f"NVIDIA: {row.immediate.says}"]
    if row.note:
        said.append(row.note)
    numbers = dict.fromkeys(one.logged.xid.number for one in verdicts if one.logged.xid.number != row.number)
    if numbers:
        said.append(f"The log has Xid {listed([str(number) for number in numbers])} of this GPU too.")
    names = {one.logged.xid.name for one in verdicts if one.logged.xid.number == row.number and one.logged.xid.name}
    if row.fault == "application" and len(names) > 1:
        said.append(f"{len(names)} different programs ran into it on this GPU, which points at the hardware.")
    return " ".join(said)


def _evidence(verdicts: Sequence[Verdict]) -> tuple[Evidence, ...]:
    """The first line of each Xid of each program, with how often it is there."""
    groups: dict[tuple[int, str | None], list[Verdict]] = {}
    for one in verdicts:
        groups.setdefault((one.logged.xid.number, one.logged.xid.name), []).append(one)
    found = []
    for group in groups.values():
        evidence = group[0].logged.line.evidence
        more = f" [{len(group)} such lines]" if len(group) > 1 else ""
        found.append(Evidence(source=evidence.source, excerpt=f"{evidence.excerpt}{more}"))
    return tuple(found[:_MOST_EVIDENCE])


def _kind(identifier: str, first: Verdict) -> FindingClass:
    if identifier != REPORTED:
        return FindingClass.HARDWARE
    fault = first.row.fault if first.row else "unknown"
    if fault == "application":
        return FindingClass.APPLICATION
    return FindingClass.HARDWARE if fault == "hardware" else FindingClass.CONFIGURATION


def _remedies(identifier: str, first: Verdict, gpu: str) -> tuple[Remedy, ...]:
    number = first.logged.xid.number
    if identifier == FAULT:
        return repair()
    if identifier == RESET:
        asked = (first.logged.xid.recovery or "").lower()
        return (REBOOT,) if "reboot" in asked else reset(gpu if first.logged.xid.address else "")
    if first.passed:
        return ()
    kind = first.row.immediate.kind if first.row else ""
    read = Remedy(summary=f"read what is known of Xid {number}", commands=(f"nvdiag explain 'xid {number}'",))
    if kind == "application" or (first.row and first.row.fault == "application"):
        return (
            Remedy(
                summary="restart the program; where it happens again, look for its fault with NVIDIA's sanitizer",
                commands=("compute-sanitizer --tool memcheck PROGRAM",),
                prediction="it names the kernel and the access; a program that it finds clean, on one GPU only, points"
                " at that GPU",
            ),
            read,
        )
    return (read,)


@check(RESET, area="device")
def no_words_ask_for_a_reset(messages: Messages, log: KernelLog | Unknown) -> Iterator[Finding]:
    """No program, and no line of the driver without an Xid, asks for a reset of a GPU."""
    numbered = isinstance(log, KernelLog) and bool(log.xids)
    said = tuple(one for one in _said.about(messages, RESET) if not (numbered and one.message.name == "gsp-timeout"))
    if not said:
        raise NotApplicable("the Xid that goes with it tells of it")
    yield _said.finding(
        said,
        RESET,
        kind=FindingClass.HARDWARE,
        detail="The driver cannot go on with the GPU in the state that it is in. The kernel log says what led to it.",
        remedies=reset(""),
        explains=_FOLLOWS,
        layers=(Layer.GPU,),
    )


@check(FAULT, REPORTED, area="device")
def no_nvswitch_reports_an_error(log: KernelLog) -> Iterator[Finding]:
    """No NVSwitch has reported an SXid."""
    if not log.sxids:
        raise NotApplicable("no SXid is in the text")
    switches: dict[str, list[LoggedSxid]] = {}
    for logged in log.sxids:
        switches.setdefault(logged.sxid.address or logged.sxid.switch, []).append(logged)
    lost = any(first_loss(log, logged.gpu, [logged]) for logged in log.xids)
    for place, lines in list(switches.items())[:_MOST_GPUS]:
        yield _of_switch(place, lines, lost)


def _of_switch(place: str, lines: Sequence[LoggedSxid], lost: bool) -> Finding:
    fatal = [one for one in lines if one.sxid.fatal]
    first = (fatal or lines)[0]
    row = sxid(first.sxid.number)
    title = row.title if row else "a number newer than what nvdiag knows"
    kind = row.kind if row else None
    grave = bool(fatal) and not lost
    counts = {one.sxid.number: sum(1 for each in lines if each.sxid.number == one.sxid.number) for one in lines}
    return Finding(
        id=FAULT if grave else REPORTED,
        subject=place,
        severity=Severity.ERROR if grave else Severity.WARNING if fatal else Severity.INFO,
        confidence=Confidence.LIKELY if fatal else Confidence.CERTAIN,
        kind=FindingClass.HARDWARE,
        title=f"SXid {first.sxid.number} on {first.sxid.switch}, {'fatal' if fatal else 'not fatal'}: {title}",
        detail=" ".join(
            (
                *((kind.meaning, f"NVIDIA: {kind.remedy}") if kind else ()),
                f"Lines by number: {listed([f'{number} ({count})' for number, count in list(counts.items())[:12]])}.",
            )
        ),
        evidence=tuple(dict.fromkeys(one.line.evidence for one in (*fatal, *lines)))[:_MOST_EVIDENCE],
        remedies=(_SWITCH,) if fatal else (),
        explains=_FOLLOWS if grave else frozenset(),
        layers=(Layer.GPU,),
    )


_SWITCH = Remedy(
    summary="see whether GPUs were reset or fell off the bus at that time; if not, restart the machine",
    commands=("sudo dmesg | grep -E 'SXid|Xid'", "sudo systemctl status nvidia-fabricmanager", "sudo reboot"),
    risk=Risk.DISRUPTIVE,
    needs_root=True,
    reboots=True,
    prediction="a restart resets all switches and GPUs; a link that fails again is for support",
)
