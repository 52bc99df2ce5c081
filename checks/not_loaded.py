"""Is the driver's module loaded, where it is installed or somebody's hardware asks for it?"""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _evidence
from nvdiag.checks.bound_gpus import of_gpu, on_purpose
from nvdiag.engine import check
from nvdiag.facts.module_files import RunningKernelModule
from nvdiag.facts.modules import KernelModules
from nvdiag.facts.pci import GpusOnBus
from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown


@check("driver-not-loaded", area="driver")
def the_module_is_loaded(
    gpus: GpusOnBus,
    surroundings: Surroundings,
    modules: KernelModules | Unknown,
    disk: RunningKernelModule | Unknown,
) -> Iterator[Finding]:
    """The nvidia module is loaded where it is installed for the kernel that runs."""
    if surroundings.sandbox or surroundings.wsl or surroundings.tegra:
        raise NotApplicable("here the driver is not a module that this system could see")
    if isinstance(modules, Unknown):
        if any(gpu.driver or gpu.driver_hidden for gpu in gpus.gpus):
            raise modules
        yield _held_by_nobody(gpus, modules)
        return
    if modules.nvidia is not None:
        return
    if all(on_purpose(gpu) for gpu in gpus.gpus):
        raise NotApplicable("every GPU here is kept for virtual machines (vfio-pci), so no nvidia module can drive one")
    if isinstance(disk, Unknown):
        yield _not_loaded_somewhere(gpus, surroundings, disk)
        return
    if disk.file is None:
        raise NotApplicable("there is no module on disk to load")
    other = disk.file.built_for not in (None, disk.kernel.text)
    from nvdiag.checks.installation import WITHOUT_DRIVER

    yield Finding(
        id="driver-not-loaded",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=f"the nvidia module {disk.file.release or ''} is installed for {disk.kernel} and not loaded".replace(
            "  ", " "
        ),
        detail="It is blacklisted, was not asked for, or modprobe refused it; the kernel log has the reason."
        + (f" It was built for {disk.file.built_for}, so this kernel refuses it." if other else ""),
        evidence=(
            Evidence(source="/sys/module/nvidia", excerpt="not there"),
            *_evidence.of_disk(Unknown("not asked"), disk),
            *(of_gpu(gpu) for gpu in gpus.gpus),
        ),
        remedies=(
            Remedy(
                summary="load it, and read what the kernel says where it refuses",
                commands=(
                    "sudo modprobe nvidia",
                    "sudo dmesg | tail -n 20",
                    "grep -rE 'nvidia' /etc/modprobe.d /lib/modprobe.d",
                ),
                needs_root=True,
                prediction="a line `blacklist nvidia` or `alias nvidia off` in modprobe.d would explain it",
            ),
        ),
        explains=WITHOUT_DRIVER - {"driver-not-loaded"},
        layers=(Layer.LOADED_MODULE,),
    )


def _held_by_nobody(gpus: GpusOnBus, why: Unknown) -> Finding:
    """Whether the module is loaded is hidden, and the bus shows that no kernel driver holds any GPU."""
    from nvdiag.checks.installation import WITHOUT_DRIVER

    return Finding(
        id="driver-not-loaded",
        severity=Severity.ERROR,
        confidence=Confidence.POSSIBLE,
        title="no kernel driver holds a GPU here, so the nvidia module is probably not loaded",
        detail=f"What is not known: {why}.",
        evidence=tuple(of_gpu(gpu) for gpu in gpus.gpus),
        remedies=(Remedy(summary="see which modules are loaded", commands=("lsmod | grep -i nvidia",)),),
        explains=WITHOUT_DRIVER - {"driver-not-loaded"},
        layers=(Layer.LOADED_MODULE,),
    )


def _not_loaded_somewhere(gpus: GpusOnBus, surroundings: Surroundings, why: Unknown) -> Finding:
    """The module is not loaded, and the reason lies where this system cannot look: on the host, or unread."""
    inside = bool(surroundings.container)
    from nvdiag.checks.installation import WITHOUT_DRIVER

    return Finding(
        id="driver-not-loaded",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY if inside else Confidence.POSSIBLE,
        title=f"the {'host' if inside else 'kernel'} has a GPU and no nvidia module loaded",
        detail=f"Whether it is installed cannot be told from here: {why}.",
        evidence=(Evidence(source="/sys/module/nvidia", excerpt="not there"), *(of_gpu(gpu) for gpu in gpus.gpus)),
        remedies=(
            Remedy(
                summary="run nvdiag on the host" if inside else "try to load it, and read what the kernel says",
                commands=("nvdiag",) if inside else ("sudo modprobe nvidia", "sudo dmesg | tail -n 20"),
                needs_root=not inside,
            ),
        ),
        explains=WITHOUT_DRIVER - {"driver-not-loaded"},
        layers=(Layer.LOADED_MODULE,),
    )
