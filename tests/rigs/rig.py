"""The rigs' Python side: describe a machine, run a program on it, see what it did.

R2 is a private mount namespace (nodes, sysfs, /proc/driver, loader cache), R1 adds a preload library that answers for
the kernel module to NVIDIA's real libraries, R3 puts a library of our own in their place. README.md beside this file
says what is real and what is not.

    libraries, release = rig.real("550")
    done = rig.run(rig.Machine(module="550.54.15", libraries=libraries), sys.executable, "-m", "nvdiag", "check")
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "rigs"
GPU = "0000:01:00.0"
CONTAINER = "4f9c01a7b1e2d3c4a5968778695a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a"
NODES = {"nvidiactl": (195, 255), "nvidia-modeset": (195, 254), "nvidia-uvm": (510, 0), "nvidia-uvm-tools": (510, 1)}


@dataclass(frozen=True, kw_only=True)
class Container:
    """What a container has of driver libraries, by their paths inside.

    `injected` are files of the host that are bound in, `replaced` such as the host has removed since, `baked` copies in
    the image itself; all map to files on this machine. `empty` are files without content. ldconfig is run inside, as
    NVIDIA's toolkit does.
    """

    injected: Mapping[str, Path] = field(default_factory=dict)
    replaced: Mapping[str, Path] = field(default_factory=dict)
    baked: Mapping[str, Path] = field(default_factory=dict)
    empty: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the kernel side shows. `module` is the loaded release, None for no module.

    `submodules` are loaded beside it: names, or names with the release of each (None: a module without a version file).
    `gpus` maps the PCI addresses of 10de devices to the driver that holds each. `nodes` maps names below /dev to modes
    (made with their real numbers); by default a loaded driver's, 0666. `kernel_modules` maps paths below /lib/modules
    to files on this machine. `files` maps paths anywhere else to their text.
    `libraries` is the folder of the driver's libraries, in the loader's cache or (`cached` False) in LD_LIBRARY_PATH.
    `mode` is preload.c's NVRIG_MODE, `kernel_answer` the release that it answers, where that is not `module`.
    In a `container`, root, mounts and processes are its own; `cgroup` is a group whose rules hold for it (`denied`).
    """

    module: str | None = None
    flavour: Literal["proprietary", "open"] = "proprietary"
    submodules: Sequence[str] | Mapping[str, str | None] = ("nvidia_modeset", "nvidia_drm")
    gpus: Mapping[str, str | None] | None = None
    nodes: Mapping[str, int] | None = None
    kernel_modules: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    libraries: Path | None = None
    cached: bool = True
    preload: bool = True
    mode: str = "answer"
    kernel_answer: str | None = None
    user: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    container: Container | None = None
    cgroup: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a program did. `nodes` are /dev's nvidia nodes afterwards with their modes; `calls` what strace saw."""

    exit: int
    stdout: str
    stderr: str
    nodes: Mapping[str, int]
    calls: tuple[str, ...] = ()


def why_not() -> str | None:
    """Why R2 cannot be used here; None where it can."""
    if os.geteuid() != 0:
        return "mount namespaces need root"
    for program in ("unshare", "setpriv", "mount", "ldconfig", "cc"):
        if shutil.which(program) is None:
            return f"{program} is missing"
    attempt = ["unshare", "-m", "sh", "-c", "mount -t tmpfs rig /dev && mknod /dev/null c 1 3"]
    if subprocess.run(attempt, capture_output=True, check=False).returncode != 0:
        return "mounting and making nodes in a namespace of one's own is not allowed here"
    return None


def why_not_real() -> str | None:
    """Why R1 cannot be used here: R2's reasons, or NVIDIA's libraries were not fetched."""
    missing = [branch for branch in ("535", "550") if not (CACHE / branch / "release").exists()]
    return why_not() or (
        f"NVIDIA's libraries {missing} are not fetched: python tests/rigs/fetch.py" if missing else None
    )


def real(branch: str) -> tuple[Path, str]:
    """The folder of NVIDIA's libraries of a branch, and their full release."""
    return CACHE / branch / "lib", (CACHE / branch / "release").read_text(encoding="ascii").strip()


def built(source: str, name: str, *flags: str) -> Path:
    """A shared library compiled from a C file beside this one, once for each content."""
    text = b"".join(path.read_bytes() for path in (HERE / source, *sorted(HERE.glob("*.h"))))
    folder = CACHE / "build" / hashlib.sha256(text + repr(flags).encode()).hexdigest()[:16]
    target = folder / name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{name}.{os.getpid()}"
        command = ["cc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", *flags]
        subprocess.run([*command, "-o", str(partial), str(HERE / source), "-ldl"], check=True)
        partial.rename(target)
    return target


