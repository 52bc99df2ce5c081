"""The engine: collects facts by annotation, runs checks, puts causes before consequences. It knows no check by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias, get_args, get_type_hints

from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.diagnosis import CheckOutcome, Diagnosis, Ranked, Status
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown

CheckFunction: TypeAlias = Callable[..., Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """A check: a plain function from facts to findings, the ids it may report, and the area it belongs to.

    `source` is the function, or the name of the module that has it, which is then imported when it is called. `needs`
    are the facts without which it is not called, as far as they are known before that: `modules.LoadedDriver`.
    """

    name: str
    area: str
    ids: tuple[str, ...]
    source: CheckFunction | str
    needs: tuple[str, ...] = ()

    @property
    def function(self) -> CheckFunction:
        if not isinstance(self.source, str):
            return self.source
        function: CheckFunction = getattr(import_module(self.source), self.name)
        return function

    @property
    def promise(self) -> str:
        """The first line of the function's docstring: what holds on a machine where it finds nothing."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """A plug-in that could not be imported: a check that did not run is never health."""

    name: str
    error: str


def check(*ids: str, area: str = "") -> Callable[[CheckFunction], CheckFunction]:
    """Declare a function as a check that may report these ids. `area` is by default the name of its module."""

    def declare(function: CheckFunction) -> CheckFunction:
        where = area or function.__module__.rpartition(".")[2]
        function.nvdiag_check = Check(function.__name__, where, ids, function)  # type: ignore[attr-defined]
        return function

    return declare


def checks_of(module: object) -> tuple[Check, ...]:
    """The checks that a module declares, in the order of its source."""
    own = (
        value for value in vars(module).values() if getattr(value, "__module__", None) == getattr(module, "__name__", 0)
    )
    return tuple(value.nvdiag_check for value in own if hasattr(value, "nvdiag_check"))


@cache
def wanted(function: Callable[..., object]) -> Mapping[str, tuple[type[Any], ...]]:
    """What a fact's `collect` or a check takes: each parameter's fact class first, then Unknown where it takes that."""
    try:
        return {name: _named(hint, function) for name, hint in function.__annotations__.items() if name != "return"}
    except (AttributeError, KeyError):
        hints = get_type_hints(function)
        return {name: get_args(hint) or (hint,) for name, hint in hints.items() if name != "return"}


def _named(hint: str, function: Callable[..., object]) -> tuple[type[Any], ...]:
    """The classes of `A | B`, which is what nearly all are: typing compiles each hint, at ten times the cost.

    AttributeError, KeyError for any other form.
    """
    kinds = tuple(function.__globals__[name.strip()] for name in hint.split("|"))
    if not all(isinstance(kind, type) for kind in kinds):
        raise KeyError(hint)
    return kinds


@cache
def fact_named(name: str) -> type[Any]:
    """The fact of a module of `nvdiag.facts`: modules.LoadedDriver."""
    module, _, kind = name.rpartition(".")
    fact: type[Any] = getattr(import_module(f"nvdiag.facts.{module}"), kind)
    return fact


def made_of(kinds: Iterable[type[Any]]) -> dict[type[Any], bool]:
    """Facts with all that they are made of, and whether each waits for a child process.

    What waits, itself or by a part of it, is collected last.
    """
    known: dict[type[Any], bool] = {}

    def waits(kind: type[Any]) -> bool:
        if kind not in known:
            known[kind] = False  # of a fact that depends on itself
            collect = getattr(kind, "collect", None)
            parts = wanted(collect).values() if collect is not None else ()
            known[kind] = any([getattr(kind, "waits_for_child", False), *(waits(kinds[0]) for kinds in parts)])
        return known[kind]

    for kind in kinds:
        waits(kind)
    return known


