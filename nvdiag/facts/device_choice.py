"""CUDA_VISIBLE_DEVICES read as CUDA reads it, entry by entry, against the GPUs that NVML lists.

CUDA's programming guide ("CUDA Environment Variables"): numbers, or beginnings of UUIDs that one GPU alone has; the
first entry that is none hides itself and all after it, without a word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from nvdiag.facts.answers import CudaAnswer
from nvdiag.facts.environment import NOTHING_CHOOSES, VisibleDevices
from nvdiag.facts.nvml_devices import NvmlDevice
from nvdiag.facts.visible_gpus import NvmlGpus
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

_NONE_AT_ALL = frozenset({"", "nodevfiles", "none", "void"})
"""What stands there where no GPU is meant: NoDevFiles is Slurm's word (gpu plug-in, GRES documentation)."""


class Entry(Enum):
    """What CUDA makes of an entry."""

    FOUND = "names a GPU"
    NO_GPU_MEANT = "hides every GPU that is not named before it"
    NO_SUCH_NUMBER = "a number that no GPU has"
    NO_SUCH_UUID = "an identifier that no GPU here has"
    NO_SUCH_INSTANCE = "an identifier that no MIG instance here has"
    SEVERAL = "the beginning of several GPUs' identifiers"
    UNREADABLE = "neither a number nor an identifier"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChoice:
    """The entries of CUDA_VISIBLE_DEVICES up to the first that names no GPU, and what that one is.

    `named` counts the entries before it; `word` is empty and `end` is FOUND where all of them name GPUs. `sees` is how
    many devices CUDA itself counts in this environment, None where it was not asked. NotApplicable where the variable
    is not set.
    """

    value: str
    named: int
    word: str
    end: Entry
    count: int
    sees: int | None

    @classmethod
    def collect(cls, chosen: VisibleDevices, listed: NvmlGpus, cuda: CudaAnswer | Unknown) -> DeviceChoice:
        if chosen.value is None:
            raise NotApplicable(NOTHING_CHOOSES)
        words = [word.strip() for word in chosen.value.split(",")]
        ends = [(number, word, _read(word, listed)) for number, word in enumerate(words)]
        whole = (len(words), "", Entry.FOUND)
        named, word, end = next((one for one in ends if one[2] is not Entry.FOUND), whole)
        sees = cuda.count if isinstance(cuda, CudaAnswer) and cuda.init == 0 else None
        if isinstance(cuda, CudaAnswer) and cuda.init == _NO_DEVICE:
            sees = 0
        return cls(value=chosen.value, named=named, word=word, end=end, count=listed.counted, sees=sees)


_NO_DEVICE = 100
"""CUDA_ERROR_NO_DEVICE of cuda.h."""


def _read(word: str, listed: NvmlGpus) -> Entry:
    if word.lower() in _NONE_AT_ALL or re.fullmatch(r"-\d{1,9}", word):
        return Entry.NO_GPU_MEANT
    if re.fullmatch(r"\d{1,9}", word):
        return Entry.FOUND if int(word) < listed.counted else Entry.NO_SUCH_NUMBER
    if word.startswith("MIG-"):
        return _instance(word, listed.gpus)
    if word.startswith("GPU-"):
        same = [gpu for gpu in listed.gpus if (gpu.uuid or "").startswith(word)]
        return Entry.FOUND if len(same) == 1 else Entry.SEVERAL if same else _absent(listed)
    return Entry.UNREADABLE


def _absent(listed: NvmlGpus) -> Entry:
    """An identifier that none of the GPUs has; one that NVML cannot reach does not tell its own."""
    return Entry.NO_SUCH_UUID if len(listed.gpus) == listed.counted else Entry.FOUND


def _instance(word: str, gpus: Sequence[NvmlDevice]) -> Entry:
    """An instance by its UUID, or in the older form MIG-GPU-…/INSTANCE/INSTANCE by its GPU's; the latter is believed.

    Where NVML refused to list a GPU's instances, nothing is said to be absent.
    """
    if word.startswith("MIG-GPU-"):
        parent = word.removeprefix("MIG-").partition("/")[0]
        known = any((gpu.uuid or "").startswith(parent) and gpu.mig for gpu in gpus)
    else:
        known = any((one.uuid or "").startswith(word) for gpu in gpus for one in gpu.instances or ())
    hidden = any("mig_instances" in gpu.errors for gpu in gpus)
    return Entry.FOUND if known or hidden else Entry.NO_SUCH_INSTANCE
