"""What DKMS has made of the driver's sources, and why a build failed, as far as its own logs tell."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.facts import reading
from nvdiag.facts.build_logs import FailedBuild, lines_of, telling
from nvdiag.facts.chosen_module import dkms_builds
from nvdiag.facts.disagreement import Disagreement
from nvdiag.facts.module_files import NextBootModule, has_headers
from nvdiag.facts.module_places import MAIN_MODULE
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease, KernelRelease

TREES = "/var/lib/dkms"

_FOR_KERNEL = regex(r"make\.log for \S{1,120} for kernel (\S{3,80})")
_VERSION_STRING = regex(r"NV_VERSION_STRING=\\?[\"']?\\?\"?(\d{3}(?:\.\d{1,4}){1,2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalModule:
    """The module that `dkms uninstall NAME` puts back; `name` is NAME/RELEASE of what is installed in its place.

    `release` None: the file does not tell it.
    """

    path: str
    release: DriverRelease | None
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DkmsState:
    """The driver's DKMS trees, as they bear on the kernel that boots next.

    `registered` are the releases in the trees, `built` those that were built for that kernel. `headers` is False where
    what a build needs of that kernel is certainly not there. `mislabelled` are sources whose own release is not the one
    that their folder names: (label, release, file). `sources` are the folders of the sources. `original` is a module of
    another origin that DKMS moved out of that kernel's modules when it installed its own.
    """

    kernel: KernelRelease
    registered: tuple[DriverRelease, ...]
    built: tuple[DriverRelease, ...]
    failed: tuple[FailedBuild, ...]
    headers: bool | None
    mislabelled: tuple[tuple[str, DriverRelease, str], ...] = ()
    sources: tuple[str, ...] = ()
    original: OriginalModule | None = None

    @classmethod
    def collect(cls, host: Host, doubt: Disagreement, following: NextBootModule) -> DkmsState:
        if following.root:
            raise NotApplicable("an image's modules are built where the image is made")
        trees = [name for name in reading.names(host, TREES) if name.startswith("nvidia")]
        labels = [(tree, label) for tree in trees for label in reading.names(host, f"{TREES}/{tree}")]
        known = [(tree, label, release) for tree, label in labels if (release := DriverRelease.or_none(label))]
        if not known:
            raise NotApplicable("DKMS does not manage the driver")
        kernel = following.kernel
        built = tuple(release for release, one in dkms_builds(host) if one == kernel)
        failed = (_failed(host, f"{TREES}/{tree}/{label}", release) for tree, label, release in known)
        return cls(
            kernel=kernel,
            registered=tuple(release for _, _, release in known),
            built=built,
            failed=tuple(one for one in failed if one is not None and one.kernel in (None, kernel)),
            headers=has_headers(host, kernel),
            mislabelled=tuple(_mislabelled(host, known)),
            sources=tuple(f"/usr/src/{tree}-{label}" for tree, label, _ in known),
            original=next((one for tree in trees if (one := _original(host, tree, kernel))), None),
        )


def _failed(host: Host, tree: str, release: DriverRelease) -> FailedBuild | None:
    """A build's folder is taken away when the build is well, so a log in it is a failed build's."""
    log = f"{tree}/build/make.log"
    if not reading.is_there(host, log):
        return None
    named = _FOR_KERNEL.search("\n".join(lines_of(host, "make.log for", log)))
    kernel = KernelRelease(named[1]) if named else None
    return FailedBuild(by="DKMS", release=release, kernel=kernel, log=log, lines=telling(host, log))


def _original(host: Host, tree: str, kernel: KernelRelease) -> OriginalModule | None:
    """TREE/original_module/KERNEL/ARCH has it, and TREE/kernel-KERNEL-ARCH leads to what is installed (dkms)."""
    folder = f"{TREES}/{tree}/original_module/{kernel}"
    for architecture in reading.names(host, folder):
        names = [one for one in reading.names(host, f"{folder}/{architecture}") if MAIN_MODULE.fullmatch(one)]
        installed = reading.link(host, f"{TREES}/{tree}/kernel-{kernel}-{architecture}") or ""
        if not names or not re.fullmatch(r"[\w.+-]{1,60}/\S{1,160}", installed):
            continue
        path = f"{folder}/{architecture}/{names[0]}"
        try:
            release = DriverRelease.or_none(host.modinfo(path).get("version"))
        except Unknown:
            release = None
        return OriginalModule(path=path, release=release, name=f"{tree}/{installed.partition('/')[0]}")
    return None


def _mislabelled(host: Host, known: list[tuple[str, str, DriverRelease]]) -> Iterator[tuple[str, DriverRelease, str]]:
    for tree, label, release in known:
        for name in ("Kbuild", "nvidia/nvidia.Kbuild"):
            file = f"/usr/src/{tree}-{label}/{name}"
            found = _VERSION_STRING.search("\n".join(lines_of(host, "NV_VERSION_STRING", file)))
            own = DriverRelease.or_none(found[1]) if found else None
            if own is not None and own != release:
                yield f"{tree}-{label}", own, file
