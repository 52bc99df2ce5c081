"""What checks may not do, read from their syntax; and that each is declared, promised and explained."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from nvdiag import catalogue, checks
from nvdiag.engine import Check
from nvdiag.knowledge import pages
from tests.cli.calling import ROOT
from tests.scenarios import check_index

FILES = sorted((ROOT / "checks").glob("*.py"))
FORBIDDEN_MODULES = {
    "ctypes", "glob", "importlib", "io", "os", "pathlib", "pynvml", "shutil", "socket", "subprocess", "sys", "tempfile",
    "nvdiag.host", "nvdiag.probes", "nvdiag.report", "nvdiag.cli",
}  # fmt: skip
FORBIDDEN_CALLS = {"open", "print", "exec", "eval", "__import__", "input", "exit", "breakpoint"}


def imported(tree: ast.AST) -> set[str]:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def used(tree: ast.AST) -> set[str]:
    """Every plain name, and every attribute by its last word."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_check_reads_nothing_but_facts(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    wrong = {
        name
        for name in imported(tree)
        if any(name == forbidden or name.startswith(f"{forbidden}.") for forbidden in FORBIDDEN_MODULES)
    }
    assert wrong == set()
    assert used(tree) & (FORBIDDEN_CALLS | {"environ", "getenv", "Popen", "CDLL"}) == set()


def test_the_modules_named_are_the_modules_there() -> None:
    assert sorted(checks.MODULES) == [file.stem for file in FILES if not file.stem.startswith("_")]
    assert len(set(checks.MODULES)) == len(checks.MODULES)


def test_the_index_is_as_the_modules_declare_their_checks() -> None:
    assert check_index.INDEX.read_text(encoding="utf-8") == check_index.text(), "python -m tests.scenarios.shipped"


@pytest.mark.parametrize("one", catalogue.built_in(), ids=lambda one: one.name)
def test_a_check_has_ids_a_promise_and_pages_of_its_area(one: Check) -> None:
    assert one.ids
    assert one.promise.endswith(".")
    assert one.area in checks.MODULES
    for identifier in one.ids:
        page = pages.page(identifier)
        assert page is not None, f"checks/pages/{identifier}.md"
        assert page.area == one.area


def test_an_id_belongs_to_one_area() -> None:
    areas: dict[str, set[str]] = {}
    for one in catalogue.built_in():
        for identifier in one.ids:
            areas.setdefault(identifier, set()).add(one.area)
    assert {identifier: found for identifier, found in areas.items() if len(found) > 1} == {}


def test_every_page_is_of_an_id_that_some_check_reports() -> None:
    reported = {identifier for one in catalogue.built_in() for identifier in one.ids}
    assert set(pages.page_ids()) - reported == set()
