"""The smoke test on recorded answers: what each CUresult means there, what merges with it, and what is never health."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from nvdiag.checks import _smoke_trials
from nvdiag.cli import running
from nvdiag.engine import Facts
from nvdiag.facts.smoke import Smoke
from nvdiag.facts.smoke_trials import parse_trial
from nvdiag.host import Host
from nvdiag.knowledge.cuda_errors import CudaError, cuda_errors
from nvdiag.model.diagnosis import Diagnosis, Status
from nvdiag.model.finding import Confidence, Finding, FindingClass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.report.stack import status_lines
from tests.checks.diagnosing import diagnosed, first, ids
from tests.checks.test_shared_gpus import mps as mps_of
from tests.report.reporting import as_document
from tests.report.test_json import SCHEMA, closed
from tests.scenarios import machines
from tests.scenarios.tree import Tree

WELL = "570.172.08"
TWO = (machines.GPU, "0000:02:00.0")
CALLS = (
    "cuInit", "cuDeviceGet", "cuCtxCreate_v2", "cuMemAlloc_v2", "cuMemcpyHtoD_v2", "cuModuleLoadDataEx",
    "cuModuleGetFunction", "cuLaunchKernel", "cuCtxSynchronize", "cuMemcpyDtoH_v2", "cuModuleUnload", "cuMemFree_v2",
    "cuCtxDestroy_v2",
)  # fmt: skip


def trial(ordinal: int = 0, until: str = "", result: int = 0, **more: object) -> dict[str, Any]:
    """A probe's document, in which the call `until` answers `result`; to the end without it."""
    calls = CALLS[: CALLS.index(until) + 1] if until else CALLS
    steps = [{"call": call, "result": 0, "seconds": 0.01} for call in calls]
    document = {"ordinal": ordinal, "name": "NVIDIA GeForce RTX 4090", "address": TWO[ordinal], "compute_mode": 0}
    if until:
        steps[-1] |= {"result": result, "name": "CUDA_ERROR"}
        return {**document, "steps": steps, **more}
    return {**document, "steps": steps, "compared": 1024, "wrong": 0, **more}


def tried(*trials: dict[str, Any], base: Tree | None = None, mps: bool = False) -> Tree:
    machine = base or machines.ubuntu_dkms(WELL, gpus=TWO[: len(trials)])
    probes = {f"smoke {ordinal}{' mps' if mps else ''}": one for ordinal, one in enumerate(trials)}
    return machine.but(env={"NVDIAG_SMOKE": "1"}, probes=probes)


def outcome(diagnosis: Diagnosis, name: str = "every_gpu_runs_a_kernel") -> tuple[Status, str]:
    return next((one.status, one.reason) for one in diagnosis.checks if one.name == name)


def test_gpus_that_run_the_kernel_are_well() -> None:
    diagnosis = diagnosed(tried(trial(0), trial(1)))
    assert (diagnosis.findings, diagnosis.exit_code()) == ((), 0)
    names = [one.name for one in diagnosis.checks if one.name.endswith(("kernel", "came_back")) and "smoke" in one.name]
    assert {outcome(diagnosis, name)[0] for name in ("every_gpu_runs_a_kernel", *names)} == {Status.PASSED}


def test_nobody_is_tried_who_was_not_asked_for() -> None:
    machine = machines.ubuntu_dkms(WELL)
    host = machine.host()
    assert outcome(diagnosed(host)) == (Status.SKIPPED, "the smoke test was not asked for: --smoke")
    assert not [key for key in host.asked if key.startswith("probes smoke")]


def told(*documents: dict[str, Any]) -> list[Finding]:
    """The findings of these trials alone, with nothing known of NVML."""
    trials = tuple(parse_trial(one, f"smoke {ordinal}", ordinal) for ordinal, one in enumerate(documents))
    return list(_smoke_trials.findings(Smoke(trials, mps=False), Unknown("NVML was not asked")))


