"""Rig R2, inside a container: a root, a mount table and processes of its own, as an engine makes them.

Run as `unshare -m -p -f python inside.py SPEC.json PROGRAM…`. The root is an overlay over this machine's, the host's
files are bound into it, and ldconfig is run in it, as NVIDIA's container toolkit does. All goes away with the
namespaces.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.rigs import namespace, rig

SCRATCH = Path("/mnt")


def main() -> None:
    specification: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if specification["cgroup"]:
        Path(specification["cgroup"], "cgroup.procs").write_text("0", encoding="ascii")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    _enter(specification["container"])
    namespace.dress(specification)
    subprocess.run(["ldconfig"], check=True, stderr=subprocess.DEVNULL)
    namespace.become(specification, sys.argv[2:])


def _enter(container: dict[str, Any]) -> None:
    """Make the container's root, bind into it what the engine brings, and go there."""
    points = _mount_points()
    namespace.tmpfs(str(SCRATCH))
    root = SCRATCH / "root"
    for folder in (root, SCRATCH / "upper", SCRATCH / "work"):
        folder.mkdir()
    layers = f"lowerdir=/,upperdir={SCRATCH / 'upper'},workdir={SCRATCH / 'work'}"
    subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", str(root)], check=True)
    for point in points:
        if _within(root, point).is_dir():
            subprocess.run(["mount", "--bind", point, str(_within(root, point))], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
    for top in ("sys", "dev"):
        subprocess.run(["mount", "--rbind", f"/{top}", str(root / top)], check=True)
    hosts = SCRATCH / "host/var/lib/docker/containers" / rig.CONTAINER / "hosts"
    hosts.parent.mkdir(parents=True)
    hosts.write_text("127.0.0.1 localhost\n", encoding="ascii")
    _bind(hosts, _within(root, "/etc/hosts"))
    for target in container["empty"]:
        _place(_within(root, target))
    for target, source in container["baked"].items():
        shutil.copyfile(source, _place(_within(root, target)))
    for target, source in container["injected"].items():
        _bind(Path(source), _place(_within(root, target)))
    for target, source in container["replaced"].items():
        copy = SCRATCH / "host" / target.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        _bind(copy, _place(_within(root, target)))
        copy.unlink()
    os.chroot(root)
    os.chdir("/")


def _mount_points() -> list[str]:
    """What else is mounted on this machine than the root, and than what a container has of its own."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    points = (line.split()[4] for line in lines)
    return [point for point in points if point != "/" and not point.startswith(("/proc", "/sys", "/dev", "/mnt"))]


def _within(root: Path, path: str) -> Path:
    """A path below the new root; links of this machine's own root, such as /lib, are followed there."""
    real = Path(path).parent.resolve() / Path(path).name
    return root / str(real).lstrip("/")


def _place(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def _bind(source: Path, target: Path) -> None:
    subprocess.run(["mount", "--bind", str(source), str(target)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro,nosuid,nodev", str(target)], check=True)


if __name__ == "__main__":
    main()
