"""The action's one step: install nvdiag from this checkout, look at the machine, and tell the job what came of it.

action.yml runs it as `python3 -I preflight.py`, so that no module of the job's own checkout, which is the current
folder, is imported. It needs the standard library of Python 3.10 only. What the workflow's author wrote comes in
environment variables NVDIAG_INPUT_*, and is never more than one argument of a command.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[2]
INSTALLED_FROM = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "nvdiag", "checks")

USAGE, NO_REPORT = 2, 4
"""Exit codes of nvdiag. It is NO_REPORT, too, where nvdiag cannot be installed or does not come back."""

SECONDS = 300
"""How long the installation may take, and a look at the machine beyond its own --deadline."""

KEPT_OF_PIP = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|NO_INDEX|FIND_LINKS|TRUSTED_HOST|CERT|CLIENT_CERT|PROXY|CONFIG_FILE|CACHE_DIR"
    r"|NO_CACHE_DIR|DEFAULT_TIMEOUT|TIMEOUT|RETRIES|KEYRING_PROVIDER)"
)
"""Where packages come from is the machine's affair; where they go, and which, is not: NVIDIA's NGC images set
PIP_CONSTRAINT, which would hold nvdiag to what their PyTorch wants."""


class Stop(Exception):
    """There is no report; the exit code and the reason in one line."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def main() -> int:
    """The exit code of the step: nvdiag's own, or 0 where that is to be tolerated."""
    tolerated: frozenset[int] = frozenset({NO_REPORT})
    try:
        tolerated = _tolerated()
        code = _look_at_the_machine()
    except Stop as stop:
        code = stop.code
        _output("exit-code", str(code))
        title = "nvdiag: wrong usage" if code == USAGE else "nvdiag: no report could be made"
        _annotate("warning" if code in tolerated else "error", title, str(stop))
    if code in tolerated:
        print(f"nvdiag's exit code is {code}, which `tolerate` names: the job goes on", flush=True)
        return 0
    return code


def _look_at_the_machine() -> int:
    about = _options("from", "python", "deadline")
    judged_by = [*_options("config", "profile", "fail-on"), *_lists("require", "select", "ignore", "class", "report")]
    judged_by += [f"--{name}" for name in ("strict", "smoke") if _switch(name)]
    keeps_snapshot = _switch("snapshot-on-failure")
    work = Path(tempfile.mkdtemp(prefix="nvdiag-", dir=os.environ.get("RUNNER_TEMP")))
    command = _command(work)
    report = work / "report.json"
    code, told = _run([*command, "check", "--format=github", *about, *judged_by, f"--report=json={report}"])
    if code == USAGE:
        raise Stop(USAGE, told)
    document = _read(report)
    if document is None or document.get("exit_code") != code:
        raise Stop(NO_REPORT, told or f"nvdiag ended with exit code {code}, and without a report")
    _output("exit-code", str(code))
    _output("verdict", document["verdict"])
    _output("json", str(report))
    _output("findings", json.dumps([_short(one) for one in document["findings"]]))
    _output("classes", " ".join(_classes(document)))
    if code and keeps_snapshot:
        _keep_snapshot(command, about, work / "snapshot.json")
    return code


def _command(work: Path) -> list[str]:
    """What runs nvdiag: the single file that the workflow names, else this checkout in an environment of its own."""
    if pyz := _input("pyz"):
        if not Path(pyz).is_file():
            raise Stop(USAGE, f"pyz names {pyz}, and there is no such file")
        return [sys.executable, "-I", pyz]
    source, environment = work / "source", work / "venv"
    source.mkdir()
    for name in INSTALLED_FROM:  # setuptools writes beside what it builds, and a checkout may be read-only
        if (SOURCE / name).is_dir():
            shutil.copytree(SOURCE / name, source / name, symlinks=True)
        else:
            shutil.copy(SOURCE / name, source / name)
    python = str(environment / "bin" / "python")
    pip = ["-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    if importlib.util.find_spec("pip"):  # it saves seconds, and Debian's Python cannot give a new environment a pip
        _install([sys.executable, "-I", "-m", "venv", "--without-pip", str(environment)], work)
        target = next(environment.glob("lib/python3*/site-packages"))
        _install([sys.executable, *pip, "--target", str(target), str(source)], work)
    else:
        _install([sys.executable, "-I", "-m", "venv", str(environment)], work)
        _install([python, *pip, str(source)], work)
    return [python, "-I", "-m", "nvdiag"]


def _install(command: Sequence[str], work: Path) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "PYTHON")) or KEPT_OF_PIP.fullmatch(name)
    }
    try:
        done = subprocess.run(
            command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=SECONDS, check=False, encoding="utf-8", errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Stop(NO_REPORT, f"nvdiag could not be installed in {SECONDS} seconds: {_ADVICE}") from None
    if done.returncode:
        _log(done.stdout)
        errors = re.findall(r"^ *ERROR: (.+)", done.stdout, re.M) or done.stdout.strip().splitlines() or ["no word why"]
        raise Stop(NO_REPORT, f"nvdiag could not be installed: {errors[-1]}; {_ADVICE}")


_ADVICE = "a runner without pip or network needs nvdiag.pyz on it, and its path as the input `pyz`"


def _run(command: Sequence[str], *, quiet: bool = False) -> tuple[int, str]:
    """The exit code, and what was said on stderr. Standard output is the step's own: nvdiag speaks to the runner."""
    limit = SECONDS + _seconds()
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL if quiet else None, stderr=errors
        )
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            child.kill()
            return NO_REPORT, f"nvdiag did not come back within {limit:.0f} seconds"
        errors.seek(0)
        told = errors.read(20_000).decode("utf-8", "replace").strip()
    _log(told)
    return code, told


