"""What the README promises is what runs."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from nvdiag.cli.app import app
from tests.scenarios import shipped

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_readme_shows_the_real_output_of_the_demo() -> None:
    assert "$ nvdiag demo\n" in README
    assert shipped.readme_with_demo(README) == README, "python -m tests.scenarios.shipped"


def test_the_demo_machine_is_what_its_scenario_makes() -> None:
    assert shipped.DEMO.read_text(encoding="utf-8") == shipped.demo_text(), "python -m tests.scenarios.shipped"


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