class Facts(dict[type[Any], Any]):
    """The facts of one run, each collected once, when first asked for: `Facts({Host: host})`."""

    def __init__(self, known: Mapping[type[Any], Any]) -> None:
        super().__init__(known)
        self.started = time.monotonic()
        self.faults: list[tuple[str, BaseException]] = []

    def __missing__(self, kind: type[Any]) -> Any:
        self[kind] = Unknown(f"{kind.__name__} depends on itself")
        try:
            self[kind] = self.call(kind.collect)
        except Unknown as why:
            self[kind] = why
        except (Exception, SystemExit) as error:  # a defect of nvdiag's own: one fact is lost, and the run says so
            self.faults.append((f"{kind.__name__}.collect", error))
            self[kind] = Unknown(f"nvdiag failed to read it ({type(error).__name__})")
        return self[kind]

    def call(self, function: Callable[..., Any]) -> Any:
        """Call a provider or a check with its facts; an Unknown that it does not take is raised instead."""
        kinds = wanted(function)
        arguments = {name: self[kind[0]] for name, kind in kinds.items()}
        missing = [
            value for name, value in arguments.items() if isinstance(value, Unknown) and Unknown not in kinds[name]
        ]
        if (why := _first(missing)) is not None:
            raise why
        return function(**arguments)

    def gather(self, kinds: Iterable[type[Any]], *, waiting: bool) -> None:
        """Collect these facts: what is read from files first, after that what waits for a child, if `waiting`."""
        known = made_of(kinds)
        for kind in sorted(known, key=known.__getitem__):
            if waiting or not known[kind]:
                self[kind]

    def missing(self, needs: Sequence[str]) -> Unknown | None:
        """Why a check with these needs is not called: its question does not arise, or something is not known."""
        return _first([value for name in needs if isinstance(value := self[fact_named(name)], Unknown)])


def _first(missing: Sequence[Unknown]) -> Unknown | None:
    """A question that does not arise is no open question, whatever else is not known."""
    return next((why for why in missing if isinstance(why, NotApplicable)), missing[0] if missing else None)


def diagnose(
    facts: Facts,
    checks: Sequence[Check],
    *,
    also: Iterable[type[Any]] = (),
    broken: Iterable[BrokenPlugin] = (),
) -> Diagnosis:
    """Run checks on facts that have a Host; `also` are facts that the report shows whoever takes them."""
    needed = [*map(fact_named, dict.fromkeys(name for one in checks for name in one.needs)), *also]
    facts.gather(needed, waiting=False)
    together = dict.fromkeys(one.needs for one in checks)
    ready = [needs for needs in together if all(fact_named(name) in facts for name in needs)]
    fit = {needs for needs in ready if facts.missing(needs) is None}
    for one in checks:
        if one.needs in fit:
            one.function  # noqa: B018 - its module is imported while the children are at work
    facts.gather(needed, waiting=True)
    reasons = {needs: facts.missing(needs) for needs in together}
    called = [one.function for one in checks if reasons[one.needs] is None]
    facts.gather((kinds[0] for function in called for kinds in wanted(function).values()), waiting=True)
    outcomes, findings = [], []
    for one in checks:
        outcome, found = _run(one, facts, reasons[one.needs])
        outcomes.append(outcome)
        findings += found
    for plugin in broken:
        outcomes.append(CheckOutcome(name=plugin.name, area="engine", status=Status.FAILED, reason=plugin.error))
        findings.append(_plugin_finding(plugin))
    findings += [_fault(name, error) for name, error in facts.faults]
    return Diagnosis(
        source=facts[Host].source,
        findings=tuple(rank(unique(findings))),
        checks=tuple(outcomes),
        facts=facts,
        seconds=time.monotonic() - facts.started,
    )


def _run(one: Check, facts: Facts, missing: Unknown | None) -> tuple[CheckOutcome, list[Finding]]:
    if missing is not None:
        status = Status.SKIPPED if isinstance(missing, NotApplicable) else Status.UNKNOWN
        return CheckOutcome(name=one.name, area=one.area, status=status, reason=str(missing), seconds=0.0), []
    started = time.monotonic()
    status, reason, found = Status.PASSED, "", []
    try:
        for finding in facts.call(one.function):
            found.append(finding)
        status = Status.FOUND if found else Status.PASSED
    except NotApplicable as why:
        status, reason = Status.SKIPPED, str(why)
    except Unknown as why:
        status, reason = Status.UNKNOWN, str(why)
    except (Exception, SystemExit) as error:  # a check that raises is a finding of its own, never silence
        status, reason = Status.FAILED, f"{type(error).__name__}: {error}"
        found.append(_fault(one.name, error))
    seconds = time.monotonic() - started
    return CheckOutcome(name=one.name, area=one.area, status=status, reason=reason, seconds=seconds), found


