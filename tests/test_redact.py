"""Redaction: no snapshot names a person, a machine or a board, and what nvdiag judges by survives it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvdiag.cli import running
from nvdiag.host import Host
from nvdiag.host.environment import may_read
from nvdiag.host.record import RecordingHost
from nvdiag.host.redact import Redactor, as_text, redacted
from nvdiag.host.snapshot import SnapshotHost, parse
from nvdiag.model.diagnosis import Diagnosis
from tests.report.reporting import MACHINES
from tests.test_planted_secrets import TOLD

HOST = "hal9000.example.org"
SECRETS = {
    "host name": "hal9000.example.org",
    "short host name": "hal9000",
    "host name in capitals": "HAL9000",
    "GPU": "GPU-4f3d9c12-88aa-1b2c-9d3e-0a1b2c3d4e5f",
    "GPU in capitals": "GPU-5F3D9C12-88AA-1B2C-9D3E-0A1B2C3D4E5F",
    "beginning of a GPU": "GPU-8932f937",
    "MIG": "MIG-11c9d8e7-66bb-5a4f-8e7d-c6b5a4938271",
    "old MIG": "MIG-GPU-21c9d8e7-66bb-5a4f-8e7d-c6b5a4938271/1/0",
    "file system": "root=UUID=91c9d8e7-66bb-5a4f-8e7d-c6b5a4938271",
    "MAC": "3c:ec:ef:12:34:56",
    "MAC in capitals": "3C:EC:EF:12:34:57",
    "MAC with dashes": "3c-ec-ef-12-34-58",
    "IPv4": "203.0.113.77",
    "IPv4 with a port": "10.11.12.13:8080",
    "IPv4 at the end of a sentence": "reached 10.11.12.14.",
    "IPv4 after words with a V": "VPN 10.11.12.15, NVIDIA 10.11.12.16",
    "IPv6": "2001:db8:85a3:1:2:8a2e:370:7334",
    "short IPv6": "2a02:8070:a1::77",
    "link-local IPv6": "fe80::3eec:efff:fe12:3456%eth0",
    "serial": "Serial Number                         : 1562421012345",
    "serial with letters": "SerialNumber: PF2X9Q81",
    "short serial": "SN=0324518012399",
    "home": "/home/ada.lovelace/llama.cpp",
    "home of letters": "/home/jürgen/x",
    "home on PATH": "/usr/bin:/home/grace/bin:/bin",
    "Windows home": "/mnt/c/Users/Turing/x",
    "ostree home": "/var/home/hopper/.local",
}
"""A text with a secret in it; CORES has what must not be left of it."""

CORES = {
    "GPU": "4f3d9c12", "GPU in capitals": "5F3D9C12", "old MIG": "21c9d8e7", "file system": "91c9d8e7",
    "IPv4 with a port": "10.11.12.13", "IPv4 at the end of a sentence": "10.11.12.14",
    "IPv4 after words with a V": "10.11.12.1", "link-local IPv6": "3eec:efff", "serial": "1562421012345",
    "serial with letters": "PF2X9Q81", "short serial": "0324518012399", "home": "lovelace", "home of letters": "rgen",
    "home on PATH": "grace", "Windows home": "Turing", "ostree home": "hopper",
}  # fmt: skip

KEPT = (
    "570.172.08", "12.550.163.01", "12.8.93", "0000:01:00.0", "00000000:01:00.0", "6.8.0-85-generic",
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.172.08  Release Build  (dvs-builder@U22)",
    "libcuda.so.570.172.08", "nvidia-cublas-cu12==12.4.5.8", "nvidia-cublas-cu12 12.4.5.8", "Version: 9.1.0.70",
    "cuBLAS 12.4.5.8", "libcublas.so.12.4.5.8", "Video BIOS: 94.02.42.00.01", "127.0.0.1", "0.0.0.0", "::1",
    "2025-09-16T08:11:02+00:00", "/home/kubernetes/bin/nvidia/lib64", "/sys/class/drm", "195:255", "std::string",
    "/usr/lib/x86_64-linux-gnu", "gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)", "10de:2684", "sm_90a",
    "21 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw", "Tue Nov 24 02:53:11 2026", "GPU-accelerated",
    "serial8250: ttyS0 at I/O 0x3f8", "SN74", "/root/.cache", "$HOME/home/",
)  # fmt: skip


def clean(text: str) -> str:
    return Redactor(HOST).text(text)


@pytest.mark.parametrize("name", SECRETS)
def test_nothing_is_left_of_a_secret(name: str) -> None:
    core = CORES.get(name, SECRETS[name])
    assert core.lower() not in clean(f"a {SECRETS[name]} b").lower()
    assert core.lower() not in clean(SECRETS[name]).lower()


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_survives(text: str) -> None:
    assert clean(text) == text
    assert clean(f"x {text} y") == f"x {text} y"


@pytest.mark.parametrize("place", ["files", "links", "commands", "env", "messages", "probes", "modinfo", "keys"])
def test_no_place_of_a_snapshot_keeps_a_secret(place: str) -> None:
    said = "\n".join(f"see {secret} there" for secret in SECRETS.values())
    documents: dict[str, dict[str, Any]] = {
        "files": {"files": {"/etc/x": said}},
        "links": {"links": {"/usr/x": said}},
        "commands": {"commands": {f"grep -F {said} x": {"exit": 0, "stdout": said, "stderr": said}}},
        "env": {"env": {"LD_LIBRARY_PATH": said}},
        "messages": {"messages": [said]},
        "probes": {"probes": {"nvml": {"devices": [{"uuid": said, "deep": [[{"x": said}]]}]}}},
        "modinfo": {"modinfo": {"/x.ko": {"filename": said}}},
        "keys": {"files": {f"/a {secret}": None for secret in SECRETS.values()}},
    }
    text = json.dumps(redacted(documents[place], HOST), ensure_ascii=False).lower()
    for name, secret in SECRETS.items():
        assert CORES.get(name, secret).lower() not in text, name


@pytest.mark.parametrize(
    "document",
    [
        {"probes": {"nvml": {"devices": [{"serial": "PF2X9Q81"}]}}},
        {"files": {"/sys/class/dmi/id/board_serial": "PF2X9Q81\n"}},
    ],
)
def test_a_serial_under_its_name_is_taken_out(document: dict[str, Any]) -> None:
    assert "PF2X9Q81" not in json.dumps(redacted(document, HOST))


@pytest.mark.parametrize("host", ["ubuntu", "debian", "nvidia", "localhost", "files", "module", "boot", "kernel"])
def test_a_host_name_that_is_a_common_word_breaks_nothing(host: str) -> None:
    document = MACHINES["mismatch"]()
    assert findings(redact(document, host)) == findings(MACHINES["mismatch"]())


# Consistency


def test_the_same_secret_gets_the_same_stand_in_everywhere() -> None:
    redactor = Redactor(HOST)
    uuid = "4f3d9c12-88aa-1b2c-9d3e-0a1b2c3d4e5f"
    shown = [redactor.text(text) for text in (f"GPU-{uuid}", f"uuid: GPU-{uuid.upper()}", "GPU-4f3d9c12")]
    assert len({text.rpartition("GPU-")[2] for text in shown}) == 1
    assert redactor.text("/home/ada/a:/home/ada/b") == "/home/user1/a:/home/user1/b"
    assert redactor.text("10.1.1.1 10.1.1.1").split()[0] == redactor.text("10.1.1.1")
    assert redactor.text("3c:ec:ef:12:34:56") == redactor.text("3C-EC-EF-12-34-56")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GPU-4f3d9c12-88aa-1b2c-9d3e-0a1b2c3d4e5f", "GPU-4f3d9c12-88aa-1b2c-9d3e-0a1b2c3d4e60"),
        ("/home/ada/x", "/home/bob/x"),
        ("/home/bob/x", "/home/user1/x"),
        ("10.1.1.1", "10.1.1.2"),
        ("10.1.1.1", "192.0.2.1"),
        ("3c:ec:ef:12:34:56", "3c:ec:ef:12:34:57"),
        ("2a02::1", "2a02::2"),
        ("serial: 123456789", "serial: 123456780"),
    ],
)
def test_different_secrets_get_different_stand_ins(one: str, other: str) -> None:
    redactor = Redactor(HOST)
    first, second, again = redactor.text(one), redactor.text(other), redactor.text(other)
    assert first != second
    assert second == again


def test_many_secrets_stay_apart_and_redacting_again_changes_nothing() -> None:
    document = {
        "files": {
            f"/home/u{n}x/f": f"10.0.{n}.9 2a02::{n + 1:x}:9 3c:ec:ef:12:00:{n:02x} serial: 55500{n:04}"
            for n in range(256)
        }
    }
    once = redacted(document, HOST)
    assert len(set(once["files"])) == len(once["files"]) == 256
    assert len({word for text in once["files"].values() for word in text.split()}) == 256 * 4 + 1
    assert redacted(once, HOST) == once


# On whole machines


def diagnosed(host: Host) -> Diagnosis:
    return running.diagnosed(running.begun(host), running.chosen((), ()))


def findings(host: Host) -> list[tuple[Any, ...]]:
    """What was found and advised; evidence may show stand-ins."""
    return [
        (one.finding.key, one.finding.severity, one.finding.confidence, one.caused_by, one.finding.title,
         one.finding.remedies)
        for one in diagnosed(host).findings
    ]  # fmt: skip


def recorded(host: Host) -> dict[str, Any]:
    recording = RecordingHost(host)
    diagnosed(recording)
    return recording.document


def redact(host: Host, name: str = HOST) -> SnapshotHost:
    """What `nvdiag snapshot` writes of a machine, read again."""
    return parse(as_text(redacted(recorded(host), name)).encode(), "redacted")


@pytest.mark.parametrize("name", MACHINES)
def test_redaction_changes_no_finding(name: str) -> None:
    before = findings(MACHINES[name]())
    assert findings(SnapshotHost(recorded(MACHINES[name]()), "recorded")) == before
    assert findings(redact(MACHINES[name]())) == before


@pytest.mark.parametrize("name", MACHINES)
def test_redaction_changes_no_judgement(name: str) -> None:
    before = [(one.name, one.status) for one in diagnosed(SnapshotHost(recorded(MACHINES[name]()), "recorded")).checks]
    assert [(one.name, one.status) for one in diagnosed(redact(MACHINES[name]())).checks] == before


@pytest.mark.parametrize("name", MACHINES)
def test_redacting_a_snapshot_again_changes_nothing(name: str) -> None:
    once = redacted(recorded(MACHINES[name]()), HOST)
    assert redacted(once, HOST) == once


# The environment


FORBIDDEN = (
    "HOME", "USER", "LOGNAME", "HOSTNAME", "SSH_CONNECTION", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "GITHUB_TOKEN", "PS1",
    "NVIDIA_API_KEY", "NVIDIA_NGC_API_KEY", "CUDA_TOKEN", "NCCL_PASSWORD", "NGC_API_KEY", "http_proxy", "",
    "NVIDIA_Token", "CUDA_secret",
)  # fmt: skip


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_variable_that_may_hold_a_secret_may_not_be_read(name: str) -> None:
    assert not may_read(name)


@pytest.mark.parametrize(
    "name", ["PATH", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"]
)
def test_what_tells_of_the_driver_may_be_read(name: str) -> None:
    assert may_read(name)


@pytest.mark.live
@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_live_machine_never_tells_a_forbidden_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from nvdiag.host.live import LiveHost

    if name:
        monkeypatch.setenv(name, "secret")
    recording = RecordingHost(LiveHost())
    with pytest.raises(LookupError):
        recording.env(name)
    assert recording.document["env"] == {}
    assert "secret" not in json.dumps(recording.document)


@pytest.mark.live
def test_a_live_machine_tells_an_allowed_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    from nvdiag.host.live import LiveHost

    monkeypatch.setenv("CUDA_HOME", "/opt/cuda")
    monkeypatch.delenv("CUDA_PATH", raising=False)
    assert LiveHost().env("CUDA_HOME") == "/opt/cuda" == os.environ["CUDA_HOME"]
    assert LiveHost().env("CUDA_PATH") is None


# Any text


def shape(value: Any) -> Any:
    """A document's form: what is where, without the texts."""
    if isinstance(value, dict):
        return [shape(one) for one in value.values()]
    if isinstance(value, list):
        return (len(value), [shape(one) for one in value])
    return type(value)


