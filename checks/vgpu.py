"""vGPU as it is set up: the guest's driver and licence, the host's manager, and whether both go together."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _driver_removal, _evidence
from nvdiag.checks.sharing_messages import (
    LICENCE_WAYS,
    RELEASE_WAYS,
    WHAT_GOES_TOGETHER,
    WITHOUT_LICENCE,
    WITHOUT_LICENCE_WHOLE,
)
from nvdiag.engine import check
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.system import Distribution
from nvdiag.facts.units import UnitState
from nvdiag.facts.vgpu import GRIDD, MANAGER_UNIT, TOKENS, VirtualGpus
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Risk, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease


@check("vgpu-misconfigured", area="device")
def virtual_gpus_have_their_driver_and_licence(
    virtual: VirtualGpus,
    nvml: NvmlAnswer | Unknown,
    loaded: LoadedDriver | Unknown,
    distribution: Distribution | Unknown,
) -> Iterator[Finding]:
    """A virtual GPU has NVIDIA's vGPU driver and a licence; a host's manager runs and fits its guests' drivers."""
    if virtual.guests and virtual.gridd is False and not _answers(nvml):
        yield _other_driver(virtual, nvml, loaded, distribution)
    elif virtual.licensed is False and (virtual.guests or virtual.wanted):
        yield _unlicensed(virtual)
    if virtual.hosting and isinstance(virtual.unit, UnitState) and virtual.unit.active in ("failed", "inactive"):
        yield _manager_stopped(virtual, virtual.unit)
    elif virtual.hosting and isinstance(loaded, LoadedDriver):
        refused = tuple(release for release in virtual.drivers if _refused(loaded.release, release))
        if refused:
            yield _guests_refused(loaded, refused)


def _answers(nvml: NvmlAnswer | Unknown) -> bool:
    return isinstance(nvml, NvmlAnswer) and nvml.init == 0 and nvml.count != 0


def _refused(host: DriverRelease, guest: DriverRelease) -> bool:
    from nvdiag.knowledge.vgpu import goes_together

    return goes_together(host.branch, guest.branch) is False


def _finding(
    title: str,
    detail: str,
    evidence: tuple[Evidence, ...],
    remedies: tuple[Remedy, ...],
    *,
    severity: Severity = Severity.ERROR,
    confidence: Confidence = Confidence.CERTAIN,
    explains: frozenset[str] = frozenset({"gpu-init-failed", "no-cuda-device", "gpu-slowed"}),
) -> Finding:
    return Finding(
        id="vgpu-misconfigured",
        severity=severity,
        confidence=confidence,
        title=title,
        detail=detail,
        evidence=evidence,
        remedies=remedies,
        explains=explains,
        layers=(Layer.GPU,),
    )


def _other_driver(
    virtual: VirtualGpus,
    nvml: NvmlAnswer | Unknown,
    loaded: LoadedDriver | Unknown,
    distribution: Distribution | Unknown,
) -> Finding:
    names = _driver_removal.driver_packages(virtual.packages)
    module = loaded if isinstance(loaded, LoadedDriver) else None
    there = module is not None or bool(names)
    release = f" {module.release}" if module else ""
    away = Remedy(
        summary="remove the usual driver",
        commands=_driver_removal.removal(names, distribution),
        risk=Risk.DISRUPTIVE,
        needs_root=True,
    )
    return _finding(
        f"the GPU here is a virtual one, and the driver{release} is not NVIDIA's vGPU driver"
        if there
        else "the GPU here is a virtual one, and NVIDIA's vGPU driver for it is not installed",
        "The vGPU (GRID) driver brings nvidia-gridd, which is not here. The usual drivers, those of distributions and"
        " the data-centre one, are for whole GPUs and do not start a virtual one.",
        (
            *virtual.evidence,
            Evidence(source=GRIDD, excerpt="is not there"),
            *_evidence.of_nvml(nvml),
            *((Evidence(source=module.source, excerpt=module.release.text),) if module else ()),
            *((Evidence(source="the installed packages", excerpt=", ".join(names)),) if names else ()),
        ),
        (*((away,) if there else ()), _INSTALL_GUEST),
        confidence=Confidence.LIKELY,
        explains=_WITHOUT_GUEST_DRIVER,
    )  # fmt: skip


