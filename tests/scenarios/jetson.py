"""Jetson boards of three L4T lines, and containers on them.

Texts of /etc/nv_tegra_release, package versions, folders and modules follow public reports of Orin on R35.4.1 and
R36.4.3 and of Thor on R38.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nvdiag.facts.jetson import LIBRARIES, MOUNTS
from tests.scenarios import machines
from tests.scenarios.tree import Tree


@dataclass(frozen=True)
class Board:
    """What one L4T line has on its board. `driver` is the release of its nvidia module, which shows pictures."""

    release: str
    text: str
    model: str
    chip: str
    kernel: str
    driver: str
    folder: str
    system: str
    stamp: str
    cuda: int
    nvml: bool


R35 = Board(
    release="35.4.1",
    text="# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64, DATE: Tue Aug  1 19:57:35 UTC"
    " 2023\n",
    model="NVIDIA Orin NX Developer Kit",
    chip="nvidia,tegra234",
    kernel="5.10.120-tegra",
    driver="35.4.1",
    folder="tegra",
    system='PRETTY_NAME="Ubuntu 20.04.6 LTS"\nVERSION_ID="20.04"\nID=ubuntu\nID_LIKE=debian\n',
    stamp="20230801124926",
    cuda=11040,
    nvml=False,
)
R36 = Board(
    release="36.4.3",
    text="# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC"
    " 2025\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n"
    "TARGET_USERSPACE_LIB_DIR_PATH=usr/lib/aarch64-linux-gnu/nvidia\n",
    model="NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
    chip="nvidia,tegra234",
    kernel="5.15.148-tegra",
    driver="540.4.0",
    folder="nvidia",
    system='PRETTY_NAME="Ubuntu 22.04.5 LTS"\nVERSION_ID="22.04"\nID=ubuntu\nID_LIKE=debian\n',
    stamp="20250107174145",
    cuda=12060,
    nvml=True,
)
R38 = Board(
    release="38.2.0",
    text="# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64, DATE: Fri Aug 22 00:55:42 UTC"
    " 2025\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n"
    "TARGET_USERSPACE_LIB_DIR_PATH=usr/lib/aarch64-linux-gnu/nvidia\nINSTALL_TYPE=\n",
    model="NVIDIA Jetson AGX Thor Developer Kit",
    chip="nvidia,tegra264",
    kernel="6.8.12-tegra",
    driver="580.00",
    folder="nvidia",
    system='PRETTY_NAME="Ubuntu 24.04.3 LTS"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n',
    stamp="20250821174705",
    cuda=13000,
    nvml=True,
)

NODE = "crw-rw----"


def packages(board: Board, **other: str) -> dict[str, Any]:
    """dpkg's answer on a board; `other` are packages, by names with underscores, of another version."""
    version = f"{board.release}-{board.stamp}"
    names = dict.fromkeys(("nvidia-l4t-core", "nvidia-l4t-cuda", "nvidia-l4t-3d-core", "nvidia-l4t-init"), version)
    names |= {"nvidia-l4t-firmware": version, "nvidia-l4t-kernel": f"{board.kernel}-{version}"}
    names |= {"nvidia-container-toolkit": "1.16.2-1", "libnvidia-container1": "1.16.2-1", "nvidia-jetpack": "6.2+b77"}
    names |= {name.replace("_", "-"): one for name, one in other.items()}
    return machines.dpkg(*(f"{name}={one}" for name, one in names.items()))


def libraries(folder: str, *, nvml: bool) -> Tree:
    """L4T's libcuda, and from R36 on its libnvidia-ml, as the loader finds them."""
    path = f"{LIBRARIES}/{folder}"
    files = {f"{path}/libcuda.so.1.1": 41_000_000} | ({f"{path}/libnvidia-ml.so.1": 1_900_000} if nvml else {})
    links = {f"{path}/libcuda.so.1": "libcuda.so.1.1", f"{path}/libcuda.so": "libcuda.so.1.1"}
    cached = (f"{path}/libcuda.so.1", *((f"{path}/libnvidia-ml.so.1",) if nvml else ()))
    return Tree(libraries=files, links=links, cached=cached)


def probes(board: Board) -> dict[str, Any]:
    """What the probes answer where all is well; NVML on Tegra refuses most questions."""
    path = f"{LIBRARIES}/{board.folder}"
    cuda = {"library": f"{path}/libcuda.so.1.1", "driver_version": board.cuda, "init": 0, "count": 1}
    gone = {"dlopen_error": "libnvidia-ml.so.1: cannot open shared object file: No such file or directory"}
    device = {"index": 0, "handle": 0, "name": "Orin (nvgpu)", "minor": 0, "errors": {"pci": 3, "memory_bytes": 3}}
    nvml = {
        "library": f"{path}/libnvidia-ml.so.1",
        "nvml_version": f"{board.cuda // 1000}.{board.driver}",
        "init": 0,
        "driver_version": board.driver,
        "cuda_driver_version": board.cuda,
        "count": 1,
        "devices": [device],
    }
    return {"nvml": nvml if board.nvml else gone, "cuda": cuda}


