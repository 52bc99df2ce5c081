"""The project's own files agree with each other: version, packages, the link to the checks, make's help."""

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from setuptools import find_packages

import nvdiag

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    tables: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return tables


def test_the_version_is_written_in_one_place(project: dict[str, Any]) -> None:
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "nvdiag.__version__"}
    assert version("nvdiag") == nvdiag.__version__


def test_the_changelog_knows_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert headings[0] == "Unreleased"
    assert nvdiag.__version__ in headings


def test_the_installed_checks_are_the_folder_checks() -> None:
    link = ROOT / "nvdiag" / "checks"
    assert link.is_symlink()
    assert link.readlink() == Path("../checks")


def test_every_folder_with_modules_is_a_package_that_is_installed(project: dict[str, Any]) -> None:
    folders = {path.parent for top in ("nvdiag", "checks") for path in (ROOT / top).rglob("*.py")}
    named = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    expected = {f"nvdiag.{name}" if name.split(".")[0] == "checks" else name for name in named}
    search = project["tool"]["setuptools"]["packages"]["find"]
    assert set(find_packages(str(ROOT), include=search["include"])) == expected


def test_the_tables_that_are_built_say_what_the_tables_say(tmp_path: Path) -> None:
    tables = {path.stem: path for path in (ROOT / "nvdiag" / "knowledge").glob("*.toml")}
    for path in tables.values():
        shutil.copy(path, tmp_path)
    run_path(str(ROOT / "setup.py"))["write_tables"](tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.json" for name in tables}
    for name, path in tables.items():
        built = (tmp_path / f"{name}.json").read_text(encoding="utf-8")
        assert json.loads(built) == tomllib.loads(path.read_text(encoding="utf-8"))


def test_data_files_are_all_named_in_pyproject(project: dict[str, Any]) -> None:
    data = project["tool"]["setuptools"]["package-data"]
    named = {
        path.resolve()
        for package, patterns in data.items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    there = {
        path.resolve()
        for top in ("nvdiag", "checks")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert there == named


def test_help_names_every_command_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.findall(r"^\.PHONY: (.+)$", makefile, re.M)[0].split()
    shown = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"^make (\S+) +\S", shown.stdout, re.M) == phony
