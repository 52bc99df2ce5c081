"""--class and --gpus: a job is judged by what is its own trouble."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nvdiag.engine import Facts
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.fabric import NvSwitches
from nvdiag.facts.nvml_devices import MigInstance, NvmlDevice
from nvdiag.facts.pci import PciGpu, PciGpus
from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.diagnosis import Diagnosis, Ranked, Source
from nvdiag.model.finding import Confidence, Evidence, Finding, Severity
from nvdiag.model.unknown import Unknown
from nvdiag.scope import Scope, parse_gpus, within
from tests.cli.calling import call, one_line, written
from tests.scenarios import machines
from tests.scenarios.tree import Tree

GPUS = ("0000:01:00.0", "0000:41:00.0")
WELL = "570.172.08"


def lost(number: int) -> Tree:
    """One of two GPUs has fallen off the bus, and NVML counts without it, as 470 and 535 do."""
    nvml = machines.nvml_healthy(WELL, tuple(gpu for gpu in GPUS if gpu != GPUS[number]))
    config = {f"/sys/bus/pci/devices/{GPUS[number]}/config": "\N{REPLACEMENT CHARACTER}" * 64}
    return machines.ubuntu_dkms(WELL, gpus=GPUS).but(files=config, probes={"nvml": nvml})


def unreachable() -> Tree:
    """NVML lists both GPUs and cannot reach the second, as 550 does: its number is all that is told."""
    nvml = machines.nvml_healthy(WELL, GPUS)
    return machines.ubuntu_dkms(WELL, gpus=GPUS).but(
        probes={"nvml": {**nvml, "devices": [nvml["devices"][0], {"index": 1, "handle": 15}]}}
    )


def judged(tree: Tree, folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and what is said."""
    result = call("check", "--from", written(folder, tree), "--format", "npd", *arguments)
    return result.exit_code, result.output


UNKNOWN = 2  # the code that node-problem-detector has for it
MISMATCH = machines.ubuntu_dkms("570.169", WELL, WELL)


@pytest.mark.parametrize(
    ("tree", "arguments", "code"),
    [
        (MISMATCH, (), 1),
        (MISMATCH, ("--class", "configuration,hardware"), 1),
        (MISMATCH, ("--class", "hardware"), UNKNOWN),  # no driver tells of the hardware
        (MISMATCH, ("--class", "application", "--class", "environment"), 0),
        (MISMATCH, ("--gpus", "0"), 1),
        (MISMATCH, ("--gpus", "7"), 1),  # the whole machine's trouble is every job's
        (lost(1), ("--class", "configuration,hardware"), 1),
        (lost(1), ("--gpus", "all"), 1),
        (lost(1), ("--gpus", "1"), 1),
        (lost(1), ("--gpus", "0,1"), 1),
        (lost(1), ("--gpus", "0"), 0),
        (lost(0), ("--gpus", "0"), 1),  # NVML has a GPU 0 that is well: it is the job's GPU 1
        (lost(0), ("--gpus", "1"), 0),
        (lost(1), ("--gpus", "00000000:41:00.0"), 1),
        (lost(1), ("--gpus", GPUS[0]), 0),
        (lost(1), ("--gpus", "0000:c1:00.0"), 0),
        (lost(1), ("--gpus", "0,7"), UNKNOWN),  # nothing tells which GPU 7 is
        (lost(1), ("--gpus", "GPU-00000000"), 0),
        (lost(1), ("--gpus", "GPU-00000001"), UNKNOWN),  # NVML does not list it any more
        (unreachable(), ("--gpus", "0"), 0),
        (unreachable(), ("--gpus", "1"), 1),
        (unreachable(), ("--gpus", "GPU-00000000"), 0),
    ],
)
def test_a_job_fails_by_its_own_trouble_alone(
    tree: Tree, arguments: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    assert judged(tree, tmp_path, *arguments)[0] == code


def test_what_was_required_counts_whatever_its_class(tmp_path: Path) -> None:
    healthy = machines.ubuntu_dkms(WELL)
    assert judged(healthy, tmp_path, "--class", "hardware", "--require", "gpus>=1")[0] == 0
    code, told = judged(healthy, tmp_path, "--class", "hardware", "--gpus", "0", "--require", "gpus>=2")
    assert (code, told.startswith("requirement-not-met:gpus>=2")) == (1, True)


def test_what_is_left_out_is_named_with_what_follows_from_it(tmp_path: Path) -> None:
    file, keys = written(tmp_path, lost(1)), [f"gpu-fallen-off-bus:{GPUS[1]}", f"gpu-init-failed:{GPUS[1]}"]
    report = json.loads(call("check", "--from", file, "--gpus", "0", "--format", "json").stdout)
    assert (report["findings"], report["left_out"], report["exit_code"]) == ([], keys, 0)
    for form in ("terminal", "github", "markdown", "html", "nagios"):
        told = call("check", "--from", file, "--gpus", "0", "--format", form).stdout
        assert f"left out: {', '.join(keys)}" in " ".join(told.replace("\\", "").split())
    assert "this machine is well" not in call("check", "--from", file, "--gpus", "0", "--format", "github").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--class", "hardwear"), "did you mean hardware?"),
        (("--class", ","), "names no class"),
        (("--gpus", "NoDevFiles"), "NoDevFiles names no GPU"),
        (("--gpus", ""), "nothing names no GPU"),
        (("--gpus", "0,,1"), "nothing names no GPU"),
    ],
)
def test_what_is_no_class_and_no_gpu_is_wrong_usage(arguments: tuple[str, ...], words: str) -> None:
    result = call("check", *arguments)
    assert (result.exit_code, words in one_line(result.stderr)) == (2, True)


