"""The wheel of cuDNN or NCCL that goes with a program: by PyTorch's own builds, else by the CUDA major."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

from nvdiag.facts.python_packages import PythonPackages, TorchBuild
from nvdiag.model.finding import Remedy
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import Numbered

_SPOKEN: Mapping[str, str] = {"cudnn": "cuDNN", "nccl": "NCCL"}


def wheel(
    library: str, version: str, torch: TorchBuild | Unknown, packages: PythonPackages | Unknown
) -> Iterator[Remedy]:
    """How to have the right wheel of "cudnn" or "nccl"; `version` is the first number that is asked for, or empty."""
    python = torch.python if isinstance(torch, TorchBuild) and torch.python else "python3"
    own = _of_pytorch(library, torch)
    if isinstance(torch, TorchBuild) and own is not None and (not version or own.text.split(".")[0] == version[:1]):
        yield Remedy(
            summary=f"install the {_SPOKEN[library]} that PyTorch {torch.version} is made with, {own}",
            commands=(f"{shlex.quote(python)} -m pip install {_name(library, torch)}=={own}",),
            prediction="by pytorch/pytorch, RELEASE.md; neither root nor another PyTorch is needed",
        )
        return
    major = _cuda_major(torch, packages)
    if major is None:
        return
    from nvdiag.knowledge.cuda_wheels import wheel_of

    wanted = Numbered.or_none(version)
    try:
        row = wheel_of(library, major)
        there = row is not None and (wanted is None or row.has(wanted))
    except Unknown as why:
        yield Remedy(summary=f"see by hand which {_SPOKEN[library]} goes with it: {why}")
        return
    if row is not None and there:
        pinned = f"=={version}.*" if wanted is not None else ""
        yield Remedy(
            summary=f"install {_SPOKEN[library]} {version + ' ' if version else ''}for CUDA {major}, as a wheel",
            commands=(f"{shlex.quote(python)} -m pip install --upgrade {shlex.quote(row.name + pinned)}",),
            prediction=f"there are {row.first} to {row.last} for CUDA {major} ({row.source[0]})",
        )
    elif wanted is not None:
        yield Remedy(
            summary=f"there is no {_SPOKEN[library]} {version} for CUDA {major}: take a build of the program for"
            " another CUDA major"
            + (f", or a release of it for {_SPOKEN[library]} {row.first} or newer" if row else ""),
        )


def _of_pytorch(library: str, torch: TorchBuild | Unknown) -> Numbered | None:
    if isinstance(torch, Unknown):
        return None
    from nvdiag.knowledge.pytorch_builds import parts_of

    try:
        parts = parts_of(torch.version)
    except Unknown:
        return None
    return None if parts is None else parts.cudnn if library == "cudnn" else parts.nccl


def _name(library: str, torch: TorchBuild) -> str:
    return f"nvidia-{library}-cu{torch.cuda.major if torch.cuda else 12}"


def _cuda_major(torch: TorchBuild | Unknown, packages: PythonPackages | Unknown) -> int | None:
    """PyTorch's CUDA major, else that of the CUDA wheels where all of them are of one."""
    if isinstance(torch, TorchBuild) and torch.cuda is not None:
        return torch.cuda.major
    if isinstance(packages, Unknown):
        return None
    majors = {found[1] for name in packages.versions if (found := re.fullmatch(r"nvidia-[\w-]+-cu(\d\d)", name))}
    majors |= {version.partition(".")[0] for name in _WITHOUT_SUFFIX for version in packages.of(name)}
    return int(majors.pop()) if len(majors) == 1 else None


_WITHOUT_SUFFIX = ("nvidia-cublas", "nvidia-cuda-runtime", "nvidia-cuda-nvrtc")
"""From CUDA 13 on these wheels have the CUDA major in their version alone."""
