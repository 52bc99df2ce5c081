"""vGPU as it is set up: guests with and without licence and driver, hosts and what runs in their guests."""

from __future__ import annotations

import subprocess

import pytest

from nvdiag.knowledge.vgpu import goes_together, table, virtual_gpu_of
from nvdiag.model.diagnosis import Status
from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.checks.pasting import pasted
from tests.scenarios import machines, vgpu
from tests.scenarios.tree import Tree

HEALTHY = {
    "guest": vgpu.guest(),
    "whole GPU": vgpu.passed_through(),
    "whole GPU, vGPU driver": vgpu.passed_through(grid=True),
    "host": vgpu.host(),
}
BROKEN = {
    "unlicensed": vgpu.guest(licensed=False),
    "daemon stopped": vgpu.guest(licensed=False, daemon="inactive"),
    "no token": vgpu.guest(licensed=False, token=False),
    "usual driver": vgpu.guest_with_the_usual_driver(),
    "no driver": vgpu.guest_without_driver(),
    "manager failed": vgpu.host(manager="failed"),
    "guest too new": vgpu.host(guests=("535.183.06", "550.90.07")),
}


@pytest.mark.parametrize("machine", HEALTHY.values(), ids=HEALTHY)
def test_a_well_set_up_guest_has_no_finding(machine: Tree) -> None:
    assert ids(machine) == []
    assert ids(machine.snapshot()) == []


