"""Who may use a GPU and who has it, as NVML and the files tell: a finding only where somebody wants it."""

from __future__ import annotations

from typing import Any

import pytest

from nvdiag.cli import running
from nvdiag.facts.requirements import Requirements
from nvdiag.model.diagnosis import Diagnosis, Status
from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import machines
from tests.scenarios.tree import Tree

NEW = "570.172.08"
TWO = (machines.GPU, "0000:02:00.0")
GIB = 1 << 30
DOCKER = "0::/system.slice/docker-4f9c01a7b1e2d3c4a5968778695a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a.scope\n"
MIG = "MIG-aaaaaaaa-1111-2222-3333-444444444444"


def process(pid: int, memory: int | None, name: str | None = "python3", uid: int = 1000, cgroup: str = "") -> Any:
    user = {0: "root", 1000: "alice", 1001: "bob"}[uid]
    return {"pid": pid, "memory_bytes": memory, "name": name, "uid": uid, "user": user, "cgroup": cgroup}


def gpus(*changes: dict[str, Any], cuda: dict[str, Any] | None = None, **env: str) -> Tree:
    """A well machine, looked at by alice, whose GPUs NVML tells of in this way."""
    addresses = TWO[: len(changes)]
    nvml = machines.nvml_healthy(NEW, addresses)
    nvml["devices"] = [{**device, **change} for device, change in zip(nvml["devices"], changes, strict=True)]
    machine = machines.ubuntu_dkms(NEW, NEW, NEW, gpus=addresses).but(probes={"nvml": nvml}, env=env)
    if cuda is not None:
        machine = machine.but(probes={"cuda": {**machine.probes["cuda"], **cuda}})
    return machine.but(nodes={"/proc/self": ("drwxr-xr-x", "0:0")}, node_owner=(1000, 1000))


def used(total: int, much: int) -> dict[str, int]:
    return {"total": total * GIB, "used": much * GIB, "free": (total - much) * GIB}


def required(tree: Tree, *expressions: str) -> Diagnosis:
    facts = running.begun(tree.host())
    facts[Requirements] = running.required(expressions)
    return running.diagnosed(facts, running.chosen((), (), always=("requirements",)))


def told(tree: Tree) -> list[tuple[str, str, str]]:
    found = [one.finding for one in diagnosed(tree).findings]
    return [(one.key, one.severity.value, one.confidence.value) for one in found]


# compute modes


@pytest.mark.parametrize("mode", [0, 3, None, 7])
def test_a_mode_that_keeps_nobody_out_is_well(mode: int | None) -> None:
    assert ids(gpus({"compute_mode": mode, "compute_processes": []})) == []


def test_a_gpu_that_is_prohibited_beside_one_that_is_not_is_somebodys_choice() -> None:
    assert ids(gpus({"compute_mode": 2}, {"compute_mode": 0})) == []
    assert ids(gpus({"compute_mode": 2}, {"compute_mode": 2})) == ["compute-mode-restricted"]


@pytest.mark.parametrize(
    ("uid", "env", "expected"),
    [
        (1001, {"CUDA_VISIBLE_DEVICES": "0"}, "warning"),
        (1000, {"CUDA_VISIBLE_DEVICES": "0"}, "info"),
        (1001, {}, "info"),
    ],
)
def test_a_gpu_that_another_user_has_is_a_warning_to_who_was_given_it(
    uid: int, env: dict[str, str], expected: str
) -> None:
    machine = gpus({"compute_mode": 3, "compute_processes": [process(7, GIB, uid=uid)]}).but(env=env)
    found = first(machine)
    assert (found.id, found.severity.value) == ("compute-mode-restricted", expected)
    assert diagnosed(machine).exit_code() == 0
    assert [one.commands for one in found.remedies][:1] == [("kill 7",)]


def test_mps_lets_its_programs_into_an_exclusive_gpu() -> None:
    assert ids(gpus({"compute_mode": 3, "compute_processes": [process(7, GIB, "nvidia-cuda-mps")]})) == []


def test_a_desktop_has_no_context_and_keeps_nobody_out() -> None:
    drawing = {"compute_mode": 3, "compute_processes": [], "graphics_processes": [process(9, GIB, "Xorg")]}
    assert ids(gpus(drawing)) == []


