"""CDI specifications on a host: those that name what is gone, and those that no engine can use."""

from __future__ import annotations

import json

import pytest

from nvdiag.model.diagnosis import Status
from nvdiag.model.finding import Confidence, Finding, Severity
from tests.checks.diagnosing import diagnosed, ids
from tests.scenarios import machines
from tests.scenarios.containers_host import (
    OLD,
    UUID,
    WELL,
    as_yaml,
    docker_cdi,
    docker_legacy,
    driver_files,
    gpu_operator_node,
    podman_cdi,
    refresh,
    specification,
    toolkit,
)
from tests.scenarios.tree import Tree

STALE, UNUSABLE = "cdi-spec-stale", "cdi-spec-unusable"
VAR, ETC = "/var/run/cdi/nvidia.yaml", "/etc/cdi/nvidia.yaml"


def found(machine: Tree, identifier: str) -> list[Finding]:
    return [one.finding for one in diagnosed(machine).findings if one.finding.id == identifier]


def only(machine: Tree, identifier: str) -> Finding:
    assert ids(machine) == [identifier]
    return found(machine, identifier)[0]


def commands(finding: Finding) -> list[str]:
    return [command for remedy in finding.remedies for command in remedy.commands]


# The specification is older than the driver


def test_a_specification_of_an_older_driver_is_stale() -> None:
    finding = only(podman_cdi(WELL, OLD), STALE)
    assert (finding.severity, finding.confidence) == (Severity.ERROR, Confidence.CERTAIN)
    assert OLD in finding.title
    assert any("libcuda.so.570.169 is not there" in one.excerpt for one in finding.evidence)
    assert commands(finding) == [f"sudo nvidia-ctk cdi generate --output={ETC}", "nvidia-ctk cdi list"]


def test_the_service_that_keeps_it_is_asked_to_write_it_anew() -> None:
    finding = only(docker_cdi(WELL, OLD), STALE)
    assert commands(finding)[0] == "sudo systemctl restart nvidia-cdi-refresh.service"
    assert f"sudo nvidia-ctk cdi generate --output={VAR}" in commands(finding)


def test_a_service_that_failed_is_evidence() -> None:
    machine = machines.joined(docker_cdi(WELL, OLD), refresh("failed", "exit-code"))
    assert any("failed" in one.excerpt for one in only(machine, STALE).evidence)


def test_the_file_in_etc_is_left_to_the_service_where_there_is_one() -> None:
    machine = machines.joined(podman_cdi(WELL, OLD), toolkit("1.18.2"), refresh())
    told = commands(only(machine, STALE))
    assert f"sudo mv {ETC} /root/" in told
    assert told.index("sudo systemctl restart nvidia-cdi-refresh.service") < told.index(f"sudo mv {ETC} /root/")


def test_a_healthy_host_does_not_ask_systemd() -> None:
    host = docker_cdi().host()
    diagnosed(host)
    assert not [question for question in host.asked if "cdi-refresh" in question]


def test_one_missing_node_is_named() -> None:
    machine = podman_cdi().without("/dev/dri/card0")
    finding = only(machine, STALE)
    assert "/dev/dri/card0, which is not there" in finding.title


