"""Machines in the layouts of real distributions, with the driver in the state that a test asks for.

Paths, package names, texts of /proc and of modinfo follow what the distributions and NVIDIA's packages have; release
numbers are of real releases. `loaded`, `disk` and `libraries` are the driver's releases in memory, of the module file
and of the user-space libraries; None means that it is not there.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nvdiag.facts import packages as package_facts
from tests.scenarios.tree import Tree

UBUNTU_KERNEL = "6.8.0-85-generic"
GPU = "0000:01:00.0"
RTX_4090 = "0x2684"

MODE = "crw-rw-rw-"
UBUNTU_RELEASE = (
    'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nNAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n'
    "VERSION_CODENAME=noble\n"
)
DEBIAN_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
FEDORA_RELEASE = 'NAME="Fedora Linux"\nVERSION_ID=42\nID=fedora\nPRETTY_NAME="Fedora Linux 42 (Workstation Edition)"\n'
ROCKY_RELEASE = (
    'NAME="Rocky Linux"\nVERSION_ID="9.6"\nID="rocky"\nID_LIKE="rhel centos fedora"\nPRETTY_NAME="Rocky Linux 9.6"\n'
)
SUSE_RELEASE = 'NAME="openSUSE Leap"\nVERSION_ID="15.6"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\n'
ARCH_RELEASE = 'NAME="Arch Linux"\nPRETTY_NAME="Arch Linux"\nID=arch\n'

MULTIARCH = "/usr/lib/x86_64-linux-gnu"
MERGED_USR = {"/lib": "usr/lib", "/bin": "usr/bin", "/sbin": "usr/sbin"}

DISK_ROOT = "21 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"
OVERLAY_ROOT = "612 530 0:61 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w\n"


def kernel_side(
    loaded: str | None,
    *,
    kernel: str = UBUNTU_KERNEL,
    gpus: tuple[str, ...] = (GPU,),
    device: str = RTX_4090,
    held_by: str | None = "nvidia",
    flavour: str = "open",
    submodules: tuple[str, ...] = ("nvidia_uvm", "nvidia_modeset", "nvidia_drm"),
) -> Tree:
    """What sysfs and /proc show: GPUs on the bus and, where a release is loaded, its modules and nodes."""
    files: dict[str, str] = {
        "/proc/sys/kernel/osrelease": f"{kernel}\n",
        "/proc/version": f"Linux version {kernel} (builder@host) (gcc) #1 SMP\n",
        "/proc/stat": "cpu  1 2 3 4\nbtime 1757923862\nprocesses 9\n",
        "/proc/1/cgroup": "0::/init.scope\n",
        "/proc/self/mountinfo": DISK_ROOT,
        "/sys/bus/pci/devices/0000:00:02.0/vendor": "0x8086\n",
        "/sys/bus/pci/devices/0000:00:02.0/class": "0x030000\n",
        "/sys/module/ext4/refcnt": "2\n",
    }
    links: dict[str, str] = {}
    for address in gpus:
        folder = f"/sys/bus/pci/devices/{address}"
        files |= {f"{folder}/vendor": "0x10de\n", f"{folder}/device": f"{device}\n", f"{folder}/class": "0x030000\n"}
        if held_by and (loaded or held_by != "nvidia"):
            links[f"{folder}/driver"] = f"../../../../bus/pci/drivers/{held_by}"
    nodes: dict[str, tuple[str, str]] = {"/dev/null": (MODE, "1:3")}
    folders: list[str] = []
    if loaded:
        taint = "OE" if flavour == "open" else "POE"
        users = {"nvidia": 2, "nvidia_modeset": 1}
        files |= {
            "/sys/module/nvidia/taint": f"{taint}\n",
            "/proc/driver/nvidia/version": version_text(loaded, flavour),
            "/proc/devices": proc_devices(uvm="nvidia_uvm" in submodules),
        }
        for name in ("nvidia", *submodules):
            files |= {
                f"/sys/module/{name}/version": f"{loaded}\n",
                f"/sys/module/{name}/refcnt": f"{users.get(name, 0)}\n",
            }
            folders.append(f"/sys/module/{name}/holders")
        for name in submodules:
            below = "nvidia_modeset" if name == "nvidia_drm" else "nvidia"
            links[f"/sys/module/{below}/holders/{name}"] = f"../../{name}"
        nodes |= {"/dev/nvidiactl": (MODE, "195:255"), "/dev/nvidia-modeset": (MODE, "195:254")}
        nodes |= {f"/dev/nvidia{index}": (MODE, f"195:{index}") for index in range(len(gpus))}
        if "nvidia_uvm" in submodules:
            nodes |= {"/dev/nvidia-uvm": (MODE, "510:0"), "/dev/nvidia-uvm-tools": (MODE, "510:1")}
    return Tree(files=files, links=links, nodes=nodes, folders=tuple(folders))


def proc_devices(*, uvm: bool) -> str:
    """/proc/devices as branches from 545 on have their entries."""
    dynamic = "510 nvidia-uvm\n" if uvm else ""
    return (
        "Character devices:\n  1 mem\n195 nvidia\n195 nvidiactl\n195 nvidia-modeset\n508 nvidia-caps\n"
        f"{dynamic}\nBlock devices:\n259 blkext\n"
    )


def version_text(release: str, flavour: str) -> str:
    """/proc/driver/nvidia/version as the two flavours write it."""
    if flavour == "open":
        first = f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {release}  Release Build  (dvs-builder@U22)"
    else:
        first = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {release}  Wed Apr 29 17:32:45 UTC 2026"
    return f"{first}\nGCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)\n"


def module_fields(
    release: str, kernel: str, flavour: str = "open", signer: str | None = "DKMS module signing key"
) -> dict[str, str]:
    """The .modinfo of nvidia.ko of one release, built for one kernel."""
    fields = {
        "version": release,
        "license": "Dual MIT/GPL" if flavour == "open" else "NVIDIA",
        "vermagic": f"{kernel} SMP preempt mod_unload modversions ",
        "name": "nvidia",
    }
    return fields | ({"sig_id": "PKCS#7", "signer": signer} if signer else {})


def library_files(release: str, folder: str) -> Tree:
    """The driver's libraries of one release in one folder, as every distribution's package links them."""
    links, libraries = {}, {}
    sizes = {"libnvidia-ml": 2_200_000, "libcuda": 88_000_000, "libnvidia-ptxjitcompiler": 38_000_000}
    for stem, size in sizes.items():
        links[f"{folder}/{stem}.so.1"] = f"{stem}.so.{release}"
        libraries[f"{folder}/{stem}.so.{release}"] = size
    return Tree(links=links, libraries=libraries, cached=tuple(sorted(links)))


def joined(*trees: Tree) -> Tree:
    """Several trees as one machine."""
    whole = trees[0]
    for tree in trees[1:]:
        whole = whole.but(
            files=dict(tree.files), links=dict(tree.links), nodes=dict(tree.nodes), modules=dict(tree.modules),
            images=dict(tree.images), refused=dict(tree.refused), libraries=dict(tree.libraries),
            needs=dict(tree.needs),
            commands=dict(tree.commands), probes=dict(tree.probes), env=dict(tree.env),
            opens=dict(tree.opens), cached=(*whole.cached, *tree.cached), folders=(*whole.folders, *tree.folders),
        )  # fmt: skip
    return whole


def gsp_firmware(release: str) -> dict[str, str]:
    """The GSP firmware of one release, as each distribution's package has it."""
    return {f"/usr/lib/firmware/nvidia/{release}/{name}": "" for name in ("gsp_ga10x.bin", "gsp_tu10x.bin")}


