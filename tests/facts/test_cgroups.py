"""Where a process belongs, by the forms that systemd, container engines and batch systems give its control group."""

from __future__ import annotations

import pytest

from nvdiag.facts.cgroups import Home, Place, place_of

ID = "0123456789abcdef" * 4
POD = "pod0f6f2a4c-3b0e-4f60-9d57-2a6a2a1f3b11"


@pytest.mark.parametrize(
    ("cgroup", "place"),
    [
        ("0::/system.slice/ollama.service\n", Place(Home.SERVICE, "ollama.service")),
        ("0::/system.slice/system-vllm.slice/vllm@a100.service\n", Place(Home.SERVICE, "vllm@a100.service")),
        ("0::/system.slice/nvidia-dcgm.service/sub\n", Place(Home.SERVICE, "nvidia-dcgm.service")),
        (f"0::/system.slice/docker-{ID}.scope\n", Place(Home.DOCKER, ID)),
        (f"0::/system.slice/docker-{ID}.scope/init\n", Place(Home.DOCKER, ID)),
        (f"0::/docker/{ID}\n", Place(Home.DOCKER, ID)),
        (f"11:devices:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/docker.service\n",
         Place(Home.DOCKER, ID)),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", Place(Home.PODMAN, ID)),
        (f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container\n",
         Place(Home.PODMAN, ID, 1000)),
        (f"0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-{POD.replace('-', '_')}.slice/"
         f"cri-containerd-{ID}.scope\n", Place(Home.POD, ID)),
        (f"0::/kubepods.slice/kubepods-{POD.replace('-', '_')}.slice/crio-{ID}.scope/container\n",
         Place(Home.POD, ID)),
        (f"12:pids:/kubepods/burstable/{POD}/{ID}\n", Place(Home.POD, ID)),
        (f"0::/system.slice/containerd.service/kubepods-burstable-{POD.replace('-', '_')}.slice:cri-containerd:{ID}\n",
         Place(Home.POD, ID)),
        (f"0::/k8s.io/{ID}\n", Place(Home.OTHER)),
        ("0::/lxc.payload.gpu-box/init.scope\n", Place(Home.LXC, "gpu-box")),
        ("0::/lxc/101/ns/init.scope\n", Place(Home.PROXMOX, "101")),
        ("0::/machine.slice/systemd-nspawn@trixie.service/payload\n", Place(Home.NSPAWN, "trixie")),
        ("0::/system.slice/slurmstepd.scope/job_42/step_extern/user/task_special\n", Place(Home.SLURM, "42")),
        ("9:devices:/slurm/uid_1000/job_42/step_0/task_0\n", Place(Home.SLURM, "42", 1000)),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", Place(Home.LOGIN, "session-3.scope", 1000)),
        ("0::/user.slice/user-1000.slice/user@1000.service/session.slice/org.gnome.Shell@wayland.service\n",
         Place(Home.USER_SERVICE, "org.gnome.Shell@wayland.service", 1000)),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox-4242.scope\n",
         Place(Home.LOGIN, "user@1000.service", 1000)),
        ("0::/\n", Place(Home.OTHER)),
        ("", Place(Home.OTHER)),
        ("nonsense", Place(Home.OTHER)),
    ],
)  # fmt: skip
def test_each_form_has_its_home(cgroup: str, place: Place) -> None:
    assert place_of(cgroup) == place


def test_a_long_path_costs_no_long_search() -> None:
    assert place_of("0::" + "/kubepods" * 5000 + "/user.slice" * 5000).home in Home
