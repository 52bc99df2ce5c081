"""A project's settings: which file counts, what the command line replaces, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nvdiag.cli import running
from nvdiag.facts.smoke import ASKED
from tests.cli.calling import call, one_line, written
from tests.scenarios import machines

WELL = "570.172.08"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that nvdiag is called in, two below one with a machine that is well."""
    folder = tmp_path / "project" / "part"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    written(tmp_path, machines.ubuntu_dkms(WELL))
    written(tmp_path, machines.ubuntu_dkms("570.169", WELL, WELL), "broken.json")
    return folder


def check(*arguments: str, machine: str = "../../machine.json") -> tuple[int, str, str]:
    result = call("check", "--from", machine, *arguments)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("nvdiag.toml", 'require = ["driver>=999"]'),
        ("../nvdiag.toml", 'require = ["driver>=999"]'),
        ("pyproject.toml", '[tool.nvdiag]\nrequire = ["driver>=999"]'),
        ("../../pyproject.toml", '[tool.nvdiag]\nrequire = ["driver>=999"]'),
    ],
)
def test_the_settings_of_this_folder_or_of_one_above_count(here: Path, file: str, text: str) -> None:
    (here / file).write_text(text)
    code, shown, told = check()
    assert (code, "driver>=999 was required" in shown) == (1, True)
    assert one_line(told).endswith(f"with the settings of {(here / file).resolve()}")
    assert check("--no-config")[::2] == (0, "")


def test_the_nearest_file_counts_and_a_pyproject_without_a_table_is_none(here: Path) -> None:
    (here / "../nvdiag.toml").write_text('require = ["driver>=999"]')
    (here / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert check()[0] == 1
    (here / "nvdiag.toml").write_text('require = ["driver>=1"]')
    (here / "pyproject.toml").write_text("[tool.nvdiag]\nrequire = ['driver>=999']\n")
    assert check()[0] == 0
    assert check("--config", "pyproject.toml")[0] == 1


def test_the_command_line_replaces_what_the_file_says_and_adds_to_its_requirements(here: Path) -> None:
    (here / "nvdiag.toml").write_text('ignore = ["driver-library-mismatch"]\nrequire = ["gpus>=9"]\nstrict = true\n')
    code, shown, _ = check("--require", "driver>=999", machine="../../broken.json")
    assert (code, "driver-library-mismatch" in shown, "driver>=999 was required" in shown) == (1, False, True)
    assert "whether gpus>=9 holds" in shown
    _, shown, _ = check("--ignore", "no-nvidia-gpu", machine="../../broken.json")
    assert "error[driver-library-mismatch]" in shown


def test_a_profile_adds_to_the_settings(here: Path) -> None:
    (here / "nvdiag.toml").write_text(
        'require = ["driver>=1"]\nfail-on = "error"\n'
        '[profile.training]\nrequire = ["gpus>=2"]\nfail-on = "warning"\ndeadline = 30\n'
    )
    assert check()[0] == 0
    code, shown, told = check("--profile", "training")
    assert (code, "gpus>=2 was required" in shown, "✓ required            driver>=1" in shown) == (1, True, True)
    assert "profile training" in one_line(told)


def test_settings_ask_for_the_smoke_test_of_this_machine_alone(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ASKED, "")
    monkeypatch.setattr(running, "facts_of", lambda *_: running.begun(machines.ubuntu_dkms(WELL).host()))
    (here / "nvdiag.toml").write_text("smoke = true\n[profile.quick]\nsmoke = false\n")
    for arguments, asked in ((("--from", "x"), ""), (("--profile", "quick"), ""), (("--no-config",), ""), ((), "1")):
        assert call("check", *arguments).exit_code == 0
        assert os.environ[ASKED] == asked


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ('requires = ["driver>=1"]', (), "did you mean require?"),
        ('failon = "error"', (), "did you mean fail-on?"),
        ('[profile.a]\nselct = ["driver"]', (), "did you mean select?"),
        ('require = ["drivr>=1"]', (), "did you mean driver?"),
        ('select = ["no-such-finding-id"]', (), "no finding or area named"),
        ("require = 5", (), "require is to be a list of texts"),
        ("require = [5]", (), "require is to be a list of texts"),
        ('fail-on = "info"', (), "fail-on is"),
        ("strict = 1", (), "strict is true or false"),
        ('smoke = "yes"', (), "smoke is true or false"),
        ("deadline = 0", (), "from 0.1 to 3600"),
        ('deadline = "x"', (), "a number of seconds"),
        ("deadline = true", (), "a number of seconds"),
        ("profile = 1", (), "is to hold tables"),
        ("[profile]\ntraining = 1", (), "is to hold tables"),
        ("require = [", (), "is no TOML"),
        ("[profile.training]", ("--profile", "trainign"), "did you mean training?"),
        ("", ("--profile", "training"), "no profile in"),
        ("", ("--config", "/nonexistent.toml"), "cannot read /nonexistent.toml"),
        ("#" * 2_000_000, (), "larger than 1 MiB"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_one_line(
    here: Path, text: str, arguments: tuple[str, ...], words: str
) -> None:
    (here / "nvdiag.toml").write_text(text)
    code, shown, told = check(*arguments)
    assert (code, shown) == (2, "")
    assert words in one_line(told)


def test_a_profile_needs_a_file(here: Path) -> None:
    code, _, told = check("--profile", "training")
    assert (code, "there is no nvdiag.toml" in told) == (2, True)
    assert check("--no-config", "--profile", "training")[0] == 2
