"""What akmods (Fedora, RPM Fusion) has tried to build of the driver for the kernel that boots next, and why it failed.

It leaves /var/cache/akmods/NAME/VERSION-RELEASE-for-KERNEL.failed.log, and does not try again while that is there; a
later success does not take it away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.facts import reading
from nvdiag.facts.build_logs import FailedBuild, telling
from nvdiag.facts.disagreement import Disagreement
from nvdiag.facts.module_files import NextBootModule, has_headers
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable
from nvdiag.model.versions import DriverRelease, KernelRelease

SOURCES = "/usr/src/akmods"
LOGS = "/var/cache/akmods"

_LOG = regex(r"(\d{3}(?:\.\d{1,4}){1,2})-\S{1,60}-for-(\S{3,80})\.failed\.log")


@dataclass(frozen=True, slots=True, kw_only=True)
class AkmodsState:
    """`failed` is the last build that failed for that kernel, None for none that still counts.

    `headers` is False where what a build needs of the kernel is certainly not there.
    """

    kernel: KernelRelease
    failed: FailedBuild | None
    headers: bool | None

    @classmethod
    def collect(cls, host: Host, doubt: Disagreement, following: NextBootModule) -> AkmodsState:
        if following.root:
            raise NotApplicable("an image's modules are built where the image is made")
        names = dict.fromkeys(
            one.removesuffix("-kmod.latest")
            for one in (*reading.names(host, SOURCES), *reading.names(host, LOGS))
            if re.fullmatch(r"nvidia(?:-open|-\d{3}xx)?(?:-kmod\.latest)?", one)
        )
        if not names:
            raise NotApplicable("akmods does not manage the driver")
        here = following.file.release if following.file else None
        failed = [one for name in names for one in _failed(host, f"{LOGS}/{name}", following.kernel, here)]
        return cls(
            kernel=following.kernel,
            failed=max(failed, key=lambda one: _time(host, one), default=None),
            headers=has_headers(host, following.kernel),
        )


def _failed(host: Host, folder: str, kernel: KernelRelease, here: DriverRelease | None) -> Iterator[FailedBuild]:
    """Logs of failed builds for a kernel, but of a release whose module is there by now."""
    for name in reading.names(host, folder):
        found = _LOG.fullmatch(name)
        release = DriverRelease.or_none(found[1]) if found and found[2] == kernel.text else None
        if release is not None and release != here:
            log = f"{folder}/{name}"
            yield FailedBuild(by="akmods", release=release, kernel=kernel, log=log, lines=telling(host, log))


def _time(host: Host, build: FailedBuild) -> tuple[int, DriverRelease]:
    about = reading.stat(host, build.log)
    return (about.mtime or 0 if about else 0, build.release)
