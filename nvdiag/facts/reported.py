"""What people write of their machine in so many words: `driver=570.124.06 cuda=12.8 torch=2.7.0+cu128 gpu=RTX 5090`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable

_NAMES = (
    "driver|host driver|nvidia-driver|cuda|cuda-toolkit|cuda-compat|torch|pytorch|vllm|gpu|gpus|os|kernel|python|error"
    "|jax|tensorflow"
)
_PAIR = regex(rf"(?:^|[\s,;])(?P<name>{_NAMES})=(?P<value>.{{1,120}}?)(?=\s+[\w-]{{2,24}}=|[,;]|$)", re.I)


@dataclass(frozen=True, slots=True)
class Reported:
    """Values by name, as they were written. They are somebody's word, not what a command printed."""

    values: Mapping[str, str]

    @classmethod
    def collect(cls, host: Host) -> Reported:
        found: dict[str, str] = {}
        for _, text in host.handed_texts():
            for line in text.splitlines():
                pairs = _PAIR.findall(line[:1000]) if "=" in line else []
                if len(pairs) > 1 or (pairs and line.strip().startswith(pairs[0][0])):
                    for name, value in pairs:
                        found.setdefault(name.lower().removeprefix("host ").removeprefix("nvidia-"), value.strip())
        if not found:
            raise NotApplicable("nobody wrote a summary of the machine")
        return cls(found)
