"""The kernel module against the driver's libraries: one release in memory, on disk and in user space."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _evidence, _reboot_remedies
from nvdiag.engine import check
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.history import DriverHistory
from nvdiag.facts.libraries import DriverLibraries, LibraryCopy
from nvdiag.facts.module_files import NextBootModule, RunningKernelModule
from nvdiag.facts.modules import KernelModules, LoadedDriver, VersionFile
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.reasons import Why
from nvdiag.facts.reboot import ON_DISK, Answer, RebootVerdict
from nvdiag.facts.smi_report import SmiReport
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import Distribution
from nvdiag.facts.user_space import user_space_release
from nvdiag.facts.without_reboot import WithoutReboot
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

MISMATCH = 18
"""NVML_ERROR_LIB_RM_VERSION_MISMATCH of nvml.h."""

_CONSEQUENCES = frozenset(
    {
        "libcuda-mismatch",
        "gpu-init-failed",
        "driver-submodule-mismatch",
        "no-cuda-device",
        "cuda-compat-unsupported",
        "gsp-firmware-missing",
        "fabric-manager-mismatch",
        "fabric-manager-not-running",
        "uvm-not-loaded",
        "cdi-spec-stale",
    }
)
"""What a mismatch is disguised as: error 804, firmware of the other release, a fabric manager that does not start.

A CDI specification cannot be made anew until it ends.
"""

_NOT_ASKED = Unknown("nvidia-smi was not asked")


@check("driver-library-mismatch", "driver-disk-mismatch")
def module_and_libraries_are_one_release(
    loaded: LoadedDriver,
    libraries: DriverLibraries,
    surroundings: Surroundings,
    following: NextBootModule | Unknown,
    disk: RunningKernelModule | Unknown,
    nvml: NvmlAnswer | Unknown,
    version: VersionFile | Unknown,
    smi: SmiReport | Unknown,
    packages: DriverPackages | Unknown,
    distribution: Distribution | Unknown,
    history: DriverHistory | Unknown,
    way: WithoutReboot,
    verdict: RebootVerdict | Unknown,
) -> Iterator[Finding]:
    """The loaded kernel module, the module that boots next and the driver's libraries are one release."""
    if surroundings.container:
        raise NotApplicable("in a container the module is the host's: container-library-mismatch compares them")
    installed = user_space_release(libraries, nvml, smi)
    refused = isinstance(nvml, NvmlAnswer) and nvml.init == MISMATCH
    if installed is None and not refused:
        raise Unknown("no driver library here tells its release")
    from nvdiag.checks import _since

    evidence: tuple[Evidence, ...] = (
        *_evidence.of_loaded(loaded, version),
        *(_evidence.of_library(copy) for copy in libraries.taken if copy.release is not None),
        *_evidence.of_nvml(nvml),
        *_evidence.of_disk(following, disk),
        *_since.evidence(history),
    )
    evidence += _evidence.of_verdict(verdict, evidence)
    after = _reboot_remedies.After(verdict, following, packages, distribution)
    if installed is None:
        yield _refused_without_release(loaded, evidence, following)
    elif installed != loaded.release:
        from nvdiag.checks import _mismatch_ways

        evidence = (*evidence, *_mismatch_ways.evidence(way))
        now = _mismatch_ways.now(loaded, installed, disk, way, distribution)
        later = _mismatch_ways.later(way, distribution)
        stray = _mismatch_ways.stray(loaded, libraries)
        if stray is not None:
            yield _stray_mismatch(loaded, installed, evidence, *stray)
        elif _disk_is_wrong(installed, verdict, following, disk):
            yield _disk_mismatch(loaded, installed, evidence, after, (*now, *after.repairs(), *later), history)
        else:
            how = _how_it_came(loaded, installed, history)
            more = _mismatch_ways.going_on(way) + _mismatch_ways.why_no_reload(way)
            yield _memory_mismatch(loaded, installed, evidence, (*now, *after.remedies(), *later), how, more)
    elif isinstance(verdict, RebootVerdict) and Why.OTHER_RELEASE in verdict.decisive:
        yield _breaks_at_next_boot(loaded, verdict, evidence, after)


def _next_release(following: NextBootModule | Unknown) -> DriverRelease | None:
    return following.file.release if isinstance(following, NextBootModule) and following.file else None


def _disk_is_wrong(
    installed: DriverRelease,
    verdict: RebootVerdict | Unknown,
    following: NextBootModule | Unknown,
    disk: RunningKernelModule | Unknown,
) -> bool:
    """Whether the next boot is known, or (where it is not) the running kernel's folder suggests, to end no mismatch."""
    if isinstance(verdict, RebootVerdict) and isinstance(following, NextBootModule):
        return bool(ON_DISK & {reason.why for reason in verdict.reasons if reason.decides})
    release = disk.file.release if isinstance(disk, RunningKernelModule) and disk.file else None
    return release not in (None, installed)


def _memory_mismatch(
    loaded: LoadedDriver,
    installed: DriverRelease,
    evidence: tuple[Evidence, ...],
    remedies: tuple[Remedy, ...],
    how: str,
    more: str,
) -> Finding:
    return Finding(
        id="driver-library-mismatch",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=f"the loaded kernel module is {loaded.release}, the driver's libraries are {installed}",
        detail=f"{how} Until both are one release, NVML and nvidia-smi fail with"
        ' "Driver/library version mismatch", and CUDA mostly fails, too. Programs and containers that opened the old'
        " libraries before the change go on working until they are started anew: each one that starts from now on gets"
        f" {installed}.{more}",
        evidence=evidence,
        remedies=remedies,
        explains=_CONSEQUENCES,
        layers=(Layer.LOADED_MODULE, Layer.NVML, Layer.LIBCUDA),
    )


