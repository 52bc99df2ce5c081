"""What messages say of WSL2, where the driver is Windows' and Linux has only its libraries and the device /dev/dxg."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.model.finding import Confidence, Finding, Remedy, Risk
from nvdiag.model.unknown import NotApplicable

WINDOWS_DRIVES = (
    "In WSL2 NVIDIA's driver is installed in Windows only. It brings libcuda, libnvidia-ml and nvidia-smi for Linux, in"
    " /usr/lib/wsl/lib. A Linux driver package inside hides them and has no module to load."
)
FOLLOWS = frozenset(
    {
        "driver-not-loaded", "driver-not-built", "driver-not-installed", "nvml-library-missing", "libcuda-missing",
        "gpu-init-failed", "no-cuda-device", "no-nvidia-gpu",
    }
)  # fmt: skip
_OF_CONTAINERS = ("shell-in-container", "shell-container-prompt", "shell-starts-container")


@check("wsl-driver-misinstalled", area="container")
def wsl_uses_the_windows_driver(messages: Messages) -> Iterator[Finding]:
    """In WSL2 the Windows driver is new enough for WSL, and no Linux driver hides its libraries."""
    said = messages.proving("wsl-driver-misinstalled")
    title = ""
    if not said and messages.named("wsl-kernel"):
        said, title = _linux_driver_wanted(messages)
    if not said:
        raise NotApplicable("no message in the text tells of it")
    yield _said.finding(
        said,
        "wsl-driver-misinstalled",
        title=title,
        confidence=Confidence.LIKELY if title else None,
        detail=WINDOWS_DRIVES,
        remedies=(RESTART, LOOK, _REMOVE, UPDATE_WINDOWS),
        explains=FOLLOWS,
    )


def _linux_driver_wanted(messages: Messages) -> tuple[tuple[Said, ...], str]:
    """A Linux module that is built or missed, or a program that finds no driver outside of containers."""
    module = messages.named("wsl-linux-module-wanted")
    if module:
        return module, "a Linux driver module is wanted in WSL2, where the driver is the one of Windows"
    inside = messages.named(*_OF_CONTAINERS)
    silent = messages.named("smi-cannot-communicate")
    if silent and not inside:
        return silent, "nvidia-smi in WSL2 asks for a Linux driver: it is not the one of /usr/lib/wsl/lib"
    lost = (
        *messages.named("program-finds-no-driver", "smi-not-found"),
        *(one for one in messages.proving("libcuda-missing") if "libcuda" in one.text),
    )
    if lost and not inside:
        return lost, "a program in WSL2 finds no driver: /usr/lib/wsl/lib is not used, or Windows' driver is too old"
    return (), ""


RESTART = Remedy(
    summary="in Windows: bring WSL up to date and start it anew",
    commands=("wsl.exe --update", "wsl.exe --shutdown"),
    risk=Risk.DISRUPTIVE,
    prediction="ends every running distribution; enough where only the Windows driver was replaced meanwhile",
)

LOOK = Remedy(
    summary="in WSL: see whether Windows offers the GPU, and which libraries are taken",
    commands=("ls -l /dev/dxg /usr/lib/wsl/lib", "/usr/lib/wsl/lib/nvidia-smi", "ldconfig -p | grep libcuda"),
    prediction="where that nvidia-smi works and a plain nvidia-smi does not, a Linux driver package hides it",
)

_REMOVE = Remedy(
    summary="remove Linux driver packages in WSL; the CUDA toolkit may stay (its package for WSL brings no driver)",
    commands=(
        "dpkg -l | grep -E 'nvidia-(driver|dkms|utils|kernel)|libnvidia-compute|libcuda1'",
        "sudo apt remove PACKAGE",
    ),
    needs_root=True,
    prediction="sudo ldconfig afterwards; install cuda-toolkit, not cuda or cuda-drivers",
)

UPDATE_WINDOWS = Remedy(
    summary="install NVIDIA's present driver in Windows, then wsl.exe --shutdown",
    risk=Risk.DISRUPTIVE,
    prediction="WSL2 needs Windows 11, or Windows 10 21H2, and a driver of branch 495 or newer",
)
