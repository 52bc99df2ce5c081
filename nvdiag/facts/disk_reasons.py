"""Why the module on disk is missing or of another release than the libraries: what the builds and the disk tell."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.facts import reading
from nvdiag.facts.akmods import AkmodsState
from nvdiag.facts.build_compiler import BuildCompiler
from nvdiag.facts.build_logs import FailedBuild
from nvdiag.facts.disagreement import Disagreement
from nvdiag.facts.dkms_trees import DkmsState
from nvdiag.facts.module_files import NextBootModule
from nvdiag.facts.module_places import all_copies
from nvdiag.facts.reasons import Reason, Why
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import KernelRelease

INSTALLERS_FOLDER = "/kernel/drivers/video/"
"""Where NVIDIA's installer puts modules that it does not give to DKMS (nvidia-installer, kernel.c)."""

FULL_BELOW = 32 << 20
"""Bytes. An initramfs with the usual modules takes 30 to 200 MB."""


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
