"""The driver's libraries as the loader finds them: missing, stubs of the toolkit, copies of another release."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.checks import _evidence
from nvdiag.engine import check
from nvdiag.facts.answers import CudaAnswer, NvmlAnswer
from nvdiag.facts.cuda_compat import DRIVER_MISMATCH, FORWARD_COMPATIBILITY_REFUSED, CudaCompat
from nvdiag.facts.frameworks import Frameworks
from nvdiag.facts.libraries import NOT_ON_PATH, DriverLibraries, Kind, LibraryChoice, LibraryCopy
from nvdiag.facts.modules import DriverHere, LoadedDriver
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.python_packages import LibraryPath
from nvdiag.facts.smi_report import SmiReport
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import Distribution
from nvdiag.facts.toolkits import Toolkits
from nvdiag.facts.user_space import user_space_release
from nvdiag.facts.vgpu import HOST_WITHOUT_CUDA, VirtualGpus
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Severity
from nvdiag.model.unknown import NotApplicable, Unknown


@check("nvml-library-missing")
def nvml_is_found_by_the_loader(
    driver: DriverHere,
    libraries: DriverLibraries,
    surroundings: Surroundings,
    nvml: NvmlAnswer | Unknown,
    packages: DriverPackages | Unknown,
    distribution: Distribution | Unknown,
) -> Iterator[Finding]:
    """The loader finds libnvidia-ml.so.1 where a driver is loaded."""
    if surroundings.container:
        raise NotApplicable("in a container the libraries come from outside: container-driver-libraries-missing looks")
    _only_with_own_libraries(surroundings)
    if surroundings.tegra:
        raise NotApplicable("on Tegra, releases before 36 have no NVML, and nothing needs it")
    if not _missing(libraries.nvml, nvml):
        return
    elsewhere = _elsewhere(libraries.nvml)
    install = _install(driver, surroundings, distribution, packages, nvml=True)
    yield Finding(
        id="nvml-library-missing",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title="libnvidia-ml.so.1 is not found, "
        + (
            "so nothing of Windows' NVIDIA driver is in sight here" if surroundings.wsl else "though a driver is loaded"
        ),
        detail="nvidia-smi and everything that asks NVML fail."
        + (
            " Windows has no NVIDIA GPU, or no driver for it, or WSL did not pass its files on"
            if surroundings.wsl
            else " The kernel side is there, the user-space side is not"
        )
        + (", or not where the loader looks." if elsewhere else "."),
        evidence=(
            driver.evidence,
            *_loader_words(libraries.nvml, nvml),
            *(_evidence.of_library(copy) for copy in elsewhere),
        ),
        remedies=(_make_known(elsewhere[0]),) if elsewhere else (install,),
        explains=frozenset({"gpu-init-failed"}),
        layers=(Layer.NVML,),
    )


@check("libcuda-missing")
def libcuda_is_found_by_the_loader(
    driver: DriverHere,
    libraries: DriverLibraries,
    surroundings: Surroundings,
    toolkits: Toolkits | Unknown,
    frameworks: Frameworks | Unknown,
    cuda: CudaAnswer | Unknown,
    packages: DriverPackages | Unknown,
    distribution: Distribution | Unknown,
    virtual: VirtualGpus | Unknown,
) -> Iterator[Finding]:
    """The loader finds libcuda.so.1 where a driver is loaded: without it every CUDA program fails."""
    if surroundings.container:
        raise NotApplicable("in a container the libraries come from outside: container-driver-libraries-missing looks")
    _only_with_own_libraries(surroundings)
    if not _missing(libraries.libcuda, cuda):
        return
    if isinstance(virtual, VirtualGpus) and virtual.hosting:
        raise NotApplicable(HOST_WITHOUT_CUDA)
    wanted = _who_wants_cuda(toolkits, frameworks)
    elsewhere = _elsewhere(libraries.libcuda)
    install = _install(driver, surroundings, distribution, packages, nvml=False)
    yield Finding(
        id="libcuda-missing",
        severity=Severity.ERROR if wanted or surroundings.tegra else Severity.INFO,
        confidence=Confidence.CERTAIN,
        title="libcuda.so.1 is not found, so no CUDA program runs here",
        detail="CUDA programs then say that the driver is insufficient (error 35) or that there is no device (100)."
        + ("" if wanted or surroundings.tegra else " Nothing that wants CUDA was seen, so this may be as intended."),
        evidence=(
            driver.evidence,
            *_loader_words(libraries.libcuda, cuda),
            *wanted,
            *(_evidence.of_library(copy) for copy in elsewhere),
        ),
        remedies=(_make_known(elsewhere[0]),) if elsewhere else (install,),
        layers=(Layer.LIBCUDA,),
    )


@check("nvml-stub-loaded")
def nvml_is_not_a_stub(driver: DriverHere, libraries: DriverLibraries, path: LibraryPath) -> Iterator[Finding]:
    """The libnvidia-ml that a program gets is the driver's, not the toolkit's link-time stub."""
    copy = libraries.nvml.taken
    if copy is not None and copy.kind is Kind.STUB:
        effect = "NVML and nvidia-smi cannot work with it"
        yield _stub("nvml-stub-loaded", copy, libraries.nvml, Layer.NVML, effect, path)


@check("libcuda-stub-loaded")
def libcuda_is_not_a_stub(
    driver: DriverHere | Unknown, libraries: DriverLibraries, path: LibraryPath
) -> Iterator[Finding]:
    """The libcuda that a program gets is the driver's, not the toolkit's link-time stub."""
    copy = libraries.libcuda.taken
    if isinstance(driver, Unknown) and (copy is None or copy.found_by != "LD_LIBRARY_PATH"):
        raise driver
    if isinstance(driver, NotApplicable):
        raise driver
    if copy is not None and copy.kind is Kind.STUB:
        effect = "CUDA programs fail with error 34"
        yield _stub("libcuda-stub-loaded", copy, libraries.libcuda, Layer.LIBCUDA, effect, path)


def _stub(
    identifier: str, copy: LibraryCopy, choice: LibraryChoice, layer: Layer, effect: str, path: LibraryPath
) -> Finding:
    real = [other for other in choice.copies if other.kind is Kind.DRIVER]
    from nvdiag.checks import _library_ways

    return Finding(
        id=identifier,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=f"programs get the toolkit's stub of {copy.soname}, not the driver's library",
        detail=f"A stub has no driver behind it: {effect}.",
        evidence=(_evidence.of_library(copy), *(_evidence.of_library(other) for other in real[:1])),
        remedies=_library_ways.without(
            copy, path, real[0] if real else None, "stubs are for the linker, never for running"
        ),
        explains=frozenset({"gpu-init-failed", "no-cuda-device"}),
        layers=(layer,),
    )


@check("libcuda-mismatch")
def libcuda_is_of_the_modules_release(
    loaded: LoadedDriver,
    libraries: DriverLibraries,
    nvml: NvmlAnswer | Unknown,
    cuda: CudaAnswer | Unknown,
    compat: CudaCompat | Unknown,
    smi: SmiReport | Unknown,
    path: LibraryPath,
) -> Iterator[Finding]:
    """The libcuda that a program gets is of the loaded module's release, or made for it (cuda-compat)."""
    copy = libraries.libcuda.taken
    if copy is None or copy.release is None or copy.kind in (Kind.EMPTY, Kind.DAMAGED):
        raise NotApplicable("the loader takes no libcuda that names its release")
    if copy.release == loaded.release:
        return
    answer = compat.init(cuda) if isinstance(compat, CudaCompat) else None
    if isinstance(compat, CudaCompat):
        if answer == 0 or (compat.covers and answer != DRIVER_MISMATCH):
            return
        if answer == FORWARD_COMPATIBILITY_REFUSED:
            raise NotApplicable(
                "CUDA says that this GPU cannot use cuda-compat: cuda-compat-unsupported speaks of that"
            )
    management = user_space_release(libraries, nvml, smi)
    if management is not None and management != loaded.release:
        raise NotApplicable("libnvidia-ml is not the module's release either, so the whole set is in question")
    yield _foreign_libcuda(loaded, copy, libraries, compat, path, answer)


