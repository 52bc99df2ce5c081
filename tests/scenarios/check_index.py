"""The index of the checks, `checks/_index.py`, as their modules declare them."""

from __future__ import annotations

from pathlib import Path

from nvdiag import catalogue

INDEX = Path(__file__).resolve().parents[2] / "checks" / "_index.py"

_HEAD = '''\
"""What a run knows of each check before it imports the check's module, which it then mostly need not.

A row has the module, the check's name and area, the ids that it may report, and the facts without which it is not
called. `python -m tests.scenarios.shipped` writes this from the modules, and a test compares.
"""

# fmt: off
# ruff: noqa: E501
CHECKS = (
'''


def text() -> str:
    """The file as it should be."""
    rows = ("    ({}),\n".format(", ".join(f'"{part}"' for part in row)) for row in catalogue.indexed())
    return f"{_HEAD}{''.join(rows)})\n"
