"""Ways out where a program's CUDA and the driver do not go together, by the tables: builds first, drivers last."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nvdiag.facts.driver_limits import DriverLimits
from nvdiag.facts.python_packages import TorchBuild
from nvdiag.facts.toolkits import Toolkit, Toolkits
from nvdiag.model.finding import Evidence, Remedy
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion, DriverRelease

if TYPE_CHECKING:
    from nvdiag.knowledge.cuda import BranchRow, ToolkitRow

_INDEX = "https://download.pytorch.org/whl"
"""Below it lies an index for each build: PyTorch's installation page names it so."""


def pytorch_builds(limits: DriverLimits | Unknown, torch: TorchBuild | Unknown) -> Iterator[Remedy]:
    """PyTorch's builds for this driver and these GPUs, the release that is installed where there is one of it."""
    if isinstance(limits, Unknown):
        return
    from nvdiag.knowledge.pytorch_builds import builds_for, release_of

    wanted = release_of(torch.version) if isinstance(torch, TorchBuild) else None
    python = torch.python if isinstance(torch, TorchBuild) and torch.python else "python3"
    for row in builds_for(limits.cuda, limits.release, _capabilities(limits), wanted):
        major, minor = row.nearest(wanted)
        how = "which this driver supports in full"
        if not row.is_full_on(limits.cuda):
            how = f"which this driver runs by minor-version compatibility (CUDA {row.cuda.major}.x {_from(row.cuda)})"
        yield Remedy(
            summary=f"without touching the driver: PyTorch {major}.{minor} built for CUDA {row.cuda}, {how}",
            commands=(
                f"{shlex.quote(python)} -m pip install --force-reinstall 'torch=={major}.{minor}.*'"
                f" --index-url {_INDEX}/{row.index}",
            ),
            prediction="neither root nor a reboot; take torchvision and torchaudio from the same index"
            f" ({row.source[0]})",
        )


def _capabilities(limits: DriverLimits) -> list[tuple[int, int]]:
    """Of each GPU the one that asks least, where only its generation is known."""
    found = []
    for gpu in limits.gpus:
        major, _, minor = gpu.capabilities[0].partition(".")
        found.append((int(major), int(minor)))
    return found


def other_build(limits: DriverLimits | Unknown) -> Remedy:
    """Any program's build: of the driver's CUDA, or within its major where it is new enough for that."""
    if isinstance(limits, Unknown):
        return Remedy(
            summary="without touching the driver: take a build, a wheel or an image for the CUDA version that"
            " nvidia-smi prints in its head, or older",
            prediction="within one CUDA major (from 11 on) a newer minor version mostly runs too",
        )
    within = ""
    if _runs_its_major(limits):
        within = f", or for any CUDA {limits.cuda.major}.x ({_from(limits.cuda)})"
    return Remedy(
        summary=f"without touching the driver: take a build, a wheel or an image for CUDA {limits.cuda} or older"
        f"{within}",
        prediction="minor-version compatibility ends at PTX of a newer toolkit, which this driver cannot compile, and"
        " at calls that came later"
        if within
        else "",
    )


def _runs_its_major(limits: DriverLimits) -> bool:
    from nvdiag.knowledge.cuda import lowest_driver

    try:
        lowest = lowest_driver(limits.cuda.major)
    except Unknown:
        return False
    if lowest is None or limits.release is None:
        return lowest is not None
    return limits.release >= lowest if isinstance(lowest, DriverRelease) else limits.release.branch >= lowest


def _from(cuda: CudaVersion) -> str:
    """The drivers on which a CUDA major runs, in words: `from driver 525.60.13`."""
    from nvdiag.knowledge.cuda import lowest_driver

    lowest = lowest_driver(cuda.major)
    return f"from driver {lowest}" if isinstance(lowest, DriverRelease) else f"from driver branch {lowest}"


_FIRST_OF_CONDA = CudaVersion.of("11.8")
"""From here on NVIDIA's conda channel has the toolkits in parts."""


def conda_nvcc(cuda: CudaVersion) -> tuple[str, ...]:
    """How to have the newest nvcc up to a CUDA version without root; nothing where the channel has none."""
    from nvdiag.knowledge.cuda import toolkits

    newest = max((row.cuda for row in toolkits() if row.cuda <= cuda.short), default=None)
    return (f"conda install -c nvidia cuda-nvcc={newest}",) if newest is not None and newest >= _FIRST_OF_CONDA else ()


def toolkits_of(major: int, toolkits: Toolkits) -> list[Toolkit]:
    """The toolkits here of a CUDA major that have an nvcc, in a folder that is known."""
    return [
        one
        for one in toolkits.found
        if one.nvcc and one.version is not None and one.version.major == major and one.root.startswith("/")
    ]


def build_with(toolkit: Toolkit, prediction: str) -> Remedy:
    """Build with a toolkit that is here."""
    root = shlex.quote(toolkit.root)
    return Remedy(
        summary=f"build with the toolkit at {toolkit.root}, which is of CUDA {toolkit.version}",
        commands=(f"export CUDA_HOME={root} PATH={root}/bin:$PATH",),
        prediction=prediction,
    )


