"""A project's settings: `nvdiag.toml`, or the table `[tool.nvdiag]` of `pyproject.toml`, here or in a folder above.

The nearest folder with one of them counts, as it does for ruff. What the command line says replaces what a file says,
but for requirements, which add up. A key that is not known is an error: a misspelt requirement would hold nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from nvdiag.cli.running import fail, unknown_name
from nvdiag.model.dataclass import dataclass

NAMES = ("nvdiag.toml", "pyproject.toml")
_MAX_BYTES = 1024 * 1024
_LISTS = ("select", "ignore", "require")
_FLAGS = ("strict", "smoke")
_KEYS = (*_LISTS, "fail-on", *_FLAGS, "deadline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a file asks for; None where it does not say. `file` is empty where there is no file."""

    file: str = ""
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    fail_on: str | None = None
    strict: bool = False
    smoke: bool = False
    deadline: float | None = None


def settings_of(file: str | None, profile: str | None) -> Settings:
    """The settings of a file that is named, else of the nearest one. Exit 2 where they cannot be read or followed."""
    found = _named(file) if file is not None else _nearest()
    if found is None:
        if profile is not None:
            fail(f"--profile {profile}: there is no {' and no '.join(NAMES)} with a table for nvdiag here or above")
        return Settings()
    path, table = found
    profiles = table.pop("profile", {})
    if not isinstance(profiles, dict) or not all(isinstance(one, dict) for one in profiles.values()):
        fail(f"{path}: profile is to hold tables, such as [profile.training]")
    _held_to_form(path, table)
    for name, one in profiles.items():
        _held_to_form(f"{path}, profile {name}", one)
    if profile is not None:
        if profile not in profiles:
            unknown_name(profile, [*profiles], f"profile in {path} named", f"it has {', '.join(profiles) or 'none'}")
        more = profiles[profile]
        table = {**table, **more, "require": [*table.get("require", ()), *more.get("require", ())]}
    return Settings(
        file=path,
        **{name: tuple(table.get(name, ())) for name in _LISTS},
        fail_on=table.get("fail-on"),
        strict=table.get("strict", False),
        smoke=table.get("smoke", False),
        deadline=table.get("deadline"),
    )


def _named(file: str) -> tuple[str, dict[str, Any]]:
    table = _table(file, _text(file))
    if table is None:
        fail(f"{file} has no table [tool.nvdiag]")
    return file, table


def _nearest() -> tuple[str, dict[str, Any]] | None:
    for folder in _folders():
        for name in NAMES:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                table = _table(path, _text(path))
                if table is not None:
                    return path, table
    return None


def _folders() -> Iterator[str]:
    try:
        folder = os.getcwd()
    except OSError:  # it was removed under this process
        return
    while True:
        yield folder
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        fail(f"cannot read {path}: {error.strerror or error}")
    if len(data) > _MAX_BYTES:
        fail(f"cannot read {path}: it is larger than 1 MiB")
    return data.decode("utf-8", "replace")


def _table(path: str, text: str) -> dict[str, Any] | None:
    """nvdiag's own table; None where a pyproject.toml has none."""
    shared = os.path.basename(path) == "pyproject.toml"
    if shared and "tool.nvdiag" not in text:  # most have none, and need not be parsed for that
        return None
    from nvdiag.knowledge._tables import parse

    try:
        document = parse(text)
    except ValueError as error:
        fail(f"{path} is no TOML: {error}")
    if not shared:
        return document
    table = document.get("tool", {}).get("nvdiag")
    return table if isinstance(table, dict) else None


def _held_to_form(where: str, table: Mapping[str, Any]) -> None:
    for key, value in table.items():
        if key not in _KEYS:
            unknown_name(key, _KEYS, f"setting in {where} named", f"the settings are {', '.join(_KEYS)} and profile")
        if key in _LISTS and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            fail(f'{where}: {key} is to be a list of texts, such as {key} = ["…"]')
        if key == "fail-on" and value not in ("error", "warning"):
            fail(f'{where}: fail-on is "error" or "warning"')
        if key in _FLAGS and not isinstance(value, bool):
            fail(f"{where}: {key} is true or false")
        if key == "deadline" and (isinstance(value, bool) or not isinstance(value, (int, float))):
            fail(f"{where}: deadline is a number of seconds")
        if key == "deadline" and not 0.1 <= value <= 3600:
            fail(f"{where}: deadline is from 0.1 to 3600 seconds")
