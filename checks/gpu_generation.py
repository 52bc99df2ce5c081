"""The GPUs on the bus against the module that is installed: is its branch, and its flavour, one that drives them?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from nvdiag.engine import check
from nvdiag.facts.module_files import RunningKernelModule
from nvdiag.facts.modules import Flavour, LoadedDriver
from nvdiag.facts.pci import DEVICES, PciGpu
from nvdiag.facts.quiet_gpus import QuietGpus
from nvdiag.knowledge.gpu_generations import Generation, OpenModules, generation_of, newest_device
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

NEWER, LEGACY = "gpu-needs-newer-driver", "gpu-needs-legacy-driver"
OPEN, PROPRIETARY = "gpu-needs-open-module", "gpu-needs-proprietary-module"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unfit:
    """A GPU that the installed module does not drive: which finding that is, and how sure."""

    gpu: PciGpu
    row: Generation | None
    identifier: str
    confidence: Confidence

    @property
    def name(self) -> str:
        return f"10de:{self.gpu.device_id}" + (f" ({self.row.name})" if self.row else "")


@check(NEWER, LEGACY, OPEN, PROPRIETARY, area="driver")
def the_installed_module_drives_every_gpu(
    quiet: QuietGpus, loaded: LoadedDriver | Unknown, disk: RunningKernelModule | Unknown
) -> Iterator[Finding]:
    """The installed module is of a branch and of a flavour that drives every GPU on the bus."""
    release, flavour, source = _installed(loaded, disk)
    rows = {one.gpu.address: _row(one.gpu) for one in quiet.gpus}
    is_loaded = isinstance(loaded, LoadedDriver)
    judged = (_unfit(one.gpu, rows[one.gpu.address], release, flavour, is_loaded) for one in quiet.gpus)
    groups: dict[str, list[_Unfit]] = {}
    for unfit in judged:
        if unfit is not None and unfit.gpu.driver != "nvidia":
            groups.setdefault(unfit.identifier, []).append(unfit)
    if not groups:
        raise NotApplicable(
            "branch and flavour suit every GPU that the driver does not show, so they are not the reason"
        )
    from nvdiag.checks._branch_ways import UNUSABLE

    for identifier, found in groups.items():
        yield Finding(
            id=identifier,
            severity=Severity.ERROR,
            confidence=found[0].confidence,
            title=_title(found[0], release),
            detail=_detail(found, list(rows.values())),
            evidence=(
                *(Evidence(source=f"{DEVICES}/{one.gpu.address}/device", excerpt=one.name) for one in found),
                Evidence(source=source, excerpt=f"{release}{f', {flavour.value} flavour' if flavour else ''}"),
            ),
            remedies=(_remedy(found[0]),),
            explains=UNUSABLE,
            layers=(Layer.LOADED_MODULE, Layer.GPU),
        )


def _installed(
    loaded: LoadedDriver | Unknown, disk: RunningKernelModule | Unknown
) -> tuple[DriverRelease, Flavour | None, str]:
    """Release and flavour of the module that would drive the GPUs, and where they were read."""
    if isinstance(loaded, LoadedDriver):
        return loaded.release, loaded.flavour, loaded.source
    if isinstance(disk, Unknown):
        raise disk
    if disk.file is None or disk.file.release is None:
        raise NotApplicable("no module of a known release is installed")
    return disk.file.release, disk.file.flavour, disk.file.how


def _row(gpu: PciGpu) -> Generation | None:
    return generation_of(int(gpu.device_id, 16)) if re.fullmatch(r"[0-9a-f]{4}", gpu.device_id) else None


def _unfit(
    gpu: PciGpu, row: Generation | None, release: DriverRelease, flavour: Flavour | None, is_loaded: bool
) -> _Unfit | None:
    branch = release.branch
    refused = is_loaded and not gpu.driver_hidden
    sure = Confidence.CERTAIN
    identifier = ""
    if row is None:
        newer = re.fullmatch(r"[0-9a-f]{4}", gpu.device_id) and int(gpu.device_id, 16) > newest_device()
        identifier, sure = (NEWER, Confidence.LIKELY) if newer and refused else ("", sure)
    elif branch < row.first:
        identifier = NEWER
    elif row.last is not None and branch > row.last:
        identifier = LEGACY
    elif flavour is Flavour.OPEN and row.open_modules is OpenModules.UNSUPPORTED:
        identifier = PROPRIETARY
    elif flavour is Flavour.PROPRIETARY and row.open_modules is OpenModules.REQUIRED:
        identifier = OPEN
    elif refused and branch < row.boards:
        identifier, sure = NEWER, Confidence.LIKELY
    return _Unfit(gpu=gpu, row=row, identifier=identifier, confidence=sure) if identifier else None


def _title(one: _Unfit, release: DriverRelease) -> str:
    row = one.row
    match one.identifier:
        case "gpu-needs-newer-driver" if row is not None and one.confidence is Confidence.CERTAIN:
            return (
                f"the driver {release} is older than the GPU {one.name}, which branch {row.first} is the first to drive"
            )
        case "gpu-needs-newer-driver":
            return f"the driver {release} does not know the GPU {one.name}; a later release does"
        case "gpu-needs-legacy-driver":
            last = row.last if row else "an older one"
            return f"the driver {release} no longer drives the GPU {one.name}: branch {last} is the last one for it"
        case "gpu-needs-open-module":
            return f"the GPU {one.name} works only with the open kernel modules, and the proprietary ones are installed"
        case _:
            return f"the open kernel modules, which are installed, do not drive the GPU {one.name}"


def _detail(found: Sequence[_Unfit], rows: Sequence[Generation | None]) -> str:
    known = [row for row in rows if row is not None]
    last = min((row.last for row in known if row.last is not None), default=None)
    newest = max((row.first for row in known), default=0)
    if last is not None and newest > last:
        return (
            f"No one driver serves all GPUs here: one ends with branch {last}, another begins with {newest}. Take one"
            " of them out, or give it to a virtual machine."
        )
    what = "branch" if found[0].identifier in (NEWER, LEGACY) else "flavour"
    return f"The module looks at the chip and refuses it: it is the driver's {what}, not a fault of the GPU."


def _remedy(one: _Unfit) -> Remedy:
    from nvdiag.checks._branch_ways import legacy_branch, newer_branch, other_flavour

    if one.identifier == LEGACY:
        return legacy_branch(str(one.row.last) if one.row else "")
    if one.identifier in (OPEN, PROPRIETARY):
        return other_flavour(opened=one.identifier == OPEN)
    return newer_branch(one.row, open_only=one.row is None or one.row.open_modules is OpenModules.REQUIRED)
