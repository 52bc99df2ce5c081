"""A snapshot has everything that any fact reads: on it each fact is the same as on what it was made of."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvdiag.cli import running
from nvdiag.engine import Facts
from nvdiag.facts.messages import messages_in
from nvdiag.host import Host, NotRecorded, handed
from nvdiag.host.record import RecordingHost
from nvdiag.host.redact import Redactor, as_text, redacted
from nvdiag.host.snapshot import SnapshotHost, parse
from nvdiag.knowledge.messages import Message, messages
from nvdiag.model.unknown import Unknown
from nvdiag.report.shown import SHOWN
from tests.cli.calling import call, one_line
from tests.facts.package_log_texts import APT_HISTORY
from tests.report.reporting import MACHINES
from tests.scenarios import containers, containers_host, machines, reports
from tests.scenarios.processes import DOCKER, LOGIN, process, service
from tests.scenarios.pythons import torch_with_cuda, venv
from tests.scenarios.reboots import SCENARIOS as REBOOTS

BUSY = (
    process(1, "systemd", "0::/init.scope\n"),
    process(900, "nvidia-persiste", service("nvidia-persistenced.service"), "/dev/nvidiactl", "/dev/nvidia0"),
    process(1000, "python3", DOCKER, "/dev/nvidiactl", "/dev/nvidia-uvm", uid=1000),
    process(1001, "ollama", service("ollama.service"), "/dev/nvidia0"),
    process(1002, "Xorg", LOGIN, "/dev/nvidia-modeset", uid=1001),
)
"""Processes that hold the driver, of services, a container and a person's session."""

LIVE: Mapping[str, Callable[[], Host]] = {
    **{name: make for name, make in MACHINES.items() if make().source.kind == "live"},
    "Debian": lambda: machines.debian_current().host(),
    "Ubuntu, prebuilt": lambda: machines.ubuntu_prebuilt().host(),
    "Rocky": lambda: machines.rpm_machine("rocky", "570.169", "570.172.08", "570.172.08").host(),
    "Fedora": lambda: machines.rpm_machine("fedora", None, "570.172.08", "570.172.08").host(),
    "openSUSE": lambda: machines.rpm_machine("suse", "570.169", "570.172.08", "570.172.08").host(),
    "Arch": lambda: machines.arch().host(),
    "Docker": lambda: machines.docker().host(),
    "WSL": lambda: machines.wsl().host(),
    **{name: tree.host for name, tree in containers.HEALTHY.items()},
    "a Python environment": lambda: machines.joined(machines.ubuntu_dkms(), venv(torch_with_cuda())).host(),
    "processes and a history": lambda: (
        machines.joined(machines.ubuntu_dkms(), *BUSY).but(files={"/var/log/apt/history.log": APT_HISTORY}).host()
    ),
    "Docker with CDI": lambda: containers_host.docker_cdi(spec_of=containers_host.OLD).host(),
    "a node of the GPU Operator": lambda: containers_host.gpu_operator_node().host(),
    "a k3s node": lambda: containers_host.k3s_node(found_the_toolkit=False).host(),
    **{name: REBOOTS[name].tree.host for name in ("ostree-well", "rocky-saved-entry-is-old")},
}
WHOLE = {**LIVE, **{name: one.tree.host for name, one in REBOOTS.items()}}

