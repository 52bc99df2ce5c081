"""Containers as their engines make them, seen from inside: mount tables, nodes, variables and where libraries lie.

Mount tables follow real ones: of Docker with the toolkit's mode legacy (libnvidia-container, nvc_mount.c: read-only
binds of each file, a tmpfs over /proc/driver/nvidia), of CDI (files bound at the host's own paths, nodes made by the
runtime), of containerd's CRI, of LXD and Proxmox, of Apptainer's --nv, of Enroot, of gVisor.

`loaded` is the host's module, `injected` what the engine brought in, `baked` what the image (or guest) itself has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.scenarios import machines
from tests.scenarios.machines import MULTIARCH
from tests.scenarios.tree import Tree

NEW, OLD = "570.172.08", "570.169"
ID = "4f9c01a7b1e2d3c4a5968778695a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a"
POD = "3f0a9c1e-6d2b-4f57-9a0e-7b1c2d3e4f50"
DISK = "ext4 /dev/nvme0n1p2 rw"
HAS_GPU = ("nvidiactl", "nvidia0", "nvidia-uvm", "nvidia-uvm-tools")
CUDA_IMAGE = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
"""What NVIDIA's CUDA images set for every container that is made from them."""

_USUAL = (
    "602 601 0:53 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw",
    "603 601 0:54 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755,inode64",
    "605 601 0:56 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro",
    "606 605 0:30 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate",
    "608 603 0:57 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k,inode64",
)
_OVERLAY = (
    "601 520 0:51 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A:/var/lib/docker/overlay2"
    "/l/B,upperdir=/var/lib/docker/overlay2/c/diff,workdir=/var/lib/docker/overlay2/c/work"
)
_DOCKER_ETC = tuple(
    f"{609 + index} 601 259:2 /var/lib/docker/containers/{ID}/{name} /etc/{name} rw,relatime - {DISK}"
    for index, name in enumerate(("resolv.conf", "hostname", "hosts"))
)


def bound(path: str, *, at: str | None = None, source: str = DISK, options: str = "ro,nosuid,nodev") -> str:
    """A file of the host's root file system, mounted at the same or another path."""
    return f"700 601 259:2 {path} {at or path} {options},relatime - {source}"


def _files(release: str) -> tuple[str, ...]:
    return (f"{MULTIARCH}/libcuda.so.{release}", f"{MULTIARCH}/libnvidia-ml.so.{release}", "/usr/bin/nvidia-smi")


def _legacy(release: str, nodes: tuple[str, ...]) -> tuple[str, ...]:
    """What libnvidia-container mounts (nvc_mount.c)."""
    return (
        "690 602 0:60 / /proc/driver/nvidia rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=555,inode64",
        *(bound(path) for path in _files(release)),
        *(f"710 603 0:6 /{node} /dev/{node} ro,nosuid,noexec,relatime - devtmpfs udev rw,mode=755" for node in nodes),
        "720 690 0:22 /driver/nvidia/gpus/0000:01:00.0 /proc/driver/nvidia/gpus/0000:01:00.0"
        " ro,nosuid,nodev,noexec,relatime - proc proc rw",
    )


def _inside(
    loaded: str | None,
    libraries: str | None,
    mounts: tuple[str, ...],
    *,
    files: Mapping[str, str] | None = None,
    nodes: tuple[str, ...] = HAS_GPU,
    env: Mapping[str, str] | None = None,
    folder: str = MULTIARCH,
) -> Tree:
    """The host's /proc and /sys, the container's own /dev, mounts and libraries."""
    side = machines.kernel_side(loaded)
    kept = {path: node for path, node in side.nodes.items() if path.removeprefix("/dev/") in (*nodes, "null")}
    rest = Tree(
        files={
            "/etc/os-release": machines.UBUNTU_RELEASE,
            "/proc/1/cgroup": "0::/\n",
            "/proc/self/mountinfo": "\n".join(mounts) + "\n",
            "/proc/self/uid_map": "         0          0 4294967295\n",
            **(files or {}),
        },
        links=machines.MERGED_USR,
        env=dict(env or {}),
        probes=machines.probes(loaded, libraries),
    )
    libs = machines.library_files(libraries, folder) if libraries else Tree()
    return machines.joined(replace(side, nodes=kept), rest, libs)


def docker_legacy(loaded: str | None = NEW, injected: str | None = NEW, **options: Any) -> Tree:
    """docker run --gpus all with the toolkit's mode legacy; without `injected`, docker run alone."""
    nodes = options.pop("nodes", HAS_GPU if injected else ())
    given = _legacy(injected, nodes) if injected else ()
    mounts = (_OVERLAY, *_USUAL, *_DOCKER_ETC, *given, *options.pop("mounts", ()))
    return _inside(
        loaded,
        options.pop("libraries", injected),
        mounts,
        files={"/.dockerenv": "", **options.pop("files", {})},
        nodes=nodes,
        env=options.pop("env", CUDA_IMAGE),
        **options,
    )


