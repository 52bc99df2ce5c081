"""Every real output that was collected is read as a person reads it."""

from __future__ import annotations

from typing import Any

import pytest

from nvdiag.facts.modules import parse_version_file
from nvdiag.facts.smi import parse_smi_header
from nvdiag.facts.toolkits import parse_nvcc
from nvdiag.facts.xid import parse_xid
from nvdiag.model.unknown import ParseError
from tests.facts.sampled import FOLDER, samples

COUNTS = {"proc_version": 30, "nvcc": 25, "smi_headers": 37, "kernel_log": 27}


def named(sample: dict[str, Any]) -> str:
    words: str = sample["text"].strip().splitlines()[-1]
    return words[:60]


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_no_sample_is_lost_and_each_has_its_source(name: str) -> None:
    found = samples(name)
    assert len(found) == COUNTS[name]
    assert all(sample["source"] and sample["text"].strip() for sample in found)


def test_every_file_of_samples_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(COUNTS)


@pytest.mark.parametrize("sample", samples("proc_version"), ids=named)
def test_version_file_tells_release_and_flavour(sample: dict[str, Any]) -> None:
    said = parse_version_file(sample["text"])
    assert (said.release.text, said.flavour.value) == (sample["release"], sample["flavour"])
    assert said.line == sample["text"].splitlines()[0].strip()


def test_compilers_line_has_no_say() -> None:
    first = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue Jun  6 22:20:39 UTC 2023\n"
    odd = "GCC version:  Selected multilib: .;@m64\n"
    assert parse_version_file(first + odd) == parse_version_file(first)


@pytest.mark.parametrize("sample", samples("nvcc"), ids=named)
def test_nvcc_tells_its_version(sample: dict[str, Any]) -> None:
    assert parse_nvcc(sample["text"]).text == sample["version"]


@pytest.mark.parametrize("sample", samples("smi_headers"), ids=named)
def test_smi_header_tells_three_versions(sample: dict[str, Any]) -> None:
    said = parse_smi_header(sample["text"])
    assert (said.smi.text if said.smi else "", said.driver.text, said.cuda_text) == (
        sample["smi"],
        sample["driver"],
        sample["cuda"],
    )
    assert (said.cuda is not None) == sample["cuda"][:1].isdigit()
    assert said.cuda is None or said.cuda.text == sample["cuda"]


def read_xids(text: str) -> list[dict[str, Any]]:
    found = []
    for line in text.splitlines():
        try:
            said = parse_xid(line)
        except ParseError:
            continue
        fields = {"address": said.address, "number": said.number, "pid": said.pid, "name": said.name, "rest": said.rest}
        found.append({name: value for name, value in fields.items() if value is not None})
    return found


@pytest.mark.parametrize("sample", samples("kernel_log"), ids=named)
def test_kernel_log_tells_its_xids_and_no_others(sample: dict[str, Any]) -> None:
    assert read_xids(sample["text"]) == sample.get("xid", [])
