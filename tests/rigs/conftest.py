"""Where a rig cannot be had its tests are skipped loudly; NVDIAG_RIGS_REQUIRED=1 makes that a failure."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rigs import cgroups, rig, slurm


def _need(why_not: str | None) -> None:
    if why_not is None:
        return
    if os.environ.get("NVDIAG_RIGS_REQUIRED"):
        pytest.fail(f"rig missing: {why_not}")
    pytest.skip(f"rig missing: {why_not}")


@pytest.fixture
def namespace() -> None:
    """R2: a private mount namespace."""
    _need(rig.why_not())


@pytest.fixture(params=["535", "550"])
def branch(request: pytest.FixtureRequest) -> str:
    """R1 in R2: NVIDIA's real libraries, both branches."""
    _need(rig.why_not_real())
    return str(request.param)


@pytest.fixture
def real550() -> tuple[Path, str]:
    """R1 in R2 with one branch, where the answer does not depend on it: the libraries' folder and release."""
    _need(rig.why_not_real())
    return rig.real("550")


@pytest.fixture
def freezer() -> None:
    """A cgroup-v1 freezer, which keeps a process from dying."""
    _need(cgroups.why_no_freezer())


@pytest.fixture
def container() -> None:
    """R2 as a container: a root, a mount table and processes of its own."""
    _need(rig.why_no_container())


@pytest.fixture
def device_cgroup() -> None:
    """A cgroup-v1 devices controller, whose rules the kernel really enforces."""
    _need(cgroups.why_no_device_cgroup())


@pytest.fixture
def strace() -> None:
    """strace, to see what a program tried to change."""
    import shutil

    _need(None if shutil.which("strace") else "strace is missing")


@pytest.fixture
def dpkg() -> None:
    """Debian's own package managers, and root, which they want."""
    import shutil

    missing = [name for name in ("dpkg", "dpkg-deb", "apt-get") if not shutil.which(name)]
    why = f"{', '.join(missing)} missing" if missing else "dpkg wants root" if os.geteuid() else None
    _need(why)


@pytest.fixture
def slurm_programs(namespace: None) -> None:
    """Slurm's own daemons and commands."""
    _need(slurm.why_not())


@pytest.fixture
def systemd() -> None:
    """systemd's own reader of units."""
    import shutil

    _need(None if shutil.which("systemd-analyze") else "systemd-analyze is missing: apt install systemd")


@pytest.fixture
def podman(namespace: None) -> Path:
    """The folder of Podman's packages: a container engine of its own, beside whatever this machine has."""
    folder = rig.CACHE / "podman"
    _need(None if (folder / "release").exists() else "Podman is not fetched: python tests/rigs/fetch.py")
    return folder / "tree"


@pytest.fixture
def fake_gpus(namespace: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., rig.Machine]:
    """R3: a machine with our own libraries; more lines of their file are given by the test."""

    def machine(*lines: str, gpus: int = 2, **options: object) -> rig.Machine:
        folder = tmp_path_factory.mktemp("fake")
        for path in (folder, *folder.parents):
            if path.stat().st_uid == os.geteuid() and path.name.startswith(("fake", "pytest")):
                path.chmod(0o755)
        return rig.healthy(folder, gpus, lines, **options)

    return machine
