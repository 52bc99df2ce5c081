"""What nvidia-smi printed where somebody ran it: nvdiag itself never does."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nvdiag.facts.smi import parse_smi_header
from nvdiag.host import Host
from nvdiag.model.unknown import NotApplicable, ParseError
from nvdiag.model.versions import CudaVersion, DriverRelease

_CALLS = (("nvidia-smi", "-q"), ("nvidia-smi",), ("nvidia-smi", "-q", "--unit"), ("nvidia-smi", "-q", "-u"),
          ("nvidia-smi", "--version"))  # fmt: skip
_VERSION = re.compile(r"^DRIVER version[ \t]{0,20}: ([0-9.]{3,20})$", re.M)


@dataclass(frozen=True, slots=True)
class RecordedSmi:
    """`driver` and `cuda` as nvidia-smi printed them; `error` is its one line where it failed."""

    driver: DriverRelease | None
    cuda: CudaVersion | None
    error: str | None

    @classmethod
    def collect(cls, host: Host) -> RecordedSmi:
        recorded = host.recorded("commands")
        outputs = [(call, host.run(*call)) for call in _CALLS if " ".join(call) in recorded]
        if not outputs:
            raise NotApplicable("no output of nvidia-smi is recorded")
        first = outputs[0][1]
        failed = first.exit != 0 and first.stdout.strip()
        error = first.stdout.strip().splitlines()[0][:300] if failed else None
        driver = cuda = None
        for _, result in outputs:
            try:
                header = parse_smi_header(result.stdout)
            except ParseError:
                found = _VERSION.search(result.stdout)
                driver = driver or DriverRelease.or_none(found[1] if found else None)
            else:
                driver, cuda = driver or header.driver, cuda or header.cuda
        return cls(driver, cuda, error)