_WITHOUT_GUEST_DRIVER = frozenset(
    {
        "driver-not-installed", "driver-not-built", "driver-not-loaded", "device-nodes-missing", "gpu-init-failed",
        "no-cuda-device", "gpu-needs-newer-driver", "gpu-needs-open-module", "nvml-library-missing", "libcuda-missing",
    }
)  # fmt: skip

_INSTALL_GUEST = Remedy(
    summary="install the vGPU guest driver of the host's vGPU release",
    commands=("sudo sh ./NVIDIA-Linux-$(uname -m)-*-grid*.run --dkms", "nvidia-smi -q | grep -A 2 'vGPU Software'"),
    risk=Risk.DISRUPTIVE,
    needs_root=True,
    prediction="the file comes from NVIDIA's licensing portal or the cloud's own pages, never from a distribution;"
    " whoever runs the host knows which release fits",
)


def _unlicensed(virtual: VirtualGpus) -> Finding:
    stopped = isinstance(virtual.unit, UnitState) and not virtual.unit.running
    without_token = virtual.tokens == ()
    reasons = [
        *(["its daemon nvidia-gridd does not run"] if stopped else []),
        *([f"{TOKENS} holds no token"] if without_token else []),
    ]
    whole = not virtual.guests
    return _finding(
        ("the GPU" if whole else "the virtual GPU")
        + f" has no licence{f' for {virtual.product}' if virtual.product else ''}"
        + (f": {listed(reasons)}" if reasons else ""),
        (WITHOUT_LICENCE_WHOLE if whole else WITHOUT_LICENCE)
        + ("" if reasons else " Within a minute after its start a guest may still be asking for it."),
        (
            Evidence(source="nvmlDeviceGetGridLicensableFeatures", excerpt=f"unlicensed: {virtual.product or 'vGPU'}"),
            *virtual.evidence,
            *((virtual.unit.evidence,) if isinstance(virtual.unit, UnitState) else ()),
            *((Evidence(source=TOKENS, excerpt="has no file that ends in .tok"),) if without_token else ()),
            *((virtual.wanted,) if virtual.wanted else ()),
        ),
        LICENCE_WAYS,
        severity=Severity.WARNING if whole else Severity.ERROR,
        confidence=Confidence.CERTAIN if reasons and not whole else Confidence.LIKELY,
        explains=frozenset({"gpu-slowed"}),
    )  # fmt: skip


def _manager_stopped(virtual: VirtualGpus, unit: UnitState) -> Finding:
    return _finding(
        f"this host is set up for virtual GPUs, and its manager nvidia-vgpu-mgr does not run ({unit.active})",
        "Without it no virtual machine with a virtual GPU starts; those that run already keep theirs.",
        (*virtual.evidence, unit.evidence),
        (
            Remedy(
                summary="see why, then start it",
                commands=(
                    "sudo journalctl -b -u nvidia-vgpu-mgr -u nvidia-vgpud -n 50",
                    f"sudo systemctl enable --now {MANAGER_UNIT}",
                ),
                needs_root=True,
            ),
        ),
        confidence=Confidence.LIKELY,
        explains=frozenset(),
    )


def _guests_refused(loaded: LoadedDriver, refused: tuple[DriverRelease, ...]) -> Finding:
    return _finding(
        f"the host's vGPU manager {loaded.release} serves no guest with driver {listed([one.text for one in refused])}",
        WHAT_GOES_TOGETHER,
        (
            Evidence(source=loaded.source, excerpt=loaded.release.text),
            *(Evidence(source="the driver in a guest", excerpt=one.text) for one in refused),
        ),
        RELEASE_WAYS,
        explains=frozenset(),
    )
