"""nvdiag changes nothing on the machine that it looks at, whatever NVIDIA's libraries try."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rigs import rig
from tests.rigs.asking import check

pytestmark = pytest.mark.rig


def test_without_a_module_no_node_appears_and_nvidia_modprobe_is_not_started(
    real550: tuple[Path, str], strace: None
) -> None:
    folder, _ = real550
    report, result = check(rig.Machine(module=None, libraries=folder), trace=True)
    assert result.nodes == {}
    assert not [call for call in result.calls if "modprobe" in call]
    assert not rig.successful(result.calls, *rig.CHANGES)
    assert "not_applicable" in report["facts"]["driver"]["nvml"]


def test_a_closed_node_stays_closed_for_root(branch: str, strace: None) -> None:
    folder, release = rig.real(branch)
    nodes = {"nvidiactl": 0o600, "nvidia0": 0o600}
    for loaded in (release, "570.169"):
        _, result = check(rig.Machine(module=loaded, libraries=folder, nodes=nodes), trace=True)
        assert result.nodes == {"/dev/nvidiactl": 0o600, "/dev/nvidia0": 0o600}
        assert not rig.successful(result.calls, *rig.CHANGES)
        assert not [call for call in rig.successful(result.calls, "execve") if "modprobe" in call]


def test_the_rig_shows_that_nvml_alone_would_have_opened_it(branch: str) -> None:
    folder, release = rig.real(branch)
    nodes = {"nvidiactl": 0o600, "nvidia0": 0o600}
    smi = str(rig.CACHE / branch / "bin" / "nvidia-smi")
    result = rig.run(rig.Machine(module=release, libraries=folder, nodes=nodes), smi)
    assert result.nodes["/dev/nvidiactl"] == 0o666


def test_confinement_does_not_change_what_nvml_answers(branch: str) -> None:
    folder, release = rig.real(branch)
    smi = str(rig.CACHE / branch / "bin" / "nvidia-smi")
    for mode, loaded in (("EIO", release), ("EPERM", release), ("answer", "570.169")):
        machine = rig.Machine(module=loaded, libraries=folder, mode=mode)
        report, _ = check(machine)
        told = rig.run(machine, smi)
        code = report["facts"]["driver"]["nvml"]["init"]
        assert (min(255, code)) == told.exit, (mode, code, told.stdout)


def test_without_uvm_cuinit_is_not_called(branch: str) -> None:
    folder, release = rig.real(branch)
    report, result = check(rig.Machine(module="570.169", libraries=folder, submodules=("nvidia_modeset",)))
    assert report["facts"]["driver"]["libcuda"]["init"] is None
    assert report["facts"]["driver"]["libcuda"]["version"] is not None
    assert "/dev/nvidia-uvm" not in result.nodes
    assert release


def test_with_a_missing_control_node_nvml_is_not_called(real550: tuple[Path, str], strace: None) -> None:
    folder, release = real550
    report, result = check(rig.Machine(module=release, libraries=folder, nodes={}), trace=True)
    assert result.nodes == {}
    assert "device-nodes-missing" in [finding["id"] for finding in report["findings"]]
    assert "not_applicable" in report["facts"]["driver"]["nvml"]
