"""Which checks there are: the built-in ones by their index, and those that other packages add as plug-ins."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from nvdiag.engine import BrokenPlugin, Check, checks_of, wanted
from nvdiag.model.unknown import Unknown

GROUP = "nvdiag.checks"
"""The entry-point group of plug-ins; each entry names a module that holds functions declared with `@check`."""


def built_in() -> tuple[Check, ...]:
    """The checks of `nvdiag.checks` by their index, in its order: a module is imported once a check of it is called."""
    return tuple(
        Check(name, area, tuple(ids.split()), f"nvdiag.checks.{module}", tuple(needs.split()))
        for module, name, area, ids, needs in import_module("nvdiag.checks._index").CHECKS
    )


def indexed() -> tuple[tuple[str, str, str, str, str], ...]:
    """The rows of the index, as the modules declare their checks."""
    modules = [(name, import_module(f"nvdiag.checks.{name}")) for name in import_module("nvdiag.checks").MODULES]
    return tuple(
        (name, one.name, one.area, " ".join(one.ids), " ".join(_needs(one)))
        for name, module in modules
        for one in checks_of(module)
    )


def _needs(one: Check) -> list[str]:
    required = [kinds[0] for kinds in wanted(one.function).values() if Unknown not in kinds]
    return [f"{kind.__module__}.{kind.__name__}".removeprefix("nvdiag.facts.") for kind in required]


def plug_ins() -> tuple[tuple[Check, ...], tuple[BrokenPlugin, ...]]:
    """The checks of installed plug-ins, and the plug-ins that could not be imported."""
    if not any(_names_group(folder) for folder in sys.path):
        return (), ()
    from importlib.metadata import entry_points

    checks: list[Check] = []
    broken: list[BrokenPlugin] = []
    for entry in entry_points(group=GROUP):
        try:
            found = checks_of(entry.load())
        except (Exception, SystemExit) as error:  # whatever a foreign package raises is reported, not hidden
            broken.append(BrokenPlugin(entry.name, f"{type(error).__name__}: {error}"))
            continue
        checks += found
        if not found:
            broken.append(BrokenPlugin(entry.name, f"{entry.value} declares no check"))
    return tuple(checks), tuple(broken)


def _names_group(folder: str) -> bool:
    """Whether some distribution in a folder of sys.path has entry points of the group; importlib.metadata is dear."""
    try:
        names = [name for name in os.listdir(folder or ".") if name.endswith((".dist-info", ".egg-info"))]
    except OSError:
        return False
    for name in names:
        try:
            with open(os.path.join(folder or ".", name, "entry_points.txt"), "rb") as file:
                if f"[{GROUP}]".encode() in file.read(65536):
                    return True
        except OSError:
            continue
    return False
