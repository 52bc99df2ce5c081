"""Is the driver installed, and built for the kernel that runs and for the one that boots next?"""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks.bound_gpus import of_gpu
from nvdiag.engine import check
from nvdiag.facts.boot import InstalledKernels
from nvdiag.facts.disk_reasons import DiskReasons
from nvdiag.facts.history import DriverHistory
from nvdiag.facts.libraries import DriverLibraries, Kind
from nvdiag.facts.module_files import ModuleInstallation, NextBootModule, RunningKernelModule
from nvdiag.facts.modules import KernelModules
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.pci import GpusOnBus
from nvdiag.facts.reasons import Why
from nvdiag.facts.reboot import RebootVerdict
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import Distribution
from nvdiag.facts.traces import DriverTraces
from nvdiag.facts.vgpu import VirtualGpus
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import KernelRelease

WITHOUT_DRIVER = frozenset(
    {
        "nvml-library-missing",
        "libcuda-missing",
        "device-nodes-missing",
        "gpu-init-failed",
        "driver-not-loaded",
        "no-cuda-device",
    }
)
"""What follows where no module of the driver is loaded."""


@check("driver-not-installed", "driver-not-built", area="driver")
def a_module_is_installed(
    gpus: GpusOnBus,
    surroundings: Surroundings,
    modules: KernelModules,
    installation: ModuleInstallation | Unknown,
    disk: RunningKernelModule,
    kernels: InstalledKernels | Unknown,
    libraries: DriverLibraries | Unknown,
    packages: DriverPackages | Unknown,
    distribution: Distribution | Unknown,
    traces: DriverTraces | Unknown,
    history: DriverHistory | Unknown,
    following: NextBootModule | Unknown,
    reasons: DiskReasons | Unknown,
    virtual: VirtualGpus | Unknown,
) -> Iterator[Finding]:
    """A module of the driver is installed for the kernel that runs."""
    if modules.nvidia is not None:
        raise NotApplicable("the nvidia module is loaded")
    if disk.file is not None:
        return
    seen = (
        Evidence(source=disk.source, excerpt="no nvidia module"),
        *(of_gpu(gpu) for gpu in gpus.gpus),
    )
    started = _signs_of_installation(installation, libraries, packages, traces)
    having = installation.kernels if isinstance(installation, ModuleInstallation) else ()
    if not started and not having and isinstance(virtual, VirtualGpus) and virtual.guests:
        raise NotApplicable("the GPU is a virtual one, whose own driver vgpu-misconfigured is about")
    if not started and not having:
        yield _not_installed(
            gpus, distribution, (*seen, *_other_kernels(kernels)), _how_sure(installation, libraries, packages, traces)
        )
    else:
        others = f"; it is there for {listed([str(kernel) for kernel in having])}" if having else ""
        from nvdiag.checks import _remedies, _since

        yield Finding(
            id="driver-not-built",
            severity=Severity.ERROR,
            confidence=Confidence.CERTAIN,
            title=f"the driver is installed, but has no module for the kernel that runs, {disk.kernel}{others}",
            detail=" ".join(
                part
                for part in (
                    _why_none(reasons, following, disk.kernel).strip()
                    or "Usual reasons: the kernel's headers are missing, the build failed, the kernel is newer.",
                    _since.kernel(history, disk.kernel),
                )
                if part
            ),
            evidence=(*seen, *started, *_of_reasons(reasons, following, disk.kernel)),
            remedies=(
                *_for_the_build(distribution, reasons, following, disk.kernel),
                *_remedies.build_module(distribution, packages, disk.kernel),
            ),
            explains=WITHOUT_DRIVER | {"driver-disk-mismatch"},
            layers=(Layer.LOADED_MODULE,),
        )


@check("driver-not-built", area="driver")
def the_next_boot_has_a_module(
    gpus: GpusOnBus,
    modules: KernelModules,
    following: NextBootModule,
    packages: DriverPackages | Unknown,
    distribution: Distribution | Unknown,
    history: DriverHistory | Unknown,
    reasons: DiskReasons | Unknown,
    verdict: RebootVerdict | Unknown,
) -> Iterator[Finding]:
    """The kernel that boots next has a module of the driver, where the one that runs has."""
    if modules.nvidia is None:
        raise NotApplicable("no nvidia module is loaded now")
    if following.file is not None:
        return
    from nvdiag.checks import _reboot_remedies

    wait = _reboot_remedies.After(verdict, following, packages, distribution).wait()
    from nvdiag.checks import _remedies, _since

    yield Finding(
        id="driver-not-built",
        subject=following.kernel.text,
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY if wait else Confidence.CERTAIN,
        title=f"after the next boot there is no driver: {following.kernel} boots next and has no nvidia module",
        detail=f"That it boots next is known from: {following.how}.{_why_none(reasons, following, following.kernel)}"
        f" {_since.kernel(history, following.kernel)}".rstrip(),
        evidence=(
            Evidence(source=f"/lib/modules/{following.kernel}", excerpt="no nvidia module"),
            *_of_reasons(reasons, following, following.kernel),
        ),
        remedies=(
            *wait,
            *_for_the_build(distribution, reasons, following, following.kernel),
            *_remedies.build_module(distribution, packages, following.kernel),
        ),
        explains=frozenset({"driver-disk-mismatch"}),
        layers=(Layer.NEXT_BOOT_MODULE,),
    )


