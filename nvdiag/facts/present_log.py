"""This boot's kernel log, with what tells whether a message in it still holds.

A log tells what happened, not how things stand: what a later load of the driver or the driver's own answer refutes is
history.
"""

from __future__ import annotations

import re

from nvdiag.facts.answers import CudaAnswer, NvmlAnswer
from nvdiag.facts.kernel_log import why_none
from nvdiag.facts.pci import PciGpus, normal_address
from nvdiag.facts.smoke import Smoke
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

_HARMLESS = (
    r"^.{0,60}(?:nvidia-uvm: (?:Load|Unload)ed the UVM driver|\[nvidia-drm\] .{0,80}(?:Load|Unload)ing driver).*$"
)
_LOADING = "NVRM: loading NVIDIA UNIX"
_BEFORE_ANY_LOAD = frozenset({"pci-resources-unavailable"})
"""Findings that the kernel and not the driver tells of: loading the driver anew changes nothing of them."""
_BESIDE_NVML = frozenset({"uvm-not-loaded", "fabric-manager-mismatch", "vgpu-misconfigured"})
"""Findings with which NVML answers all the same."""
_ADDRESS = r"(?<![0-9a-fA-F])([0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7])\b"


@dataclass(frozen=True, slots=True)
class TellingLog:
    """The kernel log of the machine that is looked at. NotApplicable where it has no words of a known message."""

    source: str
    text: str

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings) -> TellingLog:
        try:
            source, text = host.kernel_log()
        except Unknown:
            raise why_none(host) from None
        if surroundings.container:
            raise NotApplicable("in a container the kernel log is the host's, and tells of other containers as well")
        from nvdiag.knowledge.kernel_messages import may_tell

        if not may_tell(re.sub(_HARMLESS, "", text, flags=re.M).lower()):
            raise NotApplicable("the kernel log of this boot has no message that nvdiag knows")
        return cls(source, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentLog:
    """A kernel log that tells something, and what refutes it.

    `loaded` is the line in which the module was loaded last, -1 for none. `answering` are the GPUs that NVML reaches,
    but for those that failed a smoke test; `well` says that this is all of them, `computing` that cuInit succeeds.
    """

    source: str
    text: str
    loaded: int
    answering: frozenset[str]
    well: bool
    computing: bool

    @classmethod
    def collect(
        cls,
        log: TellingLog,
        gpus: PciGpus | Unknown,
        nvml: NvmlAnswer | Unknown,
        cuda: CudaAnswer | Unknown,
        smoke: Smoke | Unknown,
    ) -> PresentLog:
        failed = {one.address for one in smoke.trials if one.suspect} if isinstance(smoke, Smoke) else set()
        answering = _answering(nvml) - failed
        position = log.text.rfind(_LOADING)
        return cls(
            source=log.source,
            text=log.text,
            loaded=-1 if position < 0 else log.text.count("\n", 0, position),
            answering=answering,
            well=_all_answer(nvml, gpus, answering),
            computing=isinstance(cuda, CudaAnswer) and cuda.init == 0,
        )

    def refutes(self, proves: str | None, line: int, words: str) -> bool:
        """Whether a message of this log, which proves a finding or none, does not hold any more."""
        if line < self.loaded and proves not in _BEFORE_ANY_LOAD:
            return True
        if self.well and (self.computing or proves not in _BESIDE_NVML):
            return True
        named = {normal_address(address) for address in re.findall(_ADDRESS, words)}
        return bool(named) and named <= self.answering


def _answering(nvml: NvmlAnswer | Unknown) -> frozenset[str]:
    devices = nvml.devices if isinstance(nvml, NvmlAnswer) and nvml.init == 0 else ()
    return frozenset(one.address for one in devices if one.address and one.handle_error is None)


def _all_answer(nvml: NvmlAnswer | Unknown, gpus: PciGpus | Unknown, answering: frozenset[str]) -> bool:
    """Whether NVML reaches every GPU on the bus that is not given to something else."""
    if not answering or not isinstance(nvml, NvmlAnswer) or nvml.count != len(answering):
        return False
    return isinstance(gpus, PciGpus) and all(
        gpu.address in answering for gpu in gpus.gpus if gpu.driver in (None, "nvidia")
    )
