"""How a table of this package is read: every row is held to its form, so a wrong table fails as soon as it is asked.

A table is a TOML file of arrays of tables, of which JSON is built for what is installed. `[sources]` names the
documents once, and each row cites some of them in `source`. A column that the reader does not ask for is an error, as
is a source that nobody cites.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

from nvdiag.model.unknown import ParseError
from nvdiag.model.versions import CudaVersion, DriverRelease


class MalformedTable(ValueError):
    """A table of nvdiag's own is not of its form; the message names the file and the row."""


def parse(text: str) -> dict[str, Any]:
    """Read TOML. The parser is imported here, since most runs of nvdiag need no table."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    found: dict[str, Any] = tomllib.loads(text)
    return found


def data(package: str, path: str) -> str:
    """The text of a data file of a package, also out of a zip file; OSError where there is none.

    As `pkgutil.get_data` does it, which takes longer to import than most of these files to read.
    """
    module = import_module(package)
    get_data = getattr(module.__spec__ and module.__spec__.loader, "get_data", None)
    if get_data is None:
        raise FileNotFoundError(f"the loader of {package} gives no data files")
    raw: bytes = get_data(os.path.join(os.path.dirname(module.__file__ or ""), *path.split("/")))
    return raw.decode("utf-8")


def read(file: str, *names: str, optional: tuple[str, ...] = ()) -> Table:
    """The table `file` of this package, which holds the arrays `names`, and perhaps those of `optional`.

    What is installed has it as JSON, see setup.py: that takes a twentieth of the time.
    """
    try:
        text = data("nvdiag.knowledge", f"{file.removesuffix('.toml')}.json")
    except OSError:
        return Table(file, data("nvdiag.knowledge", file), names, optional)
    return Table(file, text, names, optional, form=json.loads)


class Row:
    """One row, read column by column. `where` names it in messages."""

    def __init__(self, where: str, values: Mapping[str, object], sources: Mapping[str, str]) -> None:
        self.where = where
        self._values = values
        self._sources = sources
        self._asked = {"source"}

    def has(self, column: str) -> bool:
        """Whether the row has this column, where it may be left out."""
        self._asked.add(column)
        return column in self._values

    def text(self, column: str, *, default: str | None = None) -> str:
        """A text that is not empty, or `default` where the column is left out."""
        if default is not None and not self.has(column):
            return default
        value = self._value(column)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(f"{column} is no text: {value!r}")
        return value

    def number(self, column: str) -> int:
        """A whole number, zero or more."""
        value = self._value(column)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.wrong(f"{column} is no whole number: {value!r}")
        return value

    def flag(self, column: str) -> bool:
        """True or false."""
        value = self._value(column)
        if not isinstance(value, bool):
            raise self.wrong(f"{column} is neither true nor false: {value!r}")
        return value

    def texts(self, column: str) -> tuple[str, ...]:
        """A list of texts, in its order; none of them empty or there twice, the list may be empty."""
        value = self._value(column)
        if not isinstance(value, list) or not all(isinstance(part, str) and part.strip() for part in value):
            raise self.wrong(f"{column} is no list of texts: {value!r}")
        if len(value) > 1 and len(set(value)) < len(value):
            raise self.wrong(f"{column} says something twice")
        return tuple(value)

    def numbers(self, column: str) -> tuple[int, ...]:
        """A list of whole numbers that rise; the list may be empty."""
        value = self._value(column)
        if not isinstance(value, list) or not all(type(part) is int for part in value) or sorted(set(value)) != value:
            raise self.wrong(f"{column} is no list of rising numbers: {value!r}")
        return tuple(value)

    def cuda(self, column: str) -> CudaVersion:
        """A CUDA version of two numbers."""
        try:
            version = CudaVersion.of(self.text(column))
        except ParseError as error:
            raise self.wrong(str(error)) from error
        if len(version.numbers) != 2:
            raise self.wrong(f"{column} is not major.minor: {version}")
        return version

    def driver(self, column: str) -> DriverRelease:
        """A driver release, of at least branch and one number more."""
        try:
            release = DriverRelease.of(self.text(column))
        except ParseError as error:
            raise self.wrong(str(error)) from error
        if len(release.numbers) < 2:
            raise self.wrong(f"{column} is a branch, not a release: {release}")
        return release

    def source(self) -> tuple[str, ...]:
        """The documents that the row was read from, written out."""
        return tuple(map(self._sources.__getitem__, self.texts("source")))

    def finish(self) -> None:
        """Raise where the row has a column that was not asked for."""
        unknown = sorted(set(self._values) - self._asked)
        if unknown:
            raise self.wrong(f"unknown column {unknown[0]}")

    def wrong(self, what: str) -> MalformedTable:
        """The error that says `what` of this row."""
        return MalformedTable(f"{self.where}: {what}")

    def _value(self, column: str) -> object:
        self._asked.add(column)
        if column not in self._values:
            raise self.wrong(f"{column} is missing")
        return self._values[column]


class Table:
    """The arrays `names` of one file, with the sources that their rows cite."""

    def __init__(
        self,
        file: str,
        text: str,
        names: tuple[str, ...],
        optional: tuple[str, ...] = (),
        form: Callable[[str], dict[str, Any]] = parse,
    ) -> None:
        try:
            content = form(text)
        except ValueError as error:
            raise MalformedTable(f"{file}: {error}") from error
        if set(content) - set(optional) != {"sources", *names}:
            raise MalformedTable(f"{file}: has {sorted(content)}, not {sorted({'sources', *names})}")
        self.file = file
        self._sources: dict[str, str] = content["sources"]
        self._rows: dict[str, list[dict[str, object]]] = {name: content.get(name, []) for name in (*names, *optional)}
        self._hold_to_sources()

    def rows(self, name: str) -> Iterator[Row]:
        """The rows of one array in their order; each is finished when the next one is asked for."""
        for index, values in enumerate(self._rows[name], 1):
            row = Row(f"{self.file}: {name} {index}", values, self._sources)
            yield row
            row.finish()

    def _hold_to_sources(self) -> None:
        cited: set[str] = set()
        for name, rows in self._rows.items():
            for index, values in enumerate(rows, 1):
                keys = Row(f"{self.file}: {name} {index}", values, self._sources).texts("source")
                if not keys:
                    raise MalformedTable(f"{self.file}: {name} {index}: source is empty")
                if unknown := set(keys) - set(self._sources):
                    raise MalformedTable(f"{self.file}: {name} {index}: no such source: {min(unknown)}")
                cited.update(keys)
        if idle := set(self._sources) - cited:
            raise MalformedTable(f"{self.file}: no row cites the source {min(idle)}")


def distinct(file: str, what: str, values: Iterable[object]) -> None:
    """Raise where a value is there twice."""
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise MalformedTable(f"{file}: {what} {value} is there twice")
        seen.add(value)
