"""The GPU Operator's driver container on this node: its libraries are the loaded module's."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.driver_container import ROOT, VALIDATIONS, DriverContainer
from nvdiag.facts.modules import LoadedDriver
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Risk, Severity
from nvdiag.model.unknown import NotApplicable


@check("container-library-mismatch", area="container")
def the_driver_containers_libraries_are_the_modules_release(
    loaded: LoadedDriver, container: DriverContainer
) -> Iterator[Finding]:
    """The libraries of the GPU Operator's driver container are the release of the loaded kernel module."""
    if container.release is None:
        raise NotApplicable("no driver library with a release is in the driver container")
    if container.release == loaded.release:
        return
    yield Finding(
        id="container-library-mismatch",
        subject=ROOT,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"the driver container's libraries are {container.release}, the loaded kernel module is {loaded.release}",
        detail="Either the node has a driver of its own, whose module was loaded first, or the operator changed the"
        " driver and the old module could not be taken out. Pods get these libraries, and they do not fit the module."
        " While the operator is at work on this node it is so for some minutes.",
        evidence=(
            Evidence(source=container.library, excerpt=container.release.text),
            Evidence(source=loaded.source, excerpt=loaded.release.text),
            Evidence(source=VALIDATIONS, excerpt=", ".join(container.validations) or "nothing is ready"),
        ),
        remedies=(
            Remedy(
                summary="see what the operator does on this node",
                commands=("kubectl get pods --all-namespaces --output wide | grep -E 'nvidia-driver|driver-manager'",),
            ),
            Remedy(
                summary="a driver of the node's own: tell the operator to leave the driver alone",
                commands=("helm upgrade gpu-operator nvidia/gpu-operator --namespace gpu-operator --reuse-values"
                          " --set driver.enabled=false",),
                risk=Risk.DISRUPTIVE,
                prediction="it then uses the node's libraries, which must be the loaded module's",
            ),
            Remedy(
                summary="an old module that stayed: move the work to other nodes and reboot this one",
                commands=("kubectl drain NODE --ignore-daemonsets --delete-emptydir-data", "sudo reboot"),
                risk=Risk.DISRUPTIVE,
                needs_root=True,
                reboots=True,
                prediction="the driver container loads its own module at its next start",
            ),
        ),
        explains=frozenset({"libcuda-mismatch", "gpu-init-failed"}),
        layers=(Layer.LOADED_MODULE, Layer.NVML, Layer.LIBCUDA),
    )  # fmt: skip