def pieces() -> st.SearchStrategy[str]:
    odd = st.text(alphabet="0123456789abcdefABCDEF:.-/% \nGPUMIGSNserialhomeUsers", max_size=40)
    planted = [text for text, _ in TOLD.values()]
    return st.text(max_size=20) | odd | st.sampled_from([*SECRETS.values(), *KEPT, *planted])


def texts() -> st.SearchStrategy[str]:
    return st.lists(pieces(), max_size=4).map(" ".join)


def documents() -> Iterator[st.SearchStrategy[Any]]:
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts()
    inner = st.recursive(
        leaves, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text("abc/_ ", max_size=6), one, max_size=3),
        max_leaves=8,
    )  # fmt: skip
    yield st.dictionaries(st.sampled_from(["files", "env", "probes", "messages"]), inner, max_size=4)


@settings(deadline=None, max_examples=200)
@given(document=next(documents()), host=st.sampled_from([HOST, "", "a", "abc", "[", "localhost"]) | st.text(max_size=6))
def test_redaction_keeps_the_form_of_any_document(document: dict[str, Any], host: str) -> None:
    once = redacted(document, host)
    assert shape(once) == shape(document)
    json.loads(as_text(once))


@settings(deadline=None, max_examples=200)
@given(document=next(documents()))
def test_redacting_any_document_again_changes_nothing(document: dict[str, Any]) -> None:
    once = redacted(document, HOST)
    assert redacted(once, HOST) == once


