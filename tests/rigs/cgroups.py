"""Groups of the kernel's own control: one that holds a process still, one that refuses devices."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

FREEZER, DEVICES = Path("/sys/fs/cgroup/freezer"), Path("/sys/fs/cgroup/devices")


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Hold a process where SIGKILL does not reach it, in a frozen cgroup-v1 freezer group, and let it go at the end."""
    group = FREEZER / f"nvrig-{pid}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(pid), encoding="ascii")
        (group / "freezer.state").write_text("FROZEN", encoding="ascii")
        while (group / "freezer.state").read_text(encoding="ascii").strip() != "FROZEN":
            time.sleep(0.005)
        yield
    finally:
        (group / "freezer.state").write_text("THAWED", encoding="ascii")
        _removed(group)


def why_no_freezer() -> str | None:
    """Why `frozen` cannot be used here."""
    return None if os.access(FREEZER / "cgroup.procs", os.W_OK) else "no cgroup-v1 freezer is mounted and writable"


@contextlib.contextmanager
def denied(*majors: int) -> Iterator[Path]:
    """A cgroup-v1 devices group in which character devices of these majors may be made and not opened."""
    group = DEVICES / f"nvrig-{os.getpid()}"
    group.mkdir()
    try:
        for major in majors:
            (group / "devices.deny").write_text(f"c {major}:* rw", encoding="ascii")
        yield group
    finally:
        _removed(group)


def why_no_device_cgroup() -> str | None:
    """Why `denied` cannot be used here."""
    return None if os.access(DEVICES / "cgroup.procs", os.W_OK) else "no cgroup-v1 devices controller is writable"


def _removed(group: Path) -> None:
    """Remove a group once the last of its processes is gone."""
    for _ in range(200):
        with contextlib.suppress(OSError):
            group.rmdir()
            break
        time.sleep(0.01)
