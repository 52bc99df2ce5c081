"""What stands between the module on disk and a working driver after the next boot."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.facts.gsp_firmware import NextBootFirmware
from nvdiag.facts.initramfs import InitramfsCopy
from nvdiag.facts.modprobe import ModuleBlocks
from nvdiag.facts.module_files import NextBootModule
from nvdiag.facts.modules import Flavour
from nvdiag.facts.reasons import Reason, Why
from nvdiag.facts.signatures import NextBootSignature
from nvdiag.facts.underway import PackageRun
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease


@dataclass(frozen=True, slots=True)
class NextBootObstacles:
    """Reasons against a working driver after the next boot that do not depend on the libraries' release.

    `early` is the release that the initramfs loads before anything on disk, None for none; `early_held` is the line of
    its modprobe.d by which it may not. `signature` says how the module is signed where a signature is asked for and it
    has a good one.
    """

    reasons: tuple[Reason, ...]
    early: DriverRelease | None = None
    early_in: str = ""
    early_held: str = ""
    signature: str = ""

    @classmethod
    def collect(
        cls,
        following: NextBootModule,
        blocks: ModuleBlocks | Unknown,
        signature: NextBootSignature | Unknown,
        firmware: NextBootFirmware | Unknown,
        initramfs: InitramfsCopy | Unknown,
        run: PackageRun | Unknown,
    ) -> NextBootObstacles:
        copy = initramfs if isinstance(initramfs, InitramfsCopy) else None
        accepted = isinstance(signature, NextBootSignature) and signature.accepted
        return cls(
            (
                *_kept_out(blocks),
                *_refused(signature),
                *_without_firmware(firmware),
                *(_of_initramfs(copy, following) if copy else ()),
                *_under_way(run),
            ),
            early=_early(copy) if copy else None,
            early_in=copy.path if copy else "",
            early_held=copy.unasked if copy else "",
            signature=signature.says if accepted and isinstance(signature, NextBootSignature) else "",
        )

    def about(self, why: Why) -> Reason | None:
        """The reason of this kind."""
        return next((one for one in self.reasons if one.why is why), None)


def _kept_out(blocks: ModuleBlocks | Unknown) -> Iterator[Reason]:
    if isinstance(blocks, ModuleBlocks) and blocks.refused:
        first = blocks.refused[0]
        yield Reason(
            why=Why.KEPT_OUT, says=f"{first.source} keeps the module out ({first.excerpt})", evidence=blocks.refused
        )


def _refused(signature: NextBootSignature | Unknown) -> Iterator[Reason]:
    if isinstance(signature, NextBootSignature) and not signature.accepted:
        told = signature.accepted is not None
        says = (
            f"the kernel asks for signatures and will refuse the module: {signature.says}" if told else signature.says
        )
        if signature.pending:
            says += "; it waits to be enrolled, which somebody must confirm on the console during that boot"
        yield Reason(why=Why.SIGNATURE, says=says, decides=told and not signature.pending, evidence=signature.evidence)


def _without_firmware(firmware: NextBootFirmware | Unknown) -> Iterator[Reason]:
    if isinstance(firmware, NextBootFirmware) and not firmware.there:
        others = f" (there is that of {', '.join(firmware.others[:3])})" if firmware.others else ""
        asked = f", and {firmware.asked_by.excerpt} asks for it" if firmware.asked_by else ""
        yield Reason(
            why=Why.FIRMWARE,
            says=f"the GSP firmware of {firmware.release} is not in {firmware.folder}{others}{asked}",
            evidence=(
                Evidence(source=firmware.folder, excerpt="no gsp_*.bin"),
                *((firmware.asked_by,) if firmware.asked_by else ()),
            ),
        )


def _broken(trouble: str) -> str:
    return f"is {trouble.removeprefix('it is ')}" if trouble.startswith("it is ") else f"is not whole ({trouble})"


def _early(copy: InitramfsCopy) -> DriverRelease | None:
    """The release that the initramfs loads by itself."""
    return copy.releases[0] if copy.releases and not copy.refused else None


def _of_initramfs(copy: InitramfsCopy, following: NextBootModule) -> Iterator[Reason]:
    if copy.trouble:
        yield Reason(
            why=Why.INITRAMFS,
            says=f"the initramfs {copy.path} {_broken(copy.trouble)}, so that kernel may not even boot",
            evidence=(Evidence(source=copy.path, excerpt=copy.trouble),),
        )
    flavour = following.file.flavour if following.file else None
    early = _early(copy)
    if early and copy.whole and flavour is Flavour.OPEN and early.text not in copy.firmware:
        yield Reason(
            why=Why.INITRAMFS,
            says=f"the initramfs has the module {early} inside and not its GSP firmware, so the GPU may fail to start",
            decides=False,
            evidence=(Evidence(source=copy.path, excerpt=copy.modules[0]),),
        )


def _under_way(run: PackageRun | Unknown) -> Iterator[Reason]:
    if isinstance(run, PackageRun) and run.running:
        name, pid = run.running[0]
        yield Reason(
            why=Why.UNDER_WAY,
            says=f"{name} (process {pid}) is at work now, and what is on disk may still change: wait for its end",
            decides=False,
            evidence=run.evidence,
        )
    elif isinstance(run, PackageRun) and run.interrupted:
        yield Reason(
            why=Why.INTERRUPTED,
            says="dpkg was interrupted, so packages are half configured: sudo dpkg --configure -a",
            decides=False,
            evidence=run.evidence,
        )