PASTES = {
    "a message": "CUDA error: no kernel image is available for execution on the device\n",
    "a session": (
        "ada@hal9000:~$ uname -a\nLinux hal9000 6.8.0-85-generic #85-Ubuntu SMP x86_64 x86_64 GNU/Linux\n"
        "ada@hal9000:~$ nvidia-smi\nFailed to initialize NVML: Driver/library version mismatch\n"
        "NVML library version: 570.172\nada@hal9000:~$ cat /proc/driver/nvidia/version\n"
        f"{machines.version_text('570.169', 'open')}ada@hal9000:~$ ls -l /dev/nvidia*\n"
        "crw-rw-rw- 1 root root 195, 0 Oct 16 22:58 /dev/nvidia0\n"
        "crw-rw-rw- 1 root root 195, 255 Oct 16 22:58 /dev/nvidiactl\n"
        "ada@hal9000:~$ echo $LD_LIBRARY_PATH\n/home/ada/cuda/lib64\nada@hal9000:~$ pip list\n"
        "torch                     2.5.1+cu124\nnvidia-cublas-cu12        12.4.5.8\n"
        "ada@hal9000:~$ lsmod | grep nvidia\nnvidia_uvm 1527808 0\nnvidia 56844288 68 nvidia_uvm\n"
    ),
    "two machines": (
        "ada@hal9000:~$ nvidia-smi\nFailed to initialize NVML: Driver/library version mismatch\n"
        "ada@deep-thought:~$ nvidia-smi -L\nGPU 0: NVIDIA A100 (UUID: GPU-4f3d9c12-88aa-1b2c-9d3e-0a1b2c3d4e5f)\n"
    ),
    "a machine and its container": (
        "ada@hal9000:~$ nvidia-smi -L\nGPU 0: NVIDIA A100 (UUID: GPU-4f3d9c12-88aa-1b2c-9d3e-0a1b2c3d4e5f)\n"
        "ada@hal9000:~$ docker run --rm -it --gpus all ubuntu cat /etc/os-release\nNAME=\"Ubuntu\"\nID=ubuntu\n"
        "root@3f1c0ab29d7e:/# nvidia-smi\nFailed to initialize NVML: Unknown Error\n"
    ),
    "before and after": (
        "$ nvidia-smi\nNVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"
        "$ sudo modprobe nvidia\nmodprobe: ERROR: could not insert 'nvidia': Key was rejected by service\n"
        "$ cat /proc/driver/nvidia/version\nNVRM version: NVIDIA UNIX x86_64 Kernel Module  550.90.07  Fri May\n"
        "$ cat /proc/driver/nvidia/version\nNVRM version: NVIDIA UNIX x86_64 Kernel Module  570.169  Fri May\n"
    ),
}  # fmt: skip

INPUTS: Mapping[str, bytes] = {
    **{name: text.encode() for name, text in PASTES.items()},
    "a report": reports.text(*reports.HEALTHY),
    "a report that was cut": reports.text(*reports.HEALTHY[:6], end=""),
    "a report with another module": reports.text(*reports.but(reports.VERSION, reports.NO_VERSION)),
}


def recorded(host: Host) -> dict[str, Any]:
    """A machine's snapshot, not redacted."""
    recording = RecordingHost(host)
    collected(recording)
    return recording.document


def told(data: bytes) -> Host:
    return handed.host_from(io.BytesIO(data), "input")


