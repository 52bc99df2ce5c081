"""The outputs that docs/ci.md shows: each is what a real run prints. `tests.scenarios.shipped` writes them there.

In the page, `<!-- output: NAME -->` stands above the block that `OUTPUTS[NAME]` fills.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from click.testing import CliRunner

from nvdiag.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "ci.md"
DEMO = ROOT / "nvdiag" / "demo" / "machine.json"
_BLOCK = re.compile(r"(<!-- output: (?P<name>[\w-]+) -->\n```\w*\n).*?(```\n)", re.S)


def with_outputs(page: str) -> str:
    """The page with every output as it is now."""
    return _BLOCK.sub(lambda found: found[1] + OUTPUTS[found["name"]]() + found[3], page)


def _nagios() -> str:
    shown = CliRunner().invoke(app, ["check", "--from", str(DEMO), "--format", "nagios"])
    output = re.sub(r"time=[0-9.]+s", "time=0.240s", shown.output)  # the one thing that differs from run to run
    return f"$ nvdiag check --format nagios; echo $?\n{output}{shown.exit_code}\n"


OUTPUTS: Mapping[str, Callable[[], str]] = {"nagios": _nagios}
