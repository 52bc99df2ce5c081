"""What docs/ci.md shows is what runs."""

from __future__ import annotations

import re

from tests.scenarios import ci_page

PAGE = ci_page.PAGE.read_text(encoding="utf-8")


def test_every_output_on_the_page_is_what_the_command_prints() -> None:
    assert ci_page.with_outputs(PAGE) == PAGE, "python -m tests.scenarios.shipped"


def test_every_output_has_its_place_on_the_page() -> None:
    assert set(re.findall(r"<!-- output: ([\w-]+) -->\n```", PAGE)) == set(ci_page.OUTPUTS)
