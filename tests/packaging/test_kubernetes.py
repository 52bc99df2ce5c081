"""The init container: its command is run, with a termination log of its own, and programs in nvdiag's place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.packaging.running_pod import INIT, POD, start
from tests.scenarios.ci_page import DEMO


def on(machine: str) -> str:
    return f'exec {sys.executable} -I -m nvdiag "$@" --from {machine}'


def test_a_broken_machine_keeps_the_pod_from_starting_and_says_why(tmp_path: Path) -> None:
    code, log, message = start(tmp_path, on(str(DEMO)))
    assert code == 1
    assert "error[driver-library-mismatch]" in log
    assert message.startswith("NVDIAG CRITICAL - driver-library-mismatch (configuration): the loaded kernel module is")
    assert len(message.encode()) <= 4096, "the kubelet keeps the last 4096 bytes"


def test_what_is_not_certain_lets_the_pod_start(tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text('{"nvdiag_snapshot": 1, "captured_at": ""}')
    code, log, _ = start(tmp_path, on(str(empty)))
    assert code == 0
    assert "nvdiag cannot judge this machine (3): the job goes on" in log


@pytest.mark.parametrize("fault", ["exit 1", "exit 2", "exit 4", "kill -9 $$", "no-such-program"])
def test_an_nvdiag_that_fails_lets_the_pod_start(tmp_path: Path, fault: str) -> None:
    code, log, message = start(tmp_path, fault)
    assert (code, message) == (0, "")
    assert "the job goes on" in log


def test_an_nvdiag_that_hangs_is_ended_and_lets_the_pod_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert INIT["args"][0].startswith("timeout -k 5 60 nvdiag ")
    monkeypatch.setitem(INIT, "args", [INIT["args"][0].replace("-k 5 60", "-k 0.1 0.1")])
    code, log, _ = start(tmp_path, "trap '' TERM; sleep 5")
    assert code == 0
    assert "nvdiag cannot judge this machine (137): the job goes on" in log


def test_the_init_container_gets_the_gpus_of_the_job_and_no_rights() -> None:
    assert INIT["resources"]["limits"] == POD["containers"][0]["resources"]["limits"]
    rights = INIT["securityContext"]
    assert rights["runAsNonRoot"]
    assert rights["readOnlyRootFilesystem"]
    assert not rights["allowPrivilegeEscalation"]
    assert rights["capabilities"] == {"drop": ["ALL"]}
