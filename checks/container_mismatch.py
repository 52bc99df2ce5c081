"""Inside a container: the module is the host's, and the libraries must be of its release, wherever they come from."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.checks import _container_ways, _evidence
from nvdiag.engine import check
from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.container_view import ContainerLibraries, Origin
from nvdiag.facts.libraries import DriverLibraries, Kind, LibraryCopy
from nvdiag.facts.modules import LoadedDriver, VersionFile
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.user_space import user_space_release
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Risk, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

MISMATCH = "container-library-mismatch"
_FOLLOWS = frozenset({"libcuda-mismatch", "gpu-init-failed", "no-cuda-device", "uvm-not-loaded"})


@check(MISMATCH, area="container")
def libraries_are_the_hosts_release(
    loaded: LoadedDriver,
    libraries: DriverLibraries,
    surroundings: Surroundings,
    origins: ContainerLibraries,
    nvml: NvmlAnswer | Unknown,
    version: VersionFile | Unknown,
) -> Iterator[Finding]:
    """The driver libraries inside a container are the release of the host's kernel module."""
    installed = user_space_release(libraries, nvml)
    if installed is None:
        raise NotApplicable("no driver library with a release is in this container")
    if installed == loaded.release:
        return  # should NVML refuse it all the same, gpu-init-failed says so
    from_host = _are_mounted(libraries, installed, origins)
    if from_host and not origins.replaced:
        raise NotApplicable("the libraries are the host's own, so it is the host's driver that does not fit together")
    evidence = _seen(loaded, libraries, surroundings, origins, nvml, version)
    if from_host:
        yield _outlived(loaded.release, installed, evidence, surroundings)
    else:
        yield _baked_in(loaded.release, installed, evidence, surroundings, origins, libraries)


@check("driver-library-mismatch", area="driver")
def what_the_host_mounts_fits_its_module(
    loaded: LoadedDriver,
    libraries: DriverLibraries,
    surroundings: Surroundings,
    origins: ContainerLibraries,
    nvml: NvmlAnswer | Unknown,
    version: VersionFile | Unknown,
) -> Iterator[Finding]:
    """The driver libraries that a host mounts into a container are the release of its own kernel module."""
    installed = user_space_release(libraries, nvml)
    if installed is None or not _are_mounted(libraries, installed, origins):
        raise NotApplicable("no driver library here is mounted from the host")
    if installed == loaded.release or origins.replaced:
        return
    evidence = _seen(loaded, libraries, surroundings, origins, nvml, version)
    yield _host_is_torn(loaded.release, installed, evidence)


def _are_mounted(libraries: DriverLibraries, installed: DriverRelease, origins: ContainerLibraries) -> bool:
    """Whether the libraries of the release that programs get are the host's."""
    return any(
        origins.origin_of(copy) is Origin.HOST and installed in (copy.release, mount.release)
        for copy in libraries.taken
        if (mount := origins.mounts.get(copy.file))
    )


def _seen(
    loaded: LoadedDriver,
    libraries: DriverLibraries,
    surroundings: Surroundings,
    origins: ContainerLibraries,
    nvml: NvmlAnswer | Unknown,
    version: VersionFile | Unknown,
) -> tuple[Evidence, ...]:
    return (
        *_evidence.of_loaded(loaded, version),
        *(_evidence.of_library(copy) for copy in libraries.taken if copy.kind is not Kind.STUB),
        *(one.evidence for one in origins.mounts.values()),
        *_evidence.of_nvml(nvml),
        *surroundings.evidence[:1],
    )


def _outlived(
    module: DriverRelease, installed: DriverRelease, evidence: tuple[Evidence, ...], around: Surroundings
) -> Finding:
    """The host's files were replaced, and its module too, while this container ran."""
    return Finding(
        id=MISMATCH,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=f"the host went over to driver {module} since this container was started with {installed}",
        detail="The container still has the files that were mounted when it started; the host has removed them since,"
        " and has loaded its new module.",
        evidence=evidence,
        remedies=(_container_ways.restart(around),),
        explains=_FOLLOWS,
        layers=(Layer.LOADED_MODULE, Layer.NVML, Layer.LIBCUDA),
    )


