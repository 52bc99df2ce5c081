"""The GitLab template: its commands are run as GitLab's runner runs them, in bash and in sh, before the job's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from junitparser import JUnitXml

import nvdiag
from nvdiag.host.snapshot import parse
from tests.packaging.running_gitlab import FILE, JOB, OWN, run
from tests.scenarios.ci_page import DEMO, ROOT


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """This checkout as the single file that NVDIAG_PYZ names, on the demo machine."""
    file = tmp_path_factory.mktemp("image") / "nvdiag.pyz"
    file.write_text(f"import sys\nfrom nvdiag.cli import main\nsys.argv += ['--from', {str(DEMO)!r}]\nmain()\n")
    return str(file)


@pytest.mark.parametrize("shell", ["bash", pytest.param("sh", marks=pytest.mark.long)])
def test_a_broken_machine_fails_the_job_before_its_own_script(tmp_path: Path, demo: str, shell: str) -> None:
    job = run(tmp_path / "project", shell, NVDIAG_PYZ=demo, NVDIAG_REQUIRE="driver>=570,<600\n\nmodule=open\n")
    assert job.returncode == 1, job.stderr
    assert "error[driver-library-mismatch]" in job.stdout
    assert OWN not in job.stdout
    report = JUnitXml.fromfile(str(tmp_path / "project" / JOB["artifacts"]["reports"]["junit"]))
    assert report.failures == 1
    snapshot = (tmp_path / "project" / "nvdiag-snapshot.json").read_bytes()
    assert parse(snapshot, "snapshot").source.kind == "snapshot"


def test_a_code_that_is_tolerated_lets_the_job_go(tmp_path: Path, demo: str) -> None:
    job = run(tmp_path / "project", NVDIAG_PYZ=demo, NVDIAG_TOLERATE="1 4")
    assert (job.returncode, job.stdout.splitlines()[-1]) == (0, "the job itself runs")
    assert "NVDIAG_TOLERATE names: the job goes on" in job.stderr


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_what_is_no_requirement_fails_the_job_and_is_not_run(tmp_path: Path, demo: str, shell: str) -> None:
    job = run(
        tmp_path / "project", shell, NVDIAG_PYZ=demo, NVDIAG_REQUIRE="$(touch pwned)`touch pwned`\\ ; touch pwned"
    )
    assert job.returncode == 2
    assert "is no requirement" in job.stderr
    assert list((tmp_path / "project").iterdir()) == []


@pytest.mark.parametrize("program", ["raise SystemExit(1)", "raise SystemExit(0)"])
def test_an_nvdiag_that_fails_lets_the_job_go(tmp_path: Path, program: str) -> None:
    broken = tmp_path / "nvdiag.pyz"
    broken.write_text(program)
    job = run(tmp_path / "project", NVDIAG_PYZ=str(broken))
    assert (job.returncode, job.stdout) == (0, "the job itself runs\n")
    assert job.stderr.startswith("nvdiag: no report could be made\n")
    assert run(tmp_path / "project", NVDIAG_PYZ=str(broken), NVDIAG_TOLERATE="").returncode == 4


def test_it_names_this_version() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert JOB["variables"]["NVDIAG_VERSION"] == nvdiag.__version__
    assert f"/v{nvdiag.__version__}/{FILE.relative_to(ROOT)}" in text


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nvdiag's own wheel and those that it needs, as an index would have them."""
    source, into = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    for name in ("nvdiag", "checks"):
        shutil.copytree(ROOT / name, source / name, symlinks=True)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(into), str(source)]
    subprocess.run(build, check=True)
    return into


@pytest.mark.long
@pytest.mark.parametrize("pip", [True, False])
def test_it_installs_nvdiag_whatever_the_project_holds(tmp_path: Path, wheels: Path, pip: bool) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for name in ("nvdiag", "click", "json", "pip", "venv", "sitecustomize"):
        (project / f"{name}.py").write_text("import pathlib; pathlib.Path(__file__).with_name('pwned').touch()\n")
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python3"
    without = 'case "$*" in "-I -m pip --version") exit 1 ;; esac\n'
    python.write_text(f'#!/bin/sh\n{"" if pip else without}exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    job = run(
        project,
        PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(wheels),
        PIP_CONSTRAINT=str(tmp_path / "none.txt"),
        PYTHONPATH=str(project),
        NVDIAG_TOLERATE="1 3",
    )
    assert job.returncode == 0, job.stderr
    assert (project / "nvdiag.xml").exists()
    assert not (project / "pwned").exists()
