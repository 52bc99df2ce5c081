"""What shellcheck says of every script that is shipped, and node-problem-detector of its configuration and plug-in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.installed import PACKAGING, SCRIPTS, SHIPPED, installed, pretender

OURS = ("github-runner/job-started.sh", "npd/check-nvdiag.sh", "slurm/health-check", "slurm/prolog")


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name: str) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    told = subprocess.run([shellcheck, PACKAGING / name], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")


@pytest.mark.parametrize("name", OURS)
def test_a_script_calls_nvdiag_isolated_and_under_two_limits(name: str) -> None:
    text = (PACKAGING / name).read_text(encoding="utf-8")
    assert name in SCRIPTS
    assert (PACKAGING / name).stat().st_mode & 0o111
    assert text.count(f"nvdiag=({SHIPPED})\n") == 1
    call = re.findall(r'timeout -k \d (\d+) "\$\{nvdiag\[@\]\}" check --no-config --deadline (\d+)', text)
    assert len(call) == text.count('"${nvdiag[@]}"') == 1
    assert int(call[0][1]) < int(call[0][0])  # nvdiag's own limit comes first: then it still says what hangs


# node-problem-detector


def seconds(text: str) -> float:
    """A duration of Go's time.ParseDuration, of whole numbers."""
    assert re.fullmatch(r"(?:\d+(?:h|ms|m|s))+", text), text
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)(h|ms|m|s)", text))


def rules_broken(config: dict[str, Any]) -> list[str]:
    """What ApplyConfiguration and Validate refuse (pkg/custompluginmonitor/types/config.go), and keys unknown there.

    That a rule's path is there is asked on the node.
    """
    known = {
        "": {"plugin", "pluginConfig", "source", "conditions", "rules", "metricsReporting"},
        "pluginConfig": {
            "invoke_interval", "timeout", "max_output_length", "concurrency",
            "enable_message_change_based_condition_update", "skip_initial_status",
        },
        "conditions": {"type", "reason", "message"},
        "rules": {"type", "condition", "reason", "path", "args", "timeout", "invoke_interval"},
    }  # fmt: skip
    tables = [("", config), ("pluginConfig", config["pluginConfig"])]
    tables += [(name, one) for name in ("conditions", "rules") for one in config[name]]
    broken = [f"{name}: {key}" for name, table in tables for key in table if key not in known[name]]
    limit = seconds(config["pluginConfig"].get("timeout", "5s"))
    seconds(config["pluginConfig"].get("invoke_interval", "30s"))
    defaults = {one["type"] for one in config["conditions"]}
    if config["plugin"] != "custom":
        broken.append("plugin")
    for rule in config["rules"]:
        if "timeout" in rule and seconds(rule["timeout"]) > limit:
            broken.append("plugin timeout is greater than global timeout")
        if rule["type"] not in ("permanent", "temporary"):
            broken.append(rule["type"])
        if rule["type"] == "permanent" and rule["condition"] not in defaults:
            broken.append(f"{rule['condition']} does not have preset default condition")
    return broken


def test_node_problem_detector_takes_its_configuration() -> None:
    config = json.loads((PACKAGING / "npd" / "nvdiag.json").read_text(encoding="utf-8"))
    assert rules_broken(config) == []
    assert rules_broken({**config, "conditions": []}) != []
    limit = re.search(r"timeout -k (\d+) (\d+)", (PACKAGING / "npd" / "check-nvdiag.sh").read_text(encoding="utf-8"))
    assert limit
    for rule in config["rules"]:
        assert (PACKAGING / "npd" / Path(rule["path"]).name).is_file()
        assert int(limit[1]) + int(limit[2]) < seconds(rule["timeout"])  # the script's own limit comes first
        assert rule["args"] in (["configuration"], ["hardware"])
    for one in (*config["conditions"], *({"type": rule["reason"]} for rule in config["rules"])):
        assert re.fullmatch(r"[A-Z][A-Za-z]+", one["type"])  # a condition's type and reason are one CamelCase word
    assert config["pluginConfig"]["max_output_length"] == 80


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("echo 'healthy: 19 checks passed'", 0, "healthy: 19 checks passed"),
        ("echo 'driver-library-mismatch: x'; exit 1", 1, "driver-library-mismatch: x"),
        ("echo 'inconclusive: 2 checks passed'; exit 2", 2, "inconclusive: 2 checks passed"),
        ("echo Traceback >&2; exit 1", 2, "nvdiag gave no answer (exit code 1)"),
        ("exit 4", 2, "nvdiag gave no answer (exit code 4)"),
        ("exec sleep 20", 2, "nvdiag gave no answer (exit code 124)"),
        ("trap '' TERM; sleep 20; sleep 20", 2, "nvdiag gave no answer (exit code 137)"),
    ],
)
def test_only_an_answer_is_a_problem_to_node_problem_detector(
    script: str, code: int, words: str, tmp_path: Path
) -> None:
    program = installed(
        "npd/check-nvdiag.sh", tmp_path, pretender(tmp_path, script), **{"timeout -k 5 30": "timeout -k 0.1 0.5"}
    )
    told = subprocess.run([program, "hardware"], capture_output=True, text=True, env={}, check=False, timeout=30)
    assert (told.returncode, told.stdout) == (code, f"{words}\n")


def test_a_missing_nvdiag_is_unknown_to_node_problem_detector(tmp_path: Path) -> None:
    program = installed("npd/check-nvdiag.sh", tmp_path, ["/nonexistent/python3"])
    told = subprocess.run([program, "hardware"], capture_output=True, text=True, env={}, check=False, timeout=30)
    assert (told.returncode, told.stdout) == (2, "nvdiag gave no answer (exit code 127)\n")