def _host_is_torn(module: DriverRelease, installed: DriverRelease, evidence: tuple[Evidence, ...]) -> Finding:
    """What the engine brought in is the host's own, so the host has the mismatch."""
    return Finding(
        id="driver-library-mismatch",
        subject="host",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=f"the host's driver is of two releases: its module is {module}, its libraries, mounted here, {installed}",
        detail="This container has the host's own files, so it is not its image. The host's driver was upgraded and its"
        " old module is still loaded, or the engine's description of it (a CDI specification) is an old one.",
        evidence=evidence,
        remedies=(_container_ways.ON_THE_HOST,),
        explains=_FOLLOWS,
        layers=(Layer.LOADED_MODULE, Layer.NVML, Layer.LIBCUDA),
    )


def _baked_in(
    module: DriverRelease,
    installed: DriverRelease,
    evidence: tuple[Evidence, ...],
    around: Surroundings,
    origins: ContainerLibraries,
    libraries: DriverLibraries,
) -> Finding:
    baked = [
        copy
        for copy in libraries.taken
        if copy.release == installed and origins.origin_of(copy) is Origin.IMAGE and copy.kind is Kind.DRIVER
    ]
    beside = [one for one in origins.injected if one.release == module]
    guest = around.container in ("lxc", "lxd", "incus")
    return Finding(
        id=MISMATCH,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=f"the container's driver libraries are {installed}, the host's kernel module is {module}",
        detail=(
            f"{listed([copy.file for copy in baked])} {'is' if len(baked) == 1 else 'are'} not mounted: the"
            f" {'guest has its' if guest else 'image carries its'} own. "
            if baked
            else ""
        )
        + (
            f"The engine did bring in the host's {module}, and the loader takes the other copy before it."
            if beside
            else "Driver libraries of a guest must be exactly the host's release."
            if guest
            else "Driver libraries baked into an image, or kept by a container that outlived a driver upgrade, do not"
            " fit the host. The host's own must be injected when the container starts."
        ),
        evidence=(*evidence, *(one.evidence for one in beside[:2])),
        remedies=_replace(module, around, baked, injected=bool(beside), guest=guest),
        explains=_FOLLOWS,
        layers=(Layer.LOADED_MODULE, Layer.NVML, Layer.LIBCUDA),
    )


def _replace(
    module: DriverRelease, around: Surroundings, baked: list[LibraryCopy], *, injected: bool, guest: bool
) -> tuple[Remedy, ...]:
    files = " ".join(shlex.quote(copy.file) for copy in baked)
    owner = f"dpkg -S {files} || rpm -qf {files}" if files else "dpkg -l | grep -E 'libnvidia-|libcuda1|nvidia-utils'"
    if guest:
        return (
            Remedy(
                summary=f"install the libraries of {module} in the guest, without a kernel module",
                commands=(owner, f"sudo sh NVIDIA-Linux-x86_64-{module}.run --no-kernel-modules"),
                needs_root=True,
                prediction=f"guest and host are then both {module}; remove the packages that the first command names"
                " before, and upgrade both together from now on",
            ),
            *(_container_ways.start(around) if around.container != "lxc" else ()),
        )
    build = Remedy(
        summary="build the image without driver files: find what brought them in",
        commands=(owner,),
        prediction="driver packages (libnvidia-compute-…, libcuda1) do not belong in an image; files that no package"
        " owns were copied, or kept by docker commit",
    )
    if injected and files:
        now = Remedy(
            summary="in this container, for now: remove the image's copies, and let the loader see the host's",
            commands=(f"rm {files}", "ldconfig"),
            risk=Risk.DISRUPTIVE,
            needs_root=True,
            prediction=f"the loader then takes the host's {module}, which is mounted beside them",
        )
        return now, build
    ways = _container_ways.start(around)
    return *ways, build
