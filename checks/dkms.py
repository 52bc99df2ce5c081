"""What DKMS itself says of the driver's modules, where the driver does not answer."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.checks import _driver_remedies, _said
from nvdiag.checks.kernel_modules import WITHOUT_MODULE
from nvdiag.engine import check
from nvdiag.facts.dkms import COMMAND, DkmsStatus
from nvdiag.facts.messages import Messages
from nvdiag.facts.modules import KernelModules
from nvdiag.facts.system import Distribution, RunningKernel
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown

_SILENT = (
    "nvidia-smi-cannot-communicate", "nvml-driver-not-loaded", "modprobe-not-found", "xorg-module-not-loaded",
    "persistenced-no-nodes", "systemd-module-not-found",
)  # fmt: skip
"""Messages of programs that find no loaded driver."""


@check("driver-not-built", area="driver")
def dkms_has_a_module_for_this_kernel(
    dkms: DkmsStatus,
    messages: Messages,
    running: RunningKernel | Unknown,
    modules: KernelModules | Unknown,
    distribution: Distribution | Unknown,
) -> Iterator[Finding]:
    """DKMS has a module installed for the kernel that runs, where programs find no loaded driver."""
    silent = messages.named(*_SILENT)
    if not silent or (isinstance(modules, KernelModules) and modules.nvidia is not None):
        raise NotApplicable("no program says that the driver is not loaded")
    built = [row for row in dkms.rows if row.installed]
    if built and isinstance(running, Unknown):
        raise running
    if isinstance(running, RunningKernel) and dkms.installed_for(running.release):
        return
    kernel = running.release.text if isinstance(running, RunningKernel) else ""
    others = listed(list(dict.fromkeys(str(row.kernel) for row in built)))
    yield Finding(
        id="driver-not-built",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"DKMS has no nvidia module for the kernel that runs{f', {kernel}' if kernel else ''}"
        + (f"; it has one for {others}" if others else ""),
        detail="Usual reasons: the kernel's headers are missing, the build failed, or the kernel is newer.",
        evidence=(
            *(Evidence(source=COMMAND, excerpt=row.told) for row in dkms.rows[:4]),
            *_said.evidence(silent[:2]),
        ),
        remedies=(
            _driver_remedies.build_for(
                _driver_remedies.family(distribution, silent), shlex.quote(kernel) if kernel else "$(uname -r)"
            ),
            _driver_remedies.READ_BUILD_LOG,
        ),
        explains=WITHOUT_MODULE,
        layers=(Layer.LOADED_MODULE,),
    )
