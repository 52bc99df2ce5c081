"""Container engines on a host: whether those that are to give containers GPUs are set up for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nvdiag.model.diagnosis import Status
from nvdiag.model.finding import Confidence, Finding, Severity
from tests.checks.diagnosing import diagnosed, ids
from tests.scenarios import machines
from tests.scenarios.containers_host import (
    CONFIG_TOML,
    CONTAINERD_2,
    CRIO_TOML,
    HEALTHY,
    K3S,
    WELL,
    cri_o_node,
    daemon_json,
    docker_cdi,
    docker_engine,
    docker_legacy,
    docker_rootless,
    gpu_operator_node,
    host,
    k3s_node,
    kubernetes_node,
    podman_cdi,
    toolkit,
)
from tests.scenarios.tree import Tree

ID = "container-runtime-not-configured"
DAEMON, CONFIG = "/etc/docker/daemon.json", "/etc/nvidia-container-runtime/config.toml"


def only(machine: Tree) -> Finding:
    found = diagnosed(machine).findings
    assert [one.finding.id for one in found] == [ID]
    return found[0].finding


def commands(finding: Finding) -> list[str]:
    return [command for remedy in finding.remedies for command in remedy.commands]


def outcomes(machine: Tree) -> dict[str, Any]:
    return {one.name: one for one in diagnosed(machine).checks}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_host_of_containers_has_no_finding(name: str) -> None:
    diagnosis = diagnosed(HEALTHY[name]())
    assert [one.finding.title for one in diagnosis.findings] == []
    assert not [
        one for one in diagnosis.checks if one.status in (Status.UNKNOWN, Status.FAILED) and one.area == "container"
    ]


@pytest.mark.parametrize("name", HEALTHY)
def test_its_snapshot_gives_the_same(name: str) -> None:
    machine = HEALTHY[name]()
    assert [(one.name, one.status, one.reason) for one in diagnosed(machine.snapshot()).checks] == [
        (one.name, one.status, one.reason) for one in diagnosed(machine).checks
    ]


# Docker


def test_docker_alone_on_a_gpu_machine_is_no_problem() -> None:
    assert ids(machines.joined(host(), docker_engine(None))) == []
    assert ids(machines.joined(host(), docker_engine("{}"))) == []


def test_docker_needs_no_settings_for_gpus_where_the_toolkits_hook_is() -> None:
    assert ids(machines.joined(host(), toolkit(), docker_engine(None))) == []


def test_the_toolkits_base_package_alone_gives_docker_nothing() -> None:
    finding = only(machines.joined(host(), toolkit(base_only=True), docker_engine(None)))
    assert (finding.severity, finding.confidence) == (Severity.WARNING, Confidence.LIKELY)
    assert commands(finding) == ["sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"]
    assert "stops its containers" in finding.remedies[0].prediction


def test_with_a_cdi_specification_it_gives_docker_enough() -> None:
    assert ids(docker_cdi().without("/usr/bin/nvidia-container-runtime-hook")) == []


def test_a_specification_is_of_no_use_where_cdi_is_off() -> None:
    settings = json.dumps({"features": {"cdi": False}})
    machine = machines.joined(docker_cdi(), docker_engine(settings)).without("/usr/bin/nvidia-container-runtime-hook")
    assert "CDI is switched off" in str(only(machine).evidence)


def test_a_runtime_whose_program_is_gone_is_found() -> None:
    finding = only(docker_legacy().without("/usr/bin/nvidia-"))
    assert (finding.severity, finding.subject) == (Severity.ERROR, DAEMON)
    assert "GPU containers by nvidia-container-runtime, which is not there" in finding.title
    assert commands(finding) == ["sudo apt install nvidia-container-toolkit"]


def test_as_the_default_it_stops_every_container() -> None:
    settings = json.dumps(
        {"default-runtime": "nvidia", "runtimes": {"nvidia": {"path": "/usr/bin/nvidia-container-runtime"}}}
    )
    finding = only(machines.joined(host(), docker_engine(settings)))
    assert finding.confidence is Confidence.CERTAIN
    assert "every container" in finding.title


def test_a_default_runtime_that_is_not_described_is_found() -> None:
    finding = only(machines.joined(host(), toolkit(), docker_engine('{"default-runtime": "nvidia"}')))
    assert "default runtime of docker is nvidia" in finding.title


def test_a_runtime_of_another_maker_is_not_looked_for() -> None:
    settings = json.dumps({"runtimes": {"runsc": {"path": "/usr/local/bin/runsc"}}, "default-runtime": "runsc"})
    assert ids(machines.joined(host(), docker_engine(settings))) == []


def test_a_runtime_that_dockers_unit_describes_counts() -> None:
    drop_in = (
        "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd --add-runtime=nvidia=/usr/bin/nvidia-container-runtime\n"
    )
    machine = machines.joined(host(), toolkit(base_only=True), docker_engine('{"default-runtime": "nvidia"}'))
    assert ids(machine.but(files={"/etc/systemd/system/docker.service.d/override.conf": drop_in})) == []


def test_settings_that_docker_cannot_read_are_found() -> None:
    finding = only(machines.joined(host(), toolkit(), docker_engine(daemon_json()[:-3])))
    assert "cannot read its settings" in finding.title
    assert commands(finding) == ["sudo dockerd --validate --config-file=/etc/docker/daemon.json"]


def test_they_are_nobodys_matter_where_nothing_is_about_gpus() -> None:
    assert ids(machines.joined(host(), docker_engine("{"))) == []


def test_docker_as_a_snap_is_known_and_not_judged() -> None:
    machine = machines.joined(host(), toolkit(base_only=True))
    machine = machine.but(files={"/var/snap/docker/current/config/daemon.json": "{}"})
    assert ids(machine) == []
    from tests.report.reporting import as_document

    (engine,) = as_document(diagnosed(machine))["facts"]["container"]["engines"]
    assert engine["name"] == "docker (snap)"


# Podman


def test_podman_with_the_toolkit_and_no_specification_is_a_warning() -> None:
    finding = only(podman_cdi().without("/etc/cdi"))
    assert commands(finding)[0] == "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"


def test_podman_with_the_old_hook_is_well() -> None:
    text = '{"version": "1.0.0", "hook": {"path": "/usr/bin/nvidia-container-toolkit"}}'
    hook = {"/usr/share/containers/oci/hooks.d/oci-nvidia-hook.json": text}
    assert ids(podman_cdi().without("/etc/cdi").but(files=hook)) == []


def test_podman_without_the_toolkit_is_no_problem() -> None:
    assert ids(podman_cdi().without("/etc/cdi", "/usr/bin/nvidia-c", "/etc/nvidia-container")) == []


@pytest.mark.parametrize("path", ["/usr/bin/enroot", "/usr/local/bin/apptainer", "/snap/bin/lxd"])
def test_a_toolkit_that_another_program_may_use_is_no_problem(path: str) -> None:
    assert ids(podman_cdi().without("/etc/cdi").but(files={path: ""})) == []


# Kubernetes


def test_a_node_whose_containerd_lost_the_runtime_is_found() -> None:
    table = '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]'
    bare = f'version = 2\n{table}\nruntime_type = "io.containerd.runc.v2"\n'
    finding = only(kubernetes_node(bare))
    assert finding.severity is Severity.WARNING
    assert "device plug-in" in finding.title
    assert commands(finding)[0].startswith("sudo nvidia-ctk runtime configure --runtime=containerd")


def test_containerds_first_and_third_form_are_understood() -> None:
    first = CONTAINERD_2.replace("version = 2", "").replace('"io.containerd.grpc.v1.cri"', "cri")
    third = CONTAINERD_2.replace("version = 2", "version = 3").replace(
        "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"
    )
    assert ids(kubernetes_node(first)) == []
    assert ids(kubernetes_node(third)) == []


def test_a_containerd_that_serves_docker_alone_is_left_out() -> None:
    machine = machines.joined(host(), toolkit(), docker_engine(daemon_json()))
    assert "settings:containerd" not in " ".join(diagnosing_asked(machine))


def test_a_kubelet_beside_docker_does_not_make_its_containerd_the_nodes() -> None:
    machine = machines.joined(host(), toolkit(), docker_engine(daemon_json()))
    machine = machine.but(files={"/usr/bin/kubelet": "", "/var/lib/kubelet/device-plugins/nvidia-gpu.sock": ""})
    assert ids(machine) == []


def test_a_node_whose_pods_docker_starts_is_well() -> None:
    machine = machines.joined(
        kubernetes_node("version = 2\n"), docker_engine(daemon_json(**{"default-runtime": "nvidia"}))
    )
    assert ids(machine.but(files={"/etc/containerd/config.toml": "version = 2\n"})) == []


def diagnosing_asked(machine: Tree) -> list[str]:
    looked = machine.host()
    diagnosed(looked)
    return looked.asked


def test_a_drop_in_whose_program_is_gone_is_found() -> None:
    finding = only(gpu_operator_node().without("/usr/local/nvidia/toolkit/nvidia-container-runtime"))
    assert finding.subject == "/etc/containerd/conf.d/99-nvidia.toml"
    assert "every container" in finding.title


def test_settings_that_containerd_cannot_read_are_found() -> None:
    twice = CONTAINERD_2 + '\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]\n'
    assert "containerd cannot read its settings" in only(kubernetes_node(twice)).title


def test_a_k3s_that_was_started_before_the_toolkit_came_is_to_be_restarted() -> None:
    finding = only(k3s_node(found_the_toolkit=False))
    assert commands(finding)[0] == "sudo systemctl restart k3s"


def test_what_only_root_may_read_is_unknown_to_others() -> None:
    machine = k3s_node(found_the_toolkit=False).but(refused={K3S: "EACCES"})
    told = outcomes(machine)
    assert ids(machine) == []
    assert told["engines_settings_name_what_is_there"].status is Status.UNKNOWN
    assert "permission denied" in told["engines_settings_name_what_is_there"].reason


def test_a_drop_in_that_cri_o_does_not_read_is_found() -> None:
    finding = only(cri_o_node("/etc/crio/conf.d/99-nvidia.toml"))
    assert finding.subject == "/etc/crio/conf.d/99-nvidia.toml"
    assert commands(finding)[0] == "sudo mv /etc/crio/conf.d/99-nvidia.toml /etc/crio/crio.conf.d/"


def test_the_same_drop_in_in_both_places_is_well() -> None:
    assert ids(cri_o_node().but(files={"/etc/crio/conf.d/99-nvidia.toml": CRIO_TOML})) == []


# The toolkit's own settings


def test_an_ldconfig_of_another_distribution_stops_an_old_toolkit() -> None:
    machine = machines.joined(host(), toolkit("1.14.3", ldconfig="/usr/sbin/ldconfig"), docker_engine(daemon_json()))
    finding = only(machine)
    assert "/sbin/ldconfig.real, which is not there" in finding.title
    assert commands(finding) == [
        "sudo nvidia-ctk config --set nvidia-container-cli.ldconfig=@/sbin/ldconfig --in-place"
    ]


def test_newer_toolkits_make_it_good() -> None:
    machine = machines.joined(host(), toolkit("1.17.8", ldconfig="/usr/sbin/ldconfig"), docker_engine(daemon_json()))
    assert ids(machine) == []


def test_a_driver_root_that_the_operator_left_behind_is_found() -> None:
    settings = CONFIG_TOML.replace('#root = "/run/nvidia/driver"', 'root = "/run/nvidia/driver"')
    finding = only(docker_legacy().but(files={CONFIG: settings}))
    assert "/run/nvidia/driver, which is not there" in finding.title


def test_they_do_not_matter_where_the_toolkit_works_by_cdi() -> None:
    settings = CONFIG_TOML.replace('#root = "/run/nvidia/driver"', 'root = "/run/nvidia/driver"')
    settings = settings.replace('mode = "auto"', 'mode = "cdi"')
    assert ids(docker_legacy().but(files={CONFIG: settings})) == []


def test_settings_that_the_toolkit_cannot_read_are_found() -> None:
    assert "cannot read its settings" in only(docker_legacy().but(files={CONFIG: "mode = auto\n"})).title


# What the report tells as data


def test_the_report_has_engines_toolkit_and_specifications_as_data() -> None:
    from tests.report.reporting import as_document

    told = as_document(diagnosed(docker_cdi()))["facts"]["container"]
    assert told["engines"][0]["cdi"] is True
    assert told["toolkit"]["version"] == "1.20.0"
    assert told["toolkit"]["mode"] == "auto"
    (specification,) = told["cdi"]["specifications"]
    assert specification["kind"] == "nvidia.com/gpu"
    assert specification["releases"] == [WELL]
    assert told["driver_container"] == {"not_applicable": "no driver container of the GPU Operator is here"}


def test_a_machine_without_engines_is_asked_for_little() -> None:
    before = [question for question in diagnosing_asked(host()) if "cdi" in question or "container" in question]
    assert len(before) < 20
    assert not [question for question in before if question.startswith(("commands", "contents"))]


def test_passwords_of_registries_do_not_get_into_a_snapshot() -> None:
    table = '[plugins."io.containerd.grpc.v1.cri".registry.configs."r.example.com".auth]'
    secret = f'\n{table}\nusername = "ada"\nauth = "YWRhOmh1bnRlcjI="\n'
    document = json.dumps(kubernetes_node(CONTAINERD_2 + secret).snapshot().document)
    assert "YWRhOmh1bnRlcjI" not in document
    assert '"nvidia": "/usr/bin/nvidia-container-runtime"' in document


@pytest.mark.parametrize(
    "machine",
    [
        machines.joined(host(), toolkit(base_only=True), docker_engine(None)),
        docker_legacy().without("/usr/bin/nvidia-"),
        machines.joined(host(), toolkit(), docker_engine("{")),
        podman_cdi().without("/etc/cdi"),
        k3s_node(found_the_toolkit=False),
        cri_o_node("/etc/crio/conf.d/99-nvidia.toml"),
        docker_legacy().but(files={CONFIG: "mode = auto\n"}),
    ],
)
def test_a_shell_accepts_every_command(machine: Tree) -> None:
    import subprocess

    for command in commands(only(machine)):
        subprocess.run(["bash", "-n", "-c", command], check=True)


NO_CGROUPS = CONFIG_TOML.replace("#no-cgroups = false", "no-cgroups = true")


def test_rootless_docker_with_a_toolkit_that_writes_device_cgroups() -> None:
    (found,) = diagnosed(docker_rootless("1.14.3")).findings
    assert (found.finding.id, found.finding.severity) == ("container-cgroup-forbidden", Severity.WARNING)
    assert commands(found.finding)[0] == "sudo nvidia-ctk config --set nvidia-container-cli.no-cgroups=true --in-place"
    assert "1.14.3" in [one.excerpt for one in found.finding.evidence]


def test_rootless_docker_whose_toolkit_leaves_cgroups_alone_or_goes_by_cdi() -> None:
    assert NO_CGROUPS != CONFIG_TOML
    assert ids(docker_rootless("1.14.3", NO_CGROUPS)) == []
    assert ids(docker_rootless("1.20.0")) == []
    assert ids(docker_rootless("1.20.0", CONFIG_TOML.replace('mode = "auto"', 'mode = "legacy"'))) == [
        "container-cgroup-forbidden"
    ]


def test_rootless_docker_is_set_up_without_root() -> None:
    gone = docker_rootless().without("/usr/bin/nvidia-container-runtime")
    finding = only(gone)
    assert finding.evidence[0].source == "~/.config/docker/daemon.json"
    assert not any("/etc/docker" in command for command in commands(finding))