@given(text=st.text(alphabet="0123456789abcdef:.-", max_size=200))
@settings(deadline=500, max_examples=100)
def test_redaction_of_any_text_is_quick(text: str) -> None:
    clean(text * 10)


def test_people_whose_processes_hold_the_gpu_are_not_named() -> None:
    row = {
        "pid": 7,
        "comm": "python3",
        "uid": 1000,
        "user": "lovelace",
        "cgroup": "0::/system.slice/jupyter-lovelace.service",
    }
    system = {"pid": 8, "comm": "gdm-x", "uid": 120, "user": "gdm", "cgroup": "0::/system.slice/gdm.service"}
    document = {"nvdiag_snapshot": 1, "probes": {"holders": {"processes": [row, system], "supposed": []}}}
    clean = redacted(document, HOST)
    assert "lovelace" not in json.dumps(clean)
    assert clean["probes"]["holders"]["processes"][0]["user"] == "user1"
    assert clean["probes"]["holders"]["processes"][0]["cgroup"] == "0::/system.slice/jupyter-user1.service"
    assert clean["probes"]["holders"]["processes"][1] == system
    assert redacted(clean, HOST) == clean


@pytest.mark.parametrize(
    "line",
    [
        "password_pbkdf2 root grub.pbkdf2.sha512.10000.5EC2E7F",
        "password root 5EC2E7F",
        "linux /vmlinuz ro rd.iscsi.password=5EC2E7F quiet",
        "options ro systemd.set_credential=a:5EC2E7F",
        "linux /vmlinuz ks.token=5EC2E7F",
        "/boot/loader/entries/5ec2e7f89abcdef0123456789abcdef0-6.16.5-200.fc42.x86_64.conf",
    ],
)
def test_passwords_and_names_of_boot_menus_are_taken_out(line: str) -> None:
    once = Redactor("machine").text(line)
    assert "5ec2e7f" not in once.lower()
    assert Redactor("machine").text(once) == once