def module_file(**fields: str) -> bytes:
    """A tiny ELF relocatable whose only content is a .modinfo section, which is all that modinfo reads of a module."""
    section = b"".join(f"{name}={value}".encode() + b"\0" for name, value in fields.items())
    names = b"\0.modinfo\0.shstrtab\0"
    body = 64
    table = (body + len(section) + len(names) + 7) // 8 * 8
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 1, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2)
    entry = struct.Struct("<IIQQQQIIQQ")
    headers = (
        entry.pack(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        + entry.pack(1, 1, 2, 0, body, len(section), 0, 0, 1, 0)
        + entry.pack(10, 3, 0, 0, body + len(section), len(names), 0, 0, 1, 0)
    )
    return (header + section + names).ljust(table, b"\0") + headers


def fake(folder: Path, release: str) -> Path:
    """R3: a folder with our own libnvidia-ml (and libcuda) under the names that a driver's package gives them."""
    for stem, source in (("libnvidia-ml", "fakenvml.c"), ("libcuda", "fakecuda.c")):
        library = built(source, f"{stem}.so", f"-Wl,-soname,{stem}.so.1")
        shutil.copy2(library, folder / f"{stem}.so.{release}")
        (folder / f"{stem}.so.1").symlink_to(f"{stem}.so.{release}")
    return folder


RELEASE = "570.172.08"


def healthy(folder: Path, gpus: int, lines: Sequence[str] = (), **options: object) -> Machine:
    """R3: a machine with `gpus` healthy H100s of driver RELEASE; `lines` are added to the fake libraries' file."""
    addresses = [f"0000:{index + 1:02x}:00.0" for index in range(gpus)]
    said = [f"driver={RELEASE}", f"nvml=12.{RELEASE}", "cuda=12080", f"count={gpus}", f"cucount={gpus}"]
    for index, address in enumerate(addresses):
        values = {
            "name": "NVIDIA H100 80GB HBM3", "uuid": f"GPU-{index:08x}-1111-2222-3333-444444444444",
            "pci": f"0000{address}", "minor": index, "memory_total": 85520809984, "memory_used": 1073741824,
            "compute": "9.0", "utilisation": 12, "temperature": 35, "power": 71000, "limit": 700000,
        }  # fmt: skip
        said += [f"{index}.{name}={value}" for name, value in values.items()]
    file = folder / "gpus"
    file.write_text("\n".join([*lines, *said]) + "\n", encoding="ascii")
    file.chmod(0o644)
    machine = Machine(
        module=RELEASE,
        submodules=("nvidia_uvm", "nvidia_modeset"),
        gpus=dict.fromkeys(addresses, "nvidia"),
        libraries=fake(folder, RELEASE),
        env={"NVRIG_GPUS": str(file), "PATH": "/usr/bin:/bin"},
    )
    return dataclasses.replace(machine, **options)  # type: ignore[arg-type]


def contained(machine: Machine, container: Container, cgroup: Path | None = None) -> Machine:
    """The same machine, seen from a container on it."""
    return dataclasses.replace(machine, container=container, cgroup=cgroup)


def command(machine: Machine, argv: Sequence[str], folder: Path) -> tuple[list[str], Path]:
    """The command line that runs `argv` on a machine, and the specification file that it reads."""
    specification = folder / "machine.json"
    env = dict(machine.env)
    if machine.preload:
        answer = machine.kernel_answer or machine.module
        mode = "ENXIO" if answer is None and machine.mode == "answer" else machine.mode  # a node without its driver
        env |= {"LD_PRELOAD": str(built("preload.c", "preload.so")), "NVRIG_KERNEL": answer or "", "NVRIG_MODE": mode}
    if machine.libraries and not machine.cached:
        env["LD_LIBRARY_PATH"] = str(machine.libraries)
    specification.write_text(json.dumps(_specified(machine, env)), encoding="utf-8")
    if machine.container is not None:
        own = ["unshare", "-m", "-p", "-f", "--kill-child"]
        return [*own, sys.executable, str(HERE / "inside.py"), str(specification), *argv], specification
    return ["unshare", "-m", sys.executable, str(HERE / "namespace.py"), str(specification), *argv], specification


def run(machine: Machine, *argv: str, trace: bool = False, timeout: float = 60) -> Result:
    """Run a program on a machine and look at /dev afterwards; with `trace`, at what it tried to change, too."""
    with tempfile.TemporaryDirectory(prefix="nvrig") as name:
        folder = Path(name)
        folder.chmod(0o755)
        log = folder / "calls"
        tracing = (
            ["strace", "-f", "-qq", "-e", f"trace=execve,execveat,{','.join(CHANGES)}", "-o", str(log)] if trace else []
        )
        after = folder / "after"
        script = '"$@"; code=$?; stat -c "%n %a" /dev/nvidia* >"$0" 2>/dev/null; exit $code'
        for writable in (after, log):
            writable.touch()
            writable.chmod(0o666)
        line, _ = command(machine, ["sh", "-c", script, str(after), *tracing, *argv], folder)
        exit_code, stdout, stderr = _finished(line, timeout)
        nodes = {row.split()[0]: int(row.split()[1], 8) for row in after.read_text().splitlines()}
        calls = tuple(log.read_text(errors="replace").splitlines()) if trace else ()
    return Result(exit=exit_code, stdout=stdout, stderr=stderr, nodes=nodes, calls=calls)


def _finished(argv: Sequence[str], timeout: float) -> tuple[int, str, str]:
    """Run to the end; after `timeout` seconds kill the whole process group and raise TimeoutExpired."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, stdout, stderr


CHANGES = (
    "mknod", "mknodat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "mkdir", "mkdirat",
    "rmdir", "unlink", "unlinkat", "link", "linkat", "symlink", "symlinkat", "rename", "renameat", "renameat2",
    "init_module", "finit_module", "delete_module",
)  # fmt: skip
"""The system calls that change files or modules, by strace's names."""


def successful(calls: Sequence[str], *names: str) -> list[str]:
    """The calls of these names that the kernel carried out."""
    return [call for call in calls if re.search(rf"\b({'|'.join(names)})\(", call) and not re.search(r"= -1 ", call)]


def why_no_container() -> str | None:
    """Why a container's view cannot be had here: R2's reasons, or an overlay over the root is not possible."""
    if why := why_not():
        return why
    attempt = "mount -t tmpfs rig /mnt && mkdir /mnt/u /mnt/w /mnt/m && mount -t overlay -o " + (
        "lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w rig /mnt/m && mount -t proc proc /mnt/m/proc"
    )
    made = subprocess.run(["unshare", "-m", "-p", "-f", "sh", "-c", attempt], capture_output=True, check=False)
    return None if made.returncode == 0 else "an overlay over the root, or a /proc of one's own, is not allowed here"


def _specified(machine: Machine, env: Mapping[str, str]) -> dict[str, object]:
    loaded = machine.module
    gpus = machine.gpus if machine.gpus is not None else {GPU: "nvidia" if loaded else None}
    beside = machine.submodules
    if not isinstance(beside, Mapping):
        beside = dict.fromkeys(beside, loaded)
    names = {"nvidia": loaded, **beside} if loaded else {}
    nodes = machine.nodes
    if nodes is None:
        nodes = dict.fromkeys(("nvidiactl", "nvidia-modeset"), 0o666) if loaded else {}
        nodes |= {f"nvidia{index}": 0o666 for index in range(len(gpus))} if loaded else {}
        nodes |= {"nvidia-uvm": 0o666} if loaded and "nvidia_uvm" in machine.submodules else {}
    return {
        "nodes": {name: (mode, *_numbers(name)) for name, mode in nodes.items()},
        "gpus": dict(gpus),
        "sys_module": {
            "ext4/refcnt": "1\n",
            **{f"{name}/version": f"{release}\n" for name, release in names.items() if release},
            **{f"{name}/refcnt": "0\n" for name in names},
            **{f"{name}/initstate": "live\n" for name in names},  # libcuda starts modprobe where nvidia_uvm has none
            **({"nvidia/taint": "OE\n" if machine.flavour == "open" else "POE\n"} if loaded else {}),
        },
        "proc_driver": {"nvidia/version": _version(loaded, machine.flavour), "nvidia/params": _PARAMS}
        if loaded
        else {},
        "kernel_modules": dict(machine.kernel_modules),
        "files": dict(machine.files),
        "libraries": str(machine.libraries) if machine.libraries else None,
        "cached": machine.cached,
        "user": machine.user,
        "container": _contained(machine.container) if machine.container else None,
        "cgroup": str(machine.cgroup) if machine.cgroup else None,
        "env": dict(env),
        "reachable": [
            *(sys.executable, os.path.realpath(sys.executable), sys.prefix, sys.base_prefix, str(HERE)),
            *([str(machine.libraries)] if machine.libraries else []),
        ],
    }


def _contained(container: Container) -> dict[str, object]:
    return {
        "injected": {path: str(source) for path, source in container.injected.items()},
        "replaced": {path: str(source) for path, source in container.replaced.items()},
        "baked": {path: str(source) for path, source in container.baked.items()},
        "empty": list(container.empty),
    }


_PARAMS = (
    "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\nDeviceFileUID: 0\nDeviceFileGID: 0\nDeviceFileMode: 438\n"
)


def _version(release: str, flavour: str) -> str:
    builds = {
        "proprietary": f"x86_64 Kernel Module  {release}  Wed Apr 29 17:32:45 UTC 2026",
        "open": f"Open Kernel Module for x86_64  {release}  Release Build  (rig@rig)  Sat Oct  3 18:52:37 UTC 2026",
    }
    return f"NVRM version: NVIDIA UNIX {builds[flavour]}\nGCC version:  gcc version 12.2.0 (Debian 12.2.0-14+deb12u1)\n"


def _numbers(name: str) -> tuple[int, int]:
    return NODES[name] if name in NODES else (195, int(name.removeprefix("nvidia")))