@pytest.mark.parametrize("row", [one for one in cuda_errors() if one.number != 46], ids=lambda row: row.number)
def test_each_error_is_the_finding_that_the_table_names(row: CudaError) -> None:
    call = "cuCtxSynchronize" if 700 <= row.number < 800 else "cuCtxCreate_v2"
    (found,) = told(trial(0), trial(1, call, row.number))
    assert found.id == (row.smoke or "gpu-init-failed")
    assert f"{call} answers {row.number}" in found.title
    assert found.detail.endswith("Of 2 GPUs 1 ran the kernel right.")
    assert "0000:02:00.0" in found.evidence[0].source
    assert found.confidence is not Confidence.POSSIBLE


def test_an_error_that_the_table_does_not_have_is_told_by_its_number() -> None:
    (found,) = told(trial(0, "cuMemAlloc_v2", 500))
    assert (found.id, found.title) == (
        "gpu-init-failed",
        "the GPU at 0000:01:00.0 runs no kernel: cuMemAlloc_v2 answers 500 CUDA_ERROR",
    )
    assert told(trial(0, "cuCtxSynchronize", 715))[0].id == "gpu-hardware-fault"


def test_a_live_run_and_its_snapshot_find_the_same() -> None:
    machine = tried(trial(0, "cuCtxSynchronize", 700), trial(1, "cuCtxCreate_v2", 802))
    live, replay = diagnosed(machine), diagnosed(machine.snapshot())
    assert live.findings == replay.findings
    assert {one.finding.id for one in live.findings} == {"gpu-hardware-fault", "fabric-manager-not-running"}
    assert live.facts[Smoke] == replay.facts[Smoke]


def test_the_table_names_findings_of_the_smoke_tests_own_checks() -> None:
    own = {
        identifier
        for one in running.chosen((), ()).checks
        if one.function.__module__.endswith(".smoke")
        for identifier in one.ids
    }
    assert {row.smoke for row in cuda_errors() if row.smoke} <= own


def test_what_is_of_a_gpu_names_it_and_what_is_of_the_machine_is_said_once() -> None:
    per_gpu = told(trial(0, "cuMemAlloc_v2", 999), trial(1, "cuCtxCreate_v2", 999))
    assert [one.key for one in per_gpu] == ["gpu-init-failed:0000:01:00.0", "gpu-init-failed:0000:02:00.0"]
    machine = diagnosed(tried(trial(0, "cuCtxCreate_v2", 805), trial(1, "cuCtxCreate_v2", 805)))
    assert [one.finding.key for one in machine.findings] == ["mps-unavailable"]
    assert len({one.source for one in machine.findings[0].finding.evidence}) == 2


@pytest.mark.parametrize(
    ("mode", "identifier", "kind"),
    [
        (3, "compute-mode-restricted", FindingClass.ENVIRONMENT),
        (2, "compute-mode-restricted", FindingClass.ENVIRONMENT),
        (None, "compute-mode-restricted", FindingClass.ENVIRONMENT),
        (0, "gpu-init-failed", FindingClass.CONFIGURATION),
    ],
)
def test_an_unavailable_gpu_is_judged_by_its_compute_mode(
    mode: int | None, identifier: str, kind: FindingClass
) -> None:
    (found,) = told(trial(0, "cuCtxCreate_v2", 46, compute_mode=mode))
    assert (found.id, found.kind) == (identifier, kind)


@pytest.mark.parametrize(
    ("used", "identifier"), [(25757220864, "gpu-memory-held"), (1 << 30, "gpu-init-failed"), (None, "gpu-memory-held")]
)
def test_memory_is_held_by_others_only_where_nvml_shows_no_room(used: int | None, identifier: str) -> None:
    nvml = machines.nvml_healthy(WELL)
    memory = {} if used is None else {"total": 25757220864, "used": used, "free": 25757220864 - used}
    nvml["devices"][0]["memory_bytes"] = memory
    found = first(tried(trial(0, "cuCtxCreate_v2", 2)).but(probes={"nvml": nvml}))
    assert (found.id, found.kind) == (identifier, FindingClass.ENVIRONMENT)
    assert not any("gpu-reset" in command for remedy in found.remedies for command in remedy.commands)
    assert ("llama-server (4242): 1020 MiB" in [one.excerpt for one in found.evidence]) is (used == 25757220864)


