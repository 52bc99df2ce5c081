"""Requirements: what is one, what is refused with the nearest right name, and what each is held against."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvdiag.cli import running
from nvdiag.facts.requirement_results import GIB, Answer, RequirementResults, Result, nominal
from nvdiag.facts.requirements import KEYS, Requirements, WrongRequirement, parse_requirement
from nvdiag.model.diagnosis import Diagnosis
from nvdiag.model.finding import Severity
from tests.cli.calling import call, one_line, written
from tests.scenarios import machines, pythons
from tests.scenarios.tree import Tree

WELL = "570.172.08"
TWO = (machines.GPU, "0000:02:00.0")
MIB = 2**20


def diagnosed(tree: Tree, *expressions: str) -> Diagnosis:
    facts = running.begun(tree.host())
    requirements = running.required(expressions)
    assert requirements is not None
    facts[Requirements] = requirements
    return running.diagnosed(facts, running.chosen((), (), always=("requirements",)))


def keys(tree: Tree, *expressions: str) -> list[str]:
    return [ranked.finding.key for ranked in diagnosed(tree, *expressions).findings]


def result(tree: Tree, expression: str) -> Result:
    results = diagnosed(tree, expression).facts[RequirementResults]
    assert isinstance(results, RequirementResults)
    (one,) = results.results
    return one


def answer(tree: Tree, expression: str) -> str:
    return result(tree, expression).answer.value


def gpus(*changes: dict[str, Any], **env: str) -> Tree:
    """A well machine whose GPUs NVML tells of in this way."""
    addresses = (machines.GPU, "0000:02:00.0", "0000:03:00.0", "0000:04:00.0")[: len(changes)]
    nvml = machines.nvml_healthy(WELL, addresses)
    nvml["devices"] = [{**device, **change} for device, change in zip(nvml["devices"], changes, strict=True)]
    return machines.ubuntu_dkms(WELL, gpus=addresses).but(probes={"nvml": nvml}, env=env)


def memory(mib: int, used: int = 0) -> dict[str, Any]:
    return {"memory_bytes": {"total": mib * MIB, "used": used * MIB, "free": (mib - used) * MIB}}


# What is a requirement


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("drivr>=570", "did you mean driver?"),
        ("memroy>=4GiB", "did you mean memory?"),
        ("torch_build=cuda", "no requirement"),
        ("driver", "needs a comparison, such as driver>=570,<600"),
        ("driver>>570", "not a version specifier"),
        ("gpus>=two", "not a comparison such as gpus>=2"),
        ("gpus>=2GiB", "not a comparison"),
        ("memory>=40", "of what unit?"),
        ("memory~=40GiB", "not a comparison"),
        ("module>open", "takes = and a word"),
        ("healthy=yes", "healthy stands alone"),
        ("any:driver>=570", "is for what each GPU has"),
        ("", "no requirement"),
    ],
)
def test_what_is_no_requirement_is_told_before_anything_is_looked_at(expression: str, words: str) -> None:
    told = call("check", "--from", "/nonexistent", "--require", expression)
    assert (told.exit_code, told.stdout) == (2, "")
    assert words in one_line(told.stderr)


@given(st.text(max_size=40) | st.sampled_from(KEYS).flatmap(lambda key: st.text(max_size=20).map(key.__add__)))
@settings(deadline=None)
def test_any_text_is_a_requirement_or_is_refused(text: str) -> None:
    with contextlib.suppress(WrongRequirement):
        assert parse_requirement(text).key in KEYS


# What each is held against


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("driver>=570", "met"), ("driver>=570,<572", "met"), ("driver>=570.172.8", "met"),
        ("driver>570.172.08", "not met"),
        ("driver==570.*", "met"), ("driver<570", "not met"), ("cuda>=12.8", "met"), ("cuda>=13", "not met"),
        ("gpus>=1", "met"), ("gpus==1", "met"), ("gpus>=2", "not met"), ("memory>=24GiB", "met"),
        ("memory>=24GB", "met"),
        ("memory>=25GiB", "not met"), ("free-memory>=20GiB", "met"), ("free-memory>=23.5 GiB", "not met"),
        ("compute>=8.9", "met"), ("compute>=9.0", "not met"), ("compute>=8.10", "not met"), ("gpu-name=*4090*", "met"),
        ("gpu-name=*rtx 4090", "met"), ("gpu-name=*H100*", "not met"), ("module=open", "met"),
        ("module=prop*", "not met"),
        ("toolkit>=12", "not met"),
    ],
)  # fmt: skip
def test_a_machine_that_answers(expression: str, expected: str) -> None:
    assert answer(machines.ubuntu_dkms(WELL), expression) == expected


@pytest.mark.parametrize(
    ("mib", "sold_as"),
    [
        (24564, 24), (23034, 24), (15360, 16), (12288, 12), (11264, 11), (49140, 48), (46068, 48), (81559, 80),
        (95830, 94), (143771, 141), (183359, 180), (32607, 32), (97887, 96), (40960, 40), (9856, 10), (4864, 5),
    ],
)  # fmt: skip
def test_memory_is_what_a_gpu_is_sold_with(mib: int, sold_as: int) -> None:
    assert nominal(mib * MIB) == sold_as * GIB
    assert answer(gpus(memory(mib)), f"memory>={sold_as}GiB") == "met"
    assert answer(gpus(memory(mib)), f"memory>={sold_as + 1}GiB") == "not met"


def test_a_size_that_none_is_sold_with_counts_as_it_is() -> None:
    assert nominal(20 * GIB + 5 * MIB) == 20 * GIB + 5 * MIB


def test_every_gpu_has_to_or_one_with_any() -> None:
    mixed = gpus({"name": "NVIDIA H100", **memory(81559)}, {"name": "NVIDIA T4", **memory(15360)})
    assert answer(mixed, "memory>=40GiB") == "not met"
    assert answer(mixed, "any:memory>=40GiB") == "met"
    assert answer(mixed, "any:gpu-name=*A100*") == "not met"
    held = result(mixed, "memory>=40GiB").held
    assert [(one.of, one.value, one.holds) for one in held] == [
        (machines.GPU, "79.65 GiB", True),
        ("0000:02:00.0", "15.00 GiB", False),
    ]


UNLIKE = ({"name": "A"}, {"name": "B"}, {"name": "C"})
ALIKE: tuple[dict[str, Any], ...] = ({}, {}, {})


@pytest.mark.parametrize(
    ("changes", "env", "expected"),
    [
        (ALIKE, {}, "3"),
        (ALIKE, {"CUDA_VISIBLE_DEVICES": "0,2"}, "2"),
        (ALIKE, {"CUDA_VISIBLE_DEVICES": ""}, "0"),
        (ALIKE, {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, "0"),
        (ALIKE, {"CUDA_VISIBLE_DEVICES": "1,7,2"}, "1"),
        (ALIKE, {"CUDA_VISIBLE_DEVICES": "1,1"}, "1"),
        (ALIKE, {"CUDA_VISIBLE_DEVICES": "GPU-00000001,GPU-00000002"}, "2"),
        (UNLIKE, {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, "1"),
        (UNLIKE, {"CUDA_VISIBLE_DEVICES": "0"}, "cannot tell"),
        (UNLIKE, {"CUDA_VISIBLE_DEVICES": "GPU-00000001"}, "1"),
    ],
)
def test_only_the_gpus_that_the_process_may_see_count(
    changes: tuple[dict[str, Any], ...], env: dict[str, str], expected: str
) -> None:
    told = result(gpus(*changes, **env), "gpus>=1")
    assert (told.held[0].value if told.held else told.answer.value) == expected


def test_a_chosen_gpu_is_the_one_that_is_held_to_what_is_required() -> None:
    two = gpus({"name": "H", **memory(81559)}, {"name": "T", **memory(15360)}, CUDA_VISIBLE_DEVICES="GPU-00000000")
    assert answer(two, "memory>=80GiB") == "met"


def test_under_mig_the_instances_count_each_with_its_own_memory() -> None:
    instances = [{"uuid": f"MIG-{number}", **memory(9856)} for number in range(3)]
    parted = gpus({**memory(81559), "mig_mode": 1, "mig_instances": instances})
    assert result(parted, "gpus==3").answer is Answer.MET
    assert answer(parted, "memory>=10GiB") == "met"
    assert answer(parted, "memory>=20GiB") == "not met"
    one = gpus({**memory(81559), "mig_mode": 1, "mig_instances": instances}, CUDA_VISIBLE_DEVICES="MIG-1")
    assert answer(one, "gpus==1") == "met"
    none = gpus({**memory(81559), "mig_mode": 1, "mig_instances": []})
    assert answer(none, "gpus>=1") == "not met"


def test_a_gpu_that_shares_the_systems_memory_has_that() -> None:
    shared = gpus({"memory_bytes": None, "errors": {"memory_bytes": 3}})
    meminfo = "MemTotal:       125500000 kB\nMemFree:  1 kB\nMemAvailable:   99000000 kB\n"
    assert answer(shared.but(files={"/proc/meminfo": meminfo}), "memory>=100GiB") == "met"
    assert answer(shared.but(files={"/proc/meminfo": meminfo}), "free-memory>=100GiB") == "not met"
    assert answer(shared, "memory>=1GiB") == "cannot tell"


@pytest.mark.parametrize(
    ("tree", "expression", "expected"),
    [
        (machines.ubuntu_dkms("570.169", WELL, WELL), "gpus>=1", "cannot tell"),
        (machines.ubuntu_dkms("570.169", WELL, WELL), "memory>=1GiB", "cannot tell"),
        (machines.ubuntu_dkms("570.169", WELL, WELL), "driver>=570", "met"),
        (machines.ubuntu_dkms(None), "driver>=570", "not met"),
        (machines.ubuntu_dkms(None), "module=open", "not met"),
        (machines.ubuntu_dkms(None, gpus=()), "gpus>=1", "not met"),
        (machines.ubuntu_dkms(None, gpus=()), "compute>=7", "not met"),
        (machines.ubuntu_dkms(None, gpus=()), "cuda>=12", "not met"),
        (machines.ubuntu_dkms(WELL), "torch>=2", "cannot tell"),
        (machines.ubuntu_dkms(WELL), "torch-build=cuda", "cannot tell"),
        (gpus({"compute_capability": None}), "compute>=7", "cannot tell"),
    ],
)
def test_silence_never_meets_a_requirement(tree: Tree, expression: str, expected: str) -> None:
    assert answer(tree, expression) == expected


# What becomes of it


def test_a_requirement_that_fails_is_an_error_with_what_it_was_held_against() -> None:
    found = diagnosed(machines.ubuntu_dkms(WELL), "driver>=580", "gpus>=1")
    (one,) = [ranked.finding for ranked in found.findings]
    assert (one.key, one.severity) == ("requirement-not-met:driver>=580", Severity.ERROR)
    assert (one.evidence[0].source, one.evidence[0].excerpt) == ("/sys/module/nvidia/version", WELL)
    assert found.exit_code() == 1


def test_a_requirement_that_cannot_be_judged_never_passes() -> None:
    assert diagnosed(machines.ubuntu_dkms(WELL), "torch>=2").exit_code() == 3


def test_healthy_is_what_all_checks_find() -> None:
    assert diagnosed(machines.ubuntu_dkms(WELL), "healthy").exit_code() == 0
    assert keys(machines.ubuntu_dkms("570.169", WELL, WELL), "healthy") == [
        "driver-library-mismatch",
        "requirement-not-met:healthy",
    ]
    closed = machines.ubuntu_dkms(WELL).but(refused={"/proc/devices": "EACCES"})
    assert keys(closed, "healthy") == ["requirement-unknown:healthy"]


def test_a_requirement_holds_whatever_is_selected(tmp_path: Any) -> None:
    file = written(tmp_path, machines.ubuntu_dkms(WELL))
    required = ("check", "--from", file, "--require", "driver>=999")
    assert call(*required, "--select", "device").exit_code == 1
    assert call(*required, "--select", "device", "--ignore", "requirement-not-met").exit_code == 0
    shown = call("check", "--from", file, "--require", "driver>=570").stdout
    assert " ✓ required            driver>=570: 570.172.08" in shown


def test_pytorch_by_the_build_that_is_installed() -> None:
    tree = machines.ubuntu_dkms(WELL)
    cuda = machines.joined(tree, pythons.venv(pythons.torch("2.7.1+cu128", "12.8")))
    assert answer(cuda, "torch>=2.6") == answer(cuda, "torch-build=cuda") == answer(cuda, "torch-build=cu128") == "met"
    assert answer(cuda, "torch-build=cpu") == answer(cuda, "torch>=2.8") == answer(cuda, "cudnn>=9") == "not met"
