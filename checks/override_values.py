"""Variables that choose a library or a tool by hand, against the files that they name."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.overrides import READERS, Override, Overrides
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Remedy, Severity


@check("library-override-invalid", area="environment")
def overrides_lead_somewhere(overrides: Overrides) -> Iterator[Finding]:
    """Each variable that chooses a CUDA library or tool by hand names a file that is there."""
    for one in overrides.broken:
        reader = READERS[one.name]
        stops = bool(one.installed) and not reader.goes_on
        yield Finding(
            id="library-override-invalid",
            subject=one.name,
            severity=Severity.ERROR if stops else Severity.WARNING,
            confidence=Confidence.CERTAIN,
            kind=FindingClass.ENVIRONMENT,
            title=f"{one.name} {one.wrong}",
            detail=f"With it {reader.then}.",
            evidence=(
                Evidence(source="environment", excerpt=f"{one.name}={one.value}"[:300]),
                one.evidence,
                *((Evidence(source="installed", excerpt=one.installed),) if one.installed else ()),
            ),
            remedies=(_away(one),),
            explains=frozenset({"libcuda-missing", "nccl-mismatch", "framework-cuda-mismatch"}),
        )


def _away(one: Override) -> Remedy:
    if one.name == "XLA_FLAGS":
        left = " ".join(word for word in one.value.split() if not word.startswith("--xla_gpu_cuda_data_dir="))
        command = f"export XLA_FLAGS={shlex.quote(left)}" if left else "unset XLA_FLAGS"
    elif one.name == "TRITON_LIBCUDA_PATH" and one.value.rpartition("/")[2].startswith("libcuda.so"):
        command = f"export {one.name}={shlex.quote(one.value.rpartition('/')[0] or '/')}"
    else:
        command = f"unset {one.name}"
    return Remedy(
        summary=f"take it away, and let the program find the library itself: {one.name} is for unusual places"
        if command.startswith("unset")
        else "correct it",
        commands=(command, f"grep -rn {one.name} ~/.bashrc ~/.profile /etc/environment"),
        prediction="neither root nor a restart of the machine; in a container it may stand in the image",
    )