@pytest.mark.parametrize("words", ["0", "0, 3", "GPU-8a56a4bc", "MIG-1-2", "MIG-GPU-8a56a4bc/7/0", "0000:3B:00.0"])
def test_what_schedulers_write_names_gpus(words: str) -> None:
    assert parse_gpus(words) == tuple(word.strip() for word in words.split(","))
    assert parse_gpus("all") is None


SWITCH = "0000:cd:00.0"


@pytest.mark.parametrize(
    ("subject", "gpus", "surroundings", "kept"),
    [
        (GPUS[1], "MIG-b", Surroundings(), True),
        (GPUS[1], "MIG-a", Surroundings(), False),
        (SWITCH, "0", Surroundings(), True),  # an NVSwitch is the trouble of every GPU
        ("/etc/cdi/nvidia.yaml", "0", Surroundings(), True),
        (GPUS[1], "0", Surroundings(container="docker"), True),  # it shows this GPU alone, as its GPU 0
        (GPUS[0], "0", Surroundings(container="docker"), False),
    ],
)
def test_parts_switches_and_containers_count_in_their_own_way(
    subject: str, gpus: str, surroundings: Surroundings, kept: bool
) -> None:
    parts = {GPUS[0]: "MIG-a", GPUS[1]: "MIG-b"}
    shown = GPUS if surroundings.container is None else GPUS[1:]
    devices = tuple(
        NvmlDevice(index=index, address=address, instances=(MigInstance(parts[address], None, None),))
        for index, address in enumerate(shown)
    )
    facts = Facts(
        {
            NvmlAnswer: NvmlAnswer(init=0, count=len(devices), devices=devices),
            PciGpus: PciGpus(tuple(PciGpu(address=one, device_id="2330", driver="nvidia") for one in GPUS)),
            NvSwitches: NvSwitches(addresses=(SWITCH,), unit=Unknown(""), release=None),
            Surroundings: surroundings,
        }
    )
    finding = Finding(
        id="gpu-hardware-fault",
        subject=subject,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title="",
        evidence=(Evidence(source="", excerpt=""),),
    )
    whole = Diagnosis(
        source=Source(kind="live", name="", captured_at=""),
        findings=(Ranked(finding=finding),),
        checks=(),
        facts={},
        seconds=0.0,
    )
    judged = within(whole, facts, Scope(gpus=parse_gpus(gpus)))
    assert (judged.exit_code(), judged.left_out) == ((1, ()) if kept else (3, (finding.key,)))
