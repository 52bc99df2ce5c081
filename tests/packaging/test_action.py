"""action.yml: its step is run as the runner runs it, on recorded machines and with what is hostile to it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nvdiag.host.snapshot import parse
from tests.cli.calling import written
from tests.packaging.running_action import ACTION, ROOT, Job, commands, use
from tests.scenarios import machines

DEMO = str(ROOT / "nvdiag" / "demo" / "machine.json")
HOSTILE = "a\"'`\n::error title=x::pwned\n##[add-mask]x\n$(touch pwned) ${IFS} ; touch pwned ; | & \\ --help"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """This checkout as the single file that `pyz` names: only one test needs to install it."""
    file = tmp_path_factory.mktemp("runner") / "nvdiag.pyz"
    file.write_text("from nvdiag.cli import main\nmain()\n")
    return str(file)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, installed: str) -> Job:
    """The action on the demo machine."""
    return use(tmp_path_factory.mktemp("job"), {"pyz": installed, "from": DEMO})


def healthy(folder: Path) -> str:
    return written(folder, machines.ubuntu_dkms("570.172.08"), "healthy.json")


def test_a_broken_machine_fails_the_step_and_says_why(broken: Job) -> None:
    assert broken.code == 1
    first, *rest = commands(broken.log)
    assert first.startswith("::error title=nvdiag%3A driver-library-mismatch (configuration)::")
    assert [line.partition("::nvdiag")[0] for line in rest] == ["::group", "::endgroup::"]
    assert broken.summary.startswith("## ❌ nvdiag: problems, 1 error")
    assert broken.outputs["exit-code"] == "1"
    assert broken.outputs["verdict"] == "problems"
    assert broken.outputs["classes"] == "configuration"
    assert json.loads(broken.outputs["findings"]) == [
        {
            "id": "driver-library-mismatch",
            "class": "configuration",
            "severity": "error",
            "confidence": "certain",
            "cause": True,
        }
    ]
    assert json.loads(Path(broken.outputs["json"]).read_text(encoding="utf-8"))["verdict"] == "problems"


def test_a_broken_machine_leaves_a_snapshot_outside_of_the_workspace(broken: Job) -> None:
    snapshot = Path(broken.outputs["snapshot"])
    assert snapshot.is_relative_to(broken.workspace.parent / "temp")
    assert parse(snapshot.read_bytes(), "snapshot").source.kind == "snapshot"
    assert re.fullmatch(r"nvdiag-snapshot-gpu-tests-[0-9a-f]{8}", broken.outputs["artifact"])
    assert list(broken.workspace.iterdir()) == []


def test_a_healthy_machine_lets_the_job_go(tmp_path: Path, installed: str) -> None:
    job = use(tmp_path, {"pyz": installed, "from": healthy(tmp_path)})
    assert job.code == 0
    assert commands(job.log)[0].startswith("::notice title=nvdiag%3A this machine is well::")
    assert job.outputs["exit-code"] == "0"
    assert job.outputs["verdict"] == "healthy"
    assert job.outputs["classes"] == ""
    assert job.outputs["findings"] == "[]"
    assert job.outputs["snapshot"] == job.outputs["artifact"] == ""


def test_requirements_are_one_a_line_and_settings_come_from_the_workspace(tmp_path: Path, installed: str) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "nvdiag.toml").write_text('[profile.big]\nrequire = ["gpus>=8"]\n')
    wanted = "driver>=570,<600\n\n  module=open\n"
    given = {"pyz": installed, "require": wanted, "profile": "big", "tolerate": "1, 3", "from": healthy(tmp_path)}
    job = use(tmp_path, given)
    assert job.code == 0
    assert job.outputs["exit-code"] == "1"
    assert [one["id"] for one in json.loads(job.outputs["findings"])] == ["requirement-not-met"]
    assert "nvdiag's exit code is 1, which `tolerate` names: the job goes on" in job.log
    assert "gpus\\>=8" in job.summary


def test_what_cannot_be_told_fails_the_step(tmp_path: Path, installed: str) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text('{"nvdiag_snapshot": 1, "captured_at": ""}')
    job = use(tmp_path, {"pyz": installed, "snapshot-on-failure": "false", "from": str(empty)})
    assert (job.code, job.outputs["verdict"], job.outputs["classes"]) == (3, "inconclusive", "")
    assert job.outputs["snapshot"] == ""


def test_wrong_usage_fails_the_step_with_what_is_wrong(tmp_path: Path, installed: str) -> None:
    job = use(tmp_path, {"pyz": installed, "require": "drivr>=570", "from": DEMO})
    assert job.code == 2
    assert commands(job.log)[-1].startswith("::error title=nvdiag%3A wrong usage::")
    assert "did you mean driver" in commands(job.log)[-1]
    assert job.outputs["exit-code"] == "2"
    assert job.outputs["verdict"] == ""


@pytest.mark.parametrize("given", [{"strict": "yes"}, {"tolerate": "5"}, {"pyz": "/nowhere"}])
def test_a_wrong_input_is_wrong_usage(tmp_path: Path, given: dict[str, str]) -> None:
    job = use(tmp_path, given)
    assert job.code == 2
    assert next(iter(given)) in commands(job.log)[-1]


def test_an_nvdiag_that_fails_lets_the_job_go_with_a_warning(tmp_path: Path) -> None:
    broken = tmp_path / "nvdiag.pyz"
    broken.write_text("raise SystemExit(1)\n")
    job = use(tmp_path, {"pyz": str(broken)})
    assert job.code == 0
    assert commands(job.log) == [
        "::warning title=nvdiag%3A no report could be made::nvdiag ended with exit code 1, and without a report"
    ]
    assert job.outputs["exit-code"] == "4"
    assert use(tmp_path, {"pyz": str(broken), "tolerate": ""}).code == 4


def test_without_python_the_job_goes_on_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("bash", "sh"):
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")
    nothing = {"PATH": str(tmp_path / "bin")}
    job = use(tmp_path, {}, nothing)
    assert job.code == 0
    assert commands(job.log)[0].startswith("::warning title=nvdiag%3A no report could be made::there is no Python 3.10")
    assert job.outputs["exit-code"] == "4"
    assert use(tmp_path, {"tolerate": ""}, nothing).code == 4


SOON = ("require", "report")
"""The inputs with which every run tries it; all of them are tried in the long tests."""


@pytest.mark.parametrize(
    "name", [name if name in SOON else pytest.param(name, marks=pytest.mark.long) for name in ACTION["inputs"]]
)
def test_what_an_input_says_is_never_run_nor_obeyed(tmp_path: Path, installed: str, name: str) -> None:
    job = use(tmp_path, {"pyz": installed, "from": DEMO, name: HOSTILE})
    assert not list(tmp_path.rglob("pwned"))
    assert job.code in (1, 2)
    assert not [line for line in commands(job.log) if not line.startswith(("::error title=nvdiag%3A ", "::group::"))][
        1:
    ]
    assert "##[" not in job.log
    assert "Traceback" not in job.log


def test_no_input_is_pasted_into_a_script() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
    given = ACTION["runs"]["steps"][0]["env"]
    assert {name: f"${{{{ inputs.{name} }}}}" for name in ACTION["inputs"]} == {
        name: given["NVDIAG_INPUT_" + name.upper().replace("-", "_")] for name in ACTION["inputs"]
    }


def test_actions_of_others_are_pinned_to_a_commit() -> None:
    texts = [ROOT / "action.yml", *(ROOT / ".github").rglob("*.yml")]
    used = [one for file in texts for one in re.findall(r"uses: (\S+.*)", file.read_text(encoding="utf-8"))]
    assert used
    for one in used:
        assert one.startswith("./") or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+(\.\d+)*", one), one


@pytest.mark.long
def test_it_installs_itself_whatever_the_checkout_holds(tmp_path: Path, installed: str) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    trap = "import pathlib; pathlib.Path(__file__).with_name('pwned').touch()\n"
    for name in ("nvdiag", "click", "json", "pip", "venv", "sitecustomize", "usercustomize", "setuptools"):
        (workspace / f"{name}.py").write_text(trap)
    hostile = {"PYTHONPATH": str(workspace), "PIP_CONSTRAINT": str(workspace / "no.txt"), "PIP_USER": "1"}
    before = _tree()
    job = use(tmp_path, {"from": DEMO}, hostile)
    assert job.code == 1, job.log
    assert job.outputs["classes"] == "configuration"
    assert _tree() == before, "nothing is written into the action's own checkout"
    live = use(tmp_path, {"pyz": installed, "tolerate": "1 3"}, hostile)
    assert live.outputs["verdict"], live.log
    assert live.code == 0
    assert not (workspace / "pwned").exists()


def test_no_secret_of_the_job_is_in_anything_that_leaves_it(tmp_path: Path, installed: str) -> None:
    """GitHub masks the secrets that it knows of, in the log and the summary; in artifacts none."""
    planted = {"HF_TOKEN": "hf_plantedplantedplanted", "DB": "p1antedpassword", "PIP_INDEX_URL": "https://u:p1anted@x/"}
    job = use(tmp_path, {"pyz": installed, "tolerate": "1 3", "report": "html=r.html\njunit=r.xml"}, planted)
    assert job.outputs["verdict"], job.log
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"report.json", "r.html", "r.xml", "GITHUB_STEP_SUMMARY"} <= {path.name for path in files}
    for text in (job.log, *(path.read_text(encoding="utf-8") for path in files)):
        assert "planted" not in text
        assert "p1anted" not in text


def _tree() -> set[str]:
    return {str(path) for path in ROOT.glob("*")}
