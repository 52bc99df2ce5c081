"""What packaging/ ships, with the real nvdiag, on machines that are well and that are not, and under a real Slurm."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.packaging import test_runner_hook as hooks
from tests.packaging.installed import PACKAGING, SHIPPED, installed, pretender
from tests.rigs import cgroups, rig, slurm

pytestmark = pytest.mark.rig

MakeMachine = Callable[..., rig.Machine]
NVDIAG = [sys.executable, "-I", "-m", "nvdiag"]
MISMATCH = "nvdiag: driver-library-mismatch: the loaded kernel module is 570.169, the driver's libra"


def mismatched(fake_gpus: MakeMachine) -> rig.Machine:
    return fake_gpus("init=18", module="570.169")


# The hook of GitHub's runner


@pytest.mark.parametrize(
    ("well", "code", "words"),
    [
        (True, 0, "::notice title=nvdiag"),
        (False, 1, "::error title=nvdiag%3A driver-library-mismatch (configuration)::"),
    ],
)
def test_the_hook_refuses_a_job_on_a_machine_with_a_mismatch(
    well: bool, code: int, words: str, fake_gpus: MakeMachine, tmp_path: Path
) -> None:
    machine = fake_gpus() if well else mismatched(fake_gpus)
    checkout = hooks.workspace(tmp_path)
    hook = installed(hooks.HOOK, tmp_path, NVDIAG)
    environment = hooks.runner(tmp_path, checkout) | {"NVRIG_GPUS": machine.env["NVRIG_GPUS"]}
    variables = [f"{name}={value}" for name, value in environment.items()]
    done = rig.run(machine, "env", "-i", "-C", str(checkout), *variables, "bash", "-e", str(hook))
    assert (done.exit, words in done.stdout, done.stderr) == (code, True, "")
    assert hooks.commands(done.stdout) <= hooks.OWN
    assert "the job was asked" not in done.stdout
    assert "ghs_planted" not in done.stdout
    assert ("driver-library-mismatch" in (tmp_path / "summary.md").read_text()) is not well


# systemd's unit


def test_the_unit_writes_metrics_that_node_exporter_reads(fake_gpus: MakeMachine, tmp_path: Path) -> None:
    unit = (PACKAGING / "systemd" / "nvdiag.service").read_text(encoding="utf-8")
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and line[0].isupper())
    folder = settings["ReadWritePaths"]
    command = settings["ExecStart"]
    assert f"--output {folder}/" in command
    assert settings["ConditionPathIsDirectory"] == folder
    assert command.startswith(SHIPPED)
    words = shlex.split(command.replace(SHIPPED, shlex.join(NVDIAG)).replace(folder, str(tmp_path)))
    machine = mismatched(fake_gpus)
    done = rig.run(machine, "env", "-i", "LC_ALL=C.UTF-8", f"NVRIG_GPUS={machine.env['NVRIG_GPUS']}", *words)
    assert str(done.exit) in settings["SuccessExitStatus"].split()
    written = tmp_path / "nvdiag.prom"
    assert written.stat().st_mode & 0o777 == 0o644
    samples = [one for family in text_string_to_metric_families(written.read_text()) for one in family.samples]
    assert {one.labels["id"] for one in samples if one.name == "nvdiag_finding"} == {"driver-library-mismatch"}
    assert all(one.timestamp is None for one in samples)  # node_exporter skips a file with one


def test_systemd_takes_the_units(systemd: None) -> None:
    units = [str(path) for path in sorted((PACKAGING / "systemd").iterdir())]
    told = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


# Slurm


def script(name: str, folder: Path, machine: rig.Machine, **changed: str) -> Path:
    variables = [f"NVRIG_GPUS={machine.env['NVRIG_GPUS']}"]
    return installed(f"slurm/{name}", folder, ["/usr/bin/env", *variables, *NVDIAG], **changed)


JOB = "timeout 20 srun --quiet --gres=gpu:1 echo ran"


@pytest.mark.long
def test_slurm_runs_a_job_where_all_is_well(slurm_programs: None, fake_gpus: MakeMachine, tmp_path: Path) -> None:
    machine = fake_gpus()
    done = slurm.run(machine, f"{JOB}; state", tmp_path, Prolog=script("prolog", tmp_path, machine))
    assert done.said == "ran\nidle none\n"
    assert "nvdiag" not in done.log


def test_slurm_refuses_a_job_and_drains_a_node_with_a_mismatch(
    slurm_programs: None, fake_gpus: MakeMachine, tmp_path: Path
) -> None:
    machine = mismatched(fake_gpus)
    prolog = script("prolog", tmp_path, machine)
    done = slurm.run(machine, f"timeout 20 srun echo no GPU; {JOB}; state", tmp_path, Prolog=prolog)
    assert done.said.startswith("no GPU\n")  # this job has none that could be at fault
    assert "Job prolog failed" in done.said
    assert "\nran\n" not in done.said
    assert done.said.endswith(f"drained {MISMATCH}\n")
    assert f"refused the job: {MISMATCH.partition(': ')[2]}" in done.log


@pytest.mark.long
def test_slurm_refuses_a_job_on_the_gpu_that_is_lost_alone(
    slurm_programs: None, fake_gpus: MakeMachine, tmp_path: Path
) -> None:
    machine = fake_gpus("1.handle=15")
    text = f"""
        await() {{ until [ -e "$1" ]; do sleep 0.05; done; }}; export -f await
        srun --gres=gpu:1 bash -c 'echo first on $CUDA_VISIBLE_DEVICES; touch /dev/shm/on; await /dev/shm/off' &
        await /dev/shm/on; {JOB}; touch /dev/shm/off; wait; state
    """
    prolog = script("prolog", tmp_path, machine)
    done = slurm.run(machine, text, tmp_path, Prolog=prolog)
    assert done.said.startswith("first on 0\n")
    assert "Job prolog failed" in done.said
    assert done.said.endswith("nvdiag: gpu-init-failed:1: NVML lists GPU 1 and cannot reach it (error 15)\n")
    assert "left out: gpu-init-failed:1" in done.log


@pytest.mark.long
def test_slurm_runs_a_job_whatever_else_becomes_of_nvdiag(
    slurm_programs: None, fake_gpus: MakeMachine, tmp_path: Path
) -> None:
    """Codes 2, 3, 4, a crash's, a code of 1 without an answer, a limit that passes, and no nvdiag at all."""
    cases = {
        "echo 'nvdiag: no such option' >&2; exit 2": "exit code 2",
        "echo 'inconclusive: 2 checks passed'; exit 3": "exit code 3: inconclusive: 2 checks passed",
        "echo 'nvdiag: no report could be made' >&2; exit 4": "exit code 4: nothing said",
        "echo 'ModuleNotFoundError: click' >&2; exit 1": "exit code 1: nothing said",
        "kill -SEGV $$": "exit code 139",
        "exec sleep 20": "exit code 124",
        "trap '' TERM; sleep 20; sleep 20": "exit code 137",
    }
    prolog = installed(
        "slurm/prolog", tmp_path, pretender(tmp_path, ". /dev/shm/now"), **{"timeout -k 1 8": "timeout -k 0.1 0.5"}
    )
    lines = [f"echo {shlex.quote(one)} >/dev/shm/now; {JOB}" for one in cases]
    lines.append(f"mv {tmp_path / 'pretender'} {tmp_path / 'gone'}; {JOB}")
    done = slurm.run(fake_gpus(), "\n".join([*lines, "state"]), tmp_path, Prolog=prolog)
    assert done.said == "ran\n" * (len(cases) + 1) + "idle none\n"
    for words in (*cases.values(), "exit code 127", "no report could be made"):
        assert words in done.log


