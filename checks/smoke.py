"""The smoke test: whether GPUs for which cuInit is well also take a context, a copy and a kernel."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.smoke import Smoke
from nvdiag.model.finding import Finding
from nvdiag.model.unknown import NotApplicable, Unknown

_DEVICE = (
    "gpu-init-failed", "gpu-hardware-fault", "gpu-reset-required", "compute-mode-restricted", "vgpu-misconfigured",
    "fabric-manager-not-running", "confidential-computing-not-ready",
)  # fmt: skip
_ENVIRONMENT = ("gpu-memory-held", "mps-unavailable")
_LIBRARIES = ("driver-library-incomplete", "libcuda-mismatch", "libcuda-stub-loaded", "cuda-compat-unsupported")
_ENGINE = ("probe-hung", "probe-crashed", "check-failed")


@check(*_DEVICE, area="device")
def every_gpu_runs_a_kernel(smoke: Smoke, nvml: NvmlAnswer | Unknown) -> Iterator[Finding]:
    """With --smoke, every GPU that this process may see takes a context and runs a kernel right."""
    yield from _among(_DEVICE, smoke, nvml)


@check(*_ENVIRONMENT, area="environment")
def every_gpu_has_room_for_a_kernel(smoke: Smoke, nvml: NvmlAnswer | Unknown) -> Iterator[Finding]:
    """With --smoke, neither other processes nor MPS keep a kernel from any GPU."""
    yield from _among(_ENVIRONMENT, smoke, nvml)


@check(*_LIBRARIES, area="libraries")
def the_drivers_libraries_make_a_kernel(smoke: Smoke, nvml: NvmlAnswer | Unknown) -> Iterator[Finding]:
    """With --smoke, libcuda and the driver's compiler make a kernel for every GPU."""
    yield from _among(_LIBRARIES, smoke, nvml)


@check(*_ENGINE, area="engine")
def smoke_tests_came_back(smoke: Smoke, nvml: NvmlAnswer | Unknown) -> Iterator[Finding]:
    """With --smoke, no GPU's smoke test hung or crashed."""
    yield from _among(_ENGINE, smoke, nvml)


def _among(identifiers: tuple[str, ...], smoke: Smoke, nvml: NvmlAnswer | Unknown) -> Iterator[Finding]:
    """The findings of these ids. NotApplicable where a GPU failed for another reason: nothing passes there."""
    from nvdiag.checks import _smoke_trials

    found = list(_smoke_trials.findings(smoke, nvml))
    own = [one for one in found if one.id in identifiers]
    yield from own
    if found and not own:
        raise NotApplicable(f"a GPU runs no kernel, which {found[0].id} speaks of")
    if smoke.untold:
        raise Unknown(smoke.untold)
