"""The JSON report keeps its schema, says what the diagnosis says, and leaves nothing out that was not judged."""

from __future__ import annotations

import json
from enum import Enum
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from nvdiag.cli import running
from nvdiag.model.diagnosis import CheckOutcome, Diagnosis, Ranked, Source, Status, Verdict
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Risk, Severity
from tests.report.reporting import MACHINES, as_document, diagnosed
from tests.scenarios import containers, machines

SCHEMA: dict[str, Any] = json.loads((files("nvdiag.report") / "schema.json").read_text(encoding="utf-8"))


def closed(schema: Any) -> Any:
    """The schema with every object closed: what the report writes and the schema does not describe is an error."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema and isinstance(schema["properties"], dict):
        result["additionalProperties"] = False
    return result


@pytest.fixture(scope="module", params=MACHINES)
def machine(request: pytest.FixtureRequest) -> Diagnosis:
    return diagnosed(MACHINES[request.param]())


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_every_report_keeps_the_schema(machine: Diagnosis) -> None:
    Draft202012Validator(SCHEMA).validate(as_document(machine))


def test_the_schema_describes_every_key(machine: Diagnosis) -> None:
    Draft202012Validator(closed(SCHEMA)).validate(as_document(machine))


def test_what_was_required_is_in_the_report_with_what_it_was_held_against() -> None:
    facts = running.begun(MACHINES["mismatch"]())
    requirements = running.required(["driver>=580", "gpus>=1", "cuda>=12", "torch>=2"])
    assert requirements is not None
    facts[type(requirements)] = requirements
    document = as_document(running.diagnosed(facts, running.chosen((), ())))
    Draft202012Validator(closed(SCHEMA)).validate(document)
    told = {one["requirement"]: one for one in document["facts"]["requirements"]}
    assert [one["answer"] for one in told.values()] == ["not met", "cannot tell", "met", "cannot tell"]
    held = {"of": "", "value": "570.169", "source": "/sys/module/nvidia/version", "holds": False}
    assert told["driver>=580"]["held"] == [held]
    assert "NVML" in told["gpus>=1"]["why"]


def test_every_fact_that_a_report_shows_is_collected(machine: Diagnosis) -> None:
    assert "not collected in this run" not in json.dumps(as_document(machine))


def test_a_report_with_more_keys_still_keeps_the_schema(machine: Diagnosis) -> None:
    document = as_document(machine)
    document["new"] = document["facts"]["new"] = document["facts"]["driver"]["new"] = {"any": 1}
    for finding in document["findings"]:
        finding["new"] = 1
    Draft202012Validator(SCHEMA).validate(document)


@pytest.mark.parametrize(
    ("place", "enum"),
    [
        (("$defs", "finding", "properties", "severity"), Severity),
        (("$defs", "finding", "properties", "confidence"), Confidence),
        (("$defs", "finding", "properties", "class"), FindingClass),
        (("$defs", "check", "properties", "status"), Status),
        (("$defs", "remedy", "properties", "risk"), Risk),
        (("properties", "verdict"), Verdict),
    ],
)
def test_the_schema_names_each_word_of_a_closed_set(place: tuple[str, ...], enum: type[Enum]) -> None:
    at: Any = SCHEMA
    for name in place:
        at = at[name]
    assert at["enum"] == [member.value for member in enum]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict",), "fine"),
        (("exit_code",), 2),
        (("source", "kind"), "guess"),
        (("schema_version",), 2),
        (("findings", 0, "severity"), "fatal"),
        (("findings", 0, "confidence"), "sure"),
        (("findings", 0, "class"), "other"),
        (("findings", 0, "evidence"), []),
        (("findings", 0, "remedies", 0, "risk"), "none"),
        (("checks", 0, "status"), "ok"),
        (("facts", "gpus"), None),
        (("facts", "driver", "version_file"), {"error": "EACCES"}),
    ],
)
def test_the_schema_refuses_what_no_report_says(path: tuple[str | int, ...], value: object) -> None:
    document = as_document(diagnosed(MACHINES["mismatch"]()))
    at: Any = document
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    assert list(Draft202012Validator(SCHEMA).iter_errors(document))


def test_the_schema_wants_a_reason_where_a_check_did_not_judge() -> None:
    document = as_document(diagnosed(MACHINES["an empty snapshot"]()))
    next(one for one in document["checks"] if one["status"] == "unknown")["reason"] = ""
    assert list(Draft202012Validator(SCHEMA).iter_errors(document))


@pytest.mark.parametrize("fail_on", [Severity.ERROR, Severity.WARNING])
@pytest.mark.parametrize("strict", [False, True])
def test_exit_code_and_verdict_are_the_diagnosis_own(machine: Diagnosis, fail_on: Severity, strict: bool) -> None:
    document = as_document(machine, fail_on, strict)
    assert document["exit_code"] == machine.exit_code(fail_on, strict)
    assert document["verdict"] == machine.verdict(fail_on, strict).value


@pytest.mark.parametrize(
    ("name", "code", "verdict"),
    [
        ("mismatch", 1, "problems"),
        ("healthy", 0, "healthy"),
        ("healthy, as recorded", 0, "healthy"),
        ("module not loaded", 1, "problems"),
        ("no libraries", 1, "problems"),
        ("two GPUs", 0, "healthy"),
        ("no GPU", 1, "problems"),
        ("every probe hung", 1, "problems"),
        ("every probe crashed", 1, "problems"),
        ("an empty snapshot", 3, "inconclusive"),
    ],
)
def test_a_machine_is_judged_as_it_is(name: str, code: int, verdict: str) -> None:
    document = as_document(diagnosed(MACHINES[name]()))
    assert (document["exit_code"], document["verdict"]) == (code, verdict)


def test_a_machine_that_says_nothing_passes_no_check() -> None:
    document = as_document(diagnosed(MACHINES["an empty snapshot"]()))
    assert [one["name"] for one in document["checks"] if one["status"] == "passed"] == []


def test_a_problem_is_sure_under_every_option(machine: Diagnosis) -> None:
    document = as_document(machine)
    sure = [one for one in document["findings"] if one["severity"] == "error" and one["confidence"] != "possible"]
    assert (document["exit_code"] == 1) == bool(sure)


def test_a_check_that_did_not_judge_says_why(machine: Diagnosis) -> None:
    for one in as_document(machine)["checks"]:
        assert bool(one["reason"]) == (one["status"] in {"skipped", "unknown", "failed"}), one


def test_a_check_that_raised_is_failed_with_its_reason_and_a_finding() -> None:
    document = as_document(diagnosis_with_failed_check())
    assert document["checks"][0]["status"] == "failed"
    assert document["checks"][0]["reason"] == "ValueError: x"
    assert document["findings"][0]["class"] == "tool"
    assert document["exit_code"] == 1


def diagnosis_with_failed_check() -> Diagnosis:
    finding = Finding(
        id="check-failed",
        subject="one",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.TOOL,
        title="one failed",
        evidence=(Evidence(source="one", excerpt="ValueError: x"),),
    )
    return Diagnosis(
        source=Source(kind="live", name="here", captured_at="2025-09-16T08:11:02+00:00"),
        findings=(Ranked(finding=finding),),
        checks=(CheckOutcome(name="one", area="driver", status=Status.FAILED, reason="ValueError: x"),),
        facts={},
        seconds=0.1,
    )


def test_findings_have_unique_keys_and_causes_stand_before_consequences(machine: Diagnosis) -> None:
    seen: list[str] = []
    for finding in as_document(machine)["findings"]:
        assert finding["key"] not in seen
        assert finding["caused_by"] is None or finding["caused_by"] in seen
        seen.append(finding["key"])


def test_a_consequence_names_its_cause() -> None:
    findings = as_document(diagnosed(MACHINES["mismatch with a consequence"]()))["findings"]
    assert [(one["key"], one["caused_by"]) for one in findings] == [
        ("driver-library-mismatch", None),
        ("driver-submodule-mismatch:nvidia_uvm", "driver-library-mismatch"),
    ]


def test_versions_are_shown_as_they_were_read() -> None:
    facts = as_document(diagnosed(MACHINES["mismatch"]()))["facts"]
    assert facts["kernel"]["release"] == "6.8.0-85-generic"
    assert facts["driver"]["modules"]["nvidia"]["release"] == "570.169"
    assert facts["driver"]["module_of_next_boot"]["release"] == "570.172.08"
    assert facts["driver"]["nvml"]["init"] == 18
    assert facts["libraries"]["libcuda"]["taken"]["release"] == "570.172.08"
    assert as_document(diagnosed(MACHINES["a toolkit"]()))["facts"]["toolkits"][0]["version"] == "13.0.48"


def test_a_gpu_stands_once_with_what_the_bus_and_nvml_say() -> None:
    gpus = as_document(diagnosed(MACHINES["two GPUs"]()))["facts"]["gpus"]
    assert [gpu["address"] for gpu in gpus] == ["0000:01:00.0", "0000:02:00.0"]
    assert [gpu["nvml"]["index"] for gpu in gpus] == [0, 1]
    assert gpus[0]["nvml"]["memory_total_bytes"] == 25757220864
    assert gpus[0]["nvml"]["nvml_errors"] == {"mig_mode": 3}


def test_what_could_not_be_read_is_a_reason_and_never_a_value() -> None:
    facts = as_document(diagnosed(MACHINES["an empty snapshot"]()))["facts"]
    shown = [facts["gpus"], facts["libraries"], facts["kernel"]["release"], facts["driver"]["modules"]]
    assert all(list(one) == ["unknown"] for one in shown)
    assert list(facts["toolkits"]) == ["unknown"]
    without = as_document(diagnosed(MACHINES["module not loaded"]()))["facts"]
    assert list(without["driver"]["version_file"]) == ["not_applicable"]
    assert without["driver"]["modules"] == {}


def test_xids_are_counted_by_gpu_and_process() -> None:
    xids = as_document(diagnosed(MACHINES["a kernel log"]()))["facts"]["xids"]
    shown = [
        (one["number"], one["address"], one["pid"], one["name"], one["count"], one["first_since_boot"]) for one in xids
    ]
    assert shown == [(31, "0000:3b:00.0", 4711, "python3", 2, 12.5), (119, "0000:5e:00.0", None, None, 1, None)]
    assert [one["last_since_boot"] for one in xids] == [14.25, None]
    assert {one["source"] for one in xids} == {"message"}
    without = as_document(diagnosed(MACHINES["healthy"]()))["facts"]["xids"]
    assert list(without) == ["not_applicable"]


def test_what_only_the_host_can_tell_is_said_with_the_command_to_run_there() -> None:
    inside = as_document(diagnosed(containers.docker_legacy().host()))["facts"]["container"]
    assert (inside["engine"], inside["described"]) == ("docker", "a Docker container")
    assert inside["host"]["run"] == ["nvdiag"]
    assert inside["start"]["visible_devices"] == "all"
    assert inside["libraries"]["libcuda"] == "mounted from the host"
    outside = as_document(diagnosed(machines.ubuntu_dkms().host()))["facts"]["container"]
    assert (outside["engine"], outside["described"], outside["host"]) == (None, None, None)
