"""Podman and runc start a container by CDI specifications, and nvdiag says beforehand whether they will.

Nothing here comes from NVIDIA: the specifications are in the form of its toolkit's, the driver's files are empty, and
the container runs a program that does nothing. What an engine does with a specification does not depend on that.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import rig
from tests.scenarios.containers_host import as_yaml, specification

pytestmark = [pytest.mark.rig, pytest.mark.live]

ETC, VAR = "/etc/cdi/nvidia.yaml", "/var/run/cdi/nvidia.yaml"
POLICY = {"/etc/containers/policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}'}
Document = dict[str, Any]


class Bench:
    """A driver's files and a container's root below a folder, and the specifications that name them."""

    def __init__(self, folder: Path, podman: Path) -> None:
        self.podman = podman
        self.root, self.driver = folder / "rootfs", folder / "driver"
        (folder / "true.c").write_text("int main(void) { return 0; }\n")
        for name in ("bin", "dev", "proc", "sys", "etc", "tmp"):
            (self.root / name).mkdir(parents=True)
        command = ["cc", "-static", "-o", str(self.root / "bin/true"), str(folder / "true.c")]
        subprocess.run(command, check=True)
        self.hook = self.driver / "bin/nvidia-cdi-hook"
        for mount in self.document()["containerEdits"]["mounts"]:
            path = Path(mount["hostPath"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        self.hook.parent.mkdir()
        self.hook.write_bytes((self.root / "bin/true").read_bytes())
        self.hook.chmod(0o755)

    def document(self, release: str = rig.RELEASE, hook: str = "") -> Document:
        """One by which a container can be started, unless it is of another release or calls another hook."""
        found = specification(release, root=str(self.driver), hook=hook or str(self.driver / "bin/nvidia-cdi-hook"))
        for device in found["devices"]:
            device["containerEdits"]["deviceNodes"] = [{"path": "/dev/nvidia0"}]
        found["containerEdits"]["deviceNodes"] = [{"path": "/dev/nvidiactl"}]
        return found

    def starts(self, machine: rig.Machine) -> rig.Result:
        """Have Podman start a container with all GPUs."""
        libraries = ":".join(str(self.podman / name / "x86_64-linux-gnu") for name in ("usr/lib", "lib"))
        options = [
            "--root", "/dev/shm/root", "--runroot", "/dev/shm/run", "--tmpdir", "/dev/shm/tmp",
            "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
            "--conmon", self.podman / "usr/bin/conmon", "--runtime", self.podman / "usr/sbin/runc",
        ]  # fmt: skip
        run = [
            "run", "--rm", "--network", "none", "--ulimit", "nofile=512:512", "--ulimit", "nproc=512:512",
            "--security-opt", "seccomp=unconfined", "--device", "nvidia.com/gpu=all",
            "--rootfs", self.root, "/bin/true",
        ]  # fmt: skip
        words = shlex.join(str(word) for word in (self.podman / "usr/bin/podman", *options, *run))
        return rig.run(machine, "sh", "-c", f"unset LD_PRELOAD; LD_LIBRARY_PATH={libraries} exec {words}")


@pytest.fixture
def bench(podman: Path, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(tmp_path, podman)
    parents = Path("/sys/fs/cgroup").glob("*/libpod_parent")
    for path in (Path(name) for parent in parents for name, _, _ in os.walk(parent, topdown=False)):
        with contextlib.suppress(OSError):  # it still serves a conmon that is leaving, or the test beside this one
            path.rmdir()


def _judged(machine: rig.Machine) -> list[tuple[str, str]]:
    done = rig.run(machine, sys.executable, "-m", "nvdiag", "check", "--format", "json")
    return [(one["id"], one["severity"]) for one in json.loads(done.stdout)["findings"]]


STALE, UNUSABLE = ("cdi-spec-stale", "error"), ("cdi-spec-unusable", "error")


def _files(bench: Bench, case: str) -> Mapping[str, str]:
    good, old = bench.document(), bench.document("550.54.14")
    gone = bench.document()
    gone["devices"][2]["containerEdits"]["deviceNodes"] = [{"path": "/dev/dri/card7"}]
    return {
        "good": {ETC: as_yaml(good)},
        "as JSON": {"/etc/cdi/nvidia.json": json.dumps(good)},
        "of an older driver": {ETC: as_yaml(old)},
        "with a node that is gone": {ETC: as_yaml(gone)},
        "with a hook that is gone": {ETC: as_yaml(bench.document(hook=f"{bench.driver}/gone"))},
        "twice in one folder": {ETC: as_yaml(good), "/etc/cdi/gpu.json": json.dumps(good)},
        "in both folders": {ETC: as_yaml(good), VAR: as_yaml(good)},
        "old in etc": {ETC: as_yaml(old), VAR: as_yaml(good)},
        "old in var": {ETC: as_yaml(good), VAR: as_yaml(old)},
        "empty": {ETC: ""},
        "without devices": {ETC: as_yaml(good | {"devices": []})},
        "cut off": {ETC: as_yaml(good) + "  x: [\n"},
        "damaged beside a good one": {ETC: as_yaml(good), "/etc/cdi/nvidia-x.json": "{"},
    }[case]


GONE, UNRESOLVABLE = "no such file or directory", "unresolvable CDI devices nvidia.com/gpu=all"


@pytest.mark.parametrize(
    ("case", "said", "error"),
    [
        ("good", [], ""),
        ("as JSON", [], ""),
        ("of an older driver", [STALE], GONE),
        ("with a node that is gone", [STALE], GONE),
        ("with a hook that is gone", [UNUSABLE], GONE),
        ("twice in one folder", [UNUSABLE], UNRESOLVABLE),
        ("in both folders", [], ""),
        ("old in etc", [], ""),
        ("old in var", [STALE], GONE),
        ("empty", [UNUSABLE], UNRESOLVABLE),
        ("without devices", [UNUSABLE], UNRESOLVABLE),
        ("cut off", [UNUSABLE], UNRESOLVABLE),
        ("damaged beside a good one", [("cdi-spec-unusable", "warning")], ""),
    ],
)
def test_an_engine_does_what_nvdiag_says(
    case: str, said: list[tuple[str, str]], error: str, bench: Bench, fake_gpus: Callable[..., rig.Machine]
) -> None:
    machine = fake_gpus(gpus=1, files={**POLICY, **_files(bench, case)})
    assert _judged(machine) == said
    done = bench.starts(machine)
    assert (done.exit == 0) is (error == ""), done.stderr
    assert error in done.stderr
