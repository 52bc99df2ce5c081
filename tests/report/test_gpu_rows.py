"""The stack's rows of GPUs: what one of several has is no mark on the others."""

from __future__ import annotations

from nvdiag.model.finding import Layer
from nvdiag.report.stack import rows
from tests.checks.diagnosing import diagnosed
from tests.scenarios import machines

NEW = "570.172.08"
ONE, TWO = "0000:01:00.0", "0000:41:00.0"


def marks(seen: tuple[str, ...]) -> dict[str, str]:
    """The mark of each GPU on a machine of two, of which NVML shows some."""
    machine = machines.ubuntu_dkms(NEW, NEW, NEW, gpus=(ONE, TWO)).but(
        probes={"nvml": machines.nvml_healthy(NEW, seen)}
    )
    return {row.subject: row.mark for row in rows(diagnosed(machine)) if row.layer is Layer.GPU}


def test_a_gpu_that_is_lost_is_marked_alone() -> None:
    assert marks((ONE,)) == {ONE: "ok", TWO: "bad"}


def test_two_that_are_well_are_marked_so() -> None:
    assert marks((ONE, TWO)) == {ONE: "ok", TWO: "ok"}