def docker_cdi(loaded: str = NEW, injected: str = NEW) -> Tree:
    """docker run --device nvidia.com/gpu=all: the runtime makes the nodes, and the variable is void."""
    mounts = (_OVERLAY, *_USUAL, *_DOCKER_ETC, *(bound(path) for path in _files(injected)))
    return _inside(
        loaded, injected, mounts, files={"/.dockerenv": ""}, env={**CUDA_IMAGE, "NVIDIA_VISIBLE_DEVICES": "void"}
    )


def podman_cdi(loaded: str = NEW, injected: str = NEW, *, rootless: bool = True) -> Tree:
    """podman run --device nvidia.com/gpu=all, of a user: the mapping of a user namespace, files of the user's own."""
    below = f"/containers/overlay-containers/{ID}/userdata"
    mounts = (
        "881 802 0:71 / / rw,nodev,relatime - overlay overlay rw,lowerdir=/home/alice/.local/share/containers/storage",
        *_USUAL,
        f"890 881 0:45 {below}/hosts /etc/hosts rw,nosuid,nodev,relatime - tmpfs tmpfs rw,size=3270000k,mode=700",
        f"891 881 0:45 {below}/.containerenv /run/.containerenv rw,nosuid,nodev,relatime - tmpfs tmpfs rw,mode=700",
        *(bound(path) for path in _files(injected)),
        *(f"895 603 0:6 /{node} /dev/{node} rw,nosuid,noexec,relatime - devtmpfs devtmpfs rw" for node in HAS_GPU),
    )
    users = "         0       1000          1\n         1     100000      65536\n"
    files = {"/run/.containerenv": "", **({"/proc/self/uid_map": users} if rootless else {})}
    return _inside(loaded, injected, mounts, files=files, env={"container": "podman"})


def kubernetes(loaded: str = NEW, injected: str | None = NEW, **options: Any) -> Tree:
    """A pod on containerd with `nvidia.com/gpu: 1`; without `injected`, without that limit."""
    sandbox = f"/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/{ID}"
    nodes = HAS_GPU if injected else ()
    mounts = (
        "601 520 0:51 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/containerd/io.containerd.snapshotter.v1"
        ".overlayfs/snapshots/131/fs",
        *_USUAL,
        f"640 601 259:2 /var/lib/kubelet/pods/{POD}/etc-hosts /etc/hosts rw,relatime - {DISK}",
        f"641 601 259:2 {sandbox}/resolv.conf /etc/resolv.conf rw,relatime - {DISK}",
        "642 601 0:44 / /run/secrets/kubernetes.io/serviceaccount ro,relatime - tmpfs tmpfs rw,size=32g",
        *(_legacy(injected, nodes) if injected else ()),
    )
    env = {
        **CUDA_IMAGE,
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "NVIDIA_VISIBLE_DEVICES": "GPU-00000000-1111-2222-3333-444444444444" if injected else "all",
    }
    return _inside(loaded, injected, mounts, nodes=nodes, env=options.pop("env", env), **options)


def gke(loaded: str = NEW, injected: str = NEW) -> Tree:
    """A pod on GKE, whose device plug-in mounts the node's driver folder as a whole; its path is in a variable."""
    folder = "/usr/local/nvidia/lib64"
    mounts = (
        "601 520 0:51 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/containerd/io.containerd.snapshotter.v1"
        ".overlayfs/snapshots/131/fs",
        *_USUAL,
        f"640 601 8:1 /var/lib/kubelet/pods/{POD}/etc-hosts /etc/hosts rw,nosuid,nodev,relatime - ext4 /dev/sda1 rw",
        "641 601 8:1 /home/kubernetes/bin/nvidia /usr/local/nvidia ro,nosuid,nodev,relatime - ext4 /dev/sda1 rw",
    )
    env = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "LD_LIBRARY_PATH": f"/usr/local/nvidia/lib:{folder}"}
    return replace(_inside(loaded, injected, mounts, env=env, folder=folder), cached=())


_LXCFS = tuple(
    f"650 602 0:49 /proc/{name} /proc/{name} rw,nosuid,nodev,relatime - fuse.lxcfs lxcfs rw,user_id=0,group_id=0"
    for name in ("cpuinfo", "meminfo", "stat", "uptime")
)


def lxd(loaded: str = NEW, injected: str = NEW) -> Tree:
    """An unprivileged LXD instance with a gpu device and nvidia.runtime=true, on ZFS."""
    mounts = (
        "601 520 0:48 / / rw,relatime - zfs default/containers/ct1 rw,xattr,posixacl",
        *_USUAL,
        *_LXCFS,
        *_legacy(injected, HAS_GPU),
    )
    files = {
        "/run/systemd/container": "lxc",
        "/dev/lxd/sock": "",
        "/proc/self/uid_map": "         0    1000000 1000000000\n",
    }
    return _inside(loaded, injected, mounts, files=files)