def _seconds() -> float:
    try:
        return min(float(_input("deadline") or 0), 3600.0)
    except ValueError:  # nvdiag itself says so
        return 0.0


def _keep_snapshot(command: Sequence[str], about: Sequence[str], file: Path) -> None:
    code, told = _run([*command, "snapshot", *about, str(file)], quiet=True)
    if code or not file.exists():
        _annotate("warning", "nvdiag: no snapshot could be made", told or f"exit code {code}")
        return
    job = re.sub(r"[^\w-]+", "-", os.environ.get("GITHUB_JOB", "job"))
    _output("snapshot", str(file))
    _output("artifact", _input("artifact-name") or f"nvdiag-snapshot-{job}-{secrets.token_hex(4)}")


def _read(report: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(report.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _short(finding: Mapping[str, Any]) -> dict[str, Any]:
    """A finding in nvdiag's own words alone: an output ends up in scripts, and a title may quote a kernel log."""
    wanted = ("id", "class", "severity", "confidence")
    return {name: finding[name] for name in wanted} | {"cause": finding["caused_by"] is None}


def _classes(document: Mapping[str, Any]) -> list[str]:
    """The classes of what made the exit code 1, each by its root cause: of the errors, else of the warnings."""
    by_key = {one["key"]: one for one in document["findings"]}
    sure = [one for one in document["findings"] if one["confidence"] != "possible"]
    for severity in ("error", "warning") if document["exit_code"] == 1 else ():
        if failing := [one for one in sure if one["severity"] == severity]:
            return list(dict.fromkeys(_root(one, by_key)["class"] for one in failing))
    return []


def _root(finding: Mapping[str, Any], by_key: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    while cause := by_key.get(finding["caused_by"]):
        finding = cause
    return finding


def _input(name: str) -> str:
    return os.environ.get("NVDIAG_INPUT_" + name.upper().replace("-", "_"), "").strip()


def _options(*names: str) -> list[str]:
    return [f"--{name}={value}" for name in names if (value := _input(name))]


def _lists(*names: str) -> Iterator[str]:
    """One option for each line: a requirement has commas of its own."""
    for name in names:
        yield from (f"--{name}={line.strip()}" for line in _input(name).splitlines() if line.strip())


def _switch(name: str) -> bool:
    value = _input(name).lower()
    if value not in ("true", "false", ""):
        raise Stop(USAGE, f"{name} is true or false, and not {value}")
    return value == "true"


def _tolerated() -> frozenset[int]:
    words = _input("tolerate").replace(",", " ").split()
    if wrong := [word for word in words if word not in ("1", "2", "3", "4")]:
        raise Stop(USAGE, f"tolerate takes nvdiag's exit codes, 1 to 4, and not {wrong[0]}")
    return frozenset(map(int, words))


def _output(name: str, value: str) -> None:
    """One of the action's outputs. What ends the value cannot be guessed, and so is not in it."""
    file = os.environ.get("GITHUB_OUTPUT")
    if file:
        end = secrets.token_hex(16)
        with Path(file).open("a", encoding="utf-8") as outputs:
            outputs.write(f"{name}<<{end}\n{value}\n{end}\n")


def _annotate(level: str, title: str, message: str) -> None:
    """A workflow command, encoded as actions/toolkit, packages/core/src/command.ts, does it."""
    safe = message.replace("##[", "# #[").replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::{level} title={title.replace(':', '%3A')}::{safe}", flush=True)


def _log(text: str) -> None:
    """What a program said, in lines none of which the runner takes for a command: :: in front, or ##[ anywhere."""
    for line in filter(None, re.split(r"[\r\n]+", text)):
        print("| " + line.replace("##[", "# #["), flush=True)


if __name__ == "__main__":
    sys.exit(main())
