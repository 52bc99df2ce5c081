"""What compilers and build tools say: a toolkit that is absent, too old, or not the one that is meant."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages
from nvdiag.model.finding import Finding, FindingClass, Layer, Remedy, Severity

_SEE_TOOLKITS = Remedy(
    summary="see which toolkits are here, and which one the build takes",
    commands=(
        "ls -d /usr/local/cuda* /opt/cuda /usr/lib/nvidia-cuda-toolkit 2>/dev/null",
        "type -a nvcc; nvcc --version",
        "env | grep -E '^(CUDA|PATH=|LD_LIBRARY_PATH|CPATH)'",
    ),
)


@check("nvcc-not-found", area="cuda")
def what_asks_for_nvcc_finds_it(messages: Messages) -> Iterator[Finding]:
    """No build and no program asks for a CUDA toolkit in vain."""
    said = _said.about(messages, "nvcc-not-found")
    only_typed = all(one.message.name == "shell-nvcc-not-found" for one in said)
    yield _said.finding(
        said,
        "nvcc-not-found",
        detail="nvcc is of the CUDA toolkit, which is installed apart from the driver; it is needed to build, not to"
        " run. The CUDA version in nvidia-smi's head is the driver's and says nothing of a toolkit.",
        severity=Severity.WARNING if only_typed else Severity.ERROR,
        kind=FindingClass.ENVIRONMENT,
        remedies=(
            _SEE_TOOLKITS,
            Remedy(
                summary="where a toolkit is here, point to it",
                commands=("export CUDA_HOME=/usr/local/cuda", "export PATH=$CUDA_HOME/bin:$PATH", "nvcc --version"),
                prediction="a build that has cached the failure (CMakeCache.txt) must begin in an empty folder",
            ),
            Remedy(
                summary="where there is none, install the toolkit alone, of the CUDA version that the framework was"
                " built with; in a container take the image whose tag has devel",
                commands=("python3 -c 'import torch; print(torch.version.cuda)'",),
                prediction="packages: cuda-toolkit-12-8 and its like from NVIDIA's repository, nvidia-cuda-toolkit on"
                " Debian and Ubuntu, cuda on Arch, cuda-nvcc from conda; the package named cuda may change the driver",
            ),
        ),
        layers=(Layer.TOOLKITS,),
    )


@check("toolkit-shadowed", area="cuda")
def builds_use_parts_of_one_toolkit(messages: Messages) -> Iterator[Finding]:
    """No build mixes two toolkits, or takes another one than it needs."""
    said = _said.about(messages, "toolkit-shadowed")
    yield _said.finding(
        said,
        "toolkit-shadowed",
        detail="PATH, CUDA_HOME, include folders or wheels lead to different toolkits, and the one that comes first is"
        " not the one that is meant.",
        kind=FindingClass.ENVIRONMENT,
        remedies=(
            _SEE_TOOLKITS,
            Remedy(
                summary="let all of them name the one toolkit that is meant, and build again in an empty folder",
                commands=(
                    "export CUDA_HOME=/usr/local/cuda-12.8 PATH=/usr/local/cuda-12.8/bin:$PATH",
                    "cmake -B build -DCUDAToolkit_ROOT=$CUDA_HOME -DCMAKE_CUDA_COMPILER=$CUDA_HOME/bin/nvcc",
                ),
                prediction="12.8 stands for the version that is meant",
            ),
            Remedy(
                summary="where the toolkit is made of wheels, bring nvidia-cuda-nvcc, nvidia-cuda-runtime,"
                " nvidia-cuda-crt and nvidia-cuda-cccl to one version",
                commands=("python3 -m pip list | grep -i nvidia-cuda",),
            ),
        ),
        explains=frozenset({"nvcc-not-found", "nvcc-arch-unsupported"}),
        layers=(Layer.TOOLKITS,),
    )


@check("toolkit-framework-mismatch", area="cuda")
def nvcc_is_of_the_frameworks_cuda(messages: Messages) -> Iterator[Finding]:
    """Extensions are built with the CUDA version that the framework was built with."""
    said = _said.about(messages, "toolkit-framework-mismatch")
    nvcc, built = _said.group(said, "nvcc"), _said.group(said, "built")
    meant = built or "the framework's CUDA version"
    yield _said.finding(
        said,
        "toolkit-framework-mismatch",
        title=f"nvcc is of CUDA {nvcc}, and the framework was built with CUDA {built}" if nvcc and built else "",
        detail="The extension would be linked with a CUDA runtime of another major version than the framework's own.",
        remedies=(
            Remedy(
                summary="compare the two",
                commands=("nvcc --version", "python3 -c 'import torch; print(torch.version.cuda)'"),
            ),
            Remedy(
                summary=f"use a toolkit of {'CUDA ' if built else ''}{meant}; another one may stay beside it",
                commands=("ls -d /usr/local/cuda-*", _export(built), "conda install -c nvidia cuda-nvcc"),
                prediction="the same major version is enough for PyTorch's own check",
            ),
            Remedy(
                summary=f"or install the framework's build for CUDA {nvcc or 'of this nvcc'}, or a finished wheel of"
                " the extension, which needs no nvcc",
            ),
        ),
        layers=(Layer.TOOLKITS,),
    )


def _export(version: str) -> str:
    home = shlex.quote(f"/usr/local/cuda-{version}") if version else "/usr/local/cuda-X.Y"
    return f"export CUDA_HOME={home} PATH={home}/bin:$PATH"
