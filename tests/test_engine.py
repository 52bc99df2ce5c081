"""The engine: facts once and by annotation, reasons kept apart, causes before consequences."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Union

import pytest

from nvdiag.engine import BrokenPlugin, Check, Facts, check, checks_of, diagnose, made_of, rank, wanted
from nvdiag.host import Host
from nvdiag.host.snapshot import SnapshotHost
from nvdiag.model.diagnosis import Diagnosis, Status
from nvdiag.model.finding import Confidence, Evidence, Finding, Severity
from nvdiag.model.unknown import NotApplicable, Unknown

ORDER: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_collected_yet() -> None:
    ORDER.clear()


@dataclass(frozen=True)
class Plain:
    text: str

    @classmethod
    def collect(cls, host: Host) -> Plain:
        ORDER.append("Plain")
        return cls(host.source.name)


@dataclass(frozen=True)
class OnPlain:
    plain: Plain

    @classmethod
    def collect(cls, plain: Plain) -> OnPlain:
        ORDER.append("OnPlain")
        return cls(plain)


@dataclass(frozen=True)
class Slow:
    waits_for_child = True

    @classmethod
    def collect(cls, host: Host) -> Slow:
        ORDER.append("Slow")
        return cls()


@dataclass(frozen=True)
class OnSlow:
    @classmethod
    def collect(cls, slow: Slow | Unknown) -> OnSlow:
        ORDER.append("OnSlow")
        return cls()


@dataclass(frozen=True)
class SlowBehind:
    waits_for_child = True

    @classmethod
    def collect(cls, on_slow: OnSlow, on: OnPlain) -> SlowBehind:
        ORDER.append("SlowBehind")
        return cls()


class Silent:
    @classmethod
    def collect(cls, host: Host) -> Silent:
        raise Unknown("the file was refused")


class OnSilent:
    @classmethod
    def collect(cls, silent: Silent) -> OnSilent:
        raise AssertionError("not called without its fact")


class Elsewhere:
    @classmethod
    def collect(cls, host: Host) -> Elsewhere:
        raise NotApplicable("there is no module here")


class Broken:
    @classmethod
    def collect(cls, host: Host) -> Broken:
        raise KeyError("an oversight")


class Circle:
    @classmethod
    def collect(cls, circle: Circle) -> Circle:
        return cls()


class Left:
    @classmethod
    def collect(cls, right: Right) -> Left:
        return cls()


class Right:
    @classmethod
    def collect(cls, left: Left) -> Right:
        return cls()


def finding(identifier: str, *explains: str, severity: Severity = Severity.ERROR, **options: Any) -> Finding:
    fields: dict[str, Any] = {
        "confidence": Confidence.CERTAIN,
        "evidence": (Evidence(source="/a", excerpt="b"),),
    } | options
    return Finding(id=identifier, severity=severity, title=identifier, explains=frozenset(explains), **fields)


def run(*functions: Callable[..., Any], also: tuple[type[Any], ...] = ()) -> Diagnosis:
    checks = [Check(function.__name__, "test", (), function) for function in functions]
    return diagnose(Facts({Host: SnapshotHost({}, "a machine")}), checks, also=also)


def outcome(*functions: Callable[..., Any]) -> tuple[Status, str]:
    one = run(*functions).checks[0]
    return one.status, one.reason


def test_fact_is_collected_once_for_all_who_take_it() -> None:
    def one(plain: Plain, on: OnPlain) -> Iterator[Finding]:
        assert on.plain is plain
        yield from ()

    def other(on: OnPlain) -> Iterator[Finding]:
        yield from ()

    diagnosis = run(one, other, also=(Plain,))
    assert [one.status for one in diagnosis.checks] == [Status.PASSED, Status.PASSED]
    assert sorted(ORDER) == ["OnPlain", "Plain"]
    assert diagnosis.facts[Plain] == Plain("a machine")


def test_fact_that_nobody_takes_is_not_collected() -> None:
    def nothing() -> Iterator[Finding]:
        yield from ()

    assert outcome(nothing) == (Status.PASSED, "")
    assert ORDER == []


def test_fact_that_is_shown_is_collected_without_a_check() -> None:
    run(also=(OnPlain,))
    assert ORDER == ["Plain", "OnPlain"]


def test_unknown_fact_makes_the_check_unknown_with_its_reason() -> None:
    def needs(silent: Silent) -> Iterator[Finding]:
        raise AssertionError("not called")

    def needs_what_needs(silent: OnSilent) -> Iterator[Finding]:
        raise AssertionError("not called")

    assert outcome(needs) == (Status.UNKNOWN, "the file was refused")
    assert outcome(needs_what_needs) == (Status.UNKNOWN, "the file was refused")


def test_fact_that_does_not_apply_skips_the_check_with_its_reason() -> None:
    def needs(elsewhere: Elsewhere) -> Iterator[Finding]:
        raise AssertionError("not called")

    assert outcome(needs) == (Status.SKIPPED, "there is no module here")


def test_not_applicable_wins_over_unknown_in_whatever_order() -> None:
    def unknown_first(silent: Silent, elsewhere: Elsewhere) -> Iterator[Finding]:
        raise AssertionError("not called")

    def unknown_last(elsewhere: Elsewhere, silent: Silent) -> Iterator[Finding]:
        raise AssertionError("not called")

    expected = (Status.SKIPPED, "there is no module here")
    assert outcome(unknown_first) == outcome(unknown_last) == expected


def test_check_that_takes_unknown_receives_it() -> None:
    def takes(silent: Silent | Unknown, elsewhere: Elsewhere | Unknown) -> Iterator[Finding]:
        assert silent == Unknown("the file was refused")
        assert elsewhere == NotApplicable("there is no module here")
        yield finding("seen")

    assert [one.finding.id for one in run(takes).findings] == ["seen"]


EitherWay = Plain | Unknown


def test_a_fact_may_be_asked_for_in_any_form_of_hint() -> None:
    def written(plain: Plain | Unknown) -> None: ...
    def named(plain: EitherWay) -> None: ...
    def optional(plain: Union[Plain, Unknown]) -> None: ...  # noqa: UP007 - a form that plug-ins may have

    assert [wanted(one)["plain"] for one in (written, named, optional)] == [(Plain, Unknown)] * 3


def test_check_itself_may_say_unknown_or_not_applicable() -> None:
    def unsure(plain: Plain) -> Iterator[Finding]:
        raise Unknown("two readings")

    def beside(plain: Plain) -> Iterator[Finding]:
        raise NotApplicable("not here")

    assert outcome(unsure) == (Status.UNKNOWN, "two readings")
    assert outcome(beside) == (Status.SKIPPED, "not here")


@pytest.mark.parametrize("kind", [Circle, Left, Right])
def test_fact_that_depends_on_itself_is_unknown(kind: type[Any]) -> None:
    assert not made_of([kind])[kind]
    diagnosis = run(also=(kind,))
    assert isinstance(diagnosis.facts[kind], Unknown)
    assert "depends on itself" in str(diagnosis.facts[kind])
    assert diagnosis.findings == ()


def test_fact_that_fails_is_one_finding_and_unknown_to_all_others() -> None:
    def one(broken: Broken) -> Iterator[Finding]:
        raise AssertionError("not called")

    def other(broken: Broken) -> Iterator[Finding]:
        raise AssertionError("not called")

    diagnosis = run(one, other)
    assert {check.status for check in diagnosis.checks} == {Status.UNKNOWN}
    assert [ranked.finding.key for ranked in diagnosis.findings] == ["check-failed:Broken.collect"]
    assert "KeyError" in diagnosis.findings[0].finding.evidence[0].excerpt
    assert diagnosis.findings[0].finding.evidence[0].source.startswith("collect, line ")
    assert "KeyError" in diagnosis.checks[0].reason


def test_check_that_fails_half_way_keeps_what_it_had_found() -> None:
    def half(plain: Plain) -> Iterator[Finding]:
        yield finding("found-before")
        raise ZeroDivisionError("then this")

    def well(plain: Plain) -> Iterator[Finding]:
        yield finding("of-another")

    diagnosis = run(half, well)
    assert [(one.status, one.reason) for one in diagnosis.checks] == [
        (Status.FAILED, "ZeroDivisionError: then this"),
        (Status.FOUND, ""),
    ]
    assert {one.finding.key for one in diagnosis.findings} == {"found-before", "check-failed:half", "of-another"}
    assert diagnosis.exit_code() == 1


def test_check_that_ends_with_unknown_keeps_what_it_had_found() -> None:
    def half(plain: Plain) -> Iterator[Finding]:
        yield finding("found-before")
        raise Unknown("the rest was refused")

    diagnosis = run(half)
    assert diagnosis.checks[0].status is Status.UNKNOWN
    assert [one.finding.id for one in diagnosis.findings] == ["found-before"]


def test_check_may_be_no_generator() -> None:
    def listing(plain: Plain) -> list[Finding]:
        return [finding("a"), finding("b")]

    assert outcome(listing) == (Status.FOUND, "")


def test_what_waits_for_a_child_is_collected_last() -> None:
    assert [made_of([kind])[kind] for kind in (Plain, OnPlain, Slow, OnSlow)] == [False, False, True, True]

    def takes(on_slow: OnSlow, slow: Slow, on: OnPlain) -> Iterator[Finding]:
        yield from ()

    run(takes, also=(Plain,))
    assert ORDER == ["Plain", "OnPlain", "Slow", "OnSlow"]


def test_what_stands_behind_a_fact_that_waits_is_collected_before_there_is_any_waiting() -> None:
    run(also=(SlowBehind,))
    assert ORDER == ["Plain", "OnPlain", "Slow", "OnSlow", "SlowBehind"]


def test_a_check_whose_question_does_not_arise_is_skipped_before_its_module_is_imported() -> None:
    unasked = Check("requirements_hold", "test", (), "no.such.module", needs=("earlier_boots.EarlierBoots",))
    diagnosis = diagnose(Facts({Host: SnapshotHost({}, "a machine")}), [unasked])
    assert [(one.status, one.reason) for one in diagnosis.checks] == [
        (Status.SKIPPED, "no log of an earlier boot is looked at")
    ]


def test_plugin_that_does_not_import_is_a_finding_and_a_failed_check() -> None:
    facts = Facts({Host: SnapshotHost({}, "a machine")})
    diagnosis = diagnose(facts, (), broken=(BrokenPlugin("theirs", "ImportError: no such thing"),))
    assert [(one.name, one.status) for one in diagnosis.checks] == [("theirs", Status.FAILED)]
    assert [one.finding.key for one in diagnosis.findings] == ["check-failed:theirs"]


def test_declared_check_knows_its_ids_its_area_and_its_promise() -> None:
    @check("one-id", "other-id", area="tests")
    def promise(plain: Plain) -> Iterator[Finding]:
        """All is well.

        More words.
        """
        yield from ()

    class Module:
        __name__ = __name__

    module = Module()
    module.__dict__["promise"] = promise
    module.__dict__["imported"] = Check
    (declared,) = checks_of(module)
    assert (declared.name, declared.area, declared.ids) == ("promise", "tests", ("one-id", "other-id"))
    assert declared.promise == "All is well."


def ranking(*findings: Finding) -> list[tuple[str, str | None]]:
    return [(ranked.finding.key, ranked.caused_by) for ranked in rank(findings)]


def test_cause_stands_before_its_consequence_whatever_their_weight() -> None:
    effect = finding("effect")
    cause = finding("cause", "effect", severity=Severity.WARNING, confidence=Confidence.LIKELY)
    assert ranking(effect, cause) == [("cause", None), ("effect", "cause")]


def test_chain_is_told_from_its_start() -> None:
    found = ranking(finding("c"), finding("b", "c"), finding("a", "b"), finding("alone"))
    assert found.index(("a", None)) < found.index(("b", "a")) < found.index(("c", "b"))
    assert ("alone", None) in found


def test_long_chain_is_ranked_at_once() -> None:
    """Weighing a family twice at each link of 22 took half a minute."""
    names = [f"f{number}" for number in range(22)]
    started = time.process_time()
    found = ranking(*(finding(name, effect) for name, effect in zip(names, [*names[1:], "none"], strict=True)))
    assert found == list(zip(names, [None, *names], strict=False))
    assert time.process_time() - started < 5


def test_root_cause_owns_what_several_explain() -> None:
    assert ranking(finding("effect"), finding("middle", "effect"), finding("root", "middle", "effect")) == [
        ("root", None),
        ("middle", "root"),
        ("effect", "root"),
    ]


def test_findings_that_explain_each_other_all_stay() -> None:
    found = ranking(finding("a", "b"), finding("b", "c"), finding("c", "a"))
    assert {key for key, _ in found} == {"a", "b", "c"}
    assert [cause for _, cause in found].count(None) == 1
    assert ranking(finding("self", "self")) == [("self", None)]


def test_two_findings_of_one_id_that_explains_itself_make_no_circle() -> None:
    found = ranking(finding("a", "a", subject="1"), finding("a", "a", subject="2"))
    assert sorted(key for key, _ in found) == ["a:1", "a:2"]
    assert [cause for _, cause in found].count(None) == 1


def test_errors_before_warnings_and_sure_before_likely() -> None:
    found = ranking(
        finding("info", severity=Severity.INFO),
        finding("warning", severity=Severity.WARNING),
        finding("perhaps", confidence=Confidence.POSSIBLE),
        finding("likely", confidence=Confidence.LIKELY),
        finding("sure"),
    )
    assert [key for key, _ in found] == ["sure", "likely", "perhaps", "warning", "info"]


def test_one_finding_a_key_with_the_evidence_of_all() -> None:
    first, second = Evidence(source="/a", excerpt="b"), Evidence(source="/c", excerpt="d")

    def one(plain: Plain) -> Iterator[Finding]:
        yield finding("same", evidence=(first,))

    def other(plain: Plain) -> Iterator[Finding]:
        yield finding("same", evidence=(second, first))
        yield finding("same", subject="another")

    found = [ranked.finding for ranked in run(one, other).findings]
    assert [one.key for one in found] == ["same", "same:another"]
    assert found[0].evidence == (first, second)


def test_a_mild_cause_of_something_grave_stands_where_the_grave_thing_would() -> None:
    mild = finding("mild", "grave", severity=Severity.WARNING)
    grave = finding("grave", severity=Severity.ERROR)
    other = finding("other", severity=Severity.ERROR, confidence=Confidence.POSSIBLE)
    assert [(one.finding.id, one.caused_by) for one in rank([other, grave, mild])] == [
        ("mild", None),
        ("grave", "mild"),
        ("other", None),
    ]