def _why_none(reasons: DiskReasons | Unknown, following: NextBootModule | Unknown, kernel: KernelRelease) -> str:
    """Why a kernel has no module, as sentences after others, where that kernel is the one that was looked into."""
    if isinstance(reasons, Unknown) or isinstance(following, Unknown) or following.kernel != kernel:
        return ""
    return "".join(f" {one.says[:1].upper()}{one.says[1:]}." for one in reasons.reasons)


def _of_reasons(
    reasons: DiskReasons | Unknown, following: NextBootModule | Unknown, kernel: KernelRelease
) -> tuple[Evidence, ...]:
    if isinstance(reasons, Unknown) or isinstance(following, Unknown) or following.kernel != kernel:
        return ()
    return tuple(one for reason in reasons.reasons for one in reason.evidence)


def _for_the_build(
    distribution: Distribution | Unknown,
    reasons: DiskReasons | Unknown,
    following: NextBootModule | Unknown,
    kernel: KernelRelease,
) -> tuple[Remedy, ...]:
    """What a build lacks besides the kernel's headers."""
    if isinstance(reasons, Unknown) or isinstance(following, Unknown) or following.kernel != kernel:
        return ()
    from nvdiag.checks import _reboot_remedies

    return tuple(_reboot_remedies.compiler(distribution, one) for one in reasons.reasons if one.why is Why.COMPILER)


def _signs_of_installation(
    installation: ModuleInstallation | Unknown,
    libraries: DriverLibraries | Unknown,
    packages: DriverPackages | Unknown,
    traces: DriverTraces | Unknown,
) -> tuple[Evidence, ...]:
    """Sources, libraries, packages or other traces of a driver: somebody did install one."""
    sources = installation.sources if isinstance(installation, ModuleInstallation) else ()
    signs = [Evidence(source=path, excerpt="sources of the module") for path in sources[:2]]
    if isinstance(libraries, DriverLibraries):
        driver = [copy for copy in libraries.taken if copy.kind is Kind.DRIVER]
        signs += [Evidence(source=copy.path, excerpt=f"library of release {copy.release}") for copy in driver[:1]]
    if isinstance(packages, DriverPackages):
        names = packages.matching(
            r"nvidia-(driver|dkms|kernel|open|headless).*|(akmod|kmod)-nvidia.*|linux-modules-nvidia.*"
        )
        signs += [Evidence(source=packages.source, excerpt=name) for name in names[:2]]
    if isinstance(traces, DriverTraces) and not signs:
        signs += traces.evidence[:2]
    return tuple(signs)


def _how_sure(
    installation: ModuleInstallation | Unknown,
    libraries: DriverLibraries | Unknown,
    packages: DriverPackages | Unknown,
    traces: DriverTraces | Unknown,
) -> Confidence:
    """How much the absence of signs says: nothing where no place of any could be looked at (which is Unknown)."""
    if not all(isinstance(one, Unknown) for one in (installation, libraries, packages)):
        return Confidence.CERTAIN
    if isinstance(traces, Unknown):
        raise Unknown(f"whether a driver is installed for another kernel: {traces}")
    return Confidence.LIKELY


def _other_kernels(kernels: InstalledKernels | Unknown) -> tuple[Evidence, ...]:
    if isinstance(kernels, Unknown):
        return ()
    names = [str(kernel) for kernel in kernels.releases[-3:]]
    return (Evidence(source=kernels.source, excerpt=f"no nvidia module for {listed(names)} either"),) if names else ()


def _not_installed(
    gpus: GpusOnBus, distribution: Distribution | Unknown, evidence: tuple[Evidence, ...], confidence: Confidence
) -> Finding:
    from nvdiag.checks import _install_remedies

    return Finding(
        id="driver-not-installed",
        severity=Severity.ERROR,
        confidence=confidence,
        title=f"{_count(len(gpus.gpus))} on the PCI bus and no NVIDIA driver is installed",
        evidence=evidence,
        remedies=(_install_remedies.install_driver(distribution, gpus),),
        explains=WITHOUT_DRIVER | {"gpu-bound-to-other-driver"},
        layers=(Layer.LOADED_MODULE,),
    )


def _count(gpus: int) -> str:
    return "an NVIDIA GPU is" if gpus == 1 else f"{gpus} NVIDIA GPUs are"
