"""The GPUs that outputs name, against the driver's branch and flavour, where the driver has no working GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from nvdiag.checks import _branch_ways, _said
from nvdiag.engine import check
from nvdiag.facts.dkms import DkmsStatus
from nvdiag.facts.listed_packages import ListedPackages
from nvdiag.facts.messages import Messages
from nvdiag.facts.modules import Flavour, LoadedDriver
from nvdiag.facts.packages import Package
from nvdiag.facts.pci import GpusOnBus
from nvdiag.knowledge.gpu_generations import Generation, OpenModules, generation_of, generation_of_chip
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease


@dataclass(frozen=True, slots=True)
class _Driver:
    """The driver that found no GPU. `flavour` is None where it is not told."""

    release: DriverRelease
    flavour: Flavour | None
    evidence: Evidence


@check(
    "gpu-needs-open-module",
    "gpu-needs-proprietary-module",
    "gpu-needs-newer-driver",
    "gpu-needs-legacy-driver",
    area="driver",
)
def the_driver_is_one_for_the_gpus_that_it_does_not_find(
    messages: Messages,
    gpus: GpusOnBus | Unknown,
    loaded: LoadedDriver | Unknown,
    dkms: DkmsStatus | Unknown,
    packages: ListedPackages | Unknown,
) -> Iterator[Finding]:
    """The driver that finds no GPU is of a branch and a flavour for the GPUs that are named beside it."""
    if isinstance(loaded, LoadedDriver) and isinstance(gpus, GpusOnBus) and any(gpu.device_id for gpu in gpus.gpus):
        raise NotApplicable("the GPUs' own ids were held against the driver")
    trouble = messages.proving("gpu-init-failed")
    driver = _driver(loaded, messages)
    if driver is None:
        trouble = trouble or messages.named(*_NOT_REACHED)
        driver = _installed(dkms, packages)
    if not trouble or driver is None:
        raise NotApplicable("no text tells of a driver without a working GPU, and of its release")
    seen = dict(_named(gpus, messages))
    verdicts = {_verdict(row, driver) for row in seen}
    if len(verdicts) != 1 or (verdict := verdicts.pop()) is None:
        return  # a GPU that it drives is there, too: then its branch and flavour are not the reason
    row, evidence = next(iter(seen.items()))
    identifier, title, remedy = verdict
    yield Finding(
        id=identifier,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"{title} {row.name}",
        detail=_BY_TABLE,
        evidence=(evidence, driver.evidence, *_said.evidence(trouble[:2])),
        remedies=(remedy,),
        explains=_branch_ways.UNUSABLE,
        layers=(Layer.LOADED_MODULE, Layer.GPU),
    )


_BY_TABLE = (
    "So say NVIDIA's lists for GPUs of this generation. The kernel log names the refused GPU; where it does not, look"
    " there for another reason."
)


def _driver(loaded: LoadedDriver | Unknown, messages: Messages) -> _Driver | None:
    if isinstance(loaded, LoadedDriver):
        told = Evidence(source=loaded.source, excerpt=loaded.release.text)
        return _Driver(loaded.release, loaded.flavour, told)
    for one in reversed(messages.named("nvrm-loading")):  # the last boot that the text shows
        if release := DriverRelease.or_none(one.groups.get("release")):
            return _Driver(release, Flavour.OPEN if "open" in one.groups else Flavour.PROPRIETARY, one.evidence)
    return None


_NOT_REACHED = ("nvidia-smi-cannot-communicate", "nvml-driver-not-loaded", "modprobe-no-such-device")
"""What is said where the driver is not loaded, or was and did not take the GPU."""


def _installed(dkms: DkmsStatus | Unknown, packages: ListedPackages | Unknown) -> _Driver | None:
    """The driver that is installed, where all that tells of it tells of one branch."""
    known = packages.packages if isinstance(packages, ListedPackages) else ()
    told = [one for one in known if one.installed and one.release is not None and not one.name.startswith("cuda-")]
    rows = [row for row in dkms.rows if row.installed] if isinstance(dkms, DkmsStatus) else []
    releases = [one.release for one in told if one.release is not None] or [row.release for row in rows]
    branches = {release.branch for release in (*releases, *(row.release for row in rows))}
    if len(branches) != 1:
        return None
    source = packages.source if told and isinstance(packages, ListedPackages) else "dkms status"
    excerpt = f"{told[0].name} {told[0].version}" if told else f"nvidia {releases[0]}, installed"
    return _Driver(releases[0], _flavour(told), Evidence(source=source, excerpt=excerpt))


def _flavour(packages: Sequence[Package]) -> Flavour | None:
    """The flavour of the modules, by the names that distributions give to the packages of both."""
    built = [one.name for one in packages if re.search(r"dkms|kmod|modules|driver-\d", one.name)]
    opened = {bool(re.search(r"open", name)) for name in built}
    if len(opened) != 1:
        return None
    return Flavour.OPEN if opened.pop() else Flavour.PROPRIETARY


def _named(gpus: GpusOnBus | Unknown, messages: Messages) -> Iterator[tuple[Generation, Evidence]]:
    """The generations of the GPUs on the bus, by their device ids or by their chips' names."""
    for gpu in gpus.gpus if isinstance(gpus, GpusOnBus) else ():
        row = generation_of(int(gpu.device_id, 16)) if gpu.device_id else None
        if row is not None:
            yield row, Evidence(source=f"GPU {gpu.address}", excerpt=f"10de:{gpu.device_id}")
    for one in messages.named("lspci-chip"):
        row = generation_of_chip(one.groups["chip"]) if "chip" in one.groups else None
        row = row or (generation_of(int(one.groups["device"], 16)) if "device" in one.groups else None)
        if row is not None:
            yield row, one.evidence


def _verdict(row: Generation, driver: _Driver) -> tuple[str, str, Remedy] | None:
    """The id, the title's beginning and the way out; None where nothing is against this driver for such a GPU."""
    branch = driver.release.branch
    if branch < row.first:
        opened = row.open_modules is OpenModules.REQUIRED
        newer = _branch_ways.newer_branch(row, open_only=opened)
        return "gpu-needs-newer-driver", f"the driver {driver.release} is older than GPUs of the generation", newer
    if row.last is not None and branch > row.last:
        legacy = _branch_ways.legacy_branch(str(row.last))
        return "gpu-needs-legacy-driver", f"the driver {driver.release} no longer drives GPUs of the generation", legacy
    if row.open_modules is OpenModules.REQUIRED and driver.flavour is Flavour.PROPRIETARY:
        way = _branch_ways.other_flavour(opened=True)
        return "gpu-needs-open-module", "the proprietary kernel module is loaded, which drives no GPU of", way
    if row.open_modules is OpenModules.UNSUPPORTED and driver.flavour is Flavour.OPEN:
        way = _branch_ways.other_flavour(opened=False)
        return "gpu-needs-proprietary-module", "the open kernel module is loaded, which drives no GPU of", way
    return None
