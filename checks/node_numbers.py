"""Device nodes with the numbers that the loaded modules have, and nvidia_uvm, without which CUDA alone fails."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.answers import CudaAnswer, NvmlAnswer
from nvdiag.facts.char_devices import DEVICES, CharacterDevices
from nvdiag.facts.libraries import DriverLibraries
from nvdiag.facts.modules import KernelModules, LoadedDriver
from nvdiag.facts.nodes import MODPROBE_HELPER, DeviceNodes
from nvdiag.facts.python_packages import PythonPackages
from nvdiag.facts.slept import Slept
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.toolkits import Toolkits
from nvdiag.model.finding import Confidence, Evidence, Finding, Layer, Remedy, Risk, Severity
from nvdiag.model.unknown import NotApplicable, Unknown

_UNKNOWN = 999
"""CUDA_ERROR_UNKNOWN of cuda.h."""


_FOLLOWS = frozenset(
    {
        "gpu-init-failed", "no-cuda-device", "device-nodes-missing", "uvm-not-loaded", "container-devices-revoked",
        "container-cgroup-forbidden",
    }
)  # fmt: skip


@check("device-nodes-stale", area="device")
def nodes_have_the_modules_numbers(
    loaded: LoadedDriver, nodes: DeviceNodes, devices: CharacterDevices, surroundings: Surroundings
) -> Iterator[Finding]:
    """Each device node has the number that the loaded module has."""
    for path, stat in sorted(nodes.nodes.items()):
        wanted = devices.wanted(path)
        if wanted is None or stat.rdev == wanted:
            continue
        has = f"{stat.rdev[0]}:{stat.rdev[1]}" if stat.rdev else "none: it is no device node"
        mended = nodes.made_on_use and not surroundings.container
        yield Finding(
            id="device-nodes-stale",
            subject=path,
            severity=Severity.WARNING if mended else Severity.ERROR,
            confidence=Confidence.CERTAIN,
            title=f"{path} has the number {has}; the loaded module has {wanted[0]}:{wanted[1]}",
            detail="A node is a name for a number. A udev rule, a script or an image that has the number written in it,"
            " or a node kept since the module was loaded anew, leads nowhere."
            + (f" {MODPROBE_HELPER} is setuid root and mends it when a program asks." if mended else ""),
            evidence=(
                Evidence(source=path, excerpt=f"{stat.mode} {has}"),
                Evidence(source=DEVICES, excerpt=f"{wanted[0]} {path.removeprefix('/dev/')}"),
            ),
            remedies=(_anew(path, surroundings),),
            explains=_FOLLOWS,
            layers=(Layer.GPU,),
        )


def _anew(path: str, surroundings: Surroundings) -> Remedy:
    if surroundings.container:
        from nvdiag.checks import _container_ways

        return _container_ways.restart(surroundings)
    return Remedy(
        summary="remove the node and have it made anew",
        commands=(f"sudo rm {path}", "sudo nvidia-modprobe -c 255 -c 0", "sudo nvidia-modprobe -u -c 0"),
        risk=Risk.DISRUPTIVE,
        needs_root=True,
        prediction="if the wrong one comes back, look for mknod in /etc/udev/rules.d and start-up scripts",
    )


@check("uvm-not-loaded", area="device")
def nvidia_uvm_is_loaded(
    loaded: LoadedDriver,
    modules: KernelModules,
    nodes: DeviceNodes,
    nvml: NvmlAnswer,
    libraries: DriverLibraries | Unknown,
    toolkits: Toolkits | Unknown,
    python: PythonPackages | Unknown,
    surroundings: Surroundings,
) -> Iterator[Finding]:
    """nvidia_uvm is loaded, which CUDA needs."""
    if "nvidia_uvm" in modules.others:
        return
    if surroundings.tegra or surroundings.wsl or surroundings.sandbox:
        raise NotApplicable("CUDA needs no such module here")
    if nvml.init != 0:
        raise NotApplicable("NVML does not answer either, so CUDA's own module is not what is missing")
    if not isinstance(libraries, DriverLibraries) or libraries.libcuda.taken is None:
        raise NotApplicable("no libcuda is installed, so nobody needs nvidia_uvm")
    on_use = nodes.made_on_use and not surroundings.container
    if not on_use and not surroundings.container and not _wants_cuda(toolkits, python):
        raise NotApplicable("nvidia_uvm is not loaded, and nothing here asks for CUDA: no toolkit and no framework")
    if "nvidia_uvm" in modules.unseen:
        raise Unknown(f"whether nvidia_uvm is loaded: {modules.unseen['nvidia_uvm']}")
    from nvdiag.checks.node_messages import LOAD_UVM

    yield Finding(
        id="uvm-not-loaded",
        severity=Severity.INFO if on_use else Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title="nvidia_uvm is not loaded" + (" yet; CUDA's first program loads it" if on_use else ", and CUDA needs it"),
        detail=f"{MODPROBE_HELPER} is setuid root and loads it on a program's first use, so this may be well."
        if on_use
        else "nvidia-smi works without it. A container cannot load it: the host must."
        if surroundings.container
        else f"nvidia-smi works without it. No setuid {MODPROBE_HELPER} is here to load it for users who are not root.",
        evidence=(
            Evidence(source="/sys/module/nvidia_uvm", excerpt="not there"),
            Evidence(source=loaded.source, excerpt=loaded.release.text),
        ),
        remedies=() if on_use else (LOAD_UVM,),
        explains=frozenset({"no-cuda-device"}),
        layers=(Layer.LIBCUDA,),
    )


def _wants_cuda(toolkits: Toolkits | Unknown, python: PythonPackages | Unknown) -> bool:
    """Whether somebody installed what is of no use without CUDA."""
    if isinstance(toolkits, Toolkits) and toolkits.found:
        return True
    packages = python.versions if isinstance(python, PythonPackages) else {}
    return any(
        name.startswith(("torch", "jax-cuda", "cupy-cuda", "nvidia-cuda-runtime"))
        and not all(version.endswith("+cpu") for version in versions)
        for name, versions in packages.items()
    )


@check("uvm-broken-after-suspend", area="device")
def cuda_works_since_the_last_suspend(cuda: CudaAnswer, nvml: NvmlAnswer, slept: Slept) -> Iterator[Finding]:
    """CUDA does not fail with 999 on a machine that slept since the driver was loaded."""
    if cuda.init != _UNKNOWN or nvml.init != 0:
        return
    from nvdiag.checks.node_messages import RELOAD_UVM

    yield Finding(
        id="uvm-broken-after-suspend",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title="CUDA fails with 999 (unknown error), and the machine was suspended since the driver was loaded",
        detail="nvidia_uvm often does not survive a suspend: what it kept in the GPU's memory is gone.",
        evidence=(Evidence(source="cuInit", excerpt=f"{cuda.init} {cuda.init_name or ''}".strip()), slept.evidence),
        remedies=(RELOAD_UVM,),
        explains=frozenset({"no-cuda-device"}),
        layers=(Layer.LIBCUDA,),
    )
