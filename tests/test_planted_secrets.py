"""Secrets planted everywhere a snapshot reads from are in no snapshot, byte by byte; what is no secret stays."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nvdiag.cli import delivering, running
from nvdiag.host import Host
from nvdiag.host.record import RecordingHost
from nvdiag.host.redact import Redactor, as_text, redacted
from nvdiag.host.snapshot import SnapshotHost, parse
from nvdiag.knowledge import pages
from nvdiag.knowledge.pages import page_ids
from nvdiag.model.diagnosis import Diagnosis
from nvdiag.model.finding import Evidence, Remedy
from nvdiag.unsaid import without_secrets
from tests.cli.calling import call, process
from tests.report.reporting import MACHINES
from tests.report.test_forms import saying
from tests.scenarios import machines, reports
from tests.scenarios.tree import Tree

HOST = "zaphod42.corp.example"
USER = "tricia.mcmillan"
KEY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"

TOLD: dict[str, tuple[str, str]] = {
    # options of programs, as ps and the journal show them
    "option with =": ("ada 41 0.0 0.1 1 2 python serve.py --api-key=Zq8rK2pL7xT --port 80", "Zq8rK2pL7xT"),
    "option with a blank": ("vllm serve meta/x --api-key tok-abcdefgh --port 80", "tok-abcdefgh"),
    "option of letters": ("serve --token correcthorsebattery", "correcthorsebattery"),
    "option in quotes": ("login --password 'p w;d&1' --x", "p w;d&1"),
    "one dash": ("java -Dx=1 -password hunter2 -jar x", "hunter2"),
    "long name": ("trainer --hf-auth-token=qwertyuiopas", "qwertyuiopas"),
    "client secret": ("x --client-secret 0oaBcDeFg", "0oaBcDeFg"),
    "curl's user": ("curl -s -u grace.h:s3cr3t/77 https://x.example/api", "s3cr3t/77"),
    "docker login": ("docker login -u '$oauthtoken' -p tZ8-registry nvcr.io", "tZ8-registry"),
    "sshpass": ("sshpass -p open-sesame ssh root@x", "open-sesame"),
    "mysql": ("mysql -u root -pTopf1sch db", "Topf1sch"),
    "sudo -S": ("echo 'mellon99' | sudo -S nvidia-smi -pm 1", "mellon99"),
    # headers
    "bearer": ('curl -H "Authorization: Bearer abc.DEF-123_456~x" https://x', "abc.DEF-123_456~x"),
    "basic": ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"),
    "bare bearer": ("sent header bearer 9f8e7d6c5b4a", "9f8e7d6c5b4a"),
    "x-api-key": ("X-API-Key: 123e45-abcdef", "123e45-abcdef"),
    "cookie": ("Cookie: session=abcdef12; csrf=99887766aa", "99887766aa"),
    # assignments
    "password in env": ("DB_PASSWORD=p,a;s s&w|d(1)", "s&w|d(1)"),
    "short password": ("PGPASSWORD=abc9\n", "abc9"),
    "token in env": ("export GITLAB_TOKEN=\"xyzxyz-token\"", "xyzxyz-token"),
    "secret inline": ("$ WANDB_API_KEY=a1b2c3d4e5 python train.py", "a1b2c3d4e5"),
    "docker -e": ("docker run -e NGC_API_KEY=bmdjLWtleS0x --gpus all x", "bmdjLWtleS0x"),
    "AWS secret": ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "K7MDENG"),
    "yaml": ("  api_key: sEcReT-yaml-1\n", "sEcReT-yaml-1"),
    "yaml password": ("password: swordfish\n", "swordfish"),
    "json": ('{"hf_token": "qwe-123-rty", "x": 1}', "qwe-123-rty"),
    "json in json": (r'"body": "{\"api_key\": \"esc-777-aped\"}"', "esc-777-aped"),
    "docker's config": ('{"auths": {"nvcr.io": {"auth": "JG9hdXRodG9rZW46bnY3"}}}', "JG9hdXRodG9rZW46bnY3"),
    "containerd's auth": ('  auth = "dXNlcjpoaWRkZW4tNw=="\n', "dXNlcjpoaWRkZW4tNw"),
    "containerd's identity": ("identitytoken = 'q7w8e9r0-refresh'\n", "q7w8e9r0-refresh"),
    "registry token": ('"registrytoken": "r3gistryTok"', "r3gistryTok"),
    "docker inspect": ('"Env": ["HF_TOKEN=inspected-token-1", "PATH=/bin"]', "inspected-token-1"),
    "compose": ("    - OPENAI_API_KEY=compose1key\n", "compose1key"),
    "unit": ('Environment="VAULT_TOKEN=unit.token.5"', "unit.token.5"),
    "connection string": ("DefaultEndpointsProtocol=https;AccountKey=Zm9vYmFyYmF6cXV4==;E=1", "Zm9vYmFyYmF6cXV4"),
    "echoed": ("$ echo $SOME_TOKEN\nplainwordsecret\n", "plainwordsecret"),
    "netrc": ("machine huggingface.co login user password netrc-Pw", "netrc-Pw"),
    "SQL": ("ALTER USER x IDENTIFIED BY 'sqlPw!2'", "sqlPw!2"),
    # addresses
    "user and password in a URL": ("pip --index-url https://ada:hush1@pypi.corp/simple", "hush1"),
    "token in a URL": ("git clone https://tok123abc@git.corp/x.git", "tok123abc"),
    "query": ("GET /v1/x?model=a&access_token=qToken99&b=1", "qToken99"),
    "signed URL": ("https://b.s3/x?X-Amz-Credential=AKIDX%2F2&X-Amz-Signature=deadbeef77", "deadbeef77"),
    "proxy": ("http_proxy=http://proxyuser:proxypw@10.0.0.1:3128", "proxypw"),
    # forms of their own
    "AWS key": ("using AKIAIOSFODNN7EXAMPLE in eu-1", "AKIAIOSFODNN7"),
    "Hugging Face": ("hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345 was refused", "hf_AbCdEf"),
    "GitHub": ("remote: ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_16C7"),
    "GitHub, fine": ("github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz", "github_pat_11"),
    "OpenAI": ("key sk-proj-abc123def456ghi789 rejected", "sk-proj-abc"),
    "NGC": ("nvapi-AbCd_1234-efGH5678ijkl", "nvapi-AbCd"),
    "Slack": ("xoxb-123456789012-abcdefABCDEF", "xoxb-1234"),
    "Google": ("AIzaSyA-1234567890abcdefghijklmnopqrstuv", "AIzaSyA"),
    "GitLab": ("glpat-abcdefghij0123456789", "glpat-abc"),
    "JWT": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN", "eyJzdWIi"),
    "webhook": ("https://hooks.slack.com/services/T000/B000/XXXXyyyy1", "XXXXyyyy1"),
    "private key": (f"-----BEGIN RSA PRIVATE KEY-----\n{KEY}\nAbC=\n-----END RSA PRIVATE KEY-----", KEY),
    "private key, cut": (f"-----BEGIN OPENSSH PRIVATE KEY-----\n{KEY}\n{KEY[:30]}", KEY[:30]),
    "private key on one line": (rf"x = '-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----\n'", KEY),
    "private key in a log": (f"-----BEGIN PRIVATE KEY-----\nOct 1 x[1]: {KEY}\n", KEY),
    "public key": (f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{KEY[:20]} x", "lZDI1NTE5"),
    # people
    "prompt": ("ford_prefect@desk:~$ nvidia-smi", "ford_prefect"),
    "prompt in brackets": ("[ford_prefect@desk dir]$ ls", "ford_prefect"),
    "prompt of conda": ("(base) ford_prefect@desk:~/x$ ls", "ford_prefect"),
    "ssh": ("ssh -p 22 ford_prefect@desk.corp.example", "ford_prefect"),
    "mail": ("ask ford.prefect@betelgeuse.example.com now", "betelgeuse"),
    "home": ("File \"/home/fprefect/x.py\", line 1", "fprefect"),
    "Windows": (r"C:\Users\Ford Prefect\AppData", "Ford Prefect"),
    "Windows, escaped": (r"'C:\\Users\\fprefect\\x'", "fprefect"),
    "media": ("/run/media/fprefect/USB/NVIDIA.run", "fprefect"),
    "USER": ("USER=fprefect\nSHELL=/bin/sh", "fprefect"),
    "id": ("uid=1000(fprefect) gid=1000(fprefect) groups=1000(fprefect),44(video)", "fprefect"),
    "sudo's log": ("Oct 16 22:58:02 desk sudo: fprefect : TTY=pts/0 ; COMMAND=/bin/x", "fprefect"),
    "sshd": ("Accepted publickey for fprefect from 10.1.2.3 port 1", "fprefect"),
    "pam": ("pam_unix(sudo:session): session opened for user fprefect(uid=1000) by (uid=0)", "fprefect"),
    "cron": ("Oct 16 22:58:02 desk CRON[12]: (fprefect) CMD (x)", "fprefect"),
    "ls -l": ("crw-rw---- 1 fprefect fprefect 195, 0 Oct 16 22:58 /dev/nvidia0", "fprefect"),
    "ps": ("fprefect    4242  0.0  1.2 1234 567 pts/0 Sl 10:00 0:01 python", "fprefect"),
    "fuser": ("/dev/nvidia0:        fprefect   4242 F...m python", "fprefect"),
    "gpustat": ("[0] NVIDIA A100 | 40'C, 0 % | 1 / 40960 MB | fprefect(1024M)", "fprefect"),
    "usermod": ("sudo usermod -aG video fprefect", "fprefect"),
    # machines
    "syslog": ("Oct 16 22:58:02 magrathea kernel: NVRM: x", "magrathea"),
    "syslog, ISO": ("2025-10-16T22:58:02.123456+02:00 magrathea systemd[1]: x", "magrathea"),
    "uname": ("Linux magrathea 6.8.0-85-generic #85-Ubuntu SMP x86_64 GNU/Linux", "magrathea"),
    "hostnamectl": (" Static hostname: magrathea\n       Icon name: computer", "magrathea"),
    "pretty": (" Pretty hostname: Slartis Kiste\n", "Slartis"),
    "machine id": ("      Machine ID: 0123456789abcdef0123456789abcdef\n", "0123456789abcdef"),
    "journal's folder": ("/var/log/journal/0123456789abcdef0123456789abcdef/x", "0123456789abcdef"),
    "HOSTNAME": ("HOSTNAME=magrathea", "magrathea"),
    "inxi": ("System: Host: magrathea Kernel: 6.8.0 x86_64", "magrathea"),
    "systemd": ("systemd[1]: Hostname set to <magrathea>.", "magrathea"),
    "NCCL": ("magrathea:311:402 [0] NCCL INFO Bootstrap", "magrathea"),
    "torchrun": ("  time      : x\n  host      : magrathea\n  rank      : 0", "magrathea"),
    "hosts": ("127.0.1.1 magrathea.corp magrathea", "magrathea"),
    "builder": ("NVRM version: x  570.169  Release Build  (root@magrathea)", "magrathea"),
    "SUSE's prompt": ("magrathea:~ # nvidia-smi\n", "magrathea"),
    "login prompt": ("magrathea login: fprefect", "fprefect"),
    # boards and ports
    "serial": ("    Serial Number                         : 1320220012345", "1320220012345"),
    "S/N": ("S/N: PF2X9Q81", "PF2X9Q81"),
    "asset tag": ("\tAsset Tag: 77-ABC-123", "77-ABC-123"),
    "GUID": ("Node GUID: 0x506b4b0300c27a1c", "506b4b0300c27a1c"),
    "PDI": ("    GPU PDI                               : 0x1a2b3c4d5e6f7081", "1a2b3c4d5e6f7081"),
    "file system": ("UUID=1A2B-3C4D /boot/efi vfat", "1A2B-3C4D"),
    "IPoIB": ("link/infiniband 80:00:02:08:fe:80:00:00:00:00:00:00:50:6b:4b:03:00:c2:7a:1c brd", "4b:03:00:c2"),
}  # fmt: skip
"""A text, and what must not be left of it."""

KEPT = (
    "Generating with n_tokens = 512, max_tokens=4096, eos_token = '</s>', EOS token = 2 '</s>'",
    "TOKENIZERS_PARALLELISM=false", "--max-tokens 4096 --tokenizer meta/x --n-gpu-layers 99", "token: hello",
    "[sudo] password for root:", "PWD=/usr/src", "KEYMAP=us", "SSH_KEY=$HOME", "export HF_TOKEN=<your token>",
    "sig_key: 28:DF:0A:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11", "signer: DKMS module signing key",
    "root@3f1c0ab29d7e:/workspace# nvidia-smi", "hf_hub_download", "sk-learn 1.5.2", "snap-id-12345",
    "sha256:" + "0a" * 32,
    "user@1000.service: Failed", "memcpy@GLIBC_2.14", "git@github.com:NVIDIA/x.git",
    "image: nvcr.io/nvidia/cuda:12.8.1",
    "tensorrt 8.6.1.6", "nvidia-cudnn-cu12        8.9.2.26", "opencv-python            4.8.1.78", "TensorRT 10.0.1.6",
    "docker run -u 1000:1000 x", "2025-01-01 10:00:00 INFO trainer: started",
    "crw-rw---- 1 root video 195, 0 Oct 16 22:58 x",
    "NVIDIA RTX 4000 Ada Generation", "NVIDIA TITAN RTX", "localhost:29500", "GPU-1", "std::string c10::cuda",
    "/usr/share/keyrings/nvidia-key.gpg", "Authorization failed", "[    1.5] ACPI: \\_SB.PCI0", "auth: no",
    "auth = disabled", "auth        required      pam_unix.so", "linux-bugs@nvidia.com", "(buildd@lcy02-amd64-080)", "https://developer.download.nvidia.com/compute/cuda/repos?x=1",
    "ubuntu@ubuntu:~$ nvidia-smi", "root@localhost:~# nvidia-smi", "PS1=$ ",
    "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service",
    "secret \"nvidia-gpu\" not found", "gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)",
)  # fmt: skip


def forms(core: str) -> set[str]:
    """What of a secret would be seen in a file: as it is, and as JSON has it, once and twice."""
    once = json.dumps(core)[1:-1]
    return {core.lower(), once.lower(), json.dumps(once)[1:-1].lower()}


def left_in(text: str, core: str) -> bool:
    return any(form in text.lower() for form in forms(core))


@pytest.mark.parametrize("name", TOLD)
def test_nothing_is_left_of_a_secret_in_a_text(name: str) -> None:
    text, core = TOLD[name]
    for around in ("{}", "before\n{}\nafter", "{} "):
        assert not left_in(Redactor().text(around.format(text)), core)


@pytest.mark.parametrize("text", KEPT)
def test_what_tells_of_the_trouble_is_not_damaged(text: str) -> None:
    assert Redactor(HOST).text(text) == text


@pytest.mark.parametrize("name", TOLD)
def test_redacting_a_text_again_changes_nothing(name: str) -> None:
    once = redacted({"messages": [TOLD[name][0]]})
    assert redacted(once) == once


def test_a_secret_that_one_text_tells_is_taken_out_of_all() -> None:
    document = {
        "files": {"/etc/x": "started with Zq8rK2pL7xT on magrathea by fprefect, board 1320220012345\n"},
        "messages": [
            "serve --api-key=Zq8rK2pL7xT",
            "Oct 16 22:58:02 magrathea kernel: x",
            "USER=fprefect",
            "Serial Number : 1320220012345",
        ],
    }
    text = json.dumps(redacted(document))
    for core in ("Zq8rK2pL7xT", "magrathea", "fprefect", "1320220012345"):
        assert core not in text
    assert text.count("REDACTED-1") == text.count("host1") == text.count("user1") == text.count("0000000001") == 2


def test_a_machine_is_one_with_and_without_its_domain() -> None:
    said = redacted(
        {"messages": ["ada@magrathea.corp.example:~$ x", "Oct 16 22:58:02 magrathea kernel: x", "MAGRATHEA"]}
    )
    assert [text.count("host1") for text in said["messages"]] == [1, 1, 1]


def test_stand_ins_keep_clear_of_names_that_look_like_them() -> None:
    said = redacted(
        {"messages": ["scsi host1: ahci", "Oct 16 22:58:02 magrathea kernel: x", "/home/user1/a:/home/bob/a"]}
    )
    assert said["messages"][:2] == ["scsi host1: ahci", "Oct 16 22:58:02 host2 kernel: x"]
    assert said["messages"][2] == "/home/user1/a:/home/user2/a"


# Whole snapshots


LINES = "\n".join(text for text, _ in TOLD.values())
CORES = (*(core for _, core in TOLD.values()), "zaphod42", USER)


def assert_clean(text: str) -> None:
    assert [core for core in CORES if left_in(text, core)] == []


def planted() -> Tree:
    """A scenario machine that has every secret in each place that the checks read from."""
    built_here = machines.version_text("570.169", "open").replace("dvs-builder@U22", f"root@{HOST}")
    said = {"exit": 0, "stdout": LINES, "stderr": LINES}
    device = {
        "index": 0,
        "handle": 0,
        "serial": "1320220012345",
        "uuid": "GPU-4f3d9c12-88aa-1b2c-9d3e-0a1b2c3d4e5f",
        "compute_processes": [{"pid": 1, "name": text} for text, _ in TOLD.values()],
    }
    return machines.ubuntu_dkms().but(
        files={
            "/proc/driver/nvidia/version": built_here,
            **dict.fromkeys(("/etc/modprobe.d/nvidia.conf", "/etc/default/grub", "/proc/1/cgroup"), LINES),
            "/proc/cmdline": f"BOOT_IMAGE=/x {LINES}",
        },
        env={
            "LD_LIBRARY_PATH": f"/home/{USER}/cuda/lib64:/srv/zaphod42/lib:{LINES}",
            "PATH": f"/home/{USER}/bin:/usr/bin",
            "CUDA_HOME": f"/home/{USER}/cuda",
            "CUDA_VISIBLE_DEVICES": "GPU-4f3d9c12",
        },
        probes={"nvml": {**machines.nvml_healthy("570.169"), "init_text": LINES, "devices": [device]}},
        commands={
            "dkms status": said,
            "ldconfig -p": {**said, "stdout": f"\tlibcuda.so.1 (libc6) => /home/{USER}/libcuda.so.1\n{LINES}"},
            "modinfo nvidia": said,
        },
    )


def written(host: Host) -> str:
    """What `nvdiag snapshot` writes of a machine."""
    recording = RecordingHost(host)
    running.diagnosed(running.begun(recording), running.chosen((), ()))
    return as_text(redacted(recording.document, HOST, (USER,)))


def test_a_machine_full_of_secrets_gives_a_snapshot_without_them() -> None:
    text = written(planted().host())
    assert "/etc/modprobe.d/nvidia.conf" in text
    assert_clean(text)
    assert "4f3d9c12" not in text


def finding_keys(host: Host) -> list[str]:
    return [one.finding.key for one in running.diagnosed(running.begun(host), running.chosen((), ())).findings]


def test_and_the_snapshot_gives_the_same_findings() -> None:
    tree = planted()
    assert finding_keys(parse(written(tree.host()).encode(), "s")) == [
        key.replace(USER, "user1") for key in finding_keys(tree.host())
    ]


@pytest.mark.slow
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ["mismatch", "every probe hung", "a toolkit"])
def test_a_machine_or_a_person_that_is_called_as_a_path_is_changes_no_finding(name: str, every: int) -> None:
    recording = RecordingHost(MACHINES[name]())
    before = finding_keys(recording)
    sections = [one for one in recording.document.values() if isinstance(one, dict)]
    words = sorted({word for one in sections for key in one for word in re.findall(r"[A-Za-z][\w-]{2,}", key)})
    for number, word in enumerate(words[::every]):
        named = (word, ()) if number % 2 else ("", (word,))  # a machine and a person by turns
        document = redacted(recording.document, *named)
        assert finding_keys(SnapshotHost(document, "s")) == before, word


def as_paste() -> str:
    failed = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.172\n"
    logged = "".join(f"Oct 16 22:58:0{n} zaphod42 kernel: [  1.{n}] NVRM: API mismatch: {n}\n" for n in range(5))
    return (
        f"{USER}@zaphod42:~$ nvidia-smi\n{failed}{USER}@zaphod42:~$ env\n{LINES}\n"
        f"{USER}@zaphod42:~$ cat /etc/modprobe.d/nvidia.conf\n{LINES}\n{USER}@zaphod42:~$ sudo dmesg\n{logged}"
        f"root@{HOST}:~# ps aux\n{LINES}\n"
    )


def as_report() -> bytes:
    return reports.text(
        *reports.HEALTHY,
        reports.file("/etc/modprobe.d/x.conf", f"{LINES}\n"),
        reports.command("dmesg:", f"{reports.DMESG}[   22.1] NVRM: GPU 0000:01:00.0 on zaphod42: {LINES}\n"),
        start=reports.head(uname=reports.UNAME.replace("myhost", HOST)),
    )


@pytest.mark.parametrize("data", [as_paste().encode(), as_report()], ids=["paste", "report"])
def test_the_snapshot_of_an_input_is_clean_and_gives_its_findings(data: bytes, tmp_path: Path) -> None:
    result = call("snapshot", "--from", "-", str(tmp_path / "s.json"), standard_input=data)
    assert result.exit_code == 0, result.stderr
    text = (tmp_path / "s.json").read_text(encoding="utf-8")
    if b"NVIDIA bug report" not in data:
        assert_clean(text)
    assert "zaphod42" not in text.lower()
    before = call("check", "--from", "-", "--format", "json", standard_input=data)
    after = call("check", "--from", str(tmp_path / "s.json"), "--format", "json")
    assert after.exit_code == before.exit_code
    assert _judged(json.loads(after.stdout)) == _judged(json.loads(before.stdout))


def _judged(report: dict[str, Any]) -> Any:
    findings = [(one["key"], one["severity"], one["confidence"], one["caused_by"]) for one in report["findings"]]
    return (
        report["source"]["kind"],
        findings,
        [(one["name"], one["status"]) for one in report["checks"]],
        report["next"],
    )


@pytest.mark.live
def test_a_live_snapshot_has_nothing_of_the_environments_secrets_and_names(tmp_path: Path) -> None:
    environment = {
        **{f"X{number}_TOKEN": core for number, (_, core) in enumerate(TOLD.values())},
        "HF_TOKEN": "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345",
        "NVIDIA_API_KEY": "nvapi-AbCd_1234-efGH5678ijkl",
        "USER": "tricia_mcmillan",
        "HOME": "/home/tricia_mcmillan",
        "LD_LIBRARY_PATH": "/home/tricia_mcmillan/cuda/lib64:/srv/tricia_mcmillan/lib",
        "CUDA_HOME": "/home/tricia_mcmillan/cuda",
        "PS1": "tricia_mcmillan@x",
    }
    environment = {name: value.replace("\n", " ") for name, value in environment.items()}
    result = process("snapshot", str(tmp_path / "s.json"), environment=environment)
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "s.json").read_text(encoding="utf-8")
    assert "/home/user" in text
    name = os.uname().nodename
    cores = [core for _, core in TOLD.values()]
    for core in (*cores, "hf_AbCd", "nvapi-AbCd", "mcmillan", *([name] if len(name) > 6 else [])):
        assert not left_in(text, core), core


# Reports


SECRETS = {
    name: (text, core) for name, (text, core) in TOLD.items() if not left_in(Redactor().without_secrets(text), core)
}
"""What is a secret wherever it stands. Names of people, machines and boards stay in a report, which needs them."""
FAILED = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.172\n"


def reports_of(diagnosis: Diagnosis) -> dict[str, str]:
    choice = running.chosen((), ())
    wanted = [delivering.Wanted(form=form, verbose=True) for form in delivering.FORMS]
    return {one.form: delivering.rendered(diagnosis, choice, one, to_file=True) for one in wanted}


def assert_unsaid(text: str) -> None:
    text = text.replace("GPU-4f3d9c12-88aa-1b2c-9d3e-0a1b2c3d4e5f", "")
    plain = " ".join(html.unescape(text).split())
    shown = {text, plain, plain.replace("%0A", " ").replace("%25", "%"), plain.replace("\\", "")}
    assert [core for _, core in SECRETS.values() if any(left_in(one, core) for one in shown)] == []


def test_the_secrets_are_most_of_what_is_told() -> None:
    assert len(SECRETS) > 55
    assert set(TOLD) - set(SECRETS) >= {"prompt", "syslog", "serial"}


def test_no_report_has_a_secret_wherever_a_finding_tells_of_it() -> None:
    (one,) = saying("x").findings
    findings = [
        replace(
            one.finding,
            subject=str(number),
            title=text,
            detail=text,
            evidence=(Evidence(source=text, excerpt=text),),
            remedies=(Remedy(summary=text, commands=(text,), prediction=text),),
        )
        for number, (text, _) in enumerate(SECRETS.values())
    ]
    told = replace(saying("x"), findings=tuple(replace(one, finding=finding) for finding in findings))
    for report in reports_of(told).values():
        assert_unsaid(report)


def test_a_command_that_was_pasted_is_told_without_its_secret() -> None:
    result = call("check", "--from", "-", standard_input=f"$ serve --api-key=Zq8rK2pL7xT --port 80\n{FAILED}".encode())
    assert "--> serve --api-key=REDACTED-1 --port 80:" in result.stdout


def test_no_report_has_a_secret_of_a_machine_that_is_full_of_them() -> None:
    diagnosis = running.diagnosed(running.begun(planted().host()), running.chosen((), ()))
    assert diagnosis.findings
    for report in reports_of(diagnosis).values():
        assert_unsaid(report)


@pytest.mark.parametrize("data", [as_paste().encode(), as_report()], ids=["paste", "report"])
def test_no_artifact_of_an_input_has_a_secret(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    asked = [f"--report={form}={tmp_path / form}" for form in delivering.FORMS]
    result = call("check", "--from", "-", "--format", "github", *asked, standard_input=data)
    files = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert set(files) == {*delivering.FORMS, "summary"}
    for text in (result.output, *files.values()):
        assert_unsaid(text)


def test_no_word_of_nvdiags_own_and_no_command_is_taken_for_a_secret() -> None:
    for name in ("mismatch with a consequence", "every probe hung", "a container", "a toolkit", "an empty snapshot"):
        diagnosis = running.diagnosed(running.begun(MACHINES[name]()), running.chosen((), ()))
        for report in reports_of(diagnosis).values():
            assert "REDACTED" not in report
    for identifier in page_ids():
        text = pages.page(identifier).body  # type: ignore[union-attr]
        assert without_secrets(text) == text, identifier


@pytest.mark.live
def test_no_report_of_this_machine_has_a_value_of_a_variable_that_is_not_allowed(tmp_path: Path) -> None:
    values = {f"PLANTED_{number}": f"plantedvalue{number}x" for number in range(3)}
    tokens = {"HF_TOKEN": "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345", "NVIDIA_API_KEY": "nvapi-AbCd_1234-efGH5678ijkl"}
    tokens |= {"NCCL_SECRET_TOKEN": "nccl-secret-7", "CUDA_AUTH": "cuda-auth-77"}
    argv = [sys.executable, "-c", "import sys; sys.stdin.read()", "--api-key=Zq8rK2pL7xT"]
    asked = [f"--report={form}={tmp_path / form}" for form in delivering.FORMS]
    surrounding = {**values, **tokens}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env={**os.environ, **surrounding}) as job:
        summary = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
        of_job = process("check", "--env-of", str(job.pid), "--format", "github", *asked, environment=summary)
        taken = process("snapshot", "--env-of", str(job.pid), str(tmp_path / "snapshot"))
        job.communicate(b"")
    own = process("check", "--format", "json", "--verbose", environment=surrounding)
    texts = [of_job.stdout, of_job.stderr, taken.stderr, own.stdout, own.stderr]
    texts += [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()]
    assert len(texts) == len(delivering.FORMS) + 7
    for value in (*values.values(), *tokens.values(), "Zq8rK2pL7xT"):
        assert not any(left_in(text, value) for text in texts), value
