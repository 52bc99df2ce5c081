"""WSL2 as it is set up: what Windows' driver hands over must be there, and be what the loader takes."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _driver_removal, _evidence
from nvdiag.checks.wsl import FOLLOWS, LOOK, RESTART, UPDATE_WINDOWS, WINDOWS_DRIVES
from nvdiag.engine import check
from nvdiag.facts.answers import CudaAnswer, NvmlAnswer
from nvdiag.facts.libraries import NVML, DriverLibraries, Kind, LibraryChoice, LibraryCopy
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import Distribution
from nvdiag.facts.wsl import CONFIGURATION, DXG, FOLDER, LIBRARIES, LOADER_FILE, STORE, WslSetup
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Risk, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import Unknown

FIRST_BRANCH = 495
"""The first branch of Windows' driver whose CUDA for WSL2 is no preview (CUDA on WSL User Guide, CUDA Support)."""


@check("wsl-driver-misinstalled", area="container")
def the_loader_takes_what_windows_brings(
    setup: WslSetup,
    surroundings: Surroundings,
    libraries: DriverLibraries | Unknown,
    nvml: NvmlAnswer | Unknown,
    cuda: CudaAnswer | Unknown,
    packages: DriverPackages | Unknown,
    distribution: Distribution | Unknown,
) -> Iterator[Finding]:
    """WSL2 has what Windows' NVIDIA driver brings, and its loader takes that and no Linux driver's libraries."""
    if setup.generation == 1:
        yield _first_generation(surroundings)
        return
    choices = () if isinstance(libraries, Unknown) else (libraries.libcuda, libraries.nvml)
    linux = [copy for choice in choices for copy in choice.copies if _of_linux(copy)]
    taken = [
        copy for choice in choices for copy in linux if copy is choice.taken and not _asked_windows(copy, nvml, cuda)
    ]
    beside = [copy for copy in linux if copy not in taken]
    if _answers(nvml) and _answers(cuda):
        yield from _linux_driver(beside, packages, distribution, in_use=False) if beside else ()
    elif taken:
        yield from _linux_driver(taken, packages, distribution, in_use=True, windows=bool(setup.brings))
    elif setup.dxg is False:
        yield _without_device(setup)
    elif not setup.brings:
        yield _without_libraries(setup)
    elif hidden := _unknown_to_loader(setup, choices, nvml, cuda):
        yield _not_on_path(setup, hidden)
    elif isinstance(nvml, NvmlAnswer) and nvml.init and not _answers(cuda):
        yield _windows_silent(nvml)


def _of_linux(copy: LibraryCopy) -> bool:
    """A copy with a Linux driver's release in its name, which those that Windows' driver brings have not."""
    return copy.kind is Kind.DRIVER and "/wsl/" not in copy.file and "/wsl/" not in copy.path


def _asked_windows(copy: LibraryCopy, nvml: NvmlAnswer | Unknown, cuda: CudaAnswer | Unknown) -> bool:
    """Whether the loader, when it was asked, took Windows' library all the same."""
    answer = _answer(copy.soname, nvml, cuda)
    return not isinstance(answer, Unknown) and "/wsl/" in (answer.library or "")


def _answer(soname: str, nvml: NvmlAnswer | Unknown, cuda: CudaAnswer | Unknown) -> NvmlAnswer | CudaAnswer | Unknown:
    return nvml if soname == NVML else cuda


def _answers(answer: NvmlAnswer | CudaAnswer | Unknown) -> bool:
    return not isinstance(answer, Unknown) and answer.init == 0 and answer.count != 0


def _finding(
    title: str,
    detail: str,
    evidence: tuple[Evidence, ...],
    remedies: tuple[Remedy, ...],
    *,
    confidence: Confidence = Confidence.CERTAIN,
    severity: Severity = Severity.ERROR,
    layers: tuple[Layer, ...] = (Layer.NVML, Layer.LIBCUDA),
) -> Finding:
    return Finding(
        id="wsl-driver-misinstalled",
        severity=severity,
        confidence=confidence,
        title=title,
        detail=detail,
        evidence=evidence,
        remedies=remedies,
        explains=FOLLOWS if severity is Severity.ERROR else frozenset(),
        layers=layers,
    )