def modules_dep(root: str, *paths: str) -> dict[str, str]:
    """modules.dep of a kernel with these module files, as depmod writes it."""
    lines = ["kernel/fs/ext4/ext4.ko.zst: kernel/lib/crc16.ko.zst", *(f"{path}:" for path in paths)]
    return {f"{root}/modules.dep": "\n".join(lines) + "\n"}


def nvml_healthy(release: str, gpus: tuple[str, ...] = (GPU,), cuda: int = 12080) -> dict[str, Any]:
    """What the NVML probe answers where all is well."""
    devices = [
        {
            "index": index,
            "handle": 0,
            "name": "NVIDIA GeForce RTX 4090",
            "uuid": f"GPU-0000000{index}-1111-2222-3333-444444444444",
            "pci": f"0000{address}",
            "minor": index,
            "memory_bytes": {"total": 25757220864, "used": 1073741824, "free": 24683479040},
            "compute_capability": "8.9",
            "utilisation_percent": 37,
            "temperature_celsius": 41,
            "power_milliwatts": 61000,
            "power_limit_milliwatts": 450000,
            "compute_processes": [{"pid": 4242, "memory_bytes": 1069547520, "name": "llama-server"}],
            "graphics_processes": [],
            "errors": {"mig_mode": 3},
        }
        for index, address in enumerate(gpus)
    ]
    return {
        "library": f"{MULTIARCH}/libnvidia-ml.so.{release}",
        "nvml_version": f"{cuda // 1000}.{release}",
        "init": 0,
        "driver_version": release,
        "cuda_driver_version": cuda,
        "count": len(gpus),
        "devices": devices,
    }


