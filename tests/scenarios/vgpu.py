"""Guests with a virtual GPU, a guest with a whole one, and the host that makes virtual ones.

PCI ids are those of a Tesla T4 and its types, files those of NVIDIA's guest and host packages.
"""

from __future__ import annotations

import shlex
from typing import Any

from nvdiag.facts import vgpu
from nvdiag.facts.units import PROPERTIES
from tests.scenarios import machines
from tests.scenarios.tree import Tree

RELEASE = "535.183.06"
T4 = "0x1eb8"
T4_8Q, BOARD = "0x130f", "0x12a2"
"""Subsystem ids: of the type GRID T4-8Q, and of the board itself."""
PRODUCT = "NVIDIA RTX Virtual Workstation"


def unit(name: str, active: str, result: str = "success") -> dict[str, Any]:
    """What systemctl shows of a unit."""
    sub = {"active": "running", "failed": "failed"}.get(active, "dead")
    text = f"LoadState=loaded\nActiveState={active}\nSubState={sub}\nUnitFileState=enabled\nResult={result}\n"
    key = shlex.join(["systemctl", "show", f"--property={','.join(PROPERTIES)}", name])
    return {key: {"exit": 0, "stdout": text, "stderr": ""}}


def in_machine(*, subsystem: str, release: str | None = RELEASE) -> Tree:
    """A KVM guest with one T4, virtual or whole by its subsystem id, and Ubuntu's layout of a driver."""
    folder = f"/sys/bus/pci/devices/{machines.GPU}"
    base = machines.ubuntu_dkms(release, release, release, device=T4, flavour="proprietary")
    names = ("nvidia-driver-535", "nvidia-dkms-535", "libnvidia-compute-535") if release else ()
    return base.but(
        commands=machines.dpkg(*(f"{name}={release}-0ubuntu0.24.04.1" for name in names)),
        files={
            "/sys/class/dmi/id/sys_vendor": "QEMU\n",
            "/sys/class/dmi/id/product_name": "Standard PC (Q35 + ICH9, 2009)\n",
            f"{folder}/class": "0x030200\n",
            f"{folder}/subsystem_vendor": "0x10de\n",
            f"{folder}/subsystem_device": f"{subsystem}\n",
        },
    )


def nvml(*, mode: int, name: str, licensed: bool | None = None, release: str = RELEASE) -> dict[str, Any]:
    """NVML's answer for the one GPU; `licensed` None where there is nothing to license."""
    answer = machines.nvml_healthy(release, cuda=12020)
    licences = [] if licensed is None else [{"product": PRODUCT, "licensed": licensed, "enabled": True}]
    device = answer["devices"][0] | {"name": name, "virtualization": mode, "licences": licences}
    return answer | {"devices": [device]}


def guest(*, licensed: bool = True, daemon: str = "active", token: bool = True) -> Tree:
    """A guest with a GRID T4-8Q and NVIDIA's vGPU driver."""
    files = {vgpu.GRIDD: "", vgpu.GRIDD_CONFIGURATION: "# /etc/nvidia/gridd.conf\n#ServerAddress=\nFeatureType=1\n"}
    if token:
        files[f"{vgpu.TOKENS}/client_configuration_token_03-28-2025-16-20-58.tok"] = ""
    return in_machine(subsystem=T4_8Q).but(
        files=files,
        probes={"nvml": nvml(mode=vgpu.GUEST, name="GRID T4-8Q", licensed=licensed)},
        commands=unit(vgpu.GRIDD_UNIT, daemon) | machines.dpkg(f"nvidia-linux-grid-535={RELEASE}"),
        folders=(vgpu.TOKENS,),
    )


def guest_with_the_usual_driver() -> Tree:
    """The same guest after a distribution's driver has taken the vGPU driver's place: its module starts no GPU."""
    release = "535.247.01"
    base = in_machine(subsystem=T4_8Q, release=release).without(f"/sys/bus/pci/devices/{machines.GPU}/driver")
    found = {**machines.nvml_healthy(release, cuda=12020), "count": 0, "devices": []}
    cuda = {"library": f"{machines.MULTIARCH}/libcuda.so.{release}", "driver_version": 12020, "init": 100}
    return base.but(probes={"nvml": found, "cuda": {**cuda, "init_name": "CUDA_ERROR_NO_DEVICE"}})


def guest_without_driver() -> Tree:
    """The same guest as it is installed: no driver at all."""
    return in_machine(subsystem=T4_8Q, release=None).without("/usr/lib/modules", "/usr/src", "/var/lib/dkms")


def passed_through(*, grid: bool = False, wanted: bool = False) -> Tree:
    """A guest that was handed the whole T4: the usual driver is right, and so is the vGPU driver (`grid`)."""
    answer = nvml(mode=vgpu.PASSTHROUGH, name="Tesla T4", licensed=False if grid else None)
    machine = in_machine(subsystem=BOARD).but(probes={"nvml": answer})
    if not grid:
        return machine
    feature = "FeatureType=2" if wanted else "#FeatureType=0"
    return machine.but(
        files={vgpu.GRIDD: "", vgpu.GRIDD_CONFIGURATION: f"{feature}\n"}, commands=unit(vgpu.GRIDD_UNIT, "active")
    )


def host(*, manager: str = "active", guests: tuple[str, ...] = ("535.183.06",)) -> Tree:
    """A KVM host with NVIDIA's vGPU manager of branch 535, and guests with these drivers; it has no libcuda."""
    base = machines.ubuntu_dkms(RELEASE, RELEASE, RELEASE, device=T4, flavour="proprietary", submodules=())
    answer = nvml(mode=vgpu.HOST, name="Tesla T4")
    answer["devices"][0]["guests"] = [{"driver": one} for one in guests]
    gone = {"dlopen_error": "libcuda.so.1: cannot open shared object file: No such file or directory"}
    return (
        base.without(f"{machines.MULTIARCH}/libcuda")
        .but(
            files={"/sys/module/nvidia_vgpu_vfio/refcnt": "2\n"},
            probes={"nvml": answer, "cuda": gone},
            commands=unit(vgpu.MANAGER_UNIT, manager, "exit-code" if manager == "failed" else "success"),
        )
    )  # fmt: skip