def _first_generation(surroundings: Surroundings) -> Finding:
    return _finding(
        "this is WSL 1, which has no GPU",
        "WSL 1 translates Linux' calls to Windows' kernel and hands no GPU over. WSL 2 does.",
        surroundings.evidence[:1],
        (
            Remedy(
                summary="in Windows: turn this distribution into one of WSL 2",
                commands=("wsl.exe --list --verbose", 'wsl.exe --set-version "$WSL_DISTRO_NAME" 2'),
                risk=Risk.DISRUPTIVE,
                prediction="it ends the distribution and copies its files into a virtual disk, which takes minutes",
            ),
        ),
        layers=(Layer.GPU,),
    )


def _linux_driver(
    copies: list[LibraryCopy],
    packages: DriverPackages | Unknown,
    distribution: Distribution | Unknown,
    *,
    in_use: bool,
    windows: bool = True,
) -> Iterator[Finding]:
    names = _driver_removal.driver_packages(packages)
    release = copies[0].release
    yield _finding(
        f"a Linux driver {release} is installed in WSL, and "
        + ("programs get its libraries, not those of Windows' driver" if in_use else "Windows' driver is used anyway"),
        WINDOWS_DRIVES
        if in_use
        else "It does no harm as long as the loader finds /usr/lib/wsl/lib first; its module can never be loaded here.",
        (
            *(_evidence.of_library(copy) for copy in copies),
            *((Evidence(source="the installed packages", excerpt=", ".join(names)),) if names else ()),
        ),
        (
            _remove(names, packages, distribution),
            *((RESTART,) if in_use else ()),
            *(() if windows else (UPDATE_WINDOWS,)),
        ),
        severity=Severity.ERROR if in_use else Severity.INFO,
    )  # fmt: skip


def _remove(names: tuple[str, ...], packages: DriverPackages | Unknown, distribution: Distribution | Unknown) -> Remedy:
    """Take away exactly what is installed; where no package brought it, by NVIDIA's own uninstaller."""
    if not names and isinstance(packages, DriverPackages):
        return Remedy(
            summary="remove the Linux driver in WSL, which NVIDIA's .run installer has put there",
            commands=("sudo nvidia-uninstall", "sudo ldconfig"),
            needs_root=True,
            prediction="no package brought these libraries; without that program they were copied there by hand",
        )
    return Remedy(
        summary="remove the Linux driver's packages in WSL",
        commands=(*_driver_removal.removal(names, distribution), "sudo ldconfig"),
        needs_root=True,
        prediction="the loader then takes /usr/lib/wsl/lib; the CUDA toolkit may stay, its package for WSL is"
        " cuda-toolkit and not cuda, which brings a driver",
    )


def _without_device(setup: WslSetup) -> Finding:
    return _finding(
        "WSL has no /dev/dxg, through which Linux reaches Windows' GPUs",
        "Microsoft's kernel for WSL makes it. It is missing where another kernel is set in .wslconfig that lacks the"
        " driver dxgkrnl, where .wslconfig has gpuSupport=false, and before Windows 10 21H2.",
        (Evidence(source=DXG, excerpt="is not there"), *_no_adapter(setup)),
        (_SEE_WINDOWS_SIDE, RESTART),
        layers=(Layer.GPU,),
    )


def _no_adapter(setup: WslSetup) -> Iterator[Evidence]:
    if setup.adapters == 0:
        yield Evidence(source="/sys/bus/pci/devices", excerpt="no GPU of Windows' (1414:008e)")


_SEE_WINDOWS_SIDE = Remedy(
    summary="see which kernel WSL runs and what Windows is set to hand over",
    commands=("uname -r", "wsl.exe --version", "cmd.exe /c 'type %UserProfile%\\.wslconfig'"),
    prediction="without the lines kernel= and gpuSupport=false in .wslconfig, and after wsl.exe --shutdown, the device"
    " comes back",
)