def probes(
    loaded: str | None, libraries: str | None, gpus: tuple[str, ...] = (GPU,), cuda: int = 12080
) -> dict[str, Any]:
    """The probes' answers that follow from what is loaded and installed."""
    missing = "cannot open shared object file: No such file or directory"
    if libraries is None:
        return {
            "nvml": {"dlopen_error": f"libnvidia-ml.so.1: {missing}"},
            "cuda": {"dlopen_error": f"libcuda.so.1: {missing}"},
        }
    libcuda = {"library": f"{MULTIARCH}/libcuda.so.{libraries}", "driver_version": cuda}
    if loaded == libraries:
        return {"nvml": nvml_healthy(libraries, gpus, cuda), "cuda": {**libcuda, "init": 0, "count": len(gpus)}}
    nvml = {
        "library": f"{MULTIARCH}/libnvidia-ml.so.{libraries}",
        "nvml_version": f"{cuda // 1000}.{libraries}",
        "init": 18,
        "init_text": "RM has detected an NVML/RM version mismatch.",
    }
    return {"nvml": nvml, "cuda": {**libcuda, "init": 803, "init_name": "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"}}


def dpkg(*packages: str) -> dict[str, Any]:
    """The answer of dpkg-query for `name=version` packages, under the key that nvdiag asks by."""
    lines = "".join("ii  {} {}\n".format(*package.split("=")) for package in packages)
    return {shlex.join(package_facts.DPKG): {"exit": 0, "stdout": lines, "stderr": ""}}


