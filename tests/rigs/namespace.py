"""Rig R2, inside: dresses a private mount namespace as a machine, then becomes the program that is to see it.

Run as `unshare -m python namespace.py SPEC.json PROGRAM…`; everything made here goes away with the namespace.
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

MODULES = "/lib/modules"
PR_CAPBSET_DROP, CAP_SYS_MODULE = 24, 16  # linux/prctl.h, linux/capability.h


def main() -> None:
    specification: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    dress(specification)
    become(specification, sys.argv[2:])


def dress(specification: dict[str, Any]) -> None:
    """Put a machine's nodes, sysfs, modules, files and libraries in the places where a program looks for them."""
    _devices(specification["nodes"])
    _tree("/proc/driver", specification["proc_driver"])
    _tree("/sys/module", specification["sys_module"])
    _bus(specification["gpus"])
    _below_lib(specification["kernel_modules"])
    for path, text in specification["files"].items():
        _place(path, text)
    if specification["libraries"] and specification["cached"]:
        _loader_cache(specification["libraries"])
    user = specification["user"]
    if user:
        for path in specification["reachable"]:
            _make_reachable(Path(path))


def become(specification: dict[str, Any], program: list[str]) -> None:
    """Be that program, as the user whom the machine asks for."""
    user = specification["user"]
    drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    argv = [*drop, *program]
    # The kernel is everybody's: what runs here loads no module, whatever NVIDIA's libraries start as root.
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_MODULE, 0, 0, 0)
    os.execvpe(argv[0], argv, {**os.environ, **specification["env"]})


def tmpfs(path: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "rig", path], check=True)


def _devices(nodes: dict[str, list[int]]) -> None:
    tmpfs("/dev")
    usual = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
    for name, (major, minor) in usual.items():
        _node(f"/dev/{name}", 0o666, major, minor)
    for name, target in {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}.items():
        Path("/dev", name).symlink_to(target)
    Path("/dev/shm").mkdir()
    Path("/dev/shm").chmod(0o1777)
    for name, (mode, major, minor) in nodes.items():
        _node(f"/dev/{name}", mode, major, minor)


def _node(path: str, mode: int, major: int, minor: int) -> None:
    os.mknod(path, stat.S_IFCHR | mode, os.makedev(major, minor))
    Path(path).chmod(mode)


def _tree(root: str, files: dict[str, str]) -> None:
    """A tmpfs over `root` with these files; names are relative to it. A kernel without PCI lacks /sys/bus/pci."""
    above = Path(root)
    while not above.is_dir():
        above = above.parent
    tmpfs(str(above))
    Path(root).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _bus(gpus: dict[str, str | None]) -> None:
    """10de devices of class 0300 at these addresses; the value is the kernel driver that holds each."""
    attributes = {
        "vendor": "0x10de", "device": "0x2684", "class": "0x030000", "subsystem_vendor": "0x10de",
        "subsystem_device": "0x167c", "boot_vga": "0", "enable": "1",
    }  # fmt: skip
    files = {f"{address}/{name}": f"{value}\n" for address in gpus for name, value in attributes.items()}
    _tree("/sys/bus/pci/devices", files)
    for address, driver in gpus.items():
        if driver:
            Path("/sys/bus/pci/devices", address, "driver").symlink_to(f"../../../../bus/pci/drivers/{driver}")


def _below_lib(modules: dict[str, str]) -> None:
    """These module files, copied from elsewhere, and no others; where /lib/modules is missing, /lib gets an overlay."""
    if Path(MODULES).is_dir():
        tmpfs(MODULES)
    elif modules:
        _writable(Path("/lib").resolve())
        Path(MODULES).mkdir()
    for name, source in modules.items():
        path = Path(MODULES, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Path(source).read_bytes())


def _place(name: str, text: str) -> None:
    """A file of the machine's own: over the one that is there, or in an overlay of the folder that lacks it."""
    path = Path(name).resolve()
    if path.exists():
        copy = Path("/dev/shm", "file" + str(path).replace("/", "-"))
        copy.write_text(text, encoding="utf-8")
        subprocess.run(["mount", "--bind", str(copy), str(path)], check=True)
        return
    _writable(next(folder for folder in path.parents if folder.is_dir()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _make_reachable(path: Path) -> None:
    """Let every user pass the folders on the way to `path`, in this namespace alone: an overlay takes the chmod."""
    for folder in reversed((path, *path.parents)):
        if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH:
            _writable(folder)
            folder.chmod(0o755)


def _writable(folder: Path) -> None:
    """An overlay over `folder`: what is changed there is changed in this namespace alone."""
    scratch = Path("/dev/shm", "over" + str(folder).replace("/", "-"))
    if scratch.is_dir():
        return
    for name in ("upper", "work"):
        (scratch / name).mkdir(parents=True)
    (scratch / "upper").chmod(stat.S_IMODE(folder.stat().st_mode))
    options = f"lowerdir={folder},upperdir={scratch / 'upper'},workdir={scratch / 'work'}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "rig", str(folder)], check=True)


def _loader_cache(folder: str) -> None:
    """The machine's libraries with one more folder in front, in a cache that only this namespace sees."""
    configuration, cache = Path("/dev/shm/rig.ld.so.conf"), Path("/dev/shm/rig.ld.so.cache")
    configuration.write_text(f"{folder}\ninclude /etc/ld.so.conf\n", encoding="utf-8")
    subprocess.run(
        ["ldconfig", "-X", "-f", str(configuration), "-C", str(cache)], check=True, stderr=subprocess.DEVNULL
    )
    subprocess.run(["mount", "--bind", str(cache), "/etc/ld.so.cache"], check=True)
    cache.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