def _foreign_libcuda(
    loaded: LoadedDriver,
    copy: LibraryCopy,
    libraries: DriverLibraries,
    compat: CudaCompat | Unknown,
    path: LibraryPath,
    answer: int | None,
) -> Finding:
    known = compat if isinstance(compat, CudaCompat) else None
    unsure = known is not None and known.covers is None and answer is None
    right = [other for other in libraries.libcuda.copies if other.release == loaded.release]
    why = "it is of another release than the loaded module"
    if known is not None:
        why = f"this cuda-compat is not for a module of branch {loaded.release.branch}"
    from nvdiag.checks import _library_ways

    return Finding(
        id="libcuda-mismatch",
        severity=Severity.ERROR,
        confidence=Confidence.POSSIBLE if unsure else Confidence.CERTAIN,
        title=f"programs get libcuda {copy.release}, but the loaded kernel module is {loaded.release}",
        detail="CUDA then fails, mostly with error 803 (system driver mismatch), though nvidia-smi works."
        + (
            f" It is a cuda-compat library, which some base branches allow; here that is not known: {known.told}."
            if known is not None and unsure
            else " It is a cuda-compat library, and not one for this module's branch."
            if known is not None and not known.covers
            else ""
        ),
        evidence=(
            _evidence.of_library(copy),
            Evidence(source=loaded.source, excerpt=loaded.release.text),
            *(known.chosen_by if known is not None else ()),
            *((Evidence(source=known.source, excerpt=known.told),) if known is not None and known.source else ()),
            *((Evidence(source="cuInit of that library", excerpt=str(answer)),) if answer is not None else ()),
            *(_evidence.of_library(other) for other in right[:1]),
        ),
        remedies=_library_ways.without(copy, path, right[0] if right else None, why),
        explains=frozenset({"gpu-init-failed", "no-cuda-device"}),
        layers=(Layer.LOADED_MODULE, Layer.LIBCUDA),
    )


