"""A mismatch of module and libraries that shows as something else, or not yet: firmware, a running container."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _evidence, _said
from nvdiag.engine import check
from nvdiag.facts.container_view import ContainerLibraries
from nvdiag.facts.kept_packages import installed_release
from nvdiag.facts.libraries import DriverLibraries, Kind
from nvdiag.facts.messages import Messages
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.surroundings import Surroundings
from nvdiag.model.finding import Confidence, Finding, Layer, Remedy, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease


@check("driver-library-mismatch", area="driver")
def no_module_asks_for_firmware_that_an_upgrade_took_away(
    messages: Messages, libraries: DriverLibraries, loaded: LoadedDriver | Unknown, surroundings: Surroundings
) -> Iterator[Finding]:
    """The module asks for firmware of the release that is installed."""
    said = [one for one in messages.named("kernel-gsp-firmware-load") if "release" in one.groups]
    if not said or surroundings.container:
        raise NotApplicable("no text tells of firmware that was asked for in vain")
    wanted, installed = DriverRelease.or_none(said[-1].groups["release"]), installed_release(libraries)
    if wanted is None or installed in (None, wanted):
        raise NotApplicable("the firmware that is missing is of the libraries' release")
    if isinstance(loaded, LoadedDriver) and loaded.release != wanted:
        raise NotApplicable("the firmware that is missing is not the loaded module's")
    yield _said.finding(
        said,
        "driver-library-mismatch",
        title=f"the module {wanted} asks for its firmware in vain: the driver that is installed is {installed}",
        confidence=Confidence.LIKELY,
        detail="An upgrade takes the old release's firmware away. The module that stayed in memory needs it again each"
        " time the GPU starts: after a reset, or when the first program opens it without persistence mode.",
        remedies=(
            Remedy(
                summary="see both sides: one release must be in memory and on disk",
                commands=("cat /sys/module/nvidia/version", "modinfo -F version nvidia", "ls /lib/firmware/nvidia/"),
                prediction=f"where modinfo says {installed}, reloading the modules or a reboot ends it",
            ),
        ),
        explains=frozenset({"gsp-firmware-missing", "gpu-init-failed", "no-cuda-device"}),
        layers=(Layer.LOADED_MODULE, Layer.NVML),
        beside=[_evidence.of_library(copy) for copy in libraries.taken if copy.kind is Kind.DRIVER],
    )


@check("driver-library-mismatch", area="driver")
def the_host_still_has_the_libraries_of_this_container(
    origins: ContainerLibraries, surroundings: Surroundings, loaded: LoadedDriver
) -> Iterator[Finding]:
    """The libraries that a container was given are still those of its host."""
    gone = [one for one in origins.replaced if one.release == loaded.release]
    if not gone:
        return  # those of another release than the module have failed already: container-library-mismatch
    names = listed([one.point.rpartition("/")[2] for one in gone])
    yield Finding(
        id="driver-library-mismatch",
        subject="host",
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        title=f"it works now and breaks at the next start: the host has replaced {names}, which are still in use here",
        detail="The host's driver was upgraded under the running container. What is started anew, this container too,"
        " gets the new libraries; with the old module still loaded there, they do not fit.",
        evidence=(*(one.evidence for one in gone[:3]), *surroundings.evidence[:1]),
        remedies=(
            Remedy(
                summary="before this container is stopped, look at the host",
                commands=("nvdiag",),
                prediction="run on the host, it says whether a reload or a reboot is due there; if the host has"
                " reloaded its modules since, a new start of this container is enough",
            ),
        ),
        layers=(Layer.LOADED_MODULE, Layer.NVML, Layer.LIBCUDA),
    )
