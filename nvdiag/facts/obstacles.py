"""What stands between the module on disk and a working driver after the next boot, and why the disk is as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from nvdiag.facts import reading
from nvdiag.facts.akmods import AkmodsState
from nvdiag.facts.boot_firmware import NextBootFirmware
from nvdiag.facts.build_compiler import BuildCompiler
from nvdiag.facts.build_logs import FailedBuild
from nvdiag.facts.disagreement import Disagreement
from nvdiag.facts.dkms_trees import DkmsState
from nvdiag.facts.initramfs import InitramfsCopy
from nvdiag.facts.modprobe import ModuleBlocks
from nvdiag.facts.module_files import NextBootModule
from nvdiag.facts.module_places import all_copies
from nvdiag.facts.modules import Flavour
from nvdiag.facts.signatures import NextBootSignature
from nvdiag.facts.underway import PackageRun
from nvdiag.host import Host
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease, KernelRelease

INSTALLERS_FOLDER = "/kernel/drivers/video/"
"""Where NVIDIA's installer puts modules that it does not give to DKMS (nvidia-installer, kernel.c)."""

FULL_BELOW = 32 << 20
"""Bytes. An initramfs with the usual modules takes 30 to 200 MB."""


class Why(Enum):
    """The kind of a reason; reports show its value."""

    NEXT_BOOT_UNKNOWN = "the kernel that boots next is not known"
    NO_MODULE = "no module"
    OTHER_RELEASE = "a module of another release"
    OTHER_KERNEL = "a module for another kernel"
    RELEASE_UNREAD = "a module whose release is not known"
    NOT_LISTED = "modules.dep is out of date"
    KEPT_OUT = "modprobe or the command line refuses it"
    SIGNATURE = "its signature"
    FIRMWARE = "its GSP firmware"
    INITRAMFS = "the initramfs"
    UNDER_WAY = "a change is under way"
    INTERRUPTED = "an interrupted dpkg"
    BUILD = "the build of the module"
    COMPILER = "the compiler"
    PUT_ASIDE = "a module that DKMS put aside"
    COPIES = "several copies"
    SPACE = "/boot is full"
    AS_WANTED = "a module of the libraries' release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason of a verdict, one clause; `decides` False where it only leaves a doubt, or explains another one."""

    why: Why
    says: str
    decides: bool = True
    evidence: tuple[Evidence, ...] = ()


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
        yield Reason(
            why=Why.FIRMWARE,
            says=f"the GSP firmware of {firmware.release} is not in {firmware.folder}{others}",
            evidence=(Evidence(source=firmware.folder, excerpt="no gsp_*.bin"),),
        )


def _early(copy: InitramfsCopy) -> DriverRelease | None:
    """The release that the initramfs loads by itself."""
    return copy.releases[0] if copy.releases and not copy.refused else None