def test_a_container_cannot_tell_who_has_an_exclusive_gpu() -> None:
    nvml = machines.nvml_healthy(NEW)
    nvml["devices"][0] |= {"compute_mode": 3, "compute_processes": []}
    outcomes = diagnosed(machines.docker(NEW, NEW).but(probes={"nvml": nvml})).checks
    outcome = next(one for one in outcomes if one.name == "a_further_program_may_open_a_context")
    assert outcome.status is Status.UNKNOWN


# MIG


def test_instances_make_a_gpu_in_mig_mode_well() -> None:
    assert ids(gpus({"mig_mode": 1, "mig_pending": 1, "mig_instances": [{"uuid": MIG}]})) == []
    assert ids(gpus({"mig_mode": 0, "mig_pending": 0})) == []


def test_one_gpu_without_instances_beside_a_whole_one_is_a_warning() -> None:
    barren = {"mig_mode": 1, "mig_pending": 1, "mig_instances": []}
    assert told(gpus(barren, {})) == [(f"mig-misconfigured:{machines.GPU}", "warning", "certain")]
    assert told(gpus(barren)) == [(f"mig-misconfigured:{machines.GPU}", "error", "certain")]


def test_instances_that_nvml_does_not_list_are_not_taken_for_absent() -> None:
    silent = {"mig_mode": 1, "mig_pending": 1, "mig_instances": [], "errors": {"mig_instances": 4}}
    assert ids(gpus(silent)) == []
    assert ids(gpus(silent, CUDA_VISIBLE_DEVICES=MIG)) == []


def test_a_host_of_virtual_gpus_has_its_instances_for_its_guests() -> None:
    hosting = {"mig_mode": 1, "mig_pending": 1, "mig_instances": [], "virtualization": 3}
    assert "mig-misconfigured" not in ids(gpus(hosting))


@pytest.mark.parametrize(
    ("instances", "value", "sees", "expected"),
    [
        ([{"uuid": MIG}], MIG, 1, []),
        ([{"uuid": MIG}], MIG[:12], 1, []),
        ([{"uuid": MIG}], "MIG-bbbb", 0, ["certain"]),
        ([{"uuid": MIG}], "MIG-GPU-00000000-1111-2222-3333-444444444444/1/0", 1, []),
        ([{"uuid": MIG}], "MIG-GPU-99999999-1111-2222-3333-444444444444/1/0", 0, ["certain"]),
        ([{"uuid": MIG}], "MIG-bbbb", 1, []),  # what CUDA itself counts is the last word
    ],
)
def test_an_instance_by_its_identifier(
    instances: list[dict[str, Any]], value: str, sees: int, expected: list[str]
) -> None:
    cuda: dict[str, Any] = {"init": 0, "count": sees} if sees else {"init": 100}
    parted: dict[str, Any] = {"mig_mode": 1, "mig_pending": 1, "mig_instances": instances}
    found = [one.finding for one in diagnosed(gpus(parted, cuda=cuda, CUDA_VISIBLE_DEVICES=value)).findings]
    assert [one.confidence.value for one in found if one.id == "mig-misconfigured"] == expected


def test_without_mig_an_instances_identifier_gives_way_to_a_gpus() -> None:
    found = first(gpus({}, cuda={"init": 100}, CUDA_VISIBLE_DEVICES=MIG))
    assert "no GPU is in MIG mode" in found.title
    assert found.remedies[0].commands == ("export CUDA_VISIBLE_DEVICES=GPU-00000000-1111-2222-3333-444444444444",)


# CUDA_VISIBLE_DEVICES


@pytest.mark.parametrize(
    ("value", "sees", "expected"),
    [
        ("0,1", 2, None),
        ("1", 1, None),
        (" 0 , 1 ", 2, None),
        ("GPU-00000001", 1, None),
        ("GPU-00000001-1111-2222-3333-444444444444", 1, None),
        ("0,-1", 1, None),
        ("", 0, ("error", "possible")),
        ("-1", 0, ("error", "possible")),
        ("none", 0, ("error", "possible")),
        ("NoDevFiles", 0, ("error", "possible")),
        ("2", 0, ("error", "certain")),
        ("99999999", 0, ("error", "certain")),
        ("GPU-deadbeef", 0, ("error", "certain")),
        ("GPU-0000000", 0, ("error", "certain")),
        ("all", 0, ("error", "likely")),
        ("cuda:0", 0, ("error", "likely")),
        ("'0'", 0, ("error", "likely")),
        ("0x1", 0, ("error", "likely")),
        ("0,2,1", 1, ("warning", "certain")),
        ("2", 1, None),  # CUDA has found one all the same
    ],
)
def test_every_spelling(value: str, sees: int, expected: tuple[str, str] | None) -> None:
    cuda = {"init": 0, "count": sees} if sees else {"init": 100}
    machine = gpus({}, {}, cuda=cuda, CUDA_VISIBLE_DEVICES=value)
    found = [one.finding for one in diagnosed(machine).findings if one.finding.id == "visible-devices-invalid"]
    assert [(one.severity.value, one.confidence.value) for one in found] == ([expected] if expected else [])


