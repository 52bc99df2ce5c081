"""What messages say of a Jetson, whose driver is part of L4T: its parts and containers must be of one release."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages
from nvdiag.model.finding import Confidence, Finding, Remedy, Risk
from nvdiag.model.unknown import NotApplicable

ONE_RELEASE = (
    "A Jetson's GPU driver comes with L4T, not as a package of its own. Containers take its libraries from the board"
    " with the nvidia runtime, and an image for another L4T release finds other ones than it was built for."
)
FOLLOWS = frozenset({"libcuda-missing", "container-driver-libraries-missing", "gpu-init-failed", "no-cuda-device"})


@check("jetson-stack-mismatch", area="container")
def l4t_is_of_one_release(messages: Messages) -> Iterator[Finding]:
    """On a Jetson, libraries and containers are of the board's own L4T release."""
    said = messages.proving("jetson-stack-mismatch")
    forbidden = messages.named("tegra-nvmap-forbidden")
    confidence = None
    if not said and not forbidden:
        said, confidence = messages.named("tegra-init-failed"), Confidence.POSSIBLE
    if not said:
        raise NotApplicable("no message in the text tells of it")
    yield _said.finding(
        said,
        "jetson-stack-mismatch",
        confidence=confidence,
        detail=ONE_RELEASE,
        remedies=(RELEASE, RUNTIME, _PACKAGES),
        explains=FOLLOWS,
    )


RELEASE = Remedy(
    summary="see which L4T release the board has, and take an image and wheels for exactly that one",
    commands=("cat /etc/nv_tegra_release", "dpkg-query --show nvidia-l4t-core"),
    prediction="R35 is JetPack 5, R36 is JetPack 6, R38 is JetPack 7",
)

RUNTIME = Remedy(
    summary="start containers with the nvidia runtime",
    commands=("docker run --rm --runtime nvidia IMAGE ls -l /dev/nvmap",),
    prediction="it gives the devices and mounts the board's own libraries; --gpus alone does not on a Jetson",
)

_PACKAGES = Remedy(
    summary="bring all L4T packages to one release, and remove driver packages for desktop GPUs",
    commands=(
        "dpkg -l | grep -E 'nvidia-l4t-|nvidia-driver|libnvidia-compute'",
        "sudo apt update",
        "sudo apt install --fix-broken",
    ),
    risk=Risk.DISRUPTIVE,
    needs_root=True,
    prediction="all nvidia-l4t packages must show the same release; another kernel than L4T's has no GPU modules",
)