def _of_initramfs(copy: InitramfsCopy, following: NextBootModule) -> Iterator[Reason]:
    if copy.trouble:
        yield Reason(
            why=Why.INITRAMFS,
            says=f"the initramfs {copy.path} is not as it must be ({copy.trouble}), so that kernel may not even boot",
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


@dataclass(frozen=True, slots=True)
class DiskReasons:
    """Why the module on disk is missing or of another release: reasons that explain, and decide nothing themselves."""

    reasons: tuple[Reason, ...]

    @classmethod
    def collect(
        cls,
        host: Host,
        doubt: Disagreement,
        following: NextBootModule,
        dkms: DkmsState | Unknown,
        akmods: AkmodsState | Unknown,
        compiler: BuildCompiler | Unknown,
    ) -> DiskReasons:
        found = [
            *_of_dkms(dkms),
            *_of_akmods(akmods),
            *_of_compiler(compiler),
            *_of_copies(host, following),
            *_of_space(host),
        ]
        if following.gap:
            found.insert(0, Reason(why=Why.NO_MODULE, says=following.gap, decides=False))
        return cls(tuple(found))


def _of_dkms(dkms: DkmsState | Unknown) -> Iterator[Reason]:
    if isinstance(dkms, Unknown):
        return
    for label, own, file in dkms.mislabelled:
        yield Reason(
            why=Why.BUILD,
            says=f"the sources in /usr/src/{label} are those of {own}, whatever their label says",
            decides=False,
            evidence=(Evidence(source=file, excerpt=f"NV_VERSION_STRING {own}"),),
        )
    yield from (_of_failed(failed, dkms.kernel) for failed in dkms.failed)
    if dkms.headers is False:
        yield _without_headers(dkms.kernel)
    if original := dkms.original:
        yield Reason(
            why=Why.PUT_ASIDE,
            says=f"DKMS has put another module of {dkms.kernel} aside, {original.release or 'of unknown release'}, and"
            f" puts it back where {original.name} is uninstalled",
            decides=False,
            evidence=(Evidence(source=original.path, excerpt=f"{original.release or 'no release'}, {original.name}"),),
        )


def _of_akmods(akmods: AkmodsState | Unknown) -> Iterator[Reason]:
    if isinstance(akmods, Unknown):
        return
    if akmods.failed is not None:
        yield _of_failed(akmods.failed, akmods.kernel)
    if akmods.headers is False:
        yield _without_headers(akmods.kernel)


def _of_failed(build: FailedBuild, kernel: KernelRelease) -> Reason:
    because = f": {build.lines[0]}" if build.lines else ""
    return Reason(
        why=Why.BUILD,
        says=f"{build.by} failed to build {build.release} for {build.kernel or kernel}{because}",
        decides=False,
        evidence=build.evidence,
    )


def _without_headers(kernel: KernelRelease) -> Reason:
    return Reason(
        why=Why.BUILD,
        says=f"the headers of {kernel}, which a build needs, are not installed",
        decides=False,
        evidence=(Evidence(source=f"/lib/modules/{kernel}/build", excerpt="not there"),),
    )


def _of_compiler(compiler: BuildCompiler | Unknown) -> Iterator[Reason]:
    if isinstance(compiler, Unknown) or not compiler.differs:
        return
    if not compiler.taken:
        says = f"no compiler is installed that a build could take; {compiler.kernel} was made by {compiler.made_by}"
    else:
        says = (
            f"{compiler.kernel} was made by {compiler.made_by}, and a build here takes {compiler.taken} of version"
            f" {compiler.major}, which may not know the kernel's options or refuse the sources"
        )
    refused = f"; {compiler.refused_by} ends the build for that" if compiler.taken and compiler.refused_by else ""
    yield Reason(
        why=Why.COMPILER,
        says=says + refused,
        decides=False,
        evidence=(Evidence(source=compiler.source, excerpt=compiler.made_by),),
    )


def _of_copies(host: Host, following: NextBootModule) -> Iterator[Reason]:
    """Another nvidia.ko that the one which modprobe takes hides, and whose each is where that is known."""
    if following.file is None:
        return
    others = [path for path in all_copies(host, following.kernel, following.root) if path != following.file.path]
    for path in [one for one in others if host.resolve(one) != host.resolve(following.file.path)][:3]:
        try:
            release = host.modinfo(path).get("version", "no release")
        except Unknown:
            continue
        whose = ""
        if (INSTALLERS_FOLDER in path) != (INSTALLERS_FOLDER in following.file.path):
            whose = "; one is of NVIDIA's installer, the other of packages or DKMS: two installations overlap"
        yield Reason(
            why=Why.COPIES,
            says=f"modprobe takes {following.file.path}, which hides {path} of {release}{whose}",
            decides=False,
            evidence=(Evidence(source=f"modinfo {path}", excerpt=release),),
        )


def _of_space(host: Host) -> Iterator[Reason]:
    """Whether /boot has no room for one more initramfs, by df(1)."""
    if not reading.is_there(host, "/boot"):
        return
    try:
        said = host.run("df", "-Pk", "/boot").stdout.splitlines()
    except Unknown:
        return
    words = said[-1].split() if len(said) > 1 else []
    if len(words) >= 6 and words[3].isascii() and words[3].isdigit() and int(words[3][:15]) * 1024 < FULL_BELOW:
        free = int(words[3][:15]) // 1024
        yield Reason(
            why=Why.SPACE,
            says=f"the file system of /boot has {free} MiB free, too little for a new initramfs",
            decides=False,
            evidence=(Evidence(source="df -Pk /boot", excerpt=" ".join(words)),),
        )
