"""Jetson as it is set up: libraries, packages, kernel and containers of one L4T release, none for graphics cards."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.checks import _evidence
from nvdiag.checks.jetson import FOLLOWS, ONE_RELEASE, RELEASE, RUNTIME
from nvdiag.engine import check
from nvdiag.facts.answers import CudaAnswer
from nvdiag.facts.jetson import FOLDERS, LIBRARIES, MOUNTS, NVMAP, RELEASE_FILE, JetsonStack
from nvdiag.facts.libraries import DriverLibraries, Kind, LibraryCopy
from nvdiag.facts.pci import PciGpus
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import RunningKernel
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Risk, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import Unknown

_OF_OTHER_RELEASES = frozenset({"libcuda-mismatch", "driver-library-mismatch", "driver-disk-mismatch"})

FIRST_WITHOUT_NVGPU = 38
"""From this line on (Thor) the GPU's driver is the open kernel module with its own nodes, not nvgpu beside nvmap."""


@check("jetson-stack-mismatch", area="container")
def a_jetsons_parts_are_of_one_release(
    stack: JetsonStack,
    surroundings: Surroundings,
    libraries: DriverLibraries | Unknown,
    cuda: CudaAnswer | Unknown,
    gpus: PciGpus | Unknown,
    kernel: RunningKernel | Unknown,
) -> Iterator[Finding]:
    """On a Jetson, packages, kernel and a container's libraries are of one L4T release, and none are a desktop's."""
    works = isinstance(cuda, CudaAnswer) and cuda.init == 0 and cuda.count != 0
    running = kernel.release.text if isinstance(kernel, RunningKernel) else ""
    if surroundings.container:
        if not works:
            yield from _in_container(stack, running, libraries)
        return
    taken = libraries.libcuda.taken if isinstance(libraries, DriverLibraries) else None
    with_card = isinstance(gpus, PciGpus) and bool(gpus.gpus)
    lines = {release.numbers[:2] for _, release in stack.parts}
    if taken is not None and _of_desktop(taken) and not with_card and not works:
        yield _desktop(stack, taken)
    elif len(lines) > 1:
        yield _packages_differ(stack, failed=_failed(cuda))
    elif stack.kernel and running and running != stack.kernel and not works and (_failed(cuda) or not stack.nvmap):
        yield _other_kernel(stack, stack.kernel, running, cuda)
    elif stack.desktop and not with_card:
        yield _desktop(stack, None, works=works)
    elif stack.unmounted:
        yield _stale_mounts(stack)


def _failed(cuda: CudaAnswer | Unknown) -> bool:
    """Whether CUDA was asked and did not start."""
    return isinstance(cuda, CudaAnswer) and (cuda.init or 0) != 0


def _of_desktop(copy: LibraryCopy) -> bool:
    """A libcuda with a release of the usual driver in its name, outside L4T's own folders."""
    return copy.kind is Kind.DRIVER and not any(f"/{folder}/" in copy.file for folder in FOLDERS)


def _finding(
    title: str,
    detail: str,
    evidence: tuple[Evidence, ...],
    remedies: tuple[Remedy, ...],
    *,
    severity: Severity = Severity.ERROR,
    confidence: Confidence = Confidence.CERTAIN,
) -> Finding:
    return Finding(
        id="jetson-stack-mismatch",
        severity=severity,
        confidence=confidence,
        title=title,
        detail=detail,
        evidence=evidence,
        remedies=remedies,
        explains=FOLLOWS | _OF_OTHER_RELEASES if severity is Severity.ERROR else frozenset(),
        layers=(Layer.LIBCUDA,),
    )


def _of_release(stack: JetsonStack) -> Iterator[Evidence]:
    if stack.release is not None:
        yield Evidence(source=RELEASE_FILE, excerpt=f"R{stack.release}")


