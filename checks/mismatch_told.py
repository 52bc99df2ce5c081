"""A mismatch of kernel module and libraries that somebody was told of: by NVML, by the kernel log, by a program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nvdiag.checks import _evidence, _holder_words, _reload, _remedies, _said, _since
from nvdiag.checks._told_releases import (
    Sides,
    ahead_by_dkms,
    is_newer,
    of_dkms_doubts,
    release_on_disk,
    sides_of,
    why_disk_is_wrong,
)
from nvdiag.engine import check
from nvdiag.facts.disk_reasons import DiskReasons
from nvdiag.facts.dkms import COMMAND, DkmsRow, DkmsStatus
from nvdiag.facts.history import DriverHistory
from nvdiag.facts.holders import ModuleHolders
from nvdiag.facts.libraries import DriverLibraries
from nvdiag.facts.messages import Messages, Said
from nvdiag.facts.module_files import ModinfoRelease, ModuleInstallation, NextBootModule, RunningKernelModule
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.obstacles import NextBootObstacles
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.reboot import RebootVerdict, judged
from nvdiag.facts.smi_report import SmiReport
from nvdiag.facts.system import Distribution, RunningKernel
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease

CONSEQUENCES = frozenset(
    {
        "libcuda-mismatch",
        "cuda-compat-unsupported",
        "gpu-init-failed",
        "driver-submodule-mismatch",
        "no-cuda-device",
        "driver-not-loaded",
        "container-runtime-not-configured",
        "fabric-manager-mismatch",
        "fabric-manager-not-running",
        "uvm-not-loaded",
    }
)


@check("driver-library-mismatch", "driver-disk-mismatch", area="driver")
def no_mismatch_is_told_of(
    messages: Messages,
    loaded: LoadedDriver | Unknown,
    libraries: DriverLibraries | Unknown,
    disk: RunningKernelModule | Unknown,
    following: NextBootModule | Unknown,
    installation: ModuleInstallation | Unknown,
    running: RunningKernel | Unknown,
    distribution: Distribution | Unknown,
    packages: DriverPackages | Unknown,
    history: DriverHistory | Unknown,
    dkms: DkmsStatus | Unknown,
    modinfo: ModinfoRelease | Unknown,
    smi: SmiReport | Unknown,
    obstacles: NextBootObstacles | Unknown,
    reasons: DiskReasons | Unknown,
    holders: ModuleHolders | Unknown,
) -> Iterator[Finding]:
    """Neither NVML nor the kernel module refuses the other for its release."""
    said = _said.about(messages, "driver-library-mismatch")
    sides = sides_of(said, loaded, libraries, messages)
    beside = (
        *(_evidence.of_loaded(loaded, Unknown("")) if isinstance(loaded, LoadedDriver) else ()),
        *_library_evidence(libraries),
        *_evidence.of_disk(following, disk),
        *_built(installation),
        *(Evidence(source=COMMAND, excerpt=row.told) for row in _doubted(dkms)),
        *_since.evidence(history, sides.library),
    )
    since = f"{_since.told(history, sides.library)}{of_dkms_doubts(dkms)}".strip()
    why_disk = why_disk_is_wrong(said, sides, release_on_disk(disk, modinfo), following, dkms, running)
    if isinstance(smi, SmiReport) and smi.works_later:
        yield _over(said, sides)
    elif why_disk:
        why_disk = (why_disk[0], f"{why_disk[1]} {since}".strip())
        yield _disk(said, sides, why_disk, beside, _repair(disk, sides, packages, distribution, running))
    else:
        ahead = None
        if isinstance(following, NextBootModule) and sides.library is not None:
            ahead = judged(sides.library, following, obstacles, reasons, cut=True)
        finding = _memory(
            said,
            sides,
            beside,
            ahead,
            release_on_disk(disk, modinfo),
            ahead_by_dkms(installation, running, sides),
            since,
            holders,
        )
        yield replace(finding, explains=finding.explains | _firmware_of(messages, sides))


def _firmware_of(messages: Messages, sides: Sides) -> frozenset[str]:
    """An upgrade took the loaded module's firmware away, so that what asks for it in vain is the mismatch again."""
    asked = [one.groups["release"] for one in messages.named("kernel-gsp-firmware-load") if "release" in one.groups]
    own = [one for one in asked if sides.module is None or DriverRelease.or_none(one) == sides.module]
    return frozenset({"gsp-firmware-missing"} if own else ())


def _library_evidence(libraries: DriverLibraries | Unknown) -> Iterator[Evidence]:
    if isinstance(libraries, DriverLibraries):
        yield from (_evidence.of_library(copy) for copy in libraries.taken if copy.release is not None)


def _built(installation: ModuleInstallation | Unknown) -> Iterator[Evidence]:
    for release, kernel in installation.builds[:4] if isinstance(installation, ModuleInstallation) else ():
        yield Evidence(source="dkms", excerpt=f"{release} is built for {kernel}")


def _doubted(dkms: DkmsStatus | Unknown) -> tuple[DkmsRow, ...]:
    return tuple(row for row in dkms.rows if row.doubted)[:2] if isinstance(dkms, DkmsStatus) else ()