@pytest.mark.long
def test_the_health_check_drains_a_node_and_leaves_what_others_drained(
    slurm_programs: None, fake_gpus: MakeMachine, tmp_path: Path
) -> None:
    """slurmd runs it when it starts; after that it is run here as slurmd does, with one variable and no more."""
    machine = mismatched(fake_gpus)
    health = script("health-check", tmp_path, machine)
    (tmp_path / "giving-back").mkdir()
    back = installed(
        "slurm/health-check",
        tmp_path / "giving-back",
        pretender(tmp_path, "echo healthy"),
        **{"resume=no": "resume=yes"},
    )
    ask = "env -i SLURMD_NODENAME=n1"
    text = f"""
        until state | grep nvdiag; do sleep 0.05; done
        {ask} {health}; echo $?; state
        scontrol update nodename=n1 state=resume
        scontrol update nodename=n1 state=drain reason="fan broken"
        {ask} {health}; echo $?; state
        {ask} {back}; echo $?; state
        scontrol update nodename=n1 state=resume
        {ask} {health}; state
        {ask} {back}; echo $?; state
    """
    more = {"HealthCheckProgram": health, "HealthCheckInterval": 300, "HealthCheckNodeState": "ANY"}
    done = slurm.run(machine, text, tmp_path, **more)
    ours, theirs = f"drained {MISMATCH}", "drained fan broken"
    assert done.said.splitlines() == [ours, "0", ours, "0", theirs, "0", theirs, ours, "0", "idle none"]
    assert 'left n1 as it is, whose reason is "fan broken"' in done.log


@pytest.mark.long
def test_a_probe_that_cannot_be_killed_holds_no_prolog(fake_gpus: MakeMachine, freezer: None, tmp_path: Path) -> None:
    """The freezer holds it in state D: it is left behind, and holds no pipe that the prolog reads to its end."""
    machine = fake_gpus("hang=nvmlInitWithFlags")
    (tmp_path / "scontrol").symlink_to("/bin/false")
    changed = {"--deadline 6": "--deadline 3", "export PATH=": f"export PATH={tmp_path}:"}
    prolog = script("prolog", tmp_path, machine, **changed)
    variables = ["SLURM_JOB_ID=1", "SLURMD_NODENAME=n1", "CUDA_VISIBLE_DEVICES=0"]
    line, _ = rig.command(machine, ["env", "-i", *variables, str(prolog)], tmp_path)
    process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        with cgroups.frozen(_hanging(machine)):
            said, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, said.startswith("nvdiag: probe-hung:")) == (1, True), said


def _hanging(machine: rig.Machine) -> int:
    """The probe's child, the leader of a process group, that has this machine's NVML loaded."""
    for _ in range(200):
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                group = int(path.read_text().rpartition(")")[2].split()[2])
                if group == int(path.parent.name) and f"{machine.libraries}/libnvidia-ml" in (
                    path.with_name("maps").read_text()
                ):
                    return group
        time.sleep(0.02)
    raise AssertionError("no probe is hanging")


def test_the_health_check_changes_nothing_where_nvdiag_gives_no_answer(tmp_path: Path) -> None:
    """A scontrol that would tell stands in Slurm's place."""
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\ntouch {tmp_path / 'called'}\n")
    (tmp_path / "scontrol").chmod(0o755)
    for script in ("exit 1", "exit 2", "echo x; exit 3", "exit 4", "kill -SEGV $$"):
        health = installed(
            "slurm/health-check", tmp_path, pretender(tmp_path, script), **{"export PATH=": f"export PATH={tmp_path}:"}
        )
        assert os.spawnve(os.P_WAIT, str(health), [str(health)], {"SLURMD_NODENAME": "n1"}) == 0
        assert not (tmp_path / "called").exists()
