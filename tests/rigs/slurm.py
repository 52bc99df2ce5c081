"""A real Slurm of one node, n1, on a rig's machine: munged, slurmctld and slurmd on loopback, in their own namespaces.

    done = slurm.run(machine, "srun --gres=gpu:1 hostname", folder, Prolog="/path/prolog")

Everything ends with the script: the process namespace takes the daemons with it. /dev/log is answered here, so what a
prolog logs is in `done.log`. This file is also the program that runs inside.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "srun", "scontrol", "ip", "runuser", "logger")
FOLDER = "/dev/shm/slurm"  # private to the machine, and short enough for a socket's path
CONFIGURATION = f"""\
ClusterName=rig
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={FOLDER}/munge/socket
StateSaveLocation={FOLDER}/state
SlurmdSpoolDir={FOLDER}/spool
SlurmctldPidFile={FOLDER}/slurmctld.pid
SlurmdPidFile={FOLDER}/slurmd.pid
SlurmctldLogFile={FOLDER}/slurmctld.log
SlurmdLogFile={FOLDER}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=nohold_on_prolog_fail
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n1 NodeAddr=127.0.0.1 NodeHostname=localhost CPUs=2 RealMemory=1000 Gres=gpu:2 State=UNKNOWN
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
GRES = "NodeName=n1 Name=gpu File=/dev/nvidia[0-1]\n"
STATE = r"""
state() {  # of n1, with its reason, once it has settled
    for _ in $(seq 100); do
        told=$(sinfo -h -N -o '%T %E')
        [[ $told == completing* || $told == draining* ]] || break
        sleep 0.05
    done
    echo "${told/\*/}"
}
"""
CGROUP = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n"


@dataclass(frozen=True, kw_only=True)
class Done:
    """What the script printed, both streams, and what was sent to syslog meanwhile."""

    said: str
    log: str


def why_not() -> str | None:
    """Why no Slurm can be started here; None where it can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    return (
        f"{', '.join(missing)} missing: apt install slurmctld slurmd slurm-client munge iproute2" if missing else None
    )


def run(machine: object, script: str, folder: Path, **settings: object) -> Done:
    """Run a script of bash's on the node, once it is up or drained, with further settings of slurm.conf.

    In the script `state` prints the node's state and reason.
    """
    from tests.rigs import rig

    assert isinstance(machine, rig.Machine)
    extra = "".join(f"{name}={value}\n" for name, value in settings.items())
    files = {"slurm.conf": CONFIGURATION + extra, "gres.conf": GRES, "cgroup.conf": CGROUP}
    dressed = dataclasses.replace(
        machine, preload=False, files={**machine.files, **{f"/etc/slurm/{name}": text for name, text in files.items()}}
    )
    line, _ = rig.command(dressed, [sys.executable, __file__, script], folder)
    own = ["unshare", "-m", "-n", "-p", "-f", "--mount-proc", "--kill-child"]
    assert line[:2] == ["unshare", "-m"]
    finished = subprocess.run(
        [*own, *line[2:]], capture_output=True, text=True, timeout=100, check=False, stdin=subprocess.DEVNULL
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return Done(**json.loads(finished.stdout.splitlines()[-1]))


def main(script: str) -> None:
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    messages = _syslog()
    _start()
    finished = subprocess.run(
        ["bash", "-c", STATE + script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
        check=False,
    )
    time.sleep(0.1)
    print(json.dumps({"said": finished.stdout, "log": "\n".join(messages)}))


def _start() -> None:
    """The daemons, each of which goes to the background once it listens."""
    for name in ("munge", "state", "spool"):
        Path(FOLDER, name).mkdir(parents=True)
    key = Path(FOLDER, "munge/key")
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for path in (key, key.parent):
        shutil.chown(path, "munge", "munge")
    here = f"{FOLDER}/munge"
    munged = [f"--{name}={here}/{file}" for name, file in (
        ("socket", "socket"), ("key-file", "key"), ("log-file", "log"), ("pid-file", "pid"), ("seed-file", "seed"),
    )]  # fmt: skip
    _must("ip", "link", "set", "lo", "up")
    _must("ip", "address", "add", "192.0.2.77/32", "dev", "lo")  # getaddrinfo's AI_ADDRCONFIG wants one that is not 127
    _must("runuser", "-u", "munge", "--", shutil.which("munged") or "munged", *munged)
    _must("slurmctld", "-c")
    _must("slurmd", "-N", "n1")
    for _ in range(200):
        state = subprocess.run(["sinfo", "-h", "-o", "%T %E"], capture_output=True, text=True, check=False).stdout
        if state.startswith("idle") or "nvdiag" in state:
            return
        time.sleep(0.05)
    sys.exit(f"the node does not come up: {state}" + Path(FOLDER, "slurmd.log").read_text(errors="replace"))


def _must(*argv: str) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _syslog() -> Sequence[str]:
    messages: list[str] = []
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.bind("/dev/log")

    def listen() -> None:
        while True:
            with contextlib.suppress(OSError):
                messages.append(log.recv(65536).decode("utf-8", "replace"))

    threading.Thread(target=listen, daemon=True).start()
    return messages


if __name__ == "__main__":
    main(sys.argv[1])