def ubuntu_dkms(
    loaded: str | None = "570.169",
    disk: str | None = "570.172.08",
    libraries: str | None = "570.172.08",
    *,
    kernel: str = UBUNTU_KERNEL,
    kernels: tuple[str, ...] = (UBUNTU_KERNEL,),
    gpus: tuple[str, ...] = (GPU,),
    **kernel_options: Any,
) -> Tree:
    """Ubuntu 24.04 with nvidia-dkms-570-open; `kernels` are installed, each with the module `disk`."""
    tree = kernel_side(loaded, kernel=kernel, gpus=gpus, **kernel_options)
    files = _ubuntu_files()
    modules = {}
    for one in kernels:
        root = f"/lib/modules/{one}"
        files |= {f"/boot/vmlinuz-{one}": "", **modules_dep(root)}
        if disk:
            names = ("nvidia", "nvidia-modeset", "nvidia-drm", "nvidia-uvm", "nvidia-peermem")
            files |= modules_dep(root, *(f"updates/dkms/{name}.ko.zst" for name in names))
            modules[f"{root}/updates/dkms/nvidia.ko.zst"] = module_fields(disk, one)
            files |= gsp_firmware(disk)
            files[f"/var/lib/dkms/nvidia/{disk}/{one}/x86_64/log/make.log"] = "DKMS make.log\n"
            files[f"/usr/src/nvidia-{disk}/dkms.conf"] = f'PACKAGE_NAME="nvidia"\nPACKAGE_VERSION="{disk}"\n'
    packages = ("nvidia-driver-570-open", "nvidia-dkms-570-open", "libnvidia-compute-570")
    rest = Tree(
        files=files,
        links=MERGED_USR,
        modules=modules,
        probes=probes(loaded, libraries, gpus),
        commands=dpkg(*(f"{name}={libraries}-0ubuntu0.24.04.1" for name in packages)) if libraries else {},
    )
    libs = library_files(libraries, MULTIARCH) if libraries else Tree()
    return joined(below_usr(tree), below_usr(rest), libs)


def ubuntu_prebuilt(
    loaded: str | None = "570.172.08",
    disk: str | None = "570.172.08",
    libraries: str | None = "570.172.08",
    *,
    next_kernel: str = UBUNTU_KERNEL,
    half_configured: bool = False,
) -> Tree:
    """Ubuntu 24.04 with Canonical's signed linux-modules-nvidia-570-open; only `next_kernel` may lack them."""
    tree = kernel_side(loaded)
    files = _ubuntu_files() | {f"/boot/vmlinuz-{one}": "" for one in {UBUNTU_KERNEL, next_kernel}}
    modules = {}
    for one in {UBUNTU_KERNEL, next_kernel}:
        root = f"/lib/modules/{one}"
        files |= modules_dep(root)
        folder = f"{root}/kernel/nvidia-570"
        if half_configured and one == next_kernel:
            files[f"{folder}/bits/nvidia.o"] = ""
        elif disk and one == UBUNTU_KERNEL:
            files |= modules_dep(root, "kernel/nvidia-570/nvidia.ko")
            files |= gsp_firmware(disk)
            modules[f"{folder}/nvidia.ko"] = module_fields(disk, one, signer="Canonical Ltd. Kernel Module Signing")
    names = ["nvidia-driver-570-open", "libnvidia-compute-570"]
    names += [f"linux-modules-nvidia-570-open-{UBUNTU_KERNEL}"] if disk else []
    names += [f"linux-modules-nvidia-570-open-{next_kernel}"] if half_configured else []
    rest = Tree(
        files=files,
        links=MERGED_USR,
        modules=modules,
        probes=probes(loaded, libraries),
        commands=dpkg(*(f"{name}={libraries}-0ubuntu0.24.04.1" for name in names)),
    )
    libs = library_files(libraries, MULTIARCH) if libraries else Tree()
    return joined(below_usr(tree), below_usr(rest), libs)


def _ubuntu_files() -> dict[str, str]:
    return {
        "/etc/os-release": UBUNTU_RELEASE,
        "/etc/default/grub": 'GRUB_DEFAULT=0\nGRUB_TIMEOUT_STYLE=hidden\nGRUB_CMDLINE_LINUX=""\n',
        "/boot/grub/grubenv": "# GRUB Environment Block\n" + "#" * 100,
    }