def rank(findings: Sequence[Finding]) -> Iterator[Ranked]:
    """Most likely root cause first, each followed by what it explains."""
    ordered = sorted(findings, key=_weight)
    causes: dict[str, str | None] = {}
    for finding in ordered:
        causes[finding.key] = _cause(finding, ordered, causes)

    def explained_by(parent: str | None) -> list[Finding]:
        return [one for one in ordered if causes[one.key] == parent]

    def weight_of_family(finding: Finding) -> tuple[int, int, int]:
        """A mild cause of something grave stands where the grave thing would."""
        return min([_weight(finding), *(weight_of_family(child) for child in explained_by(finding.key))])

    def family(parent: str | None) -> Iterator[Ranked]:
        for finding in sorted(explained_by(parent), key=weight_of_family):
            yield Ranked(finding=finding, caused_by=parent)
            yield from family(finding.key)

    yield from family(None)


def _cause(finding: Finding, ordered: Sequence[Finding], causes: Mapping[str, str | None]) -> str | None:
    """The strongest finding that explains this one and does not itself descend from it.

    What is merely possible explains nothing that is surer: it would hide what is known behind a guess.
    """
    for other in ordered:
        guess = other.confidence is Confidence.POSSIBLE and finding.confidence is not Confidence.POSSIBLE
        known = other is not finding and finding.id in other.explains and not guess
        if known and finding.key not in _ancestors(other.key, causes):
            return other.key
    return None


def _ancestors(key: str, causes: Mapping[str, str | None]) -> set[str]:
    seen: set[str] = set()
    above: str | None = key
    while above is not None and above not in seen:
        seen.add(above)
        above = causes.get(above)
    return seen


def _weight(finding: Finding) -> tuple[int, int, int]:
    return (
        list(Severity).index(finding.severity),
        list(Confidence).index(finding.confidence),
        -len(finding.explains),
    )


def unique(findings: Iterable[Finding]) -> list[Finding]:
    """One finding a key: the gravest and surest, with the evidence that the others add and all that they explain."""
    merged: dict[str, Finding] = {}
    for finding in findings:
        first = merged.setdefault(finding.key, finding)
        if first is finding:
            continue
        best, other = (finding, first) if _weight(finding)[:2] < _weight(first)[:2] else (first, finding)
        more = tuple(one for one in other.evidence if one not in best.evidence)
        merged[finding.key] = replace(best, evidence=(*best.evidence, *more), explains=best.explains | other.explains)
    return list(merged.values())


def _fault(name: str, error: BaseException) -> Finding:
    """A defect of nvdiag's own or of a plug-in's check, with the line that raised."""
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1:]
    where = f"{frame[0].name}, line {frame[0].lineno} of {frame[0].filename.rpartition('/')[2]}" if frame else name
    return _check_failed(
        name,
        f"nvdiag's own {name} failed, so what it looks at was not judged",
        Evidence(source=where, excerpt=f"{type(error).__name__}: {error}"[:300]),
        _REPORT_IT,
    )


def _plugin_finding(plugin: BrokenPlugin) -> Finding:
    return _check_failed(
        plugin.name,
        f"the plug-in {plugin.name} could not be imported, so its checks did not run",
        Evidence(source="entry point of the group nvdiag.checks", excerpt=plugin.error),
        Remedy(summary="repair or remove the package that brings this plug-in"),
    )


def _check_failed(subject: str, title: str, evidence: Evidence, remedy: Remedy) -> Finding:
    return Finding(
        id="check-failed",
        subject=subject,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.TOOL,
        title=title,
        evidence=(evidence,),
        remedies=(remedy,),
    )


_REPORT_IT = Remedy(
    summary="report it to nvdiag's maintainers with a snapshot; the other checks are not affected",
    commands=("nvdiag snapshot nvdiag-snapshot.json",),
)
