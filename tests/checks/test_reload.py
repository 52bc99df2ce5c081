"""What holds the driver's modules, and the plan to reload them without a reboot."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from nvdiag.model.finding import Finding, Remedy
from tests.checks.diagnosing import first
from tests.scenarios import machines, processes
from tests.scenarios.machines import joined
from tests.scenarios.processes import DOCKER, ID, LOGIN, POD, process, running, service
from tests.scenarios.tree import Tree

OLD, NEW = "570.169", "570.172.08"
CUDA = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia-uvm")


def broken(*processes: Tree, **changes: object) -> Tree:
    """Ubuntu after an upgrade, with the old module in memory and these processes."""
    machine = joined(machines.ubuntu_dkms(OLD, NEW, NEW), processes_of_the_system(), *processes)
    refused: dict[str, str] = {}
    for one in processes:
        refused |= one.refused
    return machine.but(refused=refused, **changes)


def processes_of_the_system() -> Tree:
    return joined(process(1, "systemd", "0::/init.scope\n"), process(800, "sshd", service("ssh.service")))


def reload_of(finding: Finding) -> Remedy:
    found = [remedy for remedy in finding.remedies if any("rmmod" in command for command in remedy.commands)]
    assert len(found) == 1
    return found[0]


def commands(machine: Tree) -> tuple[str, ...]:
    return reload_of(first(machine)).commands


def test_a_gpu_that_nobody_uses_is_reloaded_at_once() -> None:
    remedy = reload_of(first(broken()))
    assert remedy.commands == (
        "sudo fuser -v /dev/nvidia*",
        "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia",
        "sudo modprobe nvidia",
        "sudo modprobe nvidia-modeset",
        "sudo modprobe nvidia-drm",
        "sudo modprobe nvidia-uvm",
        "nvidia-smi",
    )
    assert "nothing holds the modules now" in remedy.prediction


def test_services_are_stopped_before_what_they_rely_on_and_started_after_it() -> None:
    machine = broken(
        process(900, "nvidia-persiste", service("nvidia-persistenced.service"), "/dev/nvidiactl", "/dev/nvidia0"),
        process(901, "nv-fabricmanage", service("nvidia-fabricmanager.service"), "/dev/nvidia-nvswitchctl"),
        process(902, "nv-hostengine", service("nvidia-dcgm.service"), "/dev/nvidiactl"),
        process(903, "ollama", service("ollama.service"), *CUDA),
    )
    told = commands(machine)
    stops = [command.rpartition(" ")[2] for command in told if "systemctl stop" in command]
    starts = [command.rpartition(" ")[2] for command in told if "systemctl start" in command]
    assert stops == [
        "ollama.service", "nvidia-dcgm.service", "nvidia-fabricmanager.service", "nvidia-persistenced.service",
    ]  # fmt: skip
    assert starts == stops[::-1]
    assert told.index(f"sudo systemctl stop {stops[-1]}") < told.index(
        "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia"
    )
    assert told.index("sudo modprobe nvidia-uvm") < told.index(f"sudo systemctl start {starts[0]}")


def test_containers_are_stopped_by_their_engine_and_their_ids() -> None:
    machine = broken(process(4000, "python3", DOCKER, *CUDA), process(4001, "python3", DOCKER, *CUDA))
    assert f"sudo docker stop {ID[:12]}" in commands(machine)
    assert f"sudo docker start {ID[:12]}" in commands(machine)


@pytest.mark.parametrize(
    ("cgroup", "stop", "start"),
    [
        (POD, f"sudo crictl stop {ID[:13]}", "sudo systemctl start kubelet.service"),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", f"sudo podman stop {ID[:12]}", "sudo podman start"),
        (
            f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope\n",
            f"sudo -u alice podman stop {ID[:12]}",
            f"sudo -u alice podman start {ID[:12]}",
        ),
        (f"12:pids:/docker/{ID}\n1:name=systemd:/docker/{ID}\n", f"sudo docker stop {ID[:12]}", "sudo docker start"),
        ("0::/lxc.payload.web-1/system.slice/x.service\n", "sudo lxc-stop -n web-1", "sudo lxc-start -n web-1"),
        ("0::/lxc/101/ns/system.slice/x.service\n", "sudo pct shutdown 101", "sudo pct start 101"),
        ("0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0\n", "sudo scancel 4711", ""),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/comfy.service\n",
            "sudo systemctl --user --machine=alice@.host stop comfy.service",
            "sudo systemctl --user --machine=alice@.host start comfy.service",
        ),
        (LOGIN, "sudo kill 4000", ""),
    ],
    ids=["pod", "podman", "rootless", "cgroup-v1", "lxc", "proxmox", "slurm", "user-service", "login"],
)
def test_each_kind_of_holder_is_stopped_with_what_started_it(cgroup: str, stop: str, start: str) -> None:
    machine = broken(process(4000, "python3", cgroup, *CUDA, uid=1000), running("kubelet.service"))
    told = commands(machine)
    assert stop in told
    assert any(command.startswith(start) for command in told[told.index(stop) + 1 :])
    for command in told:
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_the_kubelet_is_stopped_before_the_containers_that_it_would_start_again() -> None:
    told = commands(broken(process(4000, "python3", POD, *CUDA), running("k3s.service")))
    assert told.index("sudo systemctl stop k3s.service") < told.index(f"sudo k3s crictl stop {ID[:13]}")


def test_a_graphical_session_ends_with_its_display_manager() -> None:
    machine = broken(
        process(1500, "gdm3", service("gdm.service")),
        process(2000, "Xorg", LOGIN, "/dev/nvidiactl", "/dev/nvidia0", "/dev/dri/card1", uid=1000),
        process(2001, "gnome-shell", LOGIN, "/dev/nvidia0", "/dev/dri/card1", uid=1000),
        running("gdm.service", "ssh.service"),
        links={"/sys/class/drm/card1/device/driver": "../../../../bus/pci/drivers/nvidia"},
    )
    told = commands(machine)
    assert "sudo systemctl stop gdm.service" in told
    assert not any("kill" in command for command in told)
    assert told[-2:] == ("sudo systemctl start gdm.service", "nvidia-smi")


def test_a_display_manager_on_another_gpu_is_left_alone() -> None:
    machine = broken(
        process(2000, "Xorg", LOGIN, "/dev/dri/card0", uid=1000),
        running("gdm.service"),
        links={"/sys/class/drm/card0/device/driver": "../../../../bus/pci/drivers/i915"},
    )
    assert not any("gdm" in command for command in commands(machine))


def test_the_evidence_names_process_user_nodes_and_home() -> None:
    finding = first(broken(process(4000, "python3", DOCKER, *CUDA, uid=1000)))
    seen = {one.source: one.excerpt for one in finding.evidence}
    assert seen["/proc/4000/fd"].startswith(
        "python3 of alice has /dev/nvidia-uvm, /dev/nvidia0 and /dev/nvidiactl open"
    )
    assert "docker container" in seen["/proc/4000/fd"]


def test_a_process_that_waits_in_the_kernel_makes_a_reload_impossible() -> None:
    machine = broken(process(4000, "python3", LOGIN, *CUDA, uid=1000, state="D (disk sleep)"))
    finding = first(machine)
    assert "Without a reboot it cannot be done: python3 (4000)" in finding.detail
    assert not any("rmmod" in command for remedy in finding.remedies for command in remedy.commands)
    assert any(remedy.reboots for remedy in finding.remedies)


def test_programs_whose_old_libraries_are_gone_are_said_to_run_on_borrowed_time() -> None:
    old = f"/usr/lib/x86_64-linux-gnu/libcuda.so.{OLD}"
    finding = first(broken(process(4000, "vllm", LOGIN, *CUDA, maps=(f"{old} (deleted)", "/usr/lib/libc.so.6"))))
    assert ("/proc/4000/maps", f"{old} (deleted)") in {(one.source, one.excerpt) for one in finding.evidence}
    assert f"each one that starts from now on gets {NEW}. Still on the old ones" in finding.detail
    assert "gone from the disk: vllm (4000)." in finding.detail
    assert "until they are started anew" in finding.detail


def test_without_rights_what_may_not_be_seen_is_said_and_known_services_are_named() -> None:
    machine = broken(
        process(900, "nvidia-persiste", service("nvidia-persistenced.service"), "/dev/nvidia0", refused=True),
        process(4000, "python3", DOCKER, *CUDA, refused=True),
        processes.kernel_thread(),
        running("nvidia-persistenced.service", "ssh.service"),
        files={"/sys/module/nvidia/refcnt": "9\n"},
    )
    remedy = reload_of(first(machine))
    assert "sudo systemctl stop nvidia-persistenced.service" in remedy.commands
    assert "nvidia has 7 users, and 2 processes of other users could not be looked at" in remedy.prediction
    assert "sudo nvdiag" in remedy.prediction


def test_the_text_console_is_taken_off_the_gpu_and_given_back() -> None:
    machine = broken(
        files={
            "/proc/fb": "0 nvidia-drmdrmfb\n",
            "/sys/class/vtconsole/vtcon0/name": "(S) dummy device\n",
            "/sys/class/vtconsole/vtcon0/bind": "0\n",
            "/sys/class/vtconsole/vtcon1/name": "(M) frame buffer device\n",
            "/sys/class/vtconsole/vtcon1/bind": "1\n",
            "/sys/module/nvidia_drm/refcnt": "1\n",
        }
    )
    remedy = reload_of(first(machine))
    off, on = (f"echo {value} | sudo tee /sys/class/vtconsole/vtcon1/bind" for value in (0, 1))
    unload = next(index for index, command in enumerate(remedy.commands) if "rmmod" in command)
    assert remedy.commands.index(off) < unload < remedy.commands.index(on)
    assert "do it over ssh" in remedy.prediction


def test_modules_that_others_wrote_for_the_driver_are_unloaded_first() -> None:
    machine = broken(
        links={
            "/sys/module/nvidia/holders/gdrdrv": "../../gdrdrv",
            "/sys/module/nvidia/holders/nvidia_peermem": "../../nvidia_peermem",
        },
        files={"/sys/module/nvidia/refcnt": "4\n", "/sys/module/gdrdrv/refcnt": "0\n"},
        folders=(*broken().folders, "/sys/module/gdrdrv/holders", "/sys/module/nvidia_peermem/holders"),
    )
    told = commands(machine)
    assert "sudo rmmod gdrdrv nvidia_peermem nvidia_uvm nvidia_drm nvidia_modeset nvidia" in told
    assert told.index("sudo modprobe nvidia-peermem") < told.index("sudo modprobe gdrdrv")


def test_the_list_of_driver_files_for_containers_is_written_anew() -> None:
    machine = broken(process(4000, "python3", DOCKER, *CUDA), files={"/etc/cdi/nvidia.yaml": "cdiVersion: 0.5.0\n"})
    told = commands(machine)
    assert told.index("sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml") < told.index(
        f"sudo docker start {ID[:12]}"
    )


def test_a_module_for_another_kernel_is_not_offered_for_a_reload() -> None:
    path = f"/usr/lib/modules/{machines.UBUNTU_KERNEL}/updates/dkms/nvidia.ko.zst"
    machine = broken(modules={path: machines.module_fields(NEW, "6.8.0-84-generic")})
    assert not any("rmmod" in shlex.join(remedy.commands) for remedy in first(machine).remedies)


def test_a_healthy_machine_does_not_look_at_processes() -> None:
    from tests.checks.diagnosing import diagnosed

    host = joined(machines.ubuntu_dkms(NEW, NEW, NEW), process(4000, "python3", DOCKER, *CUDA)).host()
    diagnosed(host)
    asked = [question for question in host.asked if "/fd" in question or "holders" in question or "find" in question]
    assert asked == []


def test_a_run_on_the_machines_own_snapshot_finds_the_same() -> None:
    from tests.checks.diagnosing import diagnosed

    machine = broken(
        process(900, "nvidia-persiste", service("nvidia-persistenced.service"), "/dev/nvidia0"),
        process(4000, "python3", DOCKER, *CUDA, uid=1000),
        running("nvidia-persistenced.service"),
    )
    assert diagnosed(machine.snapshot()).findings == diagnosed(machine).findings


def test_a_recording_without_the_processes_has_the_bare_commands() -> None:
    from nvdiag.host.snapshot import SnapshotHost
    from tests.checks.diagnosing import diagnosed

    document = dict(broken().snapshot().document)
    document["probes"] = {name: answer for name, answer in document["probes"].items() if name != "holders"}
    document["folders"] = {key: value for key, value in document["folders"].items() if "/holders" not in key}
    finding = diagnosed(SnapshotHost(document, "older")).findings[0].finding
    assert "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia" in reload_of(finding).commands
