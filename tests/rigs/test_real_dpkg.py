"""Debian's own dpkg and apt install and upgrade a package in a private root; their logs tell since when and by whom."""

from __future__ import annotations

import gzip
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from nvdiag.host import logs
from nvdiag.host.live import LiveHost
from tests.checks.diagnosing import diagnosed
from tests.report.reporting import as_document
from tests.scenarios import machines
from tests.scenarios.tree import Tree, TreeHost

pytestmark = [pytest.mark.rig, pytest.mark.live, pytest.mark.usefixtures("dpkg")]

OLD, NEW = "999.10.01", "999.20.02"
NAME = "libnvidia-compute-999"


class WithRealLogs(TreeHost):
    """A scenario whose /var/log is a real folder, read as on a live machine."""

    def __init__(self, tree: Tree, root: Path) -> None:
        super().__init__(tree)
        self._live, self._root = LiveHost(60.0), root

    def look(self, section: str, key: str) -> Any:
        if section in ("files", "folders") and f"{key}/".startswith("/var/log/"):
            return self._live.look(section, f"{self._root}{key}")
        return super().look(section, key)


def package(folder: Path, release: str) -> Path:
    """A package that holds nothing but one file."""
    tree = folder / release
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr" / "share").mkdir(parents=True)
    (tree / "usr" / "share" / f"{NAME}.txt").write_text(f"{release}\n")
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {NAME}\nVersion: {release}-1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n"
        "Description: a package without contents, for a test\n"
    )
    path = folder / f"{NAME}_{release}-1_all.deb"
    run("dpkg-deb", "--root-owner-group", "--build", str(tree), str(path))
    return path


def run(*argv: str, **env: str) -> None:
    done = subprocess.run(argv, env={**os.environ, "TZ": "UTC", **env}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty system for dpkg."""
    path = tmp_path / "root"
    monkeypatch.setattr(logs, "FOLDER", f"{path}/var/log/")
    for folder in ("info", "updates", "triggers"):
        (path / "var/lib/dpkg" / folder).mkdir(parents=True)
    for file in ("status", "available"):
        (path / "var/lib/dpkg" / file).touch()
    (path / "var/log/apt").mkdir(parents=True)
    return path


def dpkg_installs(root: Path, deb: Path) -> None:
    admin, log = root / "var/lib/dpkg", root / "var/log/dpkg.log"
    run("dpkg", f"--root={root}", f"--admindir={admin}", f"--log={log}", "--install", str(deb))


def apt_installs(root: Path, deb: Path) -> None:
    for folder in ("var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "etc/apt/apt.conf.d"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    configuration = root.parent / "apt.conf"
    configuration.write_text(
        f'Dir "{root}/";\nDir::State::status "{root}/var/lib/dpkg/status";\nDir::Bin::Methods "/usr/lib/apt/methods";\n'
        'Dir::Bin::dpkg "/usr/bin/dpkg";\nDir::Ignore-Files-Silently ".*";\nAPT::Sandbox::User "root";\n'
        f'DPkg::Options {{ "--root={root}"; "--log={root}/var/log/dpkg.log"; }};\n'
    )
    run("apt-get", "-y", "install", str(deb), APT_CONFIG=str(configuration), SUDO_UID="65534")


def machine(root: Path) -> WithRealLogs:
    """The old release is loaded since an hour ago; the new one is installed."""
    tree = machines.ubuntu_dkms(OLD, NEW, NEW).but(
        files={"/proc/stat": f"cpu  1 2 3 4\nbtime {int(time.time()) - 3600}\n"},
        links={"/etc/localtime": "/usr/share/zoneinfo/Etc/UTC"},
    )
    return WithRealLogs(tree, root)


def told(root: Path) -> tuple[str, dict[str, Any]]:
    """The first finding's detail, and the transaction that is the cause."""
    diagnosis = diagnosed(machine(root))
    history = as_document(diagnosis)["facts"]["history"]
    cause: dict[str, Any] = history["transactions"][history["cause"]]
    return diagnosis.findings[0].finding.detail, cause


def change() -> list[dict[str, str]]:
    return [{"name": NAME, "old": f"{OLD}-1", "new": f"{NEW}-1", "role": "library"}]


def test_dpkgs_own_log_tells_the_upgrade(root: Path, tmp_path: Path) -> None:
    started = time.strftime("%Y-%m-%d", time.gmtime())
    for release in (OLD, NEW):
        dpkg_installs(root, package(tmp_path, release))
    detail, cause = told(root)
    assert f"It has been so since {started}" in detail
    assert "by dpkg; the log does not say who asked" in detail
    assert cause["changes"] == change()
    assert (cause["source"], cause["after_boot"], cause["failed"]) == ("/var/log/dpkg.log", True, False)


def test_apts_own_history_tells_who_asked_and_dpkgs_log_is_the_same_run(root: Path, tmp_path: Path) -> None:
    for release in (OLD, NEW):
        apt_installs(root, package(tmp_path, release))
    detail, cause = told(root)
    assert "by nobody, with `apt-get -y install " in detail or "by `apt-get -y install " in detail
    assert cause["changes"] == change()
    assert cause["source"] == "/var/log/apt/history.log"
    transactions = as_document(diagnosed(machine(root)))["facts"]["history"]["transactions"]
    assert [one["tool"] for one in transactions] == ["apt", "apt"]


def test_a_rotated_and_packed_log_tells_the_same(root: Path, tmp_path: Path) -> None:
    for release in (OLD, NEW):
        dpkg_installs(root, package(tmp_path, release))
    log = root / "var/log/dpkg.log"
    (root / "var/log/dpkg.log.2.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.write_text("")
    _, cause = told(root)
    assert (cause["source"], cause["changes"]) == ("/var/log/dpkg.log.2.gz", change())


def test_an_upgrade_whose_script_fails_is_told_as_unfinished(root: Path, tmp_path: Path) -> None:
    dpkg_installs(root, package(tmp_path, OLD))
    deb = package(tmp_path, NEW)
    script = tmp_path / NEW / "DEBIAN" / "postinst"
    script.write_text("#!/nonexistent\n")
    script.chmod(0o755)
    run("dpkg-deb", "--root-owner-group", "--build", str(tmp_path / NEW), str(deb))
    with pytest.raises(AssertionError):
        dpkg_installs(root, deb)
    detail, cause = told(root)
    assert cause["failed"]
    assert "did not come to its end" in detail
