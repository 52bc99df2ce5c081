"""The driver's packages as they are installed: whole, of one release, and not beside NVIDIA's own installer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.packages import DriverPackages, Package
from nvdiag.facts.system import Distribution
from nvdiag.facts.traces import INSTALLER_LOG, DriverTraces
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown

_PARTS = (
    r"libnvidia-(?:compute|gl|cfg1|decode|encode|extra|fbc1|ml)(?:-\d{3}(?:-server)?)?(?::\w+)?"
    r"|nvidia-(?:driver|dkms|headless|headless-no-dkms|kernel-common|kernel-source|utils|compute-utils)"
    r"(?:-\d{3}(?:-server)?(?:-open)?)?"
    r"|libcuda1|libnvidia-ml1|nvidia-smi|nvidia-(?:open-)?kernel-(?:dkms|support)|firmware-nvidia-gsp"
    r"|nvidia-driver-(?:libs|cuda|cuda-libs|bin)|nvidia-kmod-common|kmod-nvidia-(?:open|latest)-dkms"
    r"|xorg-x11-drv-nvidia(?:-cuda|-cuda-libs|-libs|-kmodsrc)?|akmod-nvidia"
    r"|nvidia-(?:utils|open|open-dkms|dkms)|nvidia"
)
"""Packages whose version is the driver's release; others (modules for one kernel, settings, prime) have their own."""
_HALF = {
    "U": "unpacked and not configured",
    "F": "half-configured",
    "H": "half-installed",
}
"""dpkg's second letter (dpkg-query(1)) of a package that was left half-way."""


@check("driver-package-conflict", area="driver")
def the_packages_are_whole_and_of_one_release(
    packages: DriverPackages, traces: DriverTraces | Unknown, distribution: Distribution | Unknown
) -> Iterator[Finding]:
    """The driver's packages are installed whole, are of one release, and no .run installation lies beside them."""
    half = [one for one in packages.packages if len(one.state) > 1 and (one.state[1] in _HALF or "R" in one.state[2:])]
    releases = _releases(packages)
    installer = traces.installer if isinstance(traces, DriverTraces) else None
    if half:
        names = listed([one.name for one in half[:4]])
        title = f"{names} {'is' if len(half) == 1 else 'are'} {_HALF.get(half[0].state[1], 'to be installed again')}"
        evidence = tuple(
            Evidence(source=packages.source, excerpt=f"{one.state} {one.name} {one.version}") for one in half
        )
        detail = "The package manager stopped half-way: what is on disk need not fit together."
    elif len(releases) > 1:
        title = f"the driver's packages are of {len(releases)} releases: {listed(list(releases))}"
        evidence = tuple(
            Evidence(source=packages.source, excerpt=f"{one[0].name} {one[0].version}") for one in releases.values()
        )
        detail = "All packages of one driver must be of one release and from one source."
    elif installer is not None and releases:
        title = f"NVIDIA's installer put {installer} here, and packages put {next(iter(releases))} beside it"
        evidence = (
            *(traces.evidence[:1] if isinstance(traces, DriverTraces) else ()),
            *(Evidence(source=packages.source, excerpt=f"{one[0].name} {one[0].version}") for one in releases.values()),
        )
        detail = f"The two ways overwrite each other's files. {INSTALLER_LOG} tells of an installation not taken back."
    else:
        raise NotApplicable("the packages agree with each other, which alone says nothing of the driver")
    from nvdiag.checks import _driver_remedies, _remedies

    yield Finding(
        id="driver-package-conflict",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if half else Confidence.LIKELY,
        title=title,
        detail=detail,
        evidence=evidence[:6],
        remedies=_driver_remedies.untangle(_remedies.family(distribution)),
        explains=frozenset(
            {"driver-not-built", "driver-not-loaded", "driver-disk-mismatch", "driver-library-incomplete"}
        ),
        layers=(Layer.LOADED_MODULE, Layer.NVML, Layer.LIBCUDA),
    )


def _releases(packages: DriverPackages) -> dict[str, list[Package]]:
    """The installed parts of the driver by the release in their versions; epoch and packaging revision taken off."""
    found: dict[str, list[Package]] = {}
    for one in packages.packages:
        version = re.match(r"(?:\d{1,4}:)?(\d{3}\.\d{1,3}(?:\.\d{1,3})?)(?![\d.])", one.version)
        if version and one.state.startswith(("ii", "hi")) and re.fullmatch(_PARTS, one.name):
            found.setdefault(version[1], []).append(one)
    return found