def _without_libraries(setup: WslSetup) -> Finding:
    if setup.libraries is None and setup.switched_off("gpu.enabled"):
        return _finding(
            f"{CONFIGURATION} keeps Windows' driver out of this distribution: [gpu] enabled is false",
            f"WSL then mounts nothing on {FOLDER}, and every GPU program fails.",
            (
                Evidence(source=CONFIGURATION, excerpt="[gpu] enabled = false"),
                Evidence(source=FOLDER, excerpt="is not there"),
            ),
            (
                Remedy(
                    summary="if this distribution is to have the GPU, take that line away and start WSL anew",
                    commands=(
                        f"sudo sed -i '/^\\[gpu\\]/I,/^\\[/s/^ *enabled *=.*/enabled=true/I' {CONFIGURATION}",
                        'wsl.exe --terminate "$WSL_DISTRO_NAME"',
                    ),
                    risk=Risk.DISRUPTIVE,
                    needs_root=True,
                    prediction="it ends this distribution; when it starts again the libraries are there",
                ),
            ),
        )  # fmt: skip
    if isinstance(setup.libraries, Unknown):
        raise setup.libraries
    nothing = setup.libraries is None
    return _finding(
        f"{FOLDER} is not there: WSL has mounted nothing of Windows' driver"
        if nothing
        else "Windows has handed over no library of an NVIDIA driver",
        "Windows has no NVIDIA driver, one that is too old for WSL2, or one that was installed while WSL ran."
        + ("" if setup.stored is None else _of_store(setup.stored)),
        (
            Evidence(source=FOLDER, excerpt="is not there" if nothing else f"has no {listed(LIBRARIES, 'and no')}"),
            *_no_adapter(setup),
            *((Evidence(source=STORE, excerpt=listed(setup.stored[:3])),) if setup.stored else ()),
        ),
        (RESTART, UPDATE_WINDOWS),
    )


def _of_store(stored: tuple[str, ...]) -> str:
    return " There is one in Windows' driver store." if stored else " There is none in Windows' driver store."


def _unknown_to_loader(
    setup: WslSetup, choices: tuple[LibraryChoice, ...], nvml: NvmlAnswer | Unknown, cuda: CudaAnswer | Unknown
) -> tuple[str, ...]:
    """The libraries that lie in FOLDER and that the loader does not find, by its own word where it was asked."""
    return tuple(
        choice.soname
        for choice in choices
        if choice.soname in setup.brings
        and choice.taken is None
        and choice.why_unknown is None
        and (isinstance(answer := _answer(choice.soname, nvml, cuda), Unknown) or answer.library is None)
    )


def _not_on_path(setup: WslSetup, hidden: tuple[str, ...]) -> Finding:
    off = setup.switched_off("automount.ldconfig")
    changed = isinstance(setup.loader_file, str) and FOLDER not in setup.loader_file
    if off:
        why = Evidence(source=CONFIGURATION, excerpt="[automount] ldconfig = false")
    elif changed:
        why = Evidence(source=LOADER_FILE, excerpt=f"does not name {FOLDER}")
    elif setup.loader_file is None:
        why = Evidence(source=LOADER_FILE, excerpt="is not there")
    else:
        why = Evidence(source="ldconfig -p", excerpt=f"has no library of {FOLDER}")
    return _finding(
        f"the loader does not find {listed(hidden)} of Windows' driver, in {FOLDER}",
        f"WSL tells the loader of that folder at each start, by {LOADER_FILE}"
        + (f", unless {CONFIGURATION} keeps it from that, as here." if off else "; here that did not come to pass."),
        (Evidence(source=FOLDER, excerpt=f"has {listed(setup.brings)}"), why),
        (
            Remedy(
                summary="for this shell: name the folder to the loader",
                commands=(f"export LD_LIBRARY_PATH={FOLDER}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}",),
            ),
            Remedy(
                summary="for all programs: write it down for the loader"
                + (f", and take ldconfig=false out of {CONFIGURATION}" if off else ""),
                commands=(f"echo {FOLDER} | sudo tee {LOADER_FILE}", "sudo ldconfig"),
                needs_root=True,
                prediction="that libcuda.so.1 is not a symbolic link, as ldconfig then says, is harmless",
            ),
        ),
    )  # fmt: skip


def _windows_silent(nvml: NvmlAnswer) -> Finding:
    old = nvml.release is not None and nvml.release.branch < FIRST_BRANCH
    return _finding(
        f"Windows' driver {nvml.release} is older than WSL2 needs (branch {FIRST_BRANCH})"
        if old
        else "Windows' driver does not answer through WSL, though its libraries are here",
        "Mostly Windows' driver was replaced while WSL ran: until WSL starts anew, the libraries are those of the old"
        " one. A GPU in TCC mode, and Windows releases that do not support the GPU in WSL, look the same.",
        (*_evidence.of_nvml(nvml), Evidence(source="dlopen libnvidia-ml.so.1", excerpt=nvml.library or FOLDER)),
        (UPDATE_WINDOWS, RESTART) if old else (RESTART, LOOK, UPDATE_WINDOWS),
        confidence=Confidence.LIKELY,
        layers=(Layer.NVML,),
    )