def _only_with_own_libraries(surroundings: Surroundings) -> None:
    """A driver container's or NixOS's libraries are where their own users look; the loader need not know of them."""
    if surroundings.driver_root:
        raise NotApplicable(f"the driver's libraries are kept in {surroundings.driver_root}, for those who know of it")


def _missing(choice: LibraryChoice, answer: NvmlAnswer | CudaAnswer | Unknown) -> bool:
    """Whether the loader finds no such library: by its own word where it was asked, else by where it would look."""
    if isinstance(answer, Unknown):
        return choice.taken is None and choice.why_unknown is None
    if answer.library is not None:
        return False
    return choice.taken is None and (answer.dlopen_error is not None or answer.trouble is None)


def _elsewhere(choice: LibraryChoice) -> list[LibraryCopy]:
    return [copy for copy in choice.copies if copy.found_by == NOT_ON_PATH]


def _loader_words(choice: LibraryChoice, answer: NvmlAnswer | CudaAnswer | Unknown) -> Iterator[Evidence]:
    if not isinstance(answer, Unknown) and answer.dlopen_error:
        yield Evidence(source=f"dlopen {choice.soname}", excerpt=answer.dlopen_error)
    else:
        yield Evidence(source="ldconfig -p and the loader's folders", excerpt=f"no {choice.soname}")


def _make_known(copy: LibraryCopy) -> Remedy:
    folder = copy.path.rpartition("/")[0]
    return Remedy(
        summary=f"tell the loader of {folder}, where the library is",
        commands=(f"echo {shlex.quote(folder)} | sudo tee /etc/ld.so.conf.d/nvidia.conf", "sudo ldconfig"),
        needs_root=True,
        prediction=f"the loader then finds {copy.path}",
    )


def _who_wants_cuda(toolkits: Toolkits | Unknown, frameworks: Frameworks | Unknown) -> tuple[Evidence, ...]:
    """An installed toolkit or a framework with CUDA is somebody who wants CUDA."""
    if isinstance(toolkits, Toolkits) and toolkits.found:
        return (Evidence(source="toolkits", excerpt=f"{toolkits.found[0].root} is installed"),)
    installed = frameworks.found.values() if isinstance(frameworks, Frameworks) else ()
    named = next((one for one in installed if one.cuda is not None), None)
    return (
        (Evidence(source=named.source, excerpt=f"{named.name} {named.version} for CUDA {named.cuda}"),) if named else ()
    )


def _install(
    driver: DriverHere,
    surroundings: Surroundings,
    distribution: Distribution | Unknown,
    packages: DriverPackages | Unknown,
    *,
    nvml: bool,
) -> Remedy:
    """How this system gets the library: from Windows under WSL, else from the distribution's package."""
    if surroundings.wsl:
        return Remedy(
            summary="install or repair NVIDIA's driver in Windows, then restart WSL (in PowerShell)",
            commands=("wsl --update", "wsl --shutdown"),
            prediction="Windows' driver puts libcuda and libnvidia-ml below /usr/lib/wsl/lib",
        )
    if surroundings.tegra:
        return Remedy(
            summary="install Jetson Linux's own package again; desktop driver packages do not work on Tegra",
            commands=("sudo apt install --reinstall nvidia-l4t-cuda", "sudo ldconfig"),
            needs_root=True,
            prediction="it brings libcuda below /usr/lib/aarch64-linux-gnu",
        )
    from nvdiag.checks import _install_remedies

    return _install_remedies.libraries_package(distribution, packages, driver.release, nvml=nvml)
