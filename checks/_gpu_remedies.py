"""Ways out for a GPU that asks for a restart, a reset or a repair."""

from __future__ import annotations

import shlex

from nvdiag.model.finding import Remedy, Risk

REBOOT = Remedy(
    summary="restart the machine: the driver itself asks for it",
    commands=("sudo reboot",),
    risk=Risk.DISRUPTIVE,
    needs_root=True,
    reboots=True,
    prediction="the GPU and the driver start anew; where the Xid comes back, the GPU or its slot needs a look",
)


def reset(gpu: str) -> tuple[Remedy, ...]:
    """Reset one GPU, by its PCI address where it is known; then what to do where that is refused."""
    return (
        Remedy(
            summary="end what uses the GPU, then reset it (on the host, not in a container)",
            commands=(
                "sudo fuser -v /dev/nvidia*",
                f"sudo nvidia-smi --gpu-reset -i {shlex.quote(gpu) if gpu else 'INDEX'}",
            ),
            risk=Risk.DISRUPTIVE,
            needs_root=True,
            prediction="the GPU starts anew, and everything that used it must be started again",
        ),
        Remedy(
            summary="where the reset is refused or does not help: switch the machine off and on",
            commands=("sudo poweroff",),
            risk=Risk.DISRUPTIVE,
            needs_root=True,
            reboots=True,
            prediction="power that was off for a minute also resets what a warm reboot keeps; where the Xid comes back"
            " even so, hand the GPU to support",
        ),
    )


def repair() -> tuple[Remedy, ...]:
    """What to do with a GPU that is to be tested and perhaps replaced."""
    return (
        Remedy(
            summary="write NVIDIA's report before anything else: support asks for it",
            commands=("sudo nvidia-bug-report.sh",),
            needs_root=True,
        ),
        Remedy(
            summary="take the GPU out of use and test it; then, switched off, check its seat, power cables and cooling",
            commands=("sudo dcgmi diag -r 3",),
            risk=Risk.DISRUPTIVE,
            needs_root=True,
            prediction="a GPU that fails the test, or fails again in another slot, is for its vendor to replace",
        ),
    )
