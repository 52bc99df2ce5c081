"""It works now and will not after the next boot: found while all is still well, with the reason and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.gsp_firmware import LoadedFirmware, NextBootFirmware
from nvdiag.facts.modprobe import ModuleBlocks
from nvdiag.facts.module_files import NextBootModule
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.obstacles import NextBootObstacles
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.reasons import Reason, Why
from nvdiag.facts.reboot import RebootVerdict
from nvdiag.facts.signatures import NextBootSignature
from nvdiag.facts.system import Distribution
from nvdiag.model.finding import Confidence, Finding, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown


@check("secure-boot-rejected", area="driver")
def the_module_that_boots_next_is_trusted(
    loaded: LoadedDriver,
    following: NextBootModule,
    signature: NextBootSignature,
    obstacles: NextBootObstacles,
    distribution: Distribution | Unknown,
) -> Iterator[Finding]:
    """The kernel will take the signature of the module that boots next, where it asks for one."""
    if signature.accepted is None:
        raise Unknown(signature.says)
    reason = _standing(obstacles, Why.SIGNATURE)
    if reason is not None:
        from nvdiag.checks import _driver_remedies, _remedies

        yield _finding(
            "secure-boot-rejected",
            reason,
            f"after the next boot there is no driver: the module for {following.kernel} will be refused",
            _driver_remedies.sign_module(_remedies.family(distribution)),
        )


@check("gsp-firmware-missing", area="driver")
def the_module_that_boots_next_has_its_firmware(
    loaded: LoadedDriver,
    following: NextBootModule,
    firmware: NextBootFirmware,
    now: LoadedFirmware | Unknown,
    obstacles: NextBootObstacles,
    packages: DriverPackages | Unknown,
    distribution: Distribution | Unknown,
) -> Iterator[Finding]:
    """The GSP firmware of the module that boots next is there, where the module needs it."""
    if isinstance(now, LoadedFirmware) and now.release == firmware.release and not now.folders:
        raise NotApplicable("the loaded module misses the same firmware now")
    reason = _standing(obstacles, Why.FIRMWARE)
    if reason is not None:
        from nvdiag.checks import _reboot_remedies

        yield _finding(
            "gsp-firmware-missing",
            reason,
            f"the GSP firmware of {firmware.release} is missing, so no GPU starts with that module",
            (_reboot_remedies.firmware_package(distribution, packages, reason.evidence[0].source),),
        )


@check("driver-not-loaded", area="driver")
def nothing_keeps_the_module_out_at_the_next_boot(
    loaded: LoadedDriver,
    following: NextBootModule | Unknown,
    blocks: ModuleBlocks,
    obstacles: NextBootObstacles,
    packages: DriverPackages | Unknown,
    distribution: Distribution | Unknown,
    verdict: RebootVerdict | Unknown,
) -> Iterator[Finding]:
    """Neither modprobe's configuration nor the kernel's command line keeps the loaded module out of the next boot."""
    reason = _standing(obstacles, Why.KEPT_OUT)
    if reason is not None:
        from nvdiag.checks import _reboot_remedies

        after = _reboot_remedies.After(verdict, following, packages, distribution)
        yield _finding(
            "driver-not-loaded",
            reason,
            "after the next boot the module is not loaded: " + reason.says,
            after.repairs(),
        )


@check("driver-disk-mismatch", area="driver")
def the_initramfs_and_modprobe_find_the_module(
    loaded: LoadedDriver,
    following: NextBootModule,
    verdict: RebootVerdict,
    packages: DriverPackages | Unknown,
    distribution: Distribution | Unknown,
) -> Iterator[Finding]:
    """The initramfs that boots next is whole, and modules.dep has the driver's module."""
    if not verdict.well or Why.OTHER_RELEASE in verdict.decisive:
        raise NotApplicable("the mismatch of the releases is what stands first")
    from nvdiag.checks import _reboot_remedies

    for why in (Why.INITRAMFS, Why.NOT_LISTED, Why.OTHER_KERNEL):
        reason = verdict.about(why)
        if reason is None or not reason.decides:
            continue
        after = _reboot_remedies.After(verdict, following, packages, distribution)
        yield _finding("driver-disk-mismatch", reason, f"it breaks at the next boot: {reason.says}", after.repairs())
        return


def _standing(obstacles: NextBootObstacles, why: Why) -> Reason | None:
    """The obstacle of this kind that decides."""
    reason = obstacles.about(why)
    return reason if reason is not None and reason.decides else None


def _finding(identifier: str, reason: Reason, title: str, remedies: tuple[Remedy, ...]) -> Finding:
    return Finding(
        id=identifier,
        severity=Severity.WARNING,
        confidence=Confidence.CERTAIN,
        title=title,
        detail=f"{reason.says[:1].upper()}{reason.says[1:]}. What is loaded now goes on working until then.",
        evidence=reason.evidence,
        remedies=remedies,
        layers=(Layer.NEXT_BOOT_MODULE,),
    )