def debian_current(
    loaded: str | None = "535.216.03", disk: str | None = "535.261.03", libraries: str = "535.261.03"
) -> Tree:
    """Debian 12: nvidia-current.ko, libraries below nvidia/current, found through alternatives."""
    kernel = "6.1.0-40-amd64"
    root, folder = f"/lib/modules/{kernel}", f"{MULTIARCH}/nvidia/current"
    files = {
        "/etc/os-release": DEBIAN_RELEASE,
        f"/boot/vmlinuz-{kernel}": "",
        "/etc/default/grub": "GRUB_DEFAULT=0\nGRUB_TIMEOUT=5\n",
        "/etc/modprobe.d/nvidia.conf": (
            "install nvidia modprobe -i nvidia-current $CMDLINE_OPTS\n\n"
            "install nvidia-modeset modprobe nvidia ; modprobe -i nvidia-current-modeset $CMDLINE_OPTS\n"
        ),
        **modules_dep(root),
    }
    modules = {}
    if disk:
        files |= modules_dep(root, "updates/dkms/nvidia-current.ko", "updates/dkms/nvidia-current-uvm.ko")
        modules[f"{root}/updates/dkms/nvidia-current.ko"] = module_fields(disk, kernel, "proprietary")
    links = dict(MERGED_USR)
    stems = ("libcuda", "libnvidia-ml", "libnvidia-ptxjitcompiler")
    for stem in stems:
        name = f"{stem}.so.1"
        links[f"{MULTIARCH}/{name}"] = f"/etc/alternatives/nvidia--{name}-x86_64-linux-gnu"
        links[f"/etc/alternatives/nvidia--{name}-x86_64-linux-gnu"] = f"{folder}/{name}"
    names = ("nvidia-driver", "nvidia-kernel-dkms", "libcuda1", "libnvidia-ml1")
    rest = Tree(
        files=files,
        links=links,
        modules=modules,
        probes=probes(loaded, libraries, cuda=12020),
        commands=dpkg(*(f"{name}={libraries}-1" for name in names)),
    )
    libs = replace(
        library_files(libraries, folder),
        cached=tuple(f"/lib/x86_64-linux-gnu/{stem}.so.1" for stem in stems),
    )
    side = kernel_side(loaded, kernel=kernel, flavour="proprietary")
    return joined(below_usr(side), below_usr(rest), libs)


def rpm_machine(
    family: str,
    loaded: str | None,
    disk: str | None,
    libraries: str | None,
) -> Tree:
    """Rocky 9 (NVIDIA's repository, DKMS in extra), Fedora 42 (RPM Fusion's akmods) or openSUSE (signed KMP)."""
    kernel, release, module, names = {
        "rocky": (
            "5.14.0-570.42.2.el9_6.x86_64", ROCKY_RELEASE, "extra/nvidia.ko.xz",
            ("nvidia-driver", "kmod-nvidia-open-dkms", "libnvidia-ml"),
        ),
        "fedora": (
            "6.16.5-200.fc42.x86_64", FEDORA_RELEASE, "extra/nvidia/nvidia.ko.xz",
            ("akmod-nvidia", "xorg-x11-drv-nvidia-cuda-libs"),
        ),
        "suse": (
            "6.4.0-150600.23.65-default", SUSE_RELEASE, "updates/nvidia.ko.zst",
            ("nvidia-open-driver-G06-signed-kmp-default", "nvidia-compute-G06"),
        ),
    }[family]  # fmt: skip
    root = f"/usr/lib/modules/{kernel}"
    files = {"/etc/os-release": release, f"/boot/vmlinuz-{kernel}": "", **modules_dep(root)}
    modules = {}
    if disk:
        files |= modules_dep(root, module) | gsp_firmware(disk)
        modules[f"{root}/{module}"] = module_fields(disk, kernel)
    listing = "".join(f"ii {name} {libraries}-1\n" for name in names)
    rest = Tree(
        files=files,
        links={"/lib": "usr/lib", "/lib64": "usr/lib64"},
        modules=modules,
        probes=probes(loaded, libraries),
        commands={shlex.join(package_facts.RPM): {"exit": 0, "stdout": listing, "stderr": ""}},
    )
    libs = library_files(libraries, "/usr/lib64") if libraries else Tree()
    return joined(kernel_side(loaded, kernel=kernel), rest, libs)