def test_a_recording_is_judged_alike() -> None:
    machine = gpus({}, {"compute_mode": 2}, cuda={"init": 0, "count": 1}, CUDA_VISIBLE_DEVICES="0,2,1")
    assert diagnosed(machine.snapshot()).findings == diagnosed(machine).findings != ()


def test_slurms_word_for_no_gpu_is_known() -> None:
    found = first(gpus({}, cuda={"init": 100}, CUDA_VISIBLE_DEVICES="NoDevFiles"))
    assert found.remedies[0].commands[0].startswith("srun --gpus=1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CUDA_VISABLE_DEVICES", True),
        ("CUDA_VISIBLE_DEVICE", True),
        ("CUDA_VISIBLE_DEIVCES", True),
        ("NVIDIA_VISIBLE_DEVICE", True),
        ("CUDA_VISIBLE_DEVICES_BEFORE", False),
        ("CUDA_DEVICE_ORDER", False),
        ("CUDA_CACHE_PATH", False),
    ],
)
def test_a_misspelt_name_is_read_by_nobody(name: str, expected: bool) -> None:
    machine = gpus({}).but(env={name: "0"})
    assert ids(machine) == (["visible-devices-invalid"] if expected else [])
    assert ids(machine.but(env={"CUDA_VISIBLE_DEVICES": "0", "NVIDIA_VISIBLE_DEVICES": "all"})) == []
    assert ids(machine.snapshot()) == ids(machine)


@pytest.mark.parametrize(("rank", "expected"), [("0", []), ("1", []), ("2", ["device-ordinal-invalid"]), ("x", [])])
def test_a_rank_beyond_the_gpus_asks_for_one_that_is_not_there(rank: str, expected: list[str]) -> None:
    assert ids(gpus({}, {}, LOCAL_RANK=rank)) == expected
    assert ids(gpus({}, LOCAL_RANK=rank)) == []  # of one GPU each rank may have its own, by the variable


# memory


def test_a_busy_gpu_is_what_one_has_it_for() -> None:
    busy = {"memory_bytes": used(24, 23), "compute_processes": [process(7, 22 * GIB)]}
    assert ids(gpus(busy)) == []


def test_who_holds_the_memory_that_is_required_is_named_with_its_container() -> None:
    rows = [process(7, 18 * GIB, cgroup=DOCKER), process(8, 2 * GIB, "Xorg", 0, "0::/system.slice/gdm.service\n")]
    found = required(gpus({"memory_bytes": used(24, 21), "compute_processes": rows}), "free-memory>=10GiB").findings
    assert [(one.finding.id, one.caused_by) for one in found] == [
        ("gpu-memory-held", None),
        ("requirement-not-met", f"gpu-memory-held:{machines.GPU}"),
    ]
    held = found[0].finding
    assert held.title == "21504 of 24576 MiB of GPU 0 are held by python3 (7) of alice and 1 more"
    assert held.evidence[1].excerpt == "python3 (7) of alice, docker container 4f9c01a7b1e2: 18432 MiB"
    assert held.remedies[0].commands == ("docker stop 4f9c01a7b1e2", "sudo systemctl stop gdm.service")


def test_a_holder_that_a_container_does_not_show_is_somebody_elses() -> None:
    nvml = machines.nvml_healthy(NEW)
    nvml["devices"][0] |= {"memory_bytes": used(24, 21), "compute_processes": [], "graphics_processes": []}
    inside = machines.docker(NEW, NEW).but(probes={"nvml": nvml})
    assert ids(inside) == []
    found = required(inside, "free-memory>=10GiB").findings[0].finding
    assert "by the host or another container" in found.title