class Watched(SnapshotHost):
    """A replay that notes what it was asked in vain."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(document, "input")
        self.silent: list[tuple[str, str]] = []

    def look(self, section: str, key: str) -> Any:
        try:
            return super().look(section, key)
        except NotRecorded:
            self.silent.append((section, key))
            raise


def collected(host: Host) -> Facts:
    """All facts that any check takes and any report shows, and what they are made of."""
    facts = running.begun(host)
    running.diagnosed(facts, running.chosen((), ()))
    return facts


def values(facts: Facts) -> dict[str, Any]:
    return {
        kind.__name__: (type(value), str(value)) if isinstance(value, Unknown) else value
        for kind, value in facts.items()
        if kind is not Host
    }


@pytest.mark.parametrize("name", WHOLE)
def test_every_fact_of_a_live_machine_is_the_same_on_its_snapshot(name: str) -> None:
    recording = RecordingHost(WHOLE[name]())
    live = collected(recording)
    replay = Watched(json.loads(as_text(recording.document)))
    assert set(SHOWN) <= set(live)
    assert values(collected(replay)) == values(live)
    assert replay.silent == []


OF_THE_WALK = re.compile(
    r"\w+ (?:/proc/\d+(?:/.*)?|/proc|/sys/class/drm.*|/proc/sys/.*|/sys/class/.*|/dev/.*|/etc/passwd)"
)
"""What the child that walks over /proc asks; its own answer is recorded as a whole."""


@pytest.mark.parametrize("name", LIVE)
def test_every_question_that_was_asked_is_answered_in_the_snapshot(name: str) -> None:
    machine = LIVE[name]()
    recording = RecordingHost(machine)
    collected(recording)
    recorded = {
        f"{section} {key}" for section, one in recording.document.items() if isinstance(one, dict) for key in one
    }
    missing = set(machine.asked) - recorded  # type: ignore[attr-defined]
    assert [one for one in missing if not OF_THE_WALK.fullmatch(one)] == []
    assert recorded <= set(machine.asked)  # type: ignore[attr-defined]


def findings(document: dict[str, Any]) -> list[tuple[Any, ...]]:
    found = running.diagnosed(running.begun(SnapshotHost(document, "s")), running.chosen((), ())).findings
    return [(one.finding.key, one.caused_by, one.finding.title, one.finding.remedies) for one in found]


@pytest.mark.parametrize("name", WHOLE)
def test_a_redacted_snapshot_gives_the_same_findings_and_advice(name: str) -> None:
    document = recorded(WHOLE[name]())
    assert findings(redacted(document, "hal9000.example.org", ("lovelace",))) == findings(document)


@pytest.mark.parametrize("name", INPUTS)
def test_every_fact_of_an_input_is_the_same_on_its_snapshot(name: str) -> None:
    recording = RecordingHost(told(INPUTS[name]))
    source = collected(recording)
    replay = parse(as_text(recording.document).encode(), "input")
    assert values(collected(replay)) == values(source)
    assert len(replay.others()) == len(recording.others())
    for other, again in zip(recording.others(), replay.others(), strict=True):
        assert (again.label, again.inside(), again.source.kind) == (other.label, other.inside(), other.source.kind)
        assert values(collected(again)) == values(collected(other))


def judged(data: bytes) -> tuple[Any, ...]:
    result = call("check", "--from", "-", "--format", "json", standard_input=data)
    report = json.loads(result.stdout)
    findings = [
        (one["key"], one["severity"], one["confidence"], one["caused_by"], [r["risk"] for r in one["remedies"]])
        for one in report["findings"]
    ]
    checks = [(one["name"], one["status"]) for one in report["checks"]]
    return result.exit_code, report["source"]["kind"], report["verdict"], findings, checks, report["next"]


@pytest.mark.parametrize("name", INPUTS)
def test_a_redacted_snapshot_of_an_input_is_judged_as_the_input(name: str, tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    assert call("snapshot", "--from", "-", str(file), standard_input=INPUTS[name]).exit_code == 0
    assert judged(file.read_bytes()) == judged(INPUTS[name])


@pytest.mark.parametrize("name", INPUTS)
def test_a_snapshot_of_a_snapshot_is_that_snapshot(name: str) -> None:
    once = call("snapshot", "--from", "-", "--show", standard_input=INPUTS[name]).stdout
    again = call("snapshot", "--from", "-", "--show", standard_input=once.encode()).stdout
    assert json.loads(again) == json.loads(once)


def test_a_report_that_was_cut_is_told_to_be_so_on_its_snapshot_too() -> None:
    once = call("snapshot", "--from", "-", "--show", standard_input=INPUTS["a report that was cut"]).stdout
    result = call("check", "--from", "-", standard_input=once.encode())
    assert "without its end: sections may be missing" in one_line(result.stderr)


def test_it_is_said_that_several_machines_are_recorded(tmp_path: Path) -> None:
    data = INPUTS["two machines"]
    result = call("snapshot", "--from", "-", str(tmp_path / "s.json"), standard_input=data)
    assert "shows 2 machines or moments; all are recorded: hal9000, deep-thought" in result.stderr
    assert len(json.loads((tmp_path / "s.json").read_text())["parts"]) == 1


def test_without_redaction_all_is_there_and_a_warning_is_said(tmp_path: Path) -> None:
    data = INPUTS["a session"]
    for arguments in (("--show",), (str(tmp_path / "s.json"),)):
        result = call("snapshot", "--from", "-", "--no-redact", *arguments, standard_input=data)
        assert result.exit_code == 0
        assert "not redacted: it names this machine and its people" in result.stderr
        text = result.stdout or (tmp_path / "s.json").read_text(encoding="utf-8")
        assert "hal9000" in text
        assert "/home/ada/" in text
    result = call("snapshot", "--from", "-", "--show", standard_input=data)
    assert "hal9000" not in result.stdout
    assert result.stderr == ""


def test_an_input_that_cannot_be_read_is_no_snapshot(tmp_path: Path) -> None:
    result = call("snapshot", "--from", "-", str(tmp_path / "s.json"), standard_input=b"\x00\xff" * 99)
    assert result.exit_code == 2
    one_line(result.stderr)
    assert not (tmp_path / "s.json").exists()


@pytest.mark.parametrize(
    "parts", [None, 7, [], [7, None, []], [{}], [{"files": 7, "messages": 9, "label": [], "inside": [1], "notes": 3}]]
)
def test_odd_parts_and_labels_are_passed_over(parts: Any) -> None:
    odd = {"nvdiag_snapshot": 1, "kind": [], "label": 7, "inside": ["a"], "notes": [7, "x"], "parts": parts}
    result = call("check", "--from", "-", standard_input=json.dumps(odd).encode())
    assert result.exit_code in (0, 3), result.exception
    assert "standard input: x" in one_line(result.stderr)


def test_a_thousand_parts_are_no_more_than_64() -> None:
    document = {"nvdiag_snapshot": 1, "parts": [{"messages": ["x"]}] * 1000}
    assert len(parse(json.dumps(document).encode(), "s").others()) == 63


# What redaction leaves


def found(text: str) -> list[str]:
    return [said.message.name for said in messages_in(text, "x")]


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "ada@gpu-box:~$ tool\n{}\nada@gpu-box:~$ ",
        "Oct 16 22:58:02 gpu-box kernel: [ 27.177056] {}",
        "USER=ada\n{}",
    ],
)
def test_redaction_takes_no_message_from_a_text(around: str) -> None:
    for message in messages():
        text = around.format(message.example)
        before, after = (list(messages_in(one, "x", (message,))) for one in (text, Redactor().text(text)))
        assert len(after) == len(before), message.name


WORDS = sorted({word for message in messages() for word in message.example.split() if word.isalnum()})


@pytest.mark.parametrize("name", ["CUDA0", "GPU0"])
def test_a_machine_that_is_called_as_a_device_is_damages_no_message(name: str) -> None:
    for message in messages():
        if name in message.example:
            text = f"{name}@{name}:~$ x\n{message.example}"
            (said,) = redacted({"messages": [{"text": text}]})["messages"]
            assert found(said["text"]) == found(text), message.name


@settings(deadline=None, max_examples=150)
@given(
    name=st.sampled_from(WORDS) | st.from_regex(r"[a-z][a-z0-9-]{0,12}[a-z0-9]", fullmatch=True),
    chosen=st.lists(st.sampled_from(messages()), min_size=1, max_size=3, unique_by=lambda one: one.name),
    form=st.sampled_from(
        (
            "{0}@{0}:~$ x\n{1}",
            "Oct 16 22:58:02 {0} kernel: {1}\n{1}",
            "PASSWORD={0}\n{1}",
            "serve --token {0}\n{1}",
            "HOSTNAME={0}\nUSER={0}\n{1}",
            "Linux {0} 6.8.0-85-generic #85 SMP\n{1}",
        )
    ),
)
def test_a_name_or_a_password_that_is_a_word_of_messages_damages_none(
    name: str, chosen: list[Message], form: str
) -> None:
    text = form.format(name, "\n".join(one.example for one in chosen))
    before = found(text)
    after = [said["text"] for said in redacted({"messages": [{"text": text}]})["messages"]]
    assert found(after[0]) == before