@pytest.mark.parametrize("machine", BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_with_vgpu_stands_first(machine: Tree) -> None:
    found = diagnosed(machine).findings
    assert (found[0].finding.id, found[0].finding.severity) == ("vgpu-misconfigured", Severity.ERROR)
    assert ids(machine.snapshot()) == [one.finding.id for one in found]
    for remedy in found[0].finding.remedies:
        for command in remedy.commands:
            assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0, command


@pytest.mark.parametrize("name", ["usual driver", "no driver"])
def test_all_that_fails_without_the_guest_driver_follows_from_it(name: str) -> None:
    found = diagnosed(BROKEN[name]).findings
    assert {one.caused_by for one in found[1:]} <= {"vgpu-misconfigured"}
    assert "driver-not-installed" not in [one.finding.id for one in found]


def test_a_virtual_gpu_is_told_by_its_pci_ids_where_its_driver_does_not_work() -> None:
    finding = first(BROKEN["usual driver"])
    assert "535.247.01 is not NVIDIA's vGPU driver" in finding.title
    assert "subsystem 10de:130f: a virtual GPU of the T4" in finding.evidence[0].excerpt


def test_exactly_the_usual_drivers_packages_are_taken_away() -> None:
    assert first(BROKEN["usual driver"]).remedies[0].commands == (
        "sudo apt-get remove --purge nvidia-driver-535 nvidia-dkms-535 libnvidia-compute-535",
    )


@pytest.mark.parametrize(
    ("name", "words", "confidence"),
    [
        ("unlicensed", "has no licence for NVIDIA RTX Virtual Workstation", Confidence.LIKELY),
        ("daemon stopped", "nvidia-gridd does not run", Confidence.CERTAIN),
        ("no token", "holds no token", Confidence.CERTAIN),
    ],
)
def test_the_reason_for_a_missing_licence_is_named_where_it_is_seen(
    name: str, words: str, confidence: Confidence
) -> None:
    finding = first(BROKEN[name])
    assert words in finding.title
    assert finding.confidence is confidence


def test_a_licence_for_a_whole_gpu_is_missed_only_where_it_was_asked_for() -> None:
    found = diagnosed(vgpu.passed_through(grid=True, wanted=True)).findings
    assert [(one.finding.id, one.finding.severity) for one in found] == [("vgpu-misconfigured", Severity.WARNING)]
    assert any("FeatureType=2" in one.excerpt for one in found[0].finding.evidence)


def test_a_whole_gpu_with_the_usual_driver_is_not_asked_for_a_licence_service() -> None:
    machine = vgpu.passed_through().but(
        probes={"nvml": vgpu.nvml(mode=1, name="Tesla T4", licensed=False)},
    )
    host = machine.host()
    assert ids(host) == []
    assert not [question for question in host.asked if "gridd.service" in question or "ClientConfigToken" in question]


def test_no_licence_servers_name_is_recorded() -> None:
    machine = vgpu.guest(licensed=False).but(
        files={"/etc/nvidia/gridd.conf": "ServerAddress=licence.example.com\nFeatureType=1\n"}
    )
    assert "licence.example.com" not in str(machine.snapshot().document)


def test_a_machine_of_ones_own_is_not_asked_for_any_of_this() -> None:
    host = machines.ubuntu_dkms("570.172.08", "570.172.08", "570.172.08").host()
    diagnosis = diagnosed(host)
    assert not [question for question in host.asked if "subsystem" in question or "gridd" in question]
    outcome = next(one for one in diagnosis.checks if one.name == "virtual_gpus_have_their_driver_and_licence")
    assert outcome.status is Status.SKIPPED


def query(mode: str, status: str) -> str:
    return (
        "$ nvidia-smi -q\n==============NVSMI LOG==============\nDriver Version : 535.183.06\nGPU 00000000:01:00.0\n"
        f"    GPU Virtualization Mode\n        Virtualization Mode               : {mode}\n"
        "    vGPU Software Licensed Product\n        Product Name                      : NVIDIA RTX Workstation\n"
        f"        License Status                    : {status}\n"
    )


def test_a_pasted_query_of_a_licensed_guest_proves_nothing() -> None:
    assert ids(pasted(query("VGPU", "Licensed (Expiry: 2026-11-30 8:0:0 GMT)"))) == []


def test_a_pasted_query_of_a_guest_without_a_licence_is_told() -> None:
    finding = first(pasted(query("VGPU", "Unlicensed (Restricted)")))
    assert (finding.id, finding.severity) == ("vgpu-misconfigured", Severity.ERROR)


def test_a_whole_gpu_without_a_licence_is_merely_possible_trouble() -> None:
    diagnosis = diagnosed(pasted(query("Pass-Through", "Unlicensed (Unrestricted)")))
    finding = diagnosis.findings[0].finding
    assert (finding.id, finding.severity, finding.confidence) == (
        "vgpu-misconfigured", Severity.WARNING, Confidence.POSSIBLE,
    )  # fmt: skip


@pytest.mark.parametrize(("guest", "found"), [("550.90.07", ["vgpu-misconfigured"]), ("535.183.01", [])])
def test_a_hosts_pasted_list_of_guests_is_judged_by_their_releases(guest: str, found: list[str]) -> None:
    text = (
        "$ nvidia-smi\n| NVIDIA-SMI 535.183.06             Driver Version: 535.183.06   CUDA Version: N/A      |\n"
        "$ nvidia-smi vgpu -q\nGPU 00000000:84:00.0\n    Active vGPUs                      : 1\n"
        "    vGPU ID                           : 3251634323\n        vGPU Name                     : GRID T4-8Q\n"
        f"        Guest Driver Version          : {guest}\n        License Status                : Licensed\n"
    )
    assert ids(pasted(text)) == found


@pytest.mark.parametrize(
    ("host", "guest", "fits"),
    [
        (535, 535, True), (550, 535, True), (580, 570, True), (580, 535, True), (535, 470, True), (535, 550, False),
        (570, 535, False), (550, 525, False), (999, 535, None), (535, 418, None),
    ],
)  # fmt: skip
def test_releases_go_together_as_nvidias_release_notes_say(host: int, guest: int, fits: bool | None) -> None:
    assert goes_together(host, guest) is fits


@pytest.mark.parametrize(
    ("device", "subsystem", "name"),
    [("1eb8", "130f", "T4"), ("1eb8", "12a2", None), ("20b0", "146f", "A100 SXM4"), ("2684", "130f", None)],
)
def test_virtual_gpus_are_known_by_their_subsystem_ids(device: str, subsystem: str, name: str | None) -> None:
    assert virtual_gpu_of(device, subsystem) == name


def test_no_type_is_a_physical_boards() -> None:
    boards = {
        "1eb8": "12a2", "2235": "145a", "2236": "1482", "2237": "152f", "2230": "1459", "2321": "1839", "2322": "17a4",
        "2330": "16c0", "2331": "1626", "233a": "183a", "25b6": "14a9", "26b1": "16a1", "26b5": "169d", "26b9": "1851",
        "27b8": "16ca",
    }  # fmt: skip
    assert set(boards) <= set(table().devices)
    assert [device for device, board in boards.items() if virtual_gpu_of(device, board)] == []