def test_what_no_listed_process_has_is_traced_to_who_has_the_node_open() -> None:
    empty = {"memory_bytes": used(24, 20), "compute_processes": [], "graphics_processes": []}
    machine = gpus(empty).but(
        files={
            "/proc/77/comm": "python3\n",
            "/proc/77/status": "State:\tS (sleeping)\nUid:\t1000\t1000\t1000\t1000\n",
            "/proc/77/cgroup": "0::/user.slice/user-1000.slice/session-2.scope\n",
        },
        links={"/proc/77/fd/3": "/dev/nvidia0"},
    )
    (found,) = [one.finding for one in diagnosed(machine).findings]
    assert (found.id, found.severity, found.confidence) == ("gpu-memory-held", Severity.WARNING, Confidence.LIKELY)
    assert "kill 77" in [command for one in found.remedies for command in one.commands]
    assert ids(machine.snapshot()) == ["gpu-memory-held"]


@pytest.mark.parametrize(
    "change",
    [
        {"compute_processes": [process(7, None)]},
        {"name": "NVIDIA GH200 480GB"},
        {"mig_mode": 1, "mig_pending": 1, "mig_instances": [{"uuid": MIG}]},
        {"virtualization": 3},
        {"compute_processes": None, "graphics_processes": None},
    ],
)
def test_memory_that_nvml_cannot_account_for_is_nobodys_fault(change: dict[str, Any]) -> None:
    empty = {"memory_bytes": used(24, 20), "compute_processes": [], "graphics_processes": []}
    assert "gpu-memory-held" not in ids(gpus({**empty, **change}))


# MPS


def mps(machine: Tree, *, socket: bool = True, listening: bool = False, pid: str = "", owner: int = 1000) -> Tree:
    """The same machine with the folder of an MPS daemon."""
    files = {"/proc/net/unix": "Num RefCount Protocol Flags Type St Inode Path\n", "/run/mps/control_lock": ""}
    if listening:
        files["/proc/net/unix"] += "0000: 00000002 00000000 00010000 0001 01 5 /run/mps/control\n"
    if pid:
        files["/run/mps/nvidia-cuda-mps-control.pid"] = f"{pid}\n"
    nodes = {**machine.nodes, **({"/run/mps/control": ("srw-rw-rw-", "0:0")} if socket else {})}
    return machine.but(files=files, nodes=nodes, node_owner=(owner, owner), env={"CUDA_MPS_PIPE_DIRECTORY": "/run/mps"})


def test_a_daemon_that_answers_is_well() -> None:
    assert ids(mps(gpus({}), listening=True)) == []
    assert ids(mps(gpus({}), pid="41").but(files={"/proc/41/comm": "nvidia-cuda-mps\n"})) == []


def test_a_daemon_that_is_gone_is_missed_by_who_names_it() -> None:
    assert ids(mps(gpus({}))) == ids(mps(gpus({}), pid="41")) == ids(mps(gpus({}), socket=False)) == ["mps-unavailable"]
    assert ids(mps(gpus({})).snapshot()) == ["mps-unavailable"]


def test_a_folder_that_an_old_daemon_left_behind_is_well_where_nobody_asks_for_it() -> None:
    left = gpus({"compute_mode": 0}).but(files={"/tmp/nvidia-mps/control_lock": ""})
    assert ids(left) == []
    exclusive = gpus({"compute_mode": 3, "compute_processes": []}).but(files={"/tmp/nvidia-mps/control_lock": ""})
    assert (first(exclusive).id, first(exclusive).severity) == ("mps-unavailable", Severity.INFO)


@pytest.mark.parametrize("folder", ["/nonexistent", "/dev/null"])
def test_a_variable_that_keeps_programs_off_mps_asks_for_no_daemon(folder: str) -> None:
    assert ids(gpus({}, CUDA_MPS_PIPE_DIRECTORY=folder)) == []
    assert ids(gpus({}, CUDA_MPS_PIPE_DIRECTORY="/run/nobody")) == ["mps-unavailable"]


def test_a_daemon_of_another_user_serves_that_one_alone() -> None:
    daemon = mps(gpus({}), listening=True, owner=1001)
    assert ids(daemon) == []
    found = first(daemon.without("/proc/self").but(files={"/proc/self": ""}))  # which is root's then
    assert (found.id, found.title) == (
        "mps-unavailable",
        "the MPS daemon of /run/mps is user 1001's, and this is user 0",
    )