def mounts(folder: str) -> dict[str, str]:
    """The lines of libcuda in the CSV files for containers, among others."""
    path = f"{LIBRARIES}/{folder}"
    return {
        f"{MOUNTS}/drivers.csv": f"lib, {path}/libcuda.so.1.1\nsym, {LIBRARIES}/libcuda.so\nsym, {path}/libcuda.so\n"
        f"lib, {path}/libnvrm_gpu.so\n",
        f"{MOUNTS}/devices.csv": "dev, /dev/nvmap\ndev, /dev/nvhost-ctrl-gpu\n",
    }


def board(what: Board) -> Tree:
    """A board as it was flashed, with its driver at work."""
    root = f"/usr/lib/modules/{what.kernel}"
    module = "extra/opensrc-disp/nvidia.ko" if what is R35 else "updates/opensrc-disp/nvidia.ko"
    first = (
        f"NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  {what.driver}  Release Build  (buildbrain@mobile)\n"
    )
    files = {
        "/etc/os-release": what.system,
        "/etc/nv_tegra_release": what.text,
        "/proc/device-tree/model": f"{what.model}\0",
        "/proc/device-tree/compatible": f"nvidia,p3768-0000+p3767-0005\0{what.chip}\0",
        "/proc/sys/kernel/osrelease": f"{what.kernel}\n",
        "/proc/version": f"Linux version {what.kernel} (buildbrain@mobile-u64) #1 SMP PREEMPT\n",
        "/proc/stat": "btime 1757923862\n",
        "/proc/1/cgroup": "0::/init.scope\n",
        "/proc/self/mountinfo": "26 1 259:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw\n",
        "/proc/devices": machines.proc_devices(uvm=False),
        "/proc/driver/nvidia/version": first,
        "/sys/module/nvgpu/refcnt": "19\n",
        "/sys/module/nvidia/version": f"{what.driver}\n",
        "/sys/module/nvidia/refcnt": "1\n",
        "/sys/module/nvidia/taint": "OE\n",
        "/sys/module/nvidia_modeset/version": f"{what.driver}\n",
        "/sys/module/nvidia_modeset/refcnt": "0\n",
        "/sys/bus/pci/devices/0004:01:00.0/vendor": "0x144d\n",
        "/sys/bus/pci/devices/0004:01:00.0/class": "0x010802\n",
        "/boot/Image": "",
        "/boot/extlinux/extlinux.conf": "TIMEOUT 30\nDEFAULT primary\nLABEL primary\n      MENU LABEL primary kernel\n"
        "      LINUX /boot/Image\n      INITRD /boot/initrd\n",
        **machines.modules_dep(root, module),
        **mounts(what.folder),
    }
    nodes = {
        "/dev/null": (machines.MODE, "1:3"),
        "/dev/nvmap": (NODE, "10:124"),
        "/dev/nvidiactl": (machines.MODE, "195:255"),
        "/dev/nvidia0": (machines.MODE, "195:0"),
        "/dev/nvidia-modeset": (machines.MODE, "195:254"),
    }
    links = machines.MERGED_USR | {"/sys/module/nvidia/holders/nvidia_modeset": "../../nvidia_modeset"}
    base = Tree(
        files=files,
        links=links,
        nodes=nodes,
        modules={f"{root}/{module}": machines.module_fields(what.driver, what.kernel, signer=None)},
        probes=probes(what),
        commands=packages(what),
        machine="aarch64",
        folders=("/sys/module/nvidia_modeset/holders",),
    )
    return machines.joined(base, libraries(what.folder, nvml=what.nvml)).but(machine="aarch64")


def failing(what: Board) -> dict[str, Any]:
    """libcuda of this board loads and does not start."""
    path = f"{LIBRARIES}/{what.folder}/libcuda.so.1.1"
    return {"library": path, "driver_version": what.cuda, "init": 999, "init_name": "CUDA_ERROR_UNKNOWN"}


def container(what: Board, *, image: str, release: str | None = None, runtime: bool = True) -> Tree:
    """A Docker container on a board. `image` is the folder of its loader's configuration, `release` the text of its own
    /etc/nv_tegra_release; with the nvidia `runtime` the board's libraries and devices are in it."""
    given = libraries(what.folder, nvml=what.nvml) if runtime else Tree()
    known = given.cached if image == what.folder else ()
    files = {
        "/etc/os-release": what.system,
        "/.dockerenv": "",
        "/proc/self/mountinfo": machines.OVERLAY_ROOT,
        "/proc/sys/kernel/osrelease": f"{what.kernel}\n",
        "/proc/version": f"Linux version {what.kernel} (buildbrain@mobile-u64) #1 SMP PREEMPT\n",
        "/proc/stat": "btime 1757923862\n",
        "/sys/module/nvgpu/refcnt": "19\n",
        "/usr/local/cuda-12.6/version.json": '{"cuda": {"version": "12.6.1"}}',
        "/usr/local/cuda-12.6/bin/nvcc": "",
    }
    gone = {"dlopen_error": "cannot open shared object file: No such file or directory"}
    return Tree(
        files=files | ({"/etc/nv_tegra_release": release} if release else {}),
        links={**machines.MERGED_USR, **given.links},
        nodes={"/dev/null": (machines.MODE, "1:3")} | ({"/dev/nvmap": (NODE, "10:124")} if runtime else {}),
        libraries=given.libraries,
        cached=known,
        probes=probes(what) if known else {"nvml": gone, "cuda": gone},
        machine="aarch64",
    )