def _over(said: tuple[Said, ...], sides: Sides) -> Finding:
    """A mismatch after which nvidia-smi works again, by the same text."""
    return _said.finding(
        said,
        "driver-library-mismatch",
        confidence=Confidence.POSSIBLE,
        title="a mismatch of module and libraries is told of, and nvidia-smi works further down in the text",
        detail=f"There {sides.in_words}. It is over if both outputs are of this machine; if one is of a container, look"
        " at the other one there.",
        remedies=(
            Remedy(summary="see both sides", commands=("cat /proc/driver/nvidia/version", "modinfo -F version nvidia")),
        ),
        layers=(Layer.LOADED_MODULE, Layer.NVML),
    )


def _repair(
    disk: RunningKernelModule | Unknown,
    sides: Sides,
    packages: DriverPackages | Unknown,
    distribution: Distribution | Unknown,
    running: RunningKernel | Unknown,
) -> tuple[Remedy, ...]:
    if isinstance(disk, RunningKernelModule) and sides.library is not None:
        return _remedies.repair_disk(distribution, packages, disk.file, disk.kernel, sides.library)
    if isinstance(running, RunningKernel) and sides.library is not None:
        return _remedies.repair_disk(distribution, packages, None, running.release, sides.library)
    return (
        Remedy(
            summary="find which module this kernel loads, and what is installed",
            commands=("modinfo nvidia | grep -E '^(filename|version)'", "dkms status", "uname -r"),
            prediction="the module on disk must be of the libraries' release before a reboot or a reload helps",
        ),
    )


def _disk(
    said: tuple[Said, ...],
    sides: Sides,
    why: tuple[Confidence, str],
    beside: tuple[Evidence, ...],
    remedies: tuple[Remedy, ...],
) -> Finding:
    return _said.finding(
        said,
        "driver-disk-mismatch",
        title=f"{sides.in_words}, and a reboot alone does not help",
        detail=why[1],
        confidence=why[0],
        beside=beside,
        remedies=remedies,
        explains=CONSEQUENCES | {"driver-library-mismatch", "gsp-firmware-missing"},
        layers=(Layer.LOADED_MODULE, Layer.NEXT_BOOT_MODULE, Layer.NVML),
    )


_LIBRARIES_ARE_NEWER = (
    "Packages were upgraded while the old module stayed in memory, or another copy of the libraries is in front."
)
_MODULE_IS_NEWER = (
    "The module is the newer side, so no upgrade is waiting for a reboot: the libraries were taken back, or an older"
    " copy of them (LD_LIBRARY_PATH, a second installation) is found first. See which copy that is before a reboot."
)


def _memory(
    said: tuple[Said, ...],
    sides: Sides,
    beside: tuple[Evidence, ...],
    ahead: RebootVerdict | None,
    on_disk: DriverRelease | None,
    by_dkms: str,
    since: str,
    holders: ModuleHolders | Unknown,
) -> Finding:
    known = sides.module is not None and sides.library is not None
    newer = sides.module is not None and sides.library is not None and is_newer(sides.module, sides.library)
    if on_disk is not None and sides.library is not None and on_disk.starts_with(sides.library):
        prediction = f"a reboot will fix it if this kernel boots again: its module on disk is {on_disk}"
    elif ahead is not None:
        prediction = ahead.prediction
    else:
        prediction = by_dkms or (
            "it helps if the module on disk for the kernel that boots next is of the libraries' release;"
            " `modinfo -F version nvidia` tells for the running one"
        )
    return _said.finding(
        said,
        "driver-library-mismatch",
        title=sides.in_words if known else "the loaded kernel module and the driver's libraries are different releases",
        detail=f"{_MODULE_IS_NEWER if newer else _LIBRARIES_ARE_NEWER} Programs and containers that opened the old"
        f" libraries before go on working until they are started anew. {since}".rstrip(),
        beside=(*beside, *(_holder_words.evidence(holders) if isinstance(holders, ModuleHolders) else ())),
        remedies=(
            Remedy(
                summary="see both sides",
                commands=(
                    "cat /proc/driver/nvidia/version",
                    "modinfo -F version nvidia",
                    *(
                        ("ldconfig -p | grep -E 'libcuda.so.1|libnvidia-ml.so.1'", "echo $LD_LIBRARY_PATH")
                        if newer
                        else ()
                    ),
                ),
            ),
            *_reload_of(holders, sides.library, on_disk),
            _remedies.reboot(prediction),
        ),
        explains=CONSEQUENCES,
        layers=(Layer.LOADED_MODULE, Layer.NVML, Layer.LIBCUDA),
    )


def _reload_of(
    holders: ModuleHolders | Unknown, library: DriverRelease | None, on_disk: DriverRelease | None
) -> tuple[Remedy, ...]:
    """The way without a reboot, where the text shows who uses the GPU."""
    if isinstance(holders, Unknown) or _reload.why_not(holders):
        return ()
    if on_disk is not None and library is not None and on_disk.starts_with(library):
        does = f"it will end the mismatch: the module on disk for this kernel is {on_disk}"
    else:
        does = (
            f"it ends the mismatch if `modinfo -F version nvidia` says {library or 'the release of the libraries'}, for"
            " that module is loaded then"
        )
    return (_reload.plan(holders, does),)
