"""Regular expressions that are compiled on use are those that were written, and all of them can be compiled."""

from __future__ import annotations

import copy
import pkgutil
import re
from importlib import import_module
from types import ModuleType

import pytest

from nvdiag.model.regex import regex

WORD = regex(r"(?P<first>\w)\w*", re.IGNORECASE)


def test_a_pattern_does_what_a_compiled_one_does() -> None:
    compiled = re.compile(r"(?P<first>\w)\w*", re.IGNORECASE)
    for _ in range(2):
        assert [found["first"] for found in WORD.finditer("one two")] == ["o", "t"]
        assert WORD.sub("x", "one two") == compiled.sub("x", "one two")
        assert (WORD.pattern, WORD.flags, WORD.groupindex) == (compiled.pattern, compiled.flags, compiled.groupindex)
        assert WORD.match("!") is None
    assert copy.copy(regex("a")).match("a")


def _modules() -> list[ModuleType]:
    rooms = [import_module(f"nvdiag.{room}") for room in ("facts", "knowledge", "checks", "model")]
    return [
        import_module(one.name) for room in rooms for one in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
    ]


def test_every_pattern_of_the_package_can_be_compiled() -> None:
    patterns = [value for module in _modules() for value in vars(module).values() if type(value) is regex]
    assert len(patterns) > 100
    for one in patterns:
        assert one.flags


def test_a_wrong_pattern_is_an_error_when_it_is_used() -> None:
    with pytest.raises(re.error):
        regex("(").match("")


def test_what_a_run_imports_compiles_no_pattern_before_it_is_used() -> None:
    compiled = [
        f"{module.__name__}.{key}"
        for module in _modules()
        for key, value in vars(module).items()
        if isinstance(value, re.Pattern)
    ]
    assert compiled == []
