"""Of container engines' settings only what is about GPUs is told, in one form whatever the engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nvdiag.host import Refused
from nvdiag.host.engine_files import settings
from nvdiag.host.live import LiveHost
from tests.scenarios.containers_host import CONTAINERD_2, CRIO_TOML, daemon_json

NVIDIA = "/usr/bin/nvidia-container-runtime"


def test_docker() -> None:
    text = daemon_json(
        **{
            "default-runtime": "nvidia",
            "exec-opts": ["native.cgroupdriver=systemd"],
            "features": {"cdi": True, "containerd-snapshotter": True},
            "cdi-spec-dirs": ["/etc/cdi", "/opt/cdi"],
            "data-root": "/data/docker",
            "registry-mirrors": ["https://ada:hunter2@mirror.example.com"],
        }
    )
    assert settings("docker", text) == {
        "runtimes": {"nvidia": "nvidia-container-runtime"},
        "default": "nvidia",
        "cdi": True,
        "spec_dirs": ["/etc/cdi", "/opt/cdi"],
        "cgroup": "systemd",
    }


@pytest.mark.parametrize("text", ["", " \n", "{}", "\ufeff{}", '{"runtimes": null, "features": [], "exec-opts": "x"}'])
def test_docker_with_nothing_of_gpus(text: str) -> None:
    assert settings("docker", text) == {}


def test_containerd() -> None:
    told = settings("containerd", 'imports = ["/etc/containerd/conf.d/*.toml"]\n' + CONTAINERD_2)
    assert told == {
        "runtimes": {"nvidia": NVIDIA, "runc": "io.containerd.runc.v2"},
        "default": "nvidia",
        "cgroup": "systemd",
        "imports": ["/etc/containerd/conf.d/*.toml"],
    }


def test_containerds_cdi_and_a_disabled_plug_in() -> None:
    text = (
        "disabled_plugins = [\"cri\"]\n[plugins.'io.containerd.cri.v1.runtime']\nenable_cdi = false\n"
        'cdi_spec_dirs = ["/etc/cdi"]\n'
    )
    assert settings("containerd", text) == {"cdi": False, "spec_dirs": ["/etc/cdi"], "off": True}


def test_cri_o_and_podman() -> None:
    assert settings("cri-o", CRIO_TOML) == {"runtimes": {"nvidia": NVIDIA}, "default": "nvidia"}
    text = '[engine]\ncgroup_manager = "cgroupfs"\nhooks_dir = ["/a"]\ncdi_spec_dirs = ["/b"]\n'
    assert settings("podman", text) == {"cgroup": "cgroupfs", "spec_dirs": ["/b"], "hook_dirs": ["/a"]}


@pytest.mark.parametrize(
    ("engine", "text"),
    [("docker", "{"), ("docker", "[]"), ("docker", "[" * 50_000), ("containerd", "a = \n"), ("cri-o", "[a]\n[a]\n")],
)
def test_what_an_engine_would_not_take_is_told_with_the_reason(engine: str, text: str) -> None:
    told = settings(engine, text)
    assert set(told) == {"malformed", "names_nvidia"}
    assert told["names_nvidia"] is False
    assert settings(engine, text + "# nvidia")["names_nvidia"] is True


@pytest.mark.parametrize("value", [7, None, "x", [], {"a": [1]}, {"nvidia": 7}, {"nvidia": {"path": 7}}])
def test_odd_values_are_passed_over(value: Any) -> None:
    for engine in ("docker",):
        told = settings(engine, json.dumps({"runtimes": value, "features": value, "exec-opts": value}))
        assert "malformed" not in told


@pytest.mark.live
def test_a_live_host_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(daemon_json(), encoding="utf-8")
    host = LiveHost()
    assert host.contents("settings:docker", str(file)) == {"runtimes": {"nvidia": "nvidia-container-runtime"}}
    file.write_text("{" + " " * (1 << 20), encoding="utf-8")
    with pytest.raises(Refused, match="larger"):
        LiveHost().contents("settings:docker", str(file))
