"""What docs/ci.md shows is what runs."""

from __future__ import annotations

import re

import yaml

import nvdiag
from tests.packaging.running_action import ACTION
from tests.scenarios import ci_page

PAGE = ci_page.PAGE.read_text(encoding="utf-8")


def test_every_output_on_the_page_is_what_the_command_prints() -> None:
    assert ci_page.with_outputs(PAGE) == PAGE, "python -m tests.scenarios.shipped"


def test_every_output_has_its_place_on_the_page() -> None:
    assert set(re.findall(r"<!-- output: ([\w-]+) -->\n```", PAGE)) == set(ci_page.OUTPUTS)


def test_the_page_names_every_input_and_output_of_the_action_and_this_version() -> None:
    section = PAGE.partition("## GitHub Actions: a step in the job")[2].partition("\n## ")[0]
    for name in [*ACTION["inputs"], *ACTION["outputs"]]:
        assert re.search(rf"`{name}[`:]|^ +{name}:", section, re.M), name
    block = re.search(r"```yaml\n(.*?)```", section, re.S)
    assert block is not None
    step = next(one for one in yaml.safe_load(block[1])["jobs"]["gpu-tests"]["steps"] if one.get("id") == "nvdiag")
    assert set(step["with"]) <= set(ACTION["inputs"])
    assert step["uses"].endswith(f"@v{nvdiag.__version__}")


def test_the_page_names_files_that_are_there() -> None:
    for name in re.findall(r"`(packaging/[\w./-]+|action\.yml)`", PAGE):
        assert (ci_page.ROOT / name).exists(), name


def test_the_page_links_to_headings_that_are_there() -> None:
    headings = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in re.findall(r"^## (.+)", PAGE, re.M)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= headings
