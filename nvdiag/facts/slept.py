"""Whether this machine was suspended since the driver was loaded: asked only where CUDA fails as it does after that."""

from __future__ import annotations

import re

from nvdiag.facts.answers import CudaAnswer
from nvdiag.facts.kernel_log import why_none
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable, Unknown

_WOKE = regex(r"^.{0,40}PM: (?:suspend exit|hibernation: hibernation exit|hibernation exit).*$", re.M)
_LOADING = "NVRM: loading NVIDIA UNIX"


@dataclass(frozen=True, slots=True)
class Slept:
    """The last line that tells of a wake-up after the driver was loaded. NotApplicable without one."""

    evidence: Evidence

    waits_for_child = True

    @classmethod
    def collect(cls, host: Host, cuda: CudaAnswer) -> Slept:
        if cuda.init in (None, 0):
            raise NotApplicable("cuInit does not fail")
        try:
            source, text = host.kernel_log()
        except Unknown:
            raise why_none(host) from None
        woke = list(_WOKE.finditer(text, max(0, text.rfind(_LOADING))))
        if not woke:
            raise NotApplicable("the kernel log tells of no suspend since the driver was loaded")
        return cls(Evidence(source=source, excerpt=woke[-1][0]))