def test_a_wrong_result_is_a_hardware_finding_though_every_call_is_well() -> None:
    (found,) = told(trial(0, wrong=3, first_wrong={"word": 7, "wanted": 1, "got": 0}))
    assert (found.id, found.kind) == ("gpu-hardware-fault", FindingClass.HARDWARE)
    assert "3 of 1024 words" in found.title
    assert found.evidence[0].excerpt == "word 7: 0x00000000 instead of 0x00000001"


def test_the_words_of_the_drivers_compiler_are_evidence() -> None:
    log = "ptxas application ptx input, line 3; fatal   : Unsupported .version\nptxas fatal   : aborted"
    (found,) = told(trial(0, "cuModuleLoadDataEx", 222, jit_log=log))
    assert found.id == "driver-library-incomplete"
    assert [one.excerpt for one in found.evidence if one.source == "the driver's compiler"] == log.splitlines()


def test_what_fails_for_one_reason_passes_no_other_check() -> None:
    diagnosis = diagnosed(tried(trial(0, "cuCtxCreate_v2", 999)))
    names = ("every_gpu_has_room_for_a_kernel", "the_drivers_libraries_make_a_kernel", "smoke_tests_came_back")
    for name in names:
        assert outcome(diagnosis, name) == (Status.SKIPPED, "a GPU runs no kernel, which gpu-init-failed speaks of")
    assert outcome(diagnosis)[0] is Status.FOUND


@pytest.mark.parametrize(
    ("error", "identifier"), [("hung", "probe-hung"), ("crashed", "probe-crashed"), ("failed", "check-failed")]
)
def test_one_gpu_that_takes_its_child_away_hides_no_other(error: str, identifier: str) -> None:
    lost = trial(1, "cuCtxCreate_v2") | {"error": error, "stage": "cuMemAlloc_v2", "state": "S", "silent_seconds": 17.0}
    diagnosis = diagnosed(tried(trial(0), lost | {"signal": "SIGSEGV"}))
    (found,) = [one.finding for one in diagnosis.findings]
    assert (found.id, found.subject) == (identifier, "probe smoke 1" if error == "failed" else "0000:02:00.0")
    assert error == "failed" or "cuMemAlloc_v2 of the GPU at 0000:02:00.0" in found.title
    smoke = diagnosis.facts[Smoke]
    assert isinstance(smoke, Smoke)
    assert [one.outcome.value for one in smoke.trials] == ["passed", "cannot tell" if error == "failed" else error]
    assert diagnosis.exit_code() == 1


def test_what_hangs_before_there_is_a_gpu_is_one_finding() -> None:
    hung = {"ordinal": 0, "steps": [], "error": "hung", "stage": "cuInit", "state": "S", "silent_seconds": 17.0}
    diagnosis = diagnosed(tried(hung, hung))
    assert [one.finding.key for one in diagnosis.findings] == ["probe-hung:smoke"]


def test_a_server_of_mps_that_does_not_answer_is_the_cause_of_a_hang() -> None:
    hung = {"ordinal": 0, "steps": [], "error": "hung", "stage": "cuInit", "state": "S", "silent_seconds": 17.0}
    base = mps_of(machines.ubuntu_dkms(WELL, gpus=TWO[:1]), listening=True)
    diagnosis = diagnosed(tried(hung, base=base, mps=True))
    assert [(one.finding.id, one.caused_by) for one in diagnosis.findings] == [
        ("mps-unavailable", None),
        ("probe-hung", "mps-unavailable"),
    ]


@pytest.mark.parametrize("answers", [True, False])
def test_the_way_through_mps_is_taken_where_a_daemon_answers(answers: bool) -> None:
    base = mps_of(machines.ubuntu_dkms(WELL), listening=answers)
    smoke = Facts({Host: tried(trial(0), base=base, mps=answers).host()})[Smoke]
    assert isinstance(smoke, Smoke)
    assert (smoke.mps, smoke.trials[0].outcome.value) == (answers, "passed")


def test_confidential_computing_is_the_reason_for_802_where_its_ready_state_is_not_set() -> None:
    nvml = machines.nvml_healthy(WELL) | {"confidential": 1, "confidential_ready": 0}
    machine = tried(trial(0, "cuCtxCreate_v2", 802)).but(probes={"nvml": nvml})
    assert "confidential-computing-not-ready" in ids(machine)
    assert "fabric-manager-not-running" not in ids(machine)


