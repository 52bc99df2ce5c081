"""--python and --env-of: another environment than the one that nvdiag itself was started in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import call, one_line, process
from tests.scenarios.pythons import torch_version

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment with a PyTorch that was built for the CPU."""
    prefix = tmp_path / "env"
    packages = prefix / "lib" / f"python{MINOR}" / "site-packages"
    (packages / "torch-2.8.0+cpu.dist-info").mkdir(parents=True)
    (packages / "torch").mkdir()
    (packages / "torch" / "version.py").write_text(torch_version("2.8.0+cpu", None), encoding="ascii")
    (prefix / "bin").mkdir()
    real = Path(sys.executable).resolve()
    (prefix / "bin" / "python").symlink_to(real)
    (prefix / "pyvenv.cfg").write_text(f"home = {real.parent}\nversion = {sys.version.split()[0]}\n", encoding="ascii")
    return prefix


def facts(*arguments: str, **options: Any) -> dict[str, Any]:
    result = process("check", "--format", "json", *arguments, **options)
    assert result.stdout, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)["facts"]
    return found


@pytest.mark.parametrize("place", ["bin/python", "", "bin/"])
def test_an_interpreter_or_its_environments_folder_is_looked_at(environment: Path, place: str) -> None:
    if place == "bin/":
        result = process("check", "--python", str(environment / "bin" / "pythonx"))
        assert result.returncode == 2
        assert "is no interpreter and no Python environment" in one_line(result.stderr)
        return
    found = facts("--python", str(environment / place))
    assert found["python_environments"][0]["prefix"] == str(environment)
    assert found["python_environments"][0]["found_by"] == ["NVDIAG_PYTHON"]
    assert found["frameworks"]["torch"]["version"] == "2.8.0+cpu"


@pytest.fixture
def sleeper(environment: Path) -> Iterator[int]:
    """A process of this user's, started as the environment's Python, with variables of its own."""
    own = {"LD_LIBRARY_PATH": "/opt/nowhere/lib", "CUDA_VISIBLE_DEVICES": "7", "SECRET_TOKEN": "hunter2"}
    started = subprocess.Popen(
        [environment / "bin" / "python", "-c", "import time; print(flush=True); time.sleep(60)"],
        env={"PATH": os.environ["PATH"], **own},
        stdout=subprocess.PIPE,
    )
    assert started.stdout is not None
    started.stdout.readline()
    yield started.pid
    started.kill()
    started.wait()
    started.stdout.close()


def test_a_processes_environment_is_looked_with(environment: Path, sleeper: int) -> None:
    result = process("snapshot", "--show", "--no-redact", "--env-of", str(sleeper))
    recorded = json.loads(result.stdout)["env"]
    assert f"process {sleeper} was started with ({environment}/bin/python)" in result.stderr
    assert recorded["LD_LIBRARY_PATH"] == "/opt/nowhere/lib"
    assert recorded["CUDA_VISIBLE_DEVICES"] == "7"
    assert recorded["NVDIAG_PYTHON"] == f"{environment}/bin/python"
    assert recorded["VIRTUAL_ENV"] is None
    assert "hunter2" not in result.stdout + result.stderr


@pytest.mark.parametrize("place", ["/etc/passwd", "/nowhere/program", "no-such-program-here"])
def test_what_is_no_program_is_wrong_usage(place: str) -> None:
    result = call("check", "--program", place)
    assert result.exit_code == 2
    assert place in one_line(result.stderr)


def test_a_process_that_is_not_there_is_wrong_usage() -> None:
    result = call("check", "--env-of", str(2**22))
    assert result.exit_code == 2
    assert "there is no process" in one_line(result.stderr)


def test_another_users_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    result = call("check", "--env-of", str(os.getpid()))
    assert result.exit_code == 2
    assert f"sudo -u '#{os.getuid()}' nvdiag check --env-of {os.getpid()}" in one_line(result.stderr)


def test_a_process_in_a_container_is_looked_at_from_within(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "samefile", lambda *_: False)
    result = call("check", "--env-of", str(os.getpid()))
    assert result.exit_code == 2
    assert "another root folder, as in a container; run nvdiag in there" in one_line(result.stderr)


@pytest.mark.parametrize(
    "option",
    [("--python", "/usr/bin/python3"), ("--env-of", "1"), ("--program", "/bin/true"), ("--deep",), ("--smoke",)],
)
def test_a_recorded_machine_has_no_environment_of_this_one(option: tuple[str, ...]) -> None:
    result = call("check", "--from", "-", *option, standard_input=b"CUDA error 35")
    assert result.exit_code == 2
    assert "about this machine" in result.stderr


def test_a_script_stands_for_the_environment_of_its_interpreter(environment: Path, tmp_path: Path) -> None:
    script = tmp_path / "serve"
    script.write_text(f"#!{environment}/bin/python\nimport torch\n", encoding="ascii")
    script.chmod(0o755)
    found = facts("--program", str(script))
    assert found["python_environments"][0]["prefix"] == str(environment)
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\nexec true\n", encoding="ascii")
    result = process("check", "--program", str(other))
    assert result.returncode == 2
    assert "is no ELF program" in one_line(result.stderr)
