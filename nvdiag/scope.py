"""Which findings count for one job: those of certain classes, on its GPUs or on the whole machine.

A prolog refuses a job over these alone: another job's GPU is not its trouble, and neither is a Python environment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from nvdiag.engine import Facts
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.fabric import NvSwitches
from nvdiag.facts.nvml_devices import NvmlDevice
from nvdiag.facts.pci import PciGpus, normal_address
from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.dataclass import dataclass
from nvdiag.model.diagnosis import Diagnosis, Ranked
from nvdiag.model.finding import Confidence, Finding, FindingClass, Severity

_ASKED_FOR = frozenset({"requirement-not-met", "requirement-unknown"})
"""What was required counts, whatever the class of what does not meet it: somebody asked for it by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What counts: these classes, these GPUs (as `parse_gpus` has them). None is every one."""

    classes: frozenset[FindingClass] | None = None
    gpus: tuple[str, ...] | None = None


def parse_gpus(text: str) -> tuple[str, ...] | None:
    """The words of CUDA_VISIBLE_DEVICES or SLURM_JOB_GPUS, or PCI addresses; None for `all`. ValueError for others."""
    words = tuple(word.strip() for word in text.split(","))
    if words == ("all",):
        return None
    for word in words:
        if not re.fullmatch(r"[0-9]{1,4}|(?:GPU|MIG)-[\w/-]{1,80}", word) and normal_address(word) is None:
            raise ValueError(f"{word or 'nothing'} names no GPU: a number, a UUID, a PCI address, or all")
    return words


def within(diagnosis: Diagnosis, facts: Facts, scope: Scope) -> Diagnosis:
    """The diagnosis with what counts; `left_out` names the rest.

    What follows from a finding shares its lot. A finding on a GPU is merely possible where nothing tells whether the
    GPU is one of those named. Hardware of which no driver tells, for an error that is left out, is not judged.
    """
    concerns = _concerning(facts, scope.gpus) if scope.gpus is not None else lambda _: True
    kept: list[Ranked] = []
    lots: dict[str | None, bool | None] = {None: True}
    for ranked in diagnosis.findings:  # a cause stands before what follows from it
        finding = ranked.finding
        named = scope.classes is None or finding.kind in scope.classes or finding.id in _ASKED_FOR
        both = (lots.get(ranked.caused_by, True), concerns(finding) if named else False)
        lot = False if False in both else None if None in both else True
        lots[finding.key] = lot
        if lot is not False:
            kept.append(ranked if lot else replace(ranked, finding=_doubted(finding)))
    left_out = tuple(key for key, lot in lots.items() if key is not None and lot is False)
    errors = any(_is_sure_error(one.finding) for one in diagnosis.findings if one.finding.key in left_out)
    hardware = scope.classes is not None and FindingClass.HARDWARE in scope.classes
    barred = hardware and errors and not _nvml_answers(facts)
    return replace(diagnosis, findings=tuple(kept), left_out=left_out, barred=barred)


def _is_sure_error(finding: Finding) -> bool:
    return finding.severity is Severity.ERROR and finding.confidence is not Confidence.POSSIBLE


def _nvml_answers(facts: Facts) -> bool:
    nvml = facts[NvmlAnswer]
    return isinstance(nvml, NvmlAnswer) and nvml.init == 0


def _doubted(finding: Finding) -> Finding:
    unsure = "Nothing tells whether it is about one of the GPUs that --gpus names."
    return replace(finding, confidence=Confidence.POSSIBLE, detail=f"{finding.detail} {unsure}".strip())


def _concerning(facts: Facts, words: tuple[str, ...]) -> Callable[[Finding], bool | None]:
    """Whether a finding is on one of these GPUs or on the whole machine; None where nothing tells."""
    places: list[_Places] = []  # made once, and only if a finding is on one GPU

    def concerns(finding: Finding) -> bool | None:
        on_gpu = normal_address(finding.subject) is not None or (
            finding.id == "gpu-init-failed" and finding.subject.isdigit()
        )
        if not on_gpu:
            return True
        if not places:
            places.append(_Places.of(facts))
        subject, named = places[0].of_subject(finding.subject), [places[0].of_word(word) for word in words]
        if subject in places[0].switches or (subject is not None and subject in named):
            return True
        return None if subject is None or None in named else False

    return concerns


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """PCI addresses by the ways in which a GPU is named: its number for jobs and in NVML, and its UUIDs."""

    by_number: Mapping[int, str]
    by_nvml: Mapping[int, str]
    by_uuid: Mapping[str, str]
    switches: frozenset[str]

    @classmethod
    def of(cls, facts: Facts) -> _Places:
        """Jobs count GPUs in the order of the bus, as NVML does (Slurm: common_gres_set_env, the device's `index`).

        NVML of some releases drops a GPU that was lost, and counts on without it; a job's numbers stay. In a container
        the bus is the host's, and the numbers are NVML's.
        """
        nvml, bus = facts[NvmlAnswer], facts[PciGpus]
        devices: tuple[NvmlDevice, ...] = nvml.devices if isinstance(nvml, NvmlAnswer) else ()
        on_bus = sorted(gpu.address for gpu in bus.by_nvidia) if isinstance(bus, PciGpus) else []
        by_nvml = {one.index: one.address for one in devices if one.address}
        if len(devices) == len(on_bus):
            by_nvml = dict(enumerate(on_bus)) | by_nvml
        contained = isinstance(around := facts[Surroundings], Surroundings) and around.container
        uuids = [(uuid, one.address) for one in devices for uuid in (one.uuid, *_parts(one))]
        switches = facts[NvSwitches]
        return cls(
            by_number=by_nvml if contained or len(devices) >= len(on_bus) else dict(enumerate(on_bus)),
            by_nvml=by_nvml,
            by_uuid={uuid: address for uuid, address in uuids if uuid and address},
            switches=frozenset(switches.addresses) if isinstance(switches, NvSwitches) else frozenset(),
        )

    def of_subject(self, subject: str) -> str | None:
        return self.by_nvml.get(int(subject)) if subject.isdigit() else normal_address(subject)

    def of_word(self, word: str) -> str | None:
        if word.isdigit():
            return self.by_number.get(int(word))
        found = {address for uuid, address in self.by_uuid.items() if uuid.startswith(word)}
        return normal_address(word) or (found.pop() if len(found) == 1 else None)


def _parts(device: NvmlDevice) -> tuple[str | None, ...]:
    return tuple(instance.uuid for instance in device.instances or ())