def test_a_fault_in_the_kernel_log_is_the_cause_of_what_the_gpu_does_in_the_test() -> None:
    xid = "[  100.5] NVRM: Xid (PCI:0000:02:00): 79, pid=4711, GPU has fallen off the bus.\n"
    machine = tried(trial(0), trial(1, "cuCtxCreate_v2", 999))
    machine = machine.but(commands={"dmesg": {"exit": 0, "stdout": xid, "stderr": ""}})
    found = [(one.finding.key, one.caused_by) for one in diagnosed(machine).findings]
    assert found == [
        ("gpu-fallen-off-bus", None),
        ("gpu-init-failed:0000:02:00.0", "gpu-fallen-off-bus"),
    ]
    well = machine.but(probes={"smoke 1": trial(1)})
    assert ids(well) == [], "a GPU that computes has recovered"


def test_ecc_in_the_log_and_in_the_test_are_one_finding() -> None:
    xid = "[  100.5] NVRM: Xid (PCI:0000:01:00): 95, pid=4711, Uncontained ECC error\n"
    machine = tried(trial(0, "cuCtxSynchronize", 214))
    machine = machine.but(commands={"dmesg": {"exit": 0, "stdout": xid, "stderr": ""}})
    assert len([one for one in ids(machine) if one == "gpu-reset-required"]) == 1, diagnosed(machine).findings


# In reports


def test_each_gpu_has_a_line_and_the_json_report_keeps_its_schema() -> None:
    steps = trial(0, "cuMemAlloc_v2")["steps"]
    documents = (trial(0), trial(1, wrong=1, first_wrong={"word": 7, "wanted": 1, "got": 0}), {"steps": steps[:2]})
    machine = machines.ubuntu_dkms(WELL, gpus=(*TWO, "0000:03:00.0"))
    diagnosis = diagnosed(tried(*documents, base=machine))
    assert [one for one in status_lines(diagnosis) if one.startswith("smoke test: ")] == [
        "smoke test: the GPU at 0000:01:00.0 ran a kernel in 0.13 s",
        "smoke test: the GPU at 0000:02:00.0 ran a kernel with a wrong result",
        "smoke test: CUDA's device 2 cannot be told of",
    ]
    report = as_document(diagnosis)
    Draft202012Validator(closed(SCHEMA)).validate(report)
    assert [gpu["result"] for gpu in report["facts"]["smoke"]["gpus"]] == ["passed", "wrong result", "cannot tell"]


# What cannot be told


def unasked(why: str, machine: Tree) -> Diagnosis:
    diagnosis = diagnosed(machine)
    assert isinstance(diagnosis.facts[Smoke], Unknown)
    assert not isinstance(diagnosis.facts[Smoke], NotApplicable)
    status, reason = outcome(diagnosis)
    assert status is Status.UNKNOWN
    assert reason.startswith("no GPU was tried: ")
    assert why in reason
    assert diagnosis.exit_code() != 0
    return diagnosis


def test_no_driver_leaves_the_ordinary_finding_and_the_test_unknown() -> None:
    asked = {"NVDIAG_SMOKE": "1"}
    diagnosis = unasked("the nvidia module is not loaded", machines.ubuntu_dkms(None, WELL, WELL).but(env=asked))
    assert [one.finding.id for one in diagnosis.findings] == ["driver-not-loaded"]
    mismatch = unasked("cuInit answers 803", machines.ubuntu_dkms("570.169", WELL, WELL).but(env=asked))
    assert mismatch.findings[0].finding.id == "driver-library-mismatch"
    none = machines.ubuntu_dkms(WELL).but(env=asked, probes={"cuda": {"init": 0, "count": 0, "driver_version": 12080}})
    unasked("CUDA shows none", none)
    hung = machines.ubuntu_dkms(WELL).but(env=asked, probes={"cuda": {"error": "hung", "stage": "cuInit"}})
    unasked("libcuda did not come back", hung)


