"""The walk over /proc that finds who has the driver's nodes open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from nvdiag.host.live import LiveHost
from nvdiag.probes import holders
from tests.scenarios.machines import joined
from tests.scenarios.processes import LOGIN, process
from tests.scenarios.tree import Tree, TreeHost

STUCK = "D (disk sleep)"


class Machine:
    """A tree's /proc in which each look at a thread may give the next of several texts."""

    def __init__(self, tree: Tree, later: dict[str, str] | None = None) -> None:
        self.host: TreeHost = tree.host()
        self.refused = dict(tree.refused)
        self.later = later or {}
        self.read: list[str] = []

    def names(self, folder: str) -> list[str]:
        return list(self._got("folders", folder))

    def link(self, path: str) -> str:
        return str(self._got("links", path))

    def text(self, path: str) -> str:
        self.read.append(path)
        if path in self.later and self.read.count(path) > 1:
            return self.later[path]
        return str(self._got("files", path))

    def _got(self, section: str, path: str) -> Any:
        if path in self.refused:
            raise PermissionError(path)
        value = self.host.look(section, path)
        if value is None:
            raise FileNotFoundError(path)
        if isinstance(value, dict):
            raise OSError(path)
        return value


def walked(tree: Tree, later: dict[str, str] | None = None) -> dict[str, Any]:
    return holders.walk(Machine(tree, later), lambda *_: None, lambda _: None)


def test_only_processes_with_the_drivers_nodes_are_told_of() -> None:
    document = walked(
        joined(
            process(1, "systemd", "0::/init.scope\n"),
            process(70, "python3", LOGIN, "/dev/nvidia0", "/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap1", uid=1000),
            process(71, "vim", LOGIN, "/home/ada/secret.txt", "/srv/dev/nvidia-notes.txt", uid=1000),
        )
    )
    assert [row["pid"] for row in document["processes"]] == [70]
    assert document["processes"][0]["nodes"] == {"/dev/nvidia0": 2, "/dev/nvidia-caps/nvidia-cap1": 1}
    assert document["looked"] == 3
    assert "secret" not in str(document)


def test_a_node_that_was_removed_since_is_known_by_its_name() -> None:
    assert walked(process(70, "python3", LOGIN, "/dev/nvidia0 (deleted)"))["processes"][0]["nodes"] == {
        "/dev/nvidia0": 1
    }


def test_a_card_counts_only_where_nvidia_drives_it() -> None:
    drivers = {
        f"/sys/class/drm/{card}/device/driver": f"../../../../bus/pci/drivers/{driver}"
        for card, driver in (("card0", "i915"), ("card1", "nvidia"), ("renderD129", "nvidia"))
    }
    shell = process(70, "gnome-shell", LOGIN, "/dev/dri/card0", "/dev/dri/card1", "/dev/dri/renderD129")
    document = walked(joined(shell, Tree(links=drivers)))
    assert sorted(document["processes"][0]["nodes"]) == ["/dev/dri/card1", "/dev/dri/renderD129"]


def test_a_thread_that_was_switched_to_between_two_looks_is_not_stuck() -> None:
    tree = process(70, "python3", LOGIN, "/dev/nvidia0", state=STUCK)
    status = "/proc/70/task/70/status"
    moved = tree.files[status].replace("voluntary_ctxt_switches:\t150", "voluntary_ctxt_switches:\t151", 1)
    assert walked(tree)["processes"][0]["stuck"] is True
    assert walked(tree, {status: moved})["processes"][0]["stuck"] is False
    assert walked(tree, {status: moved.replace(STUCK, "R (running)")})["processes"][0]["stuck"] is False


def test_any_thread_counts_not_only_the_first() -> None:
    tree = process(70, "python3", LOGIN, "/dev/nvidia0")
    stuck = tree.files["/proc/70/status"].replace("S (sleeping)", STUCK)
    assert walked(tree.but(files={"/proc/70/task/77/status": stuck}))["processes"][0]["stuck"] is True


def test_a_zombie_whose_other_threads_hang_has_its_files_still() -> None:
    tree = process(70, "python3", LOGIN, state="Z (zombie)").without("/proc/70/fd", "/proc/70/task")
    status = tree.files["/proc/70/status"]
    tree = tree.but(
        files={"/proc/70/task/70/status": status, "/proc/70/task/77/status": status.replace("Z (zombie)", STUCK)},
        links={"/proc/70/task/77/fd/5": "/dev/nvidia0"},
        folders=("/proc/70/fd", "/proc/70/task/70/fd"),
    )
    row = walked(tree)["processes"][0]
    assert (row["nodes"], row["stuck"]) == ({"/dev/nvidia0": 1}, True)


def test_the_maps_of_a_stuck_process_are_not_read() -> None:
    machine = Machine(process(70, "python3", LOGIN, "/dev/nvidia0", state=STUCK))
    holders.walk(machine, lambda *_: None, lambda _: None)
    assert not [path for path in machine.read if path.endswith(("maps", "cmdline"))]


def test_a_mapped_node_counts_without_an_open_file() -> None:
    document = walked(process(70, "python3", LOGIN, maps=("/usr/lib/libc.so.6", "/dev/nvidia0")))
    assert document["processes"][0]["nodes"] == {"/dev/nvidia0": 1}


def test_what_may_not_be_seen_is_counted_without_the_kernels_threads() -> None:
    from tests.scenarios.processes import kernel_thread

    hidden = process(70, "python3", LOGIN, "/dev/nvidia0", refused=True)
    known = process(71, "nvidia-persiste", "0::/system.slice/nvidia-persistenced.service\n", refused=True)
    tree = joined(hidden, known, kernel_thread())
    document = walked(tree.but(refused={**hidden.refused, **known.refused, **kernel_thread().refused}))
    assert (document["refused"], document["processes"]) == (2, [])
    assert [row["comm"] for row in document["supposed"]] == ["nvidia-persiste"]


def test_a_process_that_ends_meanwhile_is_passed_over() -> None:
    tree = process(70, "python3", LOGIN, "/dev/nvidia0").without("/proc/70/fd")
    assert walked(tree)["processes"] == []


@pytest.fixture
def opened(tmp_path: Any) -> Iterator[str]:
    """A file that looks like a node, open in this process."""
    folder = tmp_path / "dev"
    folder.mkdir()
    path = folder / "nvidia0"
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    yield str(path)
    os.close(descriptor)


@pytest.mark.live
def test_the_walk_finds_an_open_node_on_this_machine(opened: str) -> None:
    document = LiveHost(30.0).probe("holders")
    assert "error" not in document
    mine = [row for row in document["processes"] if row["pid"] == os.getpid()]
    assert mine[0]["nodes"] == {"/dev/nvidia0": 1}
    assert mine[0]["stuck"] is False
    assert mine[0]["uid"] == os.geteuid()


@pytest.mark.live
def test_the_walk_works_without_rights_on_this_machine() -> None:
    from tests.host.test_live import as_nobody

    document = as_nobody(lambda: LiveHost(30.0).probe("holders"))
    assert "error" not in document
    assert document["looked"] >= 1
    if os.geteuid() == 0:
        assert document["refused"] >= 1
