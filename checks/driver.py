"""The kernel module against the driver's libraries: one release in memory, on disk and in user space."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _evidence, _reboot_remedies, _remedies
from nvdiag.engine import check
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.libraries import DriverLibraries
from nvdiag.facts.module_files import NextBootModule, RunningKernelModule
from nvdiag.facts.modules import KernelModules, LoadedDriver, VersionFile
from nvdiag.facts.obstacles import Why
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.reboot import ON_DISK, Answer, RebootVerdict
from nvdiag.facts.system import Distribution, Surroundings
from nvdiag.facts.user_space import user_space_release
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

MISMATCH = 18
"""NVML_ERROR_LIB_RM_VERSION_MISMATCH of nvml.h."""

_CONSEQUENCES = frozenset({"libcuda-mismatch", "gpu-init-failed", "driver-submodule-mismatch", "no-cuda-device"})


@check("driver-library-mismatch", "driver-disk-mismatch")
def module_and_libraries_are_one_release(
    loaded: LoadedDriver,
    libraries: DriverLibraries,
    surroundings: Surroundings,
    following: NextBootModule | Unknown,
    disk: RunningKernelModule | Unknown,
    nvml: NvmlAnswer | Unknown,
    version: VersionFile | Unknown,
    packages: DriverPackages | Unknown,
    distribution: Distribution | Unknown,
    verdict: RebootVerdict | Unknown,
) -> Iterator[Finding]:
    """The loaded kernel module, the module that boots next and the driver's libraries are one release."""
    if surroundings.container:
        raise NotApplicable("in a container the module is the host's: container-library-mismatch compares them")
    installed = user_space_release(libraries, nvml)
    refused = isinstance(nvml, NvmlAnswer) and nvml.init == MISMATCH
    if installed is None and not refused:
        raise Unknown("no driver library here tells its release")
    evidence: tuple[Evidence, ...] = (
        *_evidence.of_loaded(loaded, version),
        *(_evidence.of_library(copy) for copy in libraries.taken if copy.release is not None),
        *_evidence.of_nvml(nvml),
        *_evidence.of_disk(following, disk),
    )
    evidence += _evidence.of_verdict(verdict, evidence)
    after = _reboot_remedies.After(verdict, following, packages, distribution)
    if installed is None:
        yield _refused_without_release(loaded, evidence, following)
    elif installed != loaded.release:
        if _disk_is_wrong(installed, verdict, following, disk):
            yield _disk_mismatch(loaded, installed, evidence, after)
        else:
            yield _memory_mismatch(loaded, installed, evidence, after, disk)
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
    after: _reboot_remedies.After,
    disk: RunningKernelModule | Unknown,
) -> Finding:
    remedies: list[Remedy] = []
    if isinstance(disk, RunningKernelModule) and disk.file is not None and disk.file.release == installed:
        remedies.append(_remedies.reload_modules(loaded.modules, installed, f"the module on disk for {disk.kernel}"))
    remedies += after.remedies()
    return Finding(
        id="driver-library-mismatch",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=f"the loaded kernel module is {loaded.release}, the driver's libraries are {installed}",
        detail=f"{_how_it_came(installed > loaded.release)} Until both are one release, NVML and nvidia-smi fail with"
        ' "Driver/library version mismatch", and CUDA mostly fails, too. Programs that opened the old libraries before'
        " the change go on working.",
        evidence=evidence,
        remedies=tuple(remedies),
        explains=_CONSEQUENCES,
        layers=(Layer.LOADED_MODULE, Layer.NVML, Layer.LIBCUDA),
    )


def _how_it_came(libraries_are_newer: bool) -> str:
    if libraries_are_newer:
        return "Packages were upgraded while the old kernel module stayed in memory."
    return "The module is the newer side: the libraries were taken back, or an older copy is found first."


def _disk_mismatch(
    loaded: LoadedDriver,
    installed: DriverRelease,
    evidence: tuple[Evidence, ...],
    after: _reboot_remedies.After,
) -> Finding:
    known = isinstance(after.verdict, RebootVerdict) and after.verdict.answer is not Answer.CANNOT_TELL
    return Finding(
        id="driver-disk-mismatch",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if known else Confidence.LIKELY,
        title=f"the libraries are {installed}, the loaded module is {loaded.release}, and a reboot alone does not help",
        detail=after.prediction + ".",
        evidence=evidence,
        remedies=after.repairs(),
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
def submodules_are_of_the_modules_release(loaded: LoadedDriver, modules: KernelModules) -> Iterator[Finding]:
    """nvidia-uvm, nvidia-modeset, nvidia-drm and nvidia-peermem are of nvidia's own release."""
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
                    _remedies.reload_modules(modules, loaded.release, "the set that modprobe loads"),
                    _remedies.reboot("a reboot loads all modules afresh, from what is on disk then"),
                ),
                explains=frozenset({"no-cuda-device"}),
                layers=(Layer.LOADED_MODULE,),
            )
