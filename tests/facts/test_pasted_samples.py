"""Every real output that was collected gives its versions, numbers and GPUs in the JSON report when it is pasted."""

from __future__ import annotations

from typing import Any

import pytest

from nvdiag.model.finding import Severity
from nvdiag.report import as_json
from tests.checks.diagnosing import diagnosed
from tests.checks.pasting import pasted
from tests.facts.sampled import samples


def facts(text: str) -> dict[str, Any]:
    found: dict[str, Any] = as_json.document(diagnosed(pasted(text)), {}, Severity.ERROR, False)["facts"]
    return found


def named(sample: dict[str, Any]) -> str:
    words: str = sample["text"].strip().splitlines()[-1]
    return words[:60]


@pytest.mark.parametrize("sample", samples("proc_version"), ids=named)
def test_a_version_file_gives_release_and_flavour(sample: dict[str, Any]) -> None:
    module = facts(sample["text"])["driver"]["modules"]["nvidia"]
    assert (module["release"], module["flavour"]) == (sample["release"], sample["flavour"])


@pytest.mark.parametrize("sample", samples("nvcc"), ids=named)
def test_nvcc_gives_its_version(sample: dict[str, Any]) -> None:
    assert [one["version"] for one in facts(sample["text"])["toolkits"]] == [sample["version"]]


@pytest.mark.parametrize("sample", samples("smi_headers"), ids=named)
def test_the_head_of_nvidia_smi_gives_its_three_versions(sample: dict[str, Any]) -> None:
    said = facts(sample["text"])["nvidia_smi"]
    assert (said["release"] or "", said["driver"], said["cuda_text"]) == (
        sample["smi"],
        sample["driver"],
        sample["cuda"],
    )


@pytest.mark.parametrize("sample", [one for one in samples("kernel_log") if "xid" in one], ids=named)
def test_a_kernel_log_gives_its_xids_and_their_gpus(sample: dict[str, Any]) -> None:
    found = {(one["number"], one["address"]) for one in facts(sample["text"])["xids"]}
    assert found == {(one["number"], one.get("address")) for one in sample["xid"]}


def test_a_whole_collection_in_one_paste_keeps_every_release() -> None:
    every = samples("proc_version")
    text = "\n----\n".join(one["text"] for one in every)
    found = facts(text)
    releases = {part["facts"]["driver"]["modules"]["nvidia"]["release"] for part in found["parts"]}
    assert releases == {one["release"] for one in every}