def test_a_gpu_that_was_taken_out_makes_it_stale() -> None:
    spec = specification(libraries="/usr/lib64", hook="/usr/bin/nvidia-ctk", hooks=("update-ldcache",))
    spec["devices"].append({"name": "1", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia1"}]}})
    assert "/dev/nvidia1" in only(podman_cdi().but(files={ETC: as_yaml(spec)}), STALE).title


def test_nodes_that_come_back_on_use_are_not_missed() -> None:
    machine = podman_cdi().without("/dev/nvidia-uvm")
    assert STALE not in ids(machine)


def test_libraries_of_another_release_that_are_still_there_are_stale_too() -> None:
    machine = machines.joined(
        docker_cdi(WELL, OLD), machines.library_files(OLD, machines.MULTIARCH), driver_files(OLD)
    ).but(
        links={f"{machines.MULTIARCH}/{stem}.so.1": f"{stem}.so.{WELL}" for stem in ("libcuda", "libnvidia-ml")},
    )
    finding = only(machine, STALE)
    assert finding.title.endswith(f"{VAR} gives containers the libraries of driver {OLD}, and {WELL} is loaded")


def test_without_a_loaded_module_nothing_is_said_of_specifications() -> None:
    machine = podman_cdi(WELL, OLD)
    machine = machine.without("/sys/module/nvidia", "/proc/driver", "/dev/nvidia").but(folders=())
    assert STALE not in ids(machine)


def wsl(store: str) -> Tree:
    """WSL2 with Docker's own packages inside, and a specification of the toolkit's for a folder of Windows' drivers."""
    here = "/usr/lib/wsl/drivers/nv_dispi.inf_amd64_5f8d3a2b1c0e9f77"
    spec = specification("581.29", names=("all",), hooks=("create-symlinks", "update-ldcache"))
    spec["devices"][0]["containerEdits"]["deviceNodes"] = [{"path": "/dev/dxg"}]
    spec["containerEdits"]["deviceNodes"] = []
    names = ("libcuda.so.1.1", "libnvidia-ml.so.1", "nvidia-smi")
    spec["containerEdits"]["mounts"] = [{"hostPath": f"{store}/{n}", "containerPath": f"{store}/{n}"} for n in names]
    files = {"/run/cdi/nvidia.yaml": as_yaml(spec), **{f"{here}/{name}": "" for name in names}}
    return machines.joined(machines.wsl().but(links={"/var/run": "/run"}), toolkit("1.19.1"), Tree(files=files))


def test_under_wsl_a_windows_driver_that_was_updated_leaves_it_stale() -> None:
    assert STALE not in ids(wsl("/usr/lib/wsl/drivers/nv_dispi.inf_amd64_5f8d3a2b1c0e9f77"))
    (finding,) = found(wsl("/usr/lib/wsl/drivers/nv_dispi.inf_amd64_000000000000000a"), STALE)
    assert "3 files" in finding.title
    assert "581" not in finding.title


# After an upgrade without a reboot


def upgraded() -> Tree:
    spec = {"/run/cdi/nvidia.yaml": as_yaml(specification(OLD))}
    host = machines.joined(machines.ubuntu_dkms(OLD, WELL, WELL), driver_files(WELL))
    return machines.joined(host.but(links={"/var/run": "/run"}), toolkit(), refresh(), Tree(files=spec))


def test_a_mismatch_is_the_cause_of_a_stale_specification() -> None:
    ranked = diagnosed(upgraded()).findings
    assert [(one.finding.id, one.caused_by) for one in ranked] == [
        ("driver-library-mismatch", None),
        (STALE, "driver-library-mismatch"),
    ]
    assert "end the mismatch" in ranked[1].finding.remedies[0].prediction


# Two folders


def test_a_stale_file_whose_devices_a_later_folder_has_is_no_problem() -> None:
    machine = docker_cdi().but(files={ETC: as_yaml(specification(OLD))})
    assert ids(machine) == []


def test_a_stale_file_with_one_more_device_is_a_warning() -> None:
    more = specification(OLD, names=("0", UUID, "all", "GPU-00000000-dead-beef-0000-000000000000"))
    machine = docker_cdi().but(files={ETC: as_yaml(more)})
    finding = only(machine, STALE)
    assert (finding.severity, finding.subject) == (Severity.WARNING, ETC)
    assert diagnosed(machine).exit_code() == 0


def test_the_same_device_in_both_folders_is_no_conflict() -> None:
    assert ids(docker_cdi().but(files={ETC: as_yaml(specification())})) == []


def test_the_same_device_twice_in_one_folder_is_a_conflict() -> None:
    machine = podman_cdi()
    machine = machine.but(files={"/etc/cdi/gpu.json": json.dumps(specification(libraries="/usr/lib64"))})
    finding = only(machine, UNUSABLE)
    assert finding.confidence is Confidence.CERTAIN
    assert f"/etc/cdi/gpu.json and {ETC} both have nvidia.com/gpu=0 and 2 more devices" in finding.title
    assert "sudo mv /etc/cdi/gpu.json /root/" in commands(finding)


def test_another_kind_in_the_same_folder_is_no_conflict() -> None:
    spec = specification(libraries="/usr/lib64", kind="management.nvidia.com/gpu", hooks=("update-ldcache",))
    assert ids(podman_cdi().but(files={"/etc/cdi/other.yaml": as_yaml(spec)})) == []


def test_another_vendors_stale_specification_is_not_ours() -> None:
    spec = as_yaml(specification(OLD, kind="vendor.com/gpu", names=("a",)))
    assert ids(podman_cdi().but(files={"/etc/cdi/vendor.yaml": spec.replace("nvidia", "vendor")})) == []


def test_files_of_other_names_are_not_read() -> None:
    assert ids(podman_cdi().but(files={"/etc/cdi/nvidia.yaml.bak": "[", "/etc/cdi/old/nvidia.yaml": "["})) == []


# What engines cannot use


@pytest.mark.parametrize("text", ["", "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices: []\n", "a: [\n"])
def test_a_damaged_specification_is_unusable(text: str) -> None:
    finding = only(podman_cdi().but(files={ETC: text}), UNUSABLE)
    assert (finding.severity, finding.subject) == (Severity.ERROR, ETC)
    assert f"sudo nvidia-ctk cdi generate --output={ETC}" in commands(finding)


def test_a_damaged_one_beside_a_good_one_is_a_warning() -> None:
    finding = only(docker_cdi().but(files={"/etc/cdi/nvidia.json": "{"}), UNUSABLE)
    assert finding.severity is Severity.WARNING


def test_a_hook_program_that_is_gone_is_found() -> None:
    finding = only(docker_cdi().without("/usr/bin/nvidia-cdi-hook"), UNUSABLE)
    assert "/usr/bin/nvidia-cdi-hook, which is not there" in finding.title


def test_a_hook_that_the_installed_toolkit_does_not_have_is_found() -> None:
    spec = specification(hooks=("update-ldcache", "disable-device-node-modification"))
    machine = machines.joined(docker_cdi(), toolkit("1.17.4")).but(files={"/run/cdi/nvidia.yaml": as_yaml(spec)})
    finding = only(machine, UNUSABLE)
    assert "disable-device-node-modification" in finding.title
    assert "1.17.4" in finding.title
    assert commands(finding)[1] == "sudo apt install --only-upgrade nvidia-container-toolkit"


def test_a_toolkit_that_passes_over_unknown_hooks_is_well() -> None:
    spec = specification(hooks=("update-ldcache", "update-application-profile"))
    machine = machines.joined(docker_cdi(), toolkit("1.18.2")).but(files={"/run/cdi/nvidia.yaml": as_yaml(spec)})
    assert ids(machine) == []


def test_hooks_of_the_operators_toolkit_are_not_held_to_the_hosts() -> None:
    spec = specification(hooks=("disable-device-node-modification",), hook="/usr/local/nvidia/toolkit/nvidia-cdi-hook")
    machine = machines.joined(docker_cdi(), toolkit("1.14.3"))
    machine = machine.but(
        files={"/run/cdi/nvidia.yaml": as_yaml(spec), "/usr/local/nvidia/toolkit/nvidia-cdi-hook": ""}
    )
    assert ids(machine) == []


def test_what_a_device_plug_in_wrote_is_written_anew_by_it() -> None:
    spec = specification(OLD, kind="k8s.device-plugin.nvidia.com/gpu")
    machine = docker_cdi().but(files={"/run/cdi/k8s.device-plugin.nvidia.com-gpu.json": json.dumps(spec)})
    assert "device-plugin" in commands(only(machine, STALE))[0]


def test_without_a_toolkit_it_is_to_be_installed_first() -> None:
    machine = machines.joined(docker_legacy()).without("/usr/bin/nvidia-", "/etc/nvidia-container", "/etc/docker")
    machine = machine.but(files={ETC: as_yaml(specification(OLD))}, links={"/var/run": "/run"})
    told = [remedy.commands for one in found(machine, STALE) for remedy in one.remedies]
    assert told[0] == ("sudo apt install nvidia-container-toolkit",)


# What cannot be told


def test_a_specification_that_may_not_be_read_is_unknown() -> None:
    machine = podman_cdi().but(refused={ETC: "EACCES"})
    outcome = {one.name: one for one in diagnosed(machine).checks}["specifications_name_files_that_exist"]
    assert (outcome.status, "permission denied" in outcome.reason) == (Status.UNKNOWN, True)


def test_a_stale_file_is_found_beside_one_that_may_not_be_read() -> None:
    machine = podman_cdi(WELL, OLD).but(
        files={"/etc/cdi/nvidia-x.yaml": ""}, refused={"/etc/cdi/nvidia-x.yaml": "EACCES"}
    )
    diagnosis = diagnosed(machine)
    assert [one.finding.id for one in diagnosis.findings] == [STALE]


def test_in_a_container_the_hosts_specifications_do_not_apply() -> None:
    machine = machines.docker().but(files={ETC: "["})
    outcome = {one.name: one for one in diagnosed(machine).checks}["engines_can_use_the_specifications"]
    assert outcome.status is Status.SKIPPED


# The GPU Operator


def test_a_driver_container_of_another_release_is_found() -> None:
    finding = found(gpu_operator_node(OLD, WELL), "container-library-mismatch")[0]
    assert (WELL in finding.title, OLD in finding.title) == (True, True)
    assert finding.subject == "/run/nvidia/driver"


@pytest.mark.parametrize("machine", [podman_cdi(WELL, OLD), docker_cdi(WELL, OLD), upgraded()])
def test_its_snapshot_gives_the_same(machine: Tree) -> None:
    assert diagnosed(machine.snapshot()).findings == diagnosed(machine).findings


def test_a_files_name_is_quoted_in_commands() -> None:
    path = "/etc/cdi/nvidia $(touch x).yaml"
    machine = podman_cdi().without(ETC).but(files={path: as_yaml(specification(OLD, libraries="/usr/lib64"))})
    told = commands(found(machine, STALE)[0])
    assert f"sudo nvidia-ctk cdi generate --output='{path}'" in told


@pytest.mark.parametrize(
    "machine",
    [
        podman_cdi(WELL, OLD),
        docker_cdi(WELL, OLD),
        gpu_operator_node(OLD, WELL),
        podman_cdi().but(files={"/etc/cdi/gpu.json": json.dumps(specification(libraries="/usr/lib64"))}),
    ],
)
def test_a_shell_accepts_every_command(machine: Tree) -> None:
    import subprocess

    for one in diagnosed(machine).findings:
        for command in commands(one.finding):
            subprocess.run(["bash", "-n", "-c", command], check=True)
