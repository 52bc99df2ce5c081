"""File systems of other machines are looked at by a child, which a server that is gone may hold for ever."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from nvdiag.host import Refused, live, remote_files
from nvdiag.host.live import LiveHost
from nvdiag.host.remote_files import RemoteFiles, served_folders

MOUNTS = (
    "22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"
    "40 22 0:45 / /var/log rw,relatime shared:20 - nfs4 server:/logs rw,vers=4.2,hard\n"
    "41 22 0:46 / /mnt/my\\040disk rw,relatime - cifs //server/share rw\n"
    "42 22 0:47 / /home rw,relatime - autofs /etc/auto.home rw,fd=6\n"
    "43 22 0:48 / /efi rw,relatime - autofs systemd-1 rw,fd=60\n"
    "44 22 0:49 / /proc/sys/fs/binfmt_misc rw,relatime - autofs systemd-1 rw,fd=29\n"
    "45 22 0:50 / /proc/stat rw,nosuid - fuse.lxcfs lxcfs rw\n"
    "46 22 0:51 / /data rw - fuse.sshfs me@server:/data rw\n"
)


def test_mounts_of_servers_are_told_from_those_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert served_folders(str(tmp_path / "mountinfo")) == ("/var/log/", "/mnt/my disk/", "/home/", "/data/")
    (tmp_path / "mountinfo").write_text(MOUNTS.splitlines()[0].replace("ext4 /dev/nvme0n1p2", "nfs4 server:/root"))
    assert served_folders(str(tmp_path / "mountinfo")) == ()
    assert served_folders(str(tmp_path / "nothing")) == ()


class Server:
    """Answers with the process that was asked; a key with "dead" in it is never answered."""

    def __call__(self, section: str, key: str) -> Any:
        if "dead" in key:
            time.sleep(3600)
        return {"pid": os.getpid(), "long": "x" * 300_000, "key": f"{section} {key}"}


def test_one_child_answers_all_questions_and_a_dead_mount_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "PATIENCE", 0.2)
    remote = RemoteFiles(("/a/", "/a/b/"), Server())
    until = time.monotonic() + 60
    first = remote.look("files", "/a/1", "/a/1", until)
    assert first["key"] == "files /a/1"
    assert first["pid"] != os.getpid()
    assert remote.look("stats", "/a", "/a", until)["pid"] == first["pid"]
    assert remote.look("files", "/a/b/dead", "/a/b/dead", until) == {"error": "timeout"}
    assert remote.look("files", "/a/b/2", "/a/b/2", until) == {"error": "timeout"}
    assert remote.look("files", "/a/2", "/a/2", until)["pid"] not in (first["pid"], os.getpid())


@pytest.mark.live
def test_a_live_machine_is_not_held_by_a_dead_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log").write_text("a line of a log\n")
    (tmp_path / "dead").write_text("")
    monkeypatch.setattr(remote_files, "served_folders", lambda: (f"{tmp_path}/",))
    monkeypatch.setattr(remote_files, "PATIENCE", 0.2)
    asked = live._grep
    monkeypatch.setattr(live, "_grep", lambda text, path: time.sleep(3600) if "dead" in path else asked(text, path))
    host = LiveHost(60.0)
    assert host.read(f"{tmp_path}/log") == "a line of a log\n"
    assert host.lines_with("log", f"{tmp_path}/log") == ("a line of a log",)
    assert not host.exists(f"{tmp_path}/nothing")
    with pytest.raises(Refused, match="no answer in time"):
        host.lines_with("x", f"{tmp_path}/dead")
    with pytest.raises(Refused, match="no answer in time"):
        host.folder(str(tmp_path))