def arch(loaded: str | None = "580.82.07", disk: str | None = "580.82.07", libraries: str | None = "580.82.07") -> Tree:
    """Arch with nvidia-open: the kernel image has no release in its name."""
    kernel = "6.16.7-arch1-1"
    root = f"/usr/lib/modules/{kernel}"
    files = {
        "/etc/os-release": ARCH_RELEASE,
        "/boot/vmlinuz-linux": "",
        f"{root}/pkgbase": "linux\n",
        **modules_dep(root),
    }
    modules = {}
    if disk:
        files |= modules_dep(root, "extramodules/nvidia.ko.zst") | gsp_firmware(disk)
        modules[f"{root}/extramodules/nvidia.ko.zst"] = module_fields(disk, kernel, signer=None)
    rest = Tree(
        files=files,
        links={"/lib": "usr/lib", "/lib64": "usr/lib"},
        modules=modules,
        probes=probes(loaded, libraries, cuda=13000),
        commands={
            "pacman -Q": {"exit": 0, "stdout": f"linux 6.16.7.arch1-1\nnvidia-open {libraries}-2\n", "stderr": ""}
        },
    )
    libs = library_files(libraries, "/usr/lib") if libraries else Tree()
    return joined(kernel_side(loaded, kernel=kernel), rest, libs)


def docker(loaded: str | None = "570.172.08", libraries: str | None = "570.172.08") -> Tree:
    """A Docker container on a host with a GPU: the module is the host's, the libraries are what was injected."""
    files = {"/etc/os-release": UBUNTU_RELEASE, "/.dockerenv": "", "/proc/self/mountinfo": OVERLAY_ROOT}
    rest = Tree(files=files, links=MERGED_USR, probes=probes(loaded, libraries))
    libs = library_files(libraries, MULTIARCH) if libraries else Tree()
    return joined(kernel_side(loaded), rest, libs)


def wsl(libraries: str | None = "581.29") -> Tree:
    """WSL2: no PCI bus with a GPU, no module; libcuda.so.1 of Windows' driver below /usr/lib/wsl/lib."""
    files = {
        "/etc/os-release": UBUNTU_RELEASE,
        "/proc/sys/kernel/osrelease": "6.6.87.2-microsoft-standard-WSL2\n",
        "/proc/version": "Linux version 6.6.87.2-microsoft-standard-WSL2 (root@af282157c79e) (gcc) #1 SMP\n",
        "/proc/self/mountinfo": DISK_ROOT,
        "/sys/module/ext4/refcnt": "1\n",
    }
    folder = "/usr/lib/wsl/lib"
    libs = {f"{folder}/libcuda.so.1": 178_000, f"{folder}/libnvidia-ml.so.1": 260_000} if libraries else {}
    return Tree(
        files=files,
        links=MERGED_USR,
        nodes={"/dev/dxg": (MODE, "10:125"), "/dev/null": (MODE, "1:3")},
        libraries=libs,
        cached=tuple(libs),
        probes={
            "nvml": {
                **nvml_healthy("581.29", cuda=13000),
                "library": f"{folder}/libnvidia-ml.so.1",
                "nvml_version": "13.580.88",
            },
            "cuda": {"library": f"{folder}/libcuda.so.1", "driver_version": 13000, "init": 0, "count": 1},
        },
    )


def below_usr(tree: Tree) -> Tree:
    """/lib is a link on merged systems: what is written below it lies below /usr/lib."""

    def moved(mapping: Mapping[str, Any]) -> dict[str, Any]:
        return {f"/usr{path}" if path.startswith("/lib/") else path: value for path, value in mapping.items()}

    return replace(tree, files=moved(tree.files), modules=moved(tree.modules))
