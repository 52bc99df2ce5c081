"""The table of services that hold the driver's modules."""

from __future__ import annotations

import pytest

from nvdiag.knowledge.gpu_services import gpu_services, service_of


def test_what_others_rely_on_is_stopped_last() -> None:
    order = [row.name for row in gpu_services()]
    assert order.index("DCGM exporter") < order.index("DCGM") < order.index("fabric manager")
    assert order[-1] == "persistenced"


@pytest.mark.parametrize(
    ("unit", "comm", "name"),
    [
        ("nvidia-persistenced.service", "", "persistenced"),
        ("", "nvidia-persiste", "persistenced"),
        ("gdm3.service", "", "display manager"),
        ("", "Xorg", "display manager"),
        ("", "nvidia-cuda-mps", "MPS"),
        ("nvidia-fabricmanager.service", "", "fabric manager"),
        ("nvidia-dcgm.service", "nv-hostengine", "DCGM"),
        ("", "nv-fabricmanage", "fabric manager"),
    ],
)
def test_units_and_names_are_recognised(unit: str, comm: str, name: str) -> None:
    found = service_of(unit, comm)
    assert found is not None
    assert found.name == name


def test_other_units_and_programs_are_none() -> None:
    assert service_of("ssh.service", "sshd") is None
    assert service_of("", "python3") is None


def test_names_of_processes_are_as_long_as_the_kernel_keeps_them() -> None:
    for row in gpu_services():
        for form in row.comms.pattern.split("|"):
            assert len(form.replace("\\", "")) <= 16, form
