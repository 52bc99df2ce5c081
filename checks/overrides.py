"""Variables that choose a library or a tool by hand."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.model.finding import Confidence, Finding, FindingClass, Remedy
from nvdiag.model.unknown import NotApplicable

_CONSEQUENCE = {
    "TRITON_LIBCUDA_PATH": "triton",
    "TRITON_PTXAS_PATH": "ptxas",
    "xla_gpu_cuda_data_dir": "libdevice",
    "VLLM_NCCL_SO_PATH": "nccl",
}
"""Which group of the row override-consequence tells that this variable's value does not serve."""


@check("library-override-invalid", area="environment")
def overrides_name_what_is_there(messages: Messages) -> Iterator[Finding]:
    """Variables that choose a CUDA library or tool by hand name one that is there and fits."""
    said = messages.proving("library-override-invalid")
    chosen = [one for one in messages.named("override-set") if _failed(one, messages)]
    if not said and not chosen:
        raise NotApplicable("no message in the text tells of it")
    sure = any(_missing_version(one, messages) for one in chosen)
    yield _said.finding(
        said or chosen,
        "library-override-invalid",
        confidence=None if said else Confidence.CERTAIN if sure else Confidence.LIKELY,
        title="" if said else f"{chosen[0].told}, which does not serve the program",
        kind=FindingClass.ENVIRONMENT,
        remedies=(_unset((said or chosen)[0]),),
        explains=frozenset(
            {
                "framework-cuda-mismatch",
                "framework-cpu-only",
                "libcuda-missing",
                "nccl-mismatch",
                "nvcc-not-found",
                "cuda-library-missing",
            }
        ),
        beside=_said.evidence(messages.named("override-consequence", "bnb-binary-missing", "bnb-version-mismatch")),
    )


def _failed(one: Said, messages: Messages) -> bool:
    name = one.groups["name"]
    if name.upper() == "BNB_CUDA_VERSION":
        if messages.named("bnb-not-compiled"):
            return False  # whatever the variable asked for, nothing is there
        asked = one.groups["value"].replace(".", "")
        if not asked.isdigit():
            return False  # a placeholder in what bitsandbytes explains
        return len(asked) < 3 or _missing_version(one, messages) or bool(messages.named("bnb-without-gpu"))
    group = _CONSEQUENCE.get(name)
    return group is not None and any(other.groups.get(group) for other in messages.named("override-consequence"))


def _missing_version(one: Said, messages: Messages) -> bool:
    """Whether bitsandbytes says that it has no library for just the version that the variable asks for."""
    if one.groups["name"].upper() != "BNB_CUDA_VERSION":
        return False
    asked = one.groups["value"].replace(".", "")
    missing = {other.groups["cuda"] for other in messages.named("bnb-binary-missing")}
    missing |= {other.groups["asked"].replace(".", "") for other in messages.named("bnb-version-mismatch")}
    return asked in missing


def _unset(one: Said) -> Remedy:
    name = one.groups.get("name") or ("LD_PRELOAD" if "LD_PRELOAD" in one.text else "OLLAMA_LLM_LIBRARY")
    if name == "xla_gpu_cuda_data_dir":
        name = "XLA_FLAGS"
    return Remedy(
        summary=f"take {name} away, and let the program find the library itself",
        commands=(f"unset {shlex.quote(name)}", f"grep -rn {shlex.quote(name)} ~/.bashrc ~/.profile /etc/environment"),
        prediction="the variable is only for libraries in unusual places; correct its value if it is needed",
    )