def proxmox(loaded: str = NEW, guest: str = NEW) -> Tree:
    """A Proxmox container on LVM with bound nodes, whose driver libraries were installed in the guest."""
    mounts = (
        "601 520 252:7 / / rw,relatime - ext4 /dev/mapper/pve-vm--101--disk--0 rw,stripe=16",
        *_USUAL,
        *_LXCFS,
        *(f"660 603 0:6 /{node} /dev/{node} rw,relatime - devtmpfs udev rw,mode=755" for node in HAS_GPU),
    )
    files = {
        "/run/systemd/container": "lxc",
        "/proc/self/uid_map": "         0     100000      65536\n",
    }
    return _inside(loaded, guest, mounts, files=files)


def apptainer(loaded: str = NEW, injected: str | None = NEW) -> Tree:
    """apptainer exec --nv: the libraries under their sonames in /.singularity.d/libs, the host's /dev, /proc, /sys."""
    folder = "/.singularity.d/libs"
    names = ("libcuda.so.1", "libnvidia-ml.so.1") if injected else ()
    real = (name.removesuffix("1") + str(injected) for name in names)
    mounts = (
        "601 520 0:52 / / ro,nosuid,nodev,relatime - overlay overlay ro,lowerdir=/var/lib/apptainer/mnt/session/final",
        "603 601 0:6 / /dev rw,nosuid,relatime - devtmpfs udev rw,mode=755",
        "605 601 0:21 / /sys rw,nosuid,nodev,noexec,relatime - sysfs sysfs rw",
        *(bound(f"{MULTIARCH}/{one}", at=f"{folder}/{name}") for name, one in zip(names, real, strict=True)),
    )
    tree = _inside(
        loaded,
        None,
        mounts,
        files={"/.singularity.d/actions/exec": ""},
        env={"LD_LIBRARY_PATH": f"{folder}"},
    )
    found = {f"{folder}/{name}": 88_000_000 for name in names}
    return tree.but(libraries=found, probes=machines.probes(loaded, injected))


def enroot(loaded: str = NEW, injected: str = NEW) -> Tree:
    """A Pyxis job: a user namespace, the root on the node's disk, the host's /dev, a lock bound over itself."""
    mounts = (
        "601 520 259:2 /var/lib/enroot/user-1000/pyxis_4711.0 / rw,nosuid,nodev,relatime - ext4 /dev/nvme0n1p2 rw",
        "602 601 0:21 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw",
        "603 601 0:6 / /dev rw,nosuid,noexec,relatime - devtmpfs udev rw,mode=755",
        bound("/var/lib/enroot/user-1000/pyxis_4711.0/.lock", at="/.lock"),
        *_legacy(injected, ()),
    )
    files = {"/.lock": "", "/proc/self/uid_map": "      1000       1000          1\n"}
    return _inside(loaded, injected, mounts, files=files, env=CUDA_IMAGE)


def nspawn(loaded: str = NEW, bound_in: str = NEW) -> Tree:
    """systemd-nspawn with --bind of nodes and --bind-ro of libraries."""
    mounts = (
        "601 520 259:2 /var/lib/machines/gpu / rw,relatime - ext4 /dev/nvme0n1p2 rw",
        *_USUAL,
        *(bound(path) for path in _files(bound_in)),
        *(f"660 603 0:6 /{node} /dev/{node} rw,relatime - devtmpfs udev rw,mode=755" for node in HAS_GPU),
    )
    files = {"/run/host/container-manager": "systemd-nspawn\n", "/run/systemd/container": "systemd-nspawn"}
    return _inside(loaded, bound_in, mounts, files=files)


def gvisor(injected: str | None = NEW, **options: Any) -> Tree:
    """docker run --runtime=runsc with nvproxy: gVisor's own /proc and /sys, which know no kernel module."""
    mounts = (
        "2 1 0:15 / / rw - overlay none rw",
        "3 2 0:16 / /dev rw - tmpfs none rw",
        "4 2 0:17 / /proc rw - proc none rw",
        "5 2 0:18 / /sys rw - sysfs none rw",
        *(f"{7 + index} 2 0:20 / {path} ro - 9p none ro" for index, path in enumerate(_files(injected or ""))),
    )
    tree = _inside(None, injected, mounts, files={"/.dockerenv": ""}, env=options.pop("env", CUDA_IMAGE))
    nodes = {f"/dev/{name}": machines.kernel_side(NEW).nodes[f"/dev/{name}"] for name in HAS_GPU} if injected else {}
    bare = replace(tree, files={path: text for path, text in tree.files.items() if not path.startswith("/sys/")})
    links = {path: target for path, target in tree.links.items() if not path.startswith("/sys/")}
    version = {"/proc/version": "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n"}
    return replace(bare, links=links).but(nodes=nodes, files=version, probes=machines.probes(injected, injected))


HEALTHY: Mapping[str, Tree] = {
    "docker, legacy": docker_legacy(),
    "docker, CDI": docker_cdi(),
    "podman, CDI, rootless": podman_cdi(),
    "podman, CDI, root": podman_cdi(rootless=False),
    "kubernetes": kubernetes(),
    "GKE": gke(),
    "LXD": lxd(),
    "Proxmox": proxmox(),
    "apptainer": apptainer(),
    "enroot": enroot(),
    "systemd-nspawn": nspawn(),
    "gVisor": gvisor(),
}
"""Containers in which all is as it should be."""