def forward_compatible(needed: CudaVersion | None, limits: DriverLimits | Unknown) -> Iterator[Remedy]:
    """cuda-compat for a newer CUDA major, where all GPUs may use it and the driver's branch is one of its bases."""
    from nvdiag.knowledge.forward_compat import never_on, package_for

    if needed is None or isinstance(limits, Unknown) or limits.release is None or not limits.names:
        return
    package = package_for(needed, limits.release.branch)
    if package is not None and not any(never_on(name) for name in limits.names):
        folder = f"/usr/local/cuda-{package.cuda}/compat"
        yield Remedy(
            summary=f"keep the driver and put {package.name} before its libcuda: data-centre GPUs and some RTX boards"
            " may use it",
            commands=(f"sudo apt install {package.name}", f"export LD_LIBRARY_PATH={folder}:$LD_LIBRARY_PATH"),
            needs_root=True,
            prediction=f"it is for modules of branches {', '.join(map(str, package.bases))} ({package.source[0]});"
            " other GPUs answer 804; images of CUDA bring it along",
        )


def newer_driver(needed: CudaVersion | None, limits: DriverLimits | Unknown) -> Remedy:
    """The driver that this CUDA version needs; that there is none where the GPU's last branch is older."""
    row, why = _toolkit(needed)
    if row is None or needed is None:
        return Remedy(
            summary="update the driver to the branch of the CUDA version that the program brings"
            + (f" ({why})" if why else "")
            + "; in a container or under WSL that is the host's or Windows' driver",
            needs_root=True,
            reboots=True,
            prediction="see first that the newer branch still supports every GPU in the machine",
        )
    lowest = row.lowest.branch if isinstance(row.lowest, DriverRelease) else row.lowest
    if ended := _ended_before(needed, lowest, limits):
        return Remedy(summary=f"no newer driver helps: {ended}")
    own = f"driver {row.driver}" if row.driver else f"branch {row.branch}"
    return Remedy(
        summary=f"or update the driver: CUDA {needed.major}.x runs {_from(needed)}, and all of CUDA {needed.short} from"
        f" {own} on; in a container or under WSL that is the host's or Windows' driver"
        if needed.major >= FIRST_WITH_MINOR_COMPATIBILITY
        else f"or update the driver to {row.driver} or newer, for CUDA {needed.short}",
        needs_root=True,
        reboots=True,
        prediction="see first that the branch still supports every GPU in the machine",
    )


FIRST_WITH_MINOR_COMPATIBILITY = 11
"""The first CUDA major whose minor versions run on each other's drivers."""


def _toolkit(needed: CudaVersion | None) -> tuple[ToolkitRow | None, str]:
    """The table's row of a CUDA version; why there is none."""
    from nvdiag.knowledge.cuda import toolkit

    if needed is None:
        return None, ""
    try:
        return toolkit(needed.short), ""
    except Unknown as why:
        return None, str(why)


def _ended_before(needed: CudaVersion, branch: int, limits: DriverLimits | Unknown) -> str:
    """Which GPU has neither a driver of this branch nor code by this CUDA, in words; empty where none is known to."""
    from nvdiag.knowledge.compute_capabilities import compute

    for gpu in limits.gpus if isinstance(limits, DriverLimits) else ():
        row = compute(gpu.capabilities[0]) if len(gpu.capabilities) == 1 else None
        if row is not None and row.last_driver is not None and row.last_driver < branch:
            return (
                f"branch {row.last_driver} is the last for {gpu.gpu} ({row.name}), and CUDA {needed.short} needs branch"
                f" {branch} or newer"
            )
        if row is not None and row.last is not None and row.last < needed.short:
            return f"CUDA {row.last} is the last that makes code for {gpu.gpu} ({row.name}), not CUDA {needed.short}"
    return ""


def of_tables(needed: CudaVersion | None, limits: DriverLimits | Unknown) -> Iterator[Evidence]:
    """The rows that a verdict rests on: what the driver's branch supports, and what the CUDA version needs."""
    if isinstance(limits, DriverLimits) and limits.release is not None:
        own = _branch(limits.release.branch)
        if own is not None and own.cuda is not None:
            yield Evidence(
                source=f"nvdiag's table of driver branches, {own.branch} ({own.source[0]})",
                excerpt=f"CUDA up to {own.cuda}",
            )
    row, _ = _toolkit(needed)
    if row is not None:
        lowest = row.lowest if isinstance(row.lowest, DriverRelease) else f"branch {row.lowest}"
        yield Evidence(
            source=f"nvdiag's table of toolkits, {row.release} ({row.source[0]})", excerpt=f"from driver {lowest} on"
        )


def _branch(branch: int) -> BranchRow | None:
    from nvdiag.knowledge.cuda import branches

    return next((row for row in branches() if row.branch == branch), None)