def test_what_boots_next_is_judged_alike_after_redaction() -> None:
    from nvdiag.facts.boot import NextBootKernel
    from tests.scenarios.reboots import SCENARIOS

    for name in ("rocky-saved-entry-is-old", "ubuntu-dkms-upgraded", "ostree-well", "arch-unified-image-once"):
        document = SCENARIOS[name].tree.snapshot().document
        plain, taken_out = SnapshotHost(document, "a"), SnapshotHost(redacted(document, HOST), "a")
        told = [running.begun(host)[NextBootKernel] for host in (plain, taken_out)]
        assert (told[0].release, told[0].how) == (told[1].release, told[1].how), name


def test_people_whose_processes_nvml_lists_are_not_named() -> None:
    row = {"pid": 7, "name": "python3", "uid": 1000, "user": "lovelace", "cgroup": "0::/jupyter-lovelace.service"}
    devices = [{"index": 0, "compute_processes": [row], "graphics_processes": None}, None]
    clean = redacted({"nvdiag_snapshot": 1, "probes": {"nvml": {"devices": devices}}}, HOST)
    assert "lovelace" not in json.dumps(clean)
    assert clean["probes"]["nvml"]["devices"][0]["compute_processes"][0]["user"] == "user1"


def test_a_person_that_is_called_as_a_word_is_not_named_in_the_walk_over_proc() -> None:
    row = {"pid": 7, "comm": "python3", "uid": 1000, "user": "ada", "cgroup": "0::/user.slice/x"}
    document = {"nvdiag_snapshot": 1, "probes": {"holders": {"processes": [row], "supposed": []}}}
    assert redacted(document)["probes"]["holders"]["processes"][0]["user"] == "user1"
