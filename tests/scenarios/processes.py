"""Processes of a machine that is written down as a tree, with what /proc shows of them."""

from __future__ import annotations

from tests.scenarios.tree import Tree

ID = "4f5c1e0d9a7b" + "0123456789abcdef" * 3 + "0123"
"""A container's id: 64 hexadecimal digits."""

DOCKER = f"0::/system.slice/docker-{ID}.scope\n"
POD = (
    "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f6f2a4c_3b0e_4f60_9d57_2a6a2a1f3b11.slice/"
    f"cri-containerd-{ID}.scope\n"
)
LOGIN = "0::/user.slice/user-1000.slice/session-3.scope\n"


def service(unit: str) -> str:
    """The control group of a system service."""
    return f"0::/system.slice/{unit}\n"


def process(
    pid: int,
    comm: str,
    cgroup: str,
    *nodes: str,
    uid: int = 0,
    state: str = "S (sleeping)",
    maps: tuple[str, ...] = (),
    refused: bool = False,
) -> Tree:
    """One process with these files open besides a log; `refused` as another user's looks to who is not root."""
    folder = f"/proc/{pid}"
    status = (
        f"Name:\t{comm}\nUmask:\t0022\nState:\t{state}\nTgid:\t{pid}\nPid:\t{pid}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"
        "Threads:\t1\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n"
    )
    files = {
        f"{folder}/comm": f"{comm}\n",
        f"{folder}/status": status,
        f"{folder}/stat": f"{pid} ({comm}) {state[0]} 1 {pid} {pid} 0 -1 4194560 900 0 0 0 3 1 0 0 20 0 1 0 88 1 1\n",
        f"{folder}/cgroup": cgroup,
        f"{folder}/task/{pid}/status": status,
    }
    refusals = {f"{folder}/fd": "EACCES", f"{folder}/maps": "EACCES"} if refused else {}
    links = {f"{folder}/fd/1": "/var/log/some.log"}
    links |= {f"{folder}/fd/{number}": node for number, node in enumerate(nodes, 5)}
    lines = [f"7f00{index:08x}-7f01{index:08x} r-xp 00000000 103:02 77 {path}" for index, path in enumerate(maps)]
    files[f"{folder}/maps"] = "\n".join(lines) + "\n"
    return Tree(files=files, links=links, refused=refusals)


def kernel_thread(pid: int = 2) -> Tree:
    """A thread of the kernel: nobody but root may list its files, and it has none."""
    return Tree(
        files={f"/proc/{pid}/comm": "kthreadd\n", f"/proc/{pid}/stat": f"{pid} (kthreadd) S 0 0 0 0 -1 2129984 0 0\n"},
        refused={f"/proc/{pid}/fd": "EACCES"},
    )


def running(*units: str) -> Tree:
    """The running services, as folders of systemd's control groups."""
    return Tree(folders=tuple(f"/sys/fs/cgroup/system.slice/{unit}" for unit in units))