def _desktop(stack: JetsonStack, taken: LibraryCopy | None, *, works: bool = False) -> Finding:
    names = shlex.join(stack.desktop)
    away = Remedy(
        summary="remove the driver packages for graphics cards, then put L4T's own libraries back in their place",
        commands=(
            *((f"sudo apt-get remove --purge {names}",) if names else ()),
            "sudo apt-get install --reinstall nvidia-l4t-core nvidia-l4t-cuda nvidia-l4t-3d-core",
            "sudo ldconfig",
        ),
        risk=Risk.DISRUPTIVE,
        needs_root=True,
        prediction=f"the loader then takes libcuda of {LIBRARIES}/{_folder(stack)}; see first that apt names no"
        " nvidia-l4t package to be removed",
    )
    return _finding(
        "programs get the libcuda of a driver for graphics cards, not L4T's"
        if taken
        else f"driver packages for graphics cards are installed on this Jetson: {listed(stack.desktop[:4])}",
        "A Jetson's GPU is part of the chip, and its driver part of L4T. The drivers of distributions and of NVIDIA's"
        " CUDA repositories for servers (sbsa) do not know it; their libraries and modules are in the way.",
        (
            *((_evidence.of_library(taken),) if taken else ()),
            *((Evidence(source="dpkg-query", excerpt=", ".join(stack.desktop)),) if names else ()),
            *_of_release(stack),
        ),
        (away,),
        severity=Severity.ERROR if taken else Severity.INFO if works else Severity.WARNING,
        confidence=Confidence.CERTAIN if taken else Confidence.LIKELY,
    )


def _folder(stack: JetsonStack) -> str:
    return stack.folders[0] if stack.folders else FOLDERS[-1]


def _packages_differ(stack: JetsonStack, *, failed: bool) -> Finding:
    core = dict(stack.parts).get("nvidia-l4t-core")
    others = [f"{name} {release}" for name, release in stack.parts if core is None or release != core]
    return _finding(
        f"L4T's packages are of different releases: nvidia-l4t-core {core}, {listed(others[:3])}"
        if core
        else f"L4T's packages are of different releases: {listed(others[:3])}",
        ONE_RELEASE,
        (
            *(Evidence(source="dpkg-query", excerpt=f"{name} {release}") for name, release in stack.parts),
            *_of_release(stack),
        ),
        (
            Remedy(
                summary="bring all of them to one release, then reboot",
                commands=(
                    "grep -r repo.download.nvidia.com /etc/apt/sources.list.d/",
                    "sudo apt update",
                    f"sudo apt-get install {shlex.join(name for name, _ in stack.parts)}",
                    "sudo reboot",
                ),
                risk=Risk.DISRUPTIVE,
                needs_root=True,
                reboots=True,
                prediction="all lines there must name one release, such as r36.4; to another line (R35 to R36) the"
                " board is flashed anew",
            ),
        ),
        severity=Severity.ERROR if failed else Severity.WARNING,
        confidence=Confidence.LIKELY,
    )


def _other_kernel(stack: JetsonStack, wanted: str, running: str, cuda: CudaAnswer | Unknown) -> Finding:
    init = f"{cuda.init} {cuda.init_name or ''}".strip() if isinstance(cuda, CudaAnswer) and cuda.init else ""
    return _finding(
        f"the kernel {running} runs, and L4T's GPU modules are those of {wanted}",
        "L4T's driver works with its own kernel only, whose modules it brings. After an upgrade of L4T that kernel runs"
        " from the next boot on.",
        (
            Evidence(source="/proc/sys/kernel/osrelease", excerpt=running),
            Evidence(source="dpkg-query", excerpt=f"nvidia-l4t-kernel is of {wanted}"),
            *((Evidence(source=NVMAP, excerpt="is not there"),) if stack.nvmap is False else ()),
            *((Evidence(source="cuInit", excerpt=init),) if init else ()),
        ),
        (
            Remedy(
                summary="see which kernel boots, then boot L4T's",
                commands=("grep -E '^ *(LINUX|DEFAULT)' /boot/extlinux/extlinux.conf", "sudo reboot"),
                risk=Risk.DISRUPTIVE,
                needs_root=True,
                reboots=True,
                prediction="a reboot helps where LINUX names /boot/Image, which nvidia-l4t-kernel writes",
            ),
        ),
        confidence=Confidence.LIKELY,
    )


