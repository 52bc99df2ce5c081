"""Which checks there are: the built-in modules by name, and those that other packages add as plug-ins."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from nvdiag.engine import BrokenPlugin, Check, checks_of

GROUP = "nvdiag.checks"
"""The entry-point group of plug-ins; each entry names a module that holds functions declared with `@check`."""


def built_in() -> tuple[Check, ...]:
    """The checks of `nvdiag.checks`, in its order."""
    package = import_module("nvdiag.checks")
    return tuple(one for name in package.MODULES for one in checks_of(import_module(f"nvdiag.checks.{name}")))


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
