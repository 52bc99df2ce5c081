"""Frozen values behave as the standard library's dataclasses do, though their methods are shared."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from nvdiag.model.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Shared:
    name: str
    sizes: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Own:
    name: str
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    name: str


@dataclass(frozen=True, slots=True)
class Empty:
    pass


@dataclass(frozen=True, slots=True)
class ByItself:
    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByItself) and other.name.lower() == self.name.lower()

    def __hash__(self) -> int:
        return hash(self.name.lower())


@dataclass(frozen=True, slots=True)
class Filled:
    seen: dict[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if "wrong" in self.seen:
            raise ValueError("wrong")


@pytest.mark.parametrize(("one", "other"), [(("a",), ("a",)), (("a",), ("b",)), (("a", (1,)), ("a", (2,)))])
def test_values_are_compared_hashed_and_shown_by_their_fields(one: tuple[str], other: tuple[str]) -> None:
    assert (Shared(*one) == Shared(*other)) == (Own(*one) == Own(*other))
    assert len({Shared(*one), Shared(*other)}) == len({Own(*one), Own(*other)})
    assert repr(Shared(*one)) == repr(Own(*one)).replace("Own", "Shared")


def test_values_of_other_classes_are_not_equal() -> None:
    others: list[object] = [Own("a"), Named(name="a"), ("a", ())]
    assert Shared("a") not in others
    assert Named(name="a") == Named(name="a") != Named(name="b")
    assert Empty() == Empty()
    assert repr(Named(name="a")) == "Named(name='a')"


def test_what_a_class_says_of_comparison_itself_stays() -> None:
    assert ByItself("A") == ByItself("a")
    assert len({ByItself("A"), ByItself("a")}) == 1


def test_values_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Shared("a").name = "b"  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        Shared("a").other = "b"  # type: ignore[attr-defined]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_values_are_copied_and_replaced(copied: Callable[[Shared], Shared]) -> None:
    one = Shared("a", (1,))
    assert copied(one) == one
    assert dataclasses.replace(one, name="b") == Shared("b", (1,))
    assert [field.name for field in dataclasses.fields(one)] == ["name", "sizes"]


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), (("a",), {"name": "b"}), (("a",), {"other": 1}), (("a", (), "b"), {}), ((), {"sizes": ()})],
)
def test_values_are_given_as_the_class_has_them(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    for kind in (Shared, Own):
        with pytest.raises(TypeError):
            kind(*values, **named)
    with pytest.raises(TypeError):
        Named("a")  # type: ignore[call-arg]


def test_what_is_left_out_is_made_anew_for_each_value() -> None:
    one, other = Filled(), Filled()
    assert one.seen == {}
    assert one.seen is not other.seen


def test_a_class_may_refuse_its_values() -> None:
    with pytest.raises(ValueError, match="wrong"):
        Filled({"wrong": 1})
