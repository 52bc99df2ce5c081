"""MPS, CUDA's Multi-Process Service: the folder by which programs look for its daemon, and whether one answers there.

NVIDIA's MPS guide and nvidia-cuda-mps-control(1): a program connects to the socket `control` in the folder that
CUDA_MPS_PIPE_DIRECTORY names, by default /tmp/nvidia-mps, and runs without MPS where nobody answers. A daemon of root
serves every user, one of another user that one alone. Its pid stands in nvidia-cuda-mps-control.pid, which goes away
as it stops; the socket's file stays.
"""

from __future__ import annotations

from nvdiag.facts import reading
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown

VARIABLE = "CUDA_MPS_PIPE_DIRECTORY"
_DEFAULT = "/tmp/nvidia-mps"
_OFF = ("/nonexistent", "/dev/null")
"""What people set the variable to where a program is to run without MPS."""
_PID_FILE = "nvidia-cuda-mps-control.pid"


@dataclass(frozen=True, slots=True, kw_only=True)
class MpsDaemon:
    """The folder that this environment's programs look into. NotApplicable where neither it nor the variable is there.

    `named` says that the variable names it. `answers` says whether a process listens at its socket, None where that
    is not to be seen: a container does not see a socket of its host. `owner` is the user whose socket it is.
    """

    folder: str
    named: bool
    there: bool
    socket: bool
    answers: bool | None
    owner: int | None

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings) -> MpsDaemon:
        value = reading.variable(host, VARIABLE)
        folder = (value or _DEFAULT).rstrip("/") or "/"
        if folder in _OFF:
            raise NotApplicable(f"{VARIABLE} is {folder}, which keeps programs off MPS")
        stat = reading.stat(host, f"{folder}/control")
        there = stat is not None or reading.is_there(host, folder)
        if not value and not there:
            raise NotApplicable(f"{VARIABLE} is not set, and there is no {_DEFAULT}")
        if not there and not reading.certainly_absent(host, folder):
            raise Unknown(f"whether there is a folder {folder}")
        socket = stat is not None and stat.mode.startswith("s")
        return cls(
            folder=folder,
            named=bool(value),
            there=there,
            socket=socket,
            answers=_answers(host, folder, surroundings) if socket else False,
            owner=stat.uid if stat is not None else None,
        )


def _answers(host: Host, folder: str, surroundings: Surroundings) -> bool | None:
    """By the kernel's list of sockets, which has those of this network namespace, by the paths that they were bound to.

    A daemon that it does not have counts for one that is gone only where its process is not there either.
    """
    try:
        rows = host.lines_with(f"{folder}/control", "/proc/net/unix")
    except Unknown:
        return None
    if any(row.endswith(f" {folder}/control") for row in rows):
        return True
    pid = (reading.text(host, f"{folder}/{_PID_FILE}") or "").strip()
    if not pid:
        return False
    gone = pid.isascii() and pid.isdigit() and reading.certainly_absent(host, f"/proc/{pid}")
    return False if gone and not surroundings.container else None
