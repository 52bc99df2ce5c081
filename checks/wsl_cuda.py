"""The toolkit in WSL against Windows' driver, which no kernel module here tells of."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks.cuda import older_toolkit
from nvdiag.checks.wsl import UPDATE_WINDOWS
from nvdiag.engine import check
from nvdiag.facts.answers import DriverCuda, NvmlAnswer
from nvdiag.facts.toolkits import VARIABLES, Toolkits
from nvdiag.facts.wsl import WslSetup
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Severity
from nvdiag.model.unknown import NotApplicable, Unknown


@check("driver-too-old-for-cuda", area="cuda")
def windows_driver_supports_the_toolkits_cuda(
    setup: WslSetup, toolkits: Toolkits, supported: DriverCuda, nvml: NvmlAnswer | Unknown
) -> Iterator[Finding]:
    """In WSL, Windows' driver runs what the toolkit that this environment picks will build."""
    chosen = next((toolkit for toolkit in toolkits.found if toolkit.chosen_by), None)
    if chosen is None or chosen.version is None:
        raise NotApplicable("neither PATH nor CUDA_HOME picks a toolkit that tells its version")
    if chosen.version.major <= supported.version.major:
        return
    release = nvml.driver if isinstance(nvml, NvmlAnswer) else None
    yield Finding(
        id="driver-too-old-for-cuda",
        severity=Severity.ERROR if chosen.chosen_by in VARIABLES else Severity.WARNING,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.CONFIGURATION,
        title=f"Windows' driver supports CUDA {supported.version}, {chosen.chosen_by} picks a toolkit of"
        f" {chosen.version.short}",
        detail="Programs that this nvcc builds fail here with error 35 (driver insufficient for runtime)."
        f" Programs built with CUDA {supported.version.major} are not affected.",
        evidence=(
            Evidence(source=supported.source, excerpt=supported.version.text),
            Evidence(source=chosen.source, excerpt=chosen.version.text),
            *(
                (Evidence(source="nvmlSystemGetDriverVersion", excerpt=f"Windows' driver {release}"),)
                if release
                else ()
            ),
        ),
        remedies=(older_toolkit(toolkits, supported.version), UPDATE_WINDOWS),
        layers=(Layer.CUDA_DRIVER, Layer.TOOLKITS),
    )