def test_what_was_asked_for_and_cannot_be_told_is_no_pass() -> None:
    """On a host where CUDA's first program loads nvidia_uvm: that is no finding, and no health either."""
    fresh = machines.ubuntu_dkms(WELL).without("/sys/module/nvidia_uvm", "/dev/nvidia-uvm").but(folders=())
    answer = {"driver_version": 12080, "library": f"{machines.MULTIARCH}/libcuda.so.{WELL}"}
    diagnosis = unasked("nvidia_uvm is not loaded", fresh.but(env={"NVDIAG_SMOKE": "1"}, probes={"cuda": answer}))
    (asked,) = [one.finding for one in diagnosis.findings if one.finding.id == "requirement-unknown"]
    assert (asked.subject, asked.confidence, diagnosis.exit_code()) == ("smoke", Confidence.POSSIBLE, 3)
    assert any("nvidia-modprobe -u" in command for remedy in asked.remedies for command in remedy.commands)


def test_a_node_that_cuda_could_replace_keeps_it_from_being_tried() -> None:
    machine = tried(trial(0)).but(nodes={"/dev/nvidia0": (machines.MODE, "195:7")})
    unasked("/dev/nvidia0 has not the number", machine)


def test_a_recording_without_the_probes_answer_is_no_pass() -> None:
    document = tried(trial(0)).snapshot().document
    document["probes"] = {name: one for name, one in document["probes"].items() if not name.startswith("smoke")}
    from nvdiag.host.snapshot import SnapshotHost

    diagnosis = diagnosed(SnapshotHost(document, "s"))
    assert outcome(diagnosis)[0] is Status.UNKNOWN
    assert [one.finding.key for one in diagnosis.findings] == ["requirement-unknown:smoke"]


def test_health_that_is_required_includes_the_smoke_test() -> None:
    facts = running.begun(tried(trial(0, "cuCtxCreate_v2", 999)).host())
    requirements = running.required(["healthy"])
    assert requirements is not None
    facts[type(requirements)] = requirements
    found = {one.finding.key for one in running.diagnosed(facts, running.chosen((), ())).findings}
    assert found == {f"gpu-init-failed:{machines.GPU}", "requirement-not-met:healthy"}


@pytest.mark.parametrize(("count", "trials"), [(-1, None), (10**12, 256)])
def test_a_recording_that_counts_any_number_of_gpus_is_no_pass(count: int, trials: int | None) -> None:
    answer = {"driver_version": 12080, "init": 0, "count": count}
    diagnosis = diagnosed(tried(trial(0)).but(probes={"cuda": answer}).snapshot())
    smoke = diagnosis.facts[Smoke]
    assert (len(smoke.trials) if isinstance(smoke, Smoke) else None) == trials
    assert len(outcome(diagnosis)[1]) < 600
    assert diagnosis.exit_code() == 3


def test_nothing_of_it_is_imported_where_nobody_asks() -> None:
    code = (
        "import sys; from tests.checks.diagnosing import diagnosed; from tests.scenarios import machines;"
        " diagnosed(machines.ubuntu_dkms()); print([name for name in sys.modules if 'smoke' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['nvdiag.facts.smoke']", "which has the fact that nobody asks"


ODD: list[Any] = [
    {}, {"wrong": 0, "compared": 0},
    {"steps": 7}, {"steps": [7, {"call": 7}, {"call": "cuInit", "result": "0"}]}, {"error": "hung"},
    {"error": "x", "stage": []}, {"wrong": 1, "compared": 2}, {"wrong": "1", "first_wrong": []}, {"address": "nowhere"},
    {"wrong": 1, "compared": 1024, "first_wrong": {"word": "x"}}, {"name": 7, "address": [], "compute_mode": "3"},
    {"steps": [{"call": "cuInit", "result": 0, "seconds": -1}], "compared": 7}, {"jit_log": {}, "dlopen_error": 7},
]  # fmt: skip


@pytest.mark.parametrize("document", ODD, ids=str)
def test_an_odd_answer_in_a_recording_is_never_a_pass(document: dict[str, Any]) -> None:
    trial = parse_trial(document, "smoke 0", 0)
    assert trial.outcome.value != "passed"
    assert told(document) or Smoke((trial,), mps=False).untold