def _stale_mounts(stack: JetsonStack) -> Finding:
    return _finding(
        f"containers are to get {stack.unmounted[0]} of this board, which is not there",
        "The nvidia runtime gives a container the board's files that its CSV files name. These are of another L4T"
        " release than the board, so a container gets no libcuda.",
        (
            *(Evidence(source=MOUNTS, excerpt=f"lib, {path}: is not there") for path in stack.unmounted),
            *_of_release(stack),
        ),
        (
            Remedy(
                summary="have L4T write its CSV files again",
                commands=(
                    "sudo apt-get install --reinstall nvidia-l4t-init nvidia-container-toolkit",
                    f"grep -h libcuda {MOUNTS}/*.csv",
                ),
                needs_root=True,
                prediction=f"the paths must lie below {LIBRARIES}/{_folder(stack)}",
            ),
        ),
        severity=Severity.WARNING,
    )


def _in_container(stack: JetsonStack, running: str, libraries: DriverLibraries | Unknown) -> Iterator[Finding]:
    """A container gets the board's libraries, devices and kernel; what it brings itself must be of the same line."""
    from nvdiag.knowledge.jetson import lines_of_kernel

    board = lines_of_kernel(running)
    image = [("/etc/nv_tegra_release", stack.release)] if stack.release else []
    image += [(name, release) for name, release in stack.parts]
    other = [
        (source, release) for source, release in image if board and release.numbers[0] not in {one.l4t for one in board}
    ]
    taken = libraries.libcuda.taken if isinstance(libraries, DriverLibraries) else None
    unseen = [one for one in stack.folders if board and one == board[-1].folder and taken is None]
    here = f"the board runs L4T R{board[-1].l4t} (kernel {running})" if board else ""
    seen = Evidence(source="/proc/sys/kernel/osrelease", excerpt=running)
    if other:
        source, release = other[0]
        yield _finding(
            f"this image is made for L4T R{release.numbers[0]}, and {here}",
            ONE_RELEASE,
            (Evidence(source=source, excerpt=f"R{release}"), seen),
            (_take_image(board[-1].l4t, board[-1].jetpack), RELEASE),
            confidence=Confidence.LIKELY,
        )
    elif unseen:
        folder = f"{LIBRARIES}/{unseen[0]}"
        yield _finding(
            f"the board's libcuda is in {folder}, where this image's loader does not look",
            f"The image was made for another L4T line, whose libraries lie elsewhere; {here}.",
            (Evidence(source=folder, excerpt="has libcuda.so.1.1"), seen),
            (
                _take_image(board[-1].l4t, board[-1].jetpack),
                Remedy(
                    summary="or, in this container: tell the loader of the board's folder",
                    commands=(f"echo {folder} | tee /etc/ld.so.conf.d/nvidia-tegra.conf", "ldconfig"),
                    needs_root=True,
                ),
            ),
            confidence=Confidence.LIKELY,
        )
    elif stack.nvmap is False and board and board[-1].l4t < FIRST_WITHOUT_NVGPU:
        yield _finding(
            "this container has no /dev/nvmap, so Tegra's libraries do not reach the GPU",
            "It was started without the nvidia runtime, which gives the devices and mounts the board's libraries.",
            (Evidence(source=NVMAP, excerpt="is not there"), seen),
            (RUNTIME,),
            confidence=Confidence.LIKELY,
        )


def _take_image(l4t: int, jetpack: int) -> Remedy:
    return Remedy(
        summary=f"take an image for L4T R{l4t} (JetPack {jetpack}), and start it with the nvidia runtime",
        commands=(f"docker run --rm --runtime nvidia nvcr.io/nvidia/l4t-jetpack:r{l4t}.TAG ls -l /dev/nvmap",)
        if l4t < 38
        else (),
        prediction="the tag's first two numbers are those of /etc/nv_tegra_release on the board",
    )