def _how_it_came(loaded: LoadedDriver, installed: DriverRelease, history: DriverHistory | Unknown) -> str:
    from nvdiag.checks import _since

    since = _since.told(history)
    if _since.before_this_boot(history):
        how = "This boot came after the change, and loaded another release all the same, as from an old initramfs."
    elif installed > loaded.release:
        how = "Packages were upgraded while the old kernel module stayed in memory."
    else:
        how = (
            "The module is the newer side: the libraries were taken back, or an older copy is found first. A reboot"
            " would take the driver back to the older release: first decide which of the two is wanted."
        )
    return f"{how} {since}".strip()


def _stray_mismatch(
    loaded: LoadedDriver,
    installed: DriverRelease,
    evidence: tuple[Evidence, ...],
    copy: LibraryCopy,
    own: LibraryCopy,
) -> Finding:
    """Module and libraries of one release are here, and a copy of another release stands before them."""
    from nvdiag.checks import _mismatch_ways

    return Finding(
        id="driver-library-mismatch",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=f"the loaded kernel module is {loaded.release}, but the loader takes a copy of the libraries that is"
        f" {installed} before the module's own",
        detail=f"{own.path} is of the module's release, and {copy.path} is found first. The module is the right side,"
        " so a reboot changes nothing.",
        evidence=(*evidence, _evidence.of_library(own)),
        remedies=(_mismatch_ways.take_out(copy, own),),
        explains=_CONSEQUENCES,
        layers=(Layer.LOADED_MODULE, Layer.NVML, Layer.LIBCUDA),
    )


def _disk_mismatch(
    loaded: LoadedDriver,
    installed: DriverRelease,
    evidence: tuple[Evidence, ...],
    after: _reboot_remedies.After,
    remedies: tuple[Remedy, ...],
    history: DriverHistory | Unknown,
) -> Finding:
    known = isinstance(after.verdict, RebootVerdict) and after.verdict.answer is not Answer.CANNOT_TELL
    older = (
        " The module is the newer side, so look first which of the two is wanted." if installed < loaded.release else ""
    )
    from nvdiag.checks import _since

    return Finding(
        id="driver-disk-mismatch",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if known else Confidence.LIKELY,
        title=f"the libraries are {installed}, the loaded module is {loaded.release}, and a reboot alone does not help",
        detail=f"{after.prediction}.{older} {_since.told(history)}".strip(),
        evidence=evidence,
        remedies=remedies,
        explains=_CONSEQUENCES | {"driver-library-mismatch"},
        layers=(Layer.LOADED_MODULE, Layer.NEXT_BOOT_MODULE, Layer.NVML, Layer.LIBCUDA),
    )


def _breaks_at_next_boot(
    loaded: LoadedDriver,
    verdict: RebootVerdict,
    evidence: tuple[Evidence, ...],
    after: _reboot_remedies.After,
) -> Finding:
    return Finding(
        id="driver-disk-mismatch",
        severity=Severity.WARNING,
        confidence=Confidence.CERTAIN,
        title=f"it works now and breaks at the next boot: {verdict.loads} is loaded then, not {verdict.wanted}",
        detail=f"The loaded module and the libraries are both {loaded.release}. Repair this before a reboot:"
        f" {'; '.join(reason.says for reason in verdict.reasons)}.",
        evidence=evidence,
        remedies=after.repairs(),
        layers=(Layer.NEXT_BOOT_MODULE, Layer.NVML, Layer.LIBCUDA),
    )


def _refused_without_release(
    loaded: LoadedDriver, evidence: tuple[Evidence, ...], following: NextBootModule | Unknown
) -> Finding:
    known = f"it is {_next_release(following)}" if _next_release(following) else "it is not known"
    from nvdiag.checks import _remedies

    return Finding(
        id="driver-library-mismatch",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"NVML refuses the loaded kernel module {loaded.release}: it is of another release than the library",
        detail="NVML says so itself; the library's own release could not be read.",
        evidence=evidence,
        remedies=(
            _remedies.reboot(f"a reboot helps if the module that boots next is of the library's release; {known}"),
        ),
        explains=_CONSEQUENCES,
        layers=(Layer.LOADED_MODULE, Layer.NVML),
    )


@check("driver-submodule-mismatch")
def submodules_are_of_the_modules_release(
    loaded: LoadedDriver, modules: KernelModules, way: WithoutReboot
) -> Iterator[Finding]:
    """nvidia-uvm, nvidia-modeset, nvidia-drm and nvidia-peermem are of nvidia's own release."""
    from nvdiag.checks import _reload, _remedies

    for module in modules.others.values():
        if module.release is not None and module.release != loaded.release:
            yield Finding(
                id="driver-submodule-mismatch",
                subject=module.name,
                severity=Severity.ERROR,
                confidence=Confidence.CERTAIN,
                title=f"{module.name} is {module.release}, but the loaded nvidia module is {loaded.release}",
                detail="The modules of one driver must be one release; mixed ones fail in calls between them.",
                evidence=(
                    Evidence(source=module.source, excerpt=module.release.text),
                    Evidence(source=loaded.source, excerpt=loaded.release.text),
                ),
                remedies=(
                    *_reload.ways(modules, way.holders, loaded.release, "the set that modprobe loads"),
                    _remedies.reboot("a reboot loads all modules afresh, from what is on disk then"),
                ),
                explains=frozenset({"no-cuda-device"}),
                layers=(Layer.LOADED_MODULE,),
            )
