"""What the README promises is what runs."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from click.testing import CliRunner

from nvdiag.cli.app import app
from nvdiag.facts.requirements import parse_requirement
from tests.scenarios import picture, shipped

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_shows_the_real_output_of_the_demo() -> None:
    assert "$ nvdiag demo\n" in README
    assert shipped.readme_with_demo(README) == README, "python -m tests.scenarios.shipped"


def test_the_demo_machine_is_what_its_scenario_makes() -> None:
    assert shipped.DEMO.read_text(encoding="utf-8") == shipped.demo_text(), "python -m tests.scenarios.shipped"


def test_the_picture_of_the_demo_is_drawn_from_what_it_prints() -> None:
    assert 'src="docs/demo.svg"' in README
    drawn = picture.PICTURE.read_text(encoding="utf-8")
    assert picture.words(drawn) == picture.words(picture.picture()), "make docs"
    assert picture.picture() == picture.picture()


def test_the_picture_loads_nothing() -> None:
    drawn = picture.picture()
    assert set(re.findall(r"https?://[^\s\"')]+", drawn)) <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}
    assert "url(#" in drawn
    assert not re.search(r"url\((?!#)|@import|<script|<image|<foreignObject|href=", drawn)


def test_the_first_screen_of_the_readme_says_what_to_install_and_what_to_put_into_ci() -> None:
    head = re.sub(r"<details>.*?</details>", "", README, flags=re.S).splitlines()[:45]
    assert any(line.startswith("pip install nvdiag") for line in head)
    assert any("nvdiag check --format github" in line for line in head)


def test_the_step_of_the_readme_is_one_that_the_action_takes() -> None:
    block = re.search(r"```yaml\n(- uses: nvdiag.*?)```", README, re.S)
    assert block
    (step,) = yaml.safe_load(block[1])
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert set(step["with"]) <= set(action["inputs"])
    for expression in step["with"]["require"].split():
        parse_requirement(expression)


def test_the_links_of_the_readme_lead_to_files() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / link).exists(), link


def test_every_command_of_the_readme_exists() -> None:
    block = re.search(r"```text\n(nvdiag .*?)```", README, re.S)
    assert block is not None
    for line in block[1].splitlines():
        words = re.split(r"\s{2,}", line)[0].split()[1:]
        name = words[0] if words else "check"
        options = [word for word in words[1:] if word.startswith("--")]
        help_text = CliRunner().invoke(app, [name, "--help"]).output
        assert all(option in help_text for option in options), line


def test_the_readme_names_every_runtime_dependency() -> None:
    project = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[(.*?)^\]", project, re.S | re.M)
    assert block is not None
    for name in re.findall(r'"([A-Za-z_-]+)', block[1]):
        assert name in README
